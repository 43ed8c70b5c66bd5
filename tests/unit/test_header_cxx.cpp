// luaflow.h in a C++11 program that includes nothing before it and links with the library.
#include "luaflow.h"

#include <cstdio>
#include <string>
#include <vector>

namespace {

void hear(void *payload, const luaflow_event *event)
{
    static_cast<std::vector<int> *>(payload)->push_back(event->type);
}

bool refuses_a_missing_store()
{
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow *rt = nullptr;
    options.store = "/nowhere/at/all";
    int rc = luaflow_open(&options, &rt, &err);
    bool said = std::string(luaflow_error_text(&err)).find(options.store) != std::string::npos;
    luaflow_error_clear(&err);
    return rc == LUAFLOW_ENOTFOUND && rt == nullptr && said;
}

bool loads_a_flow()
{
    const std::string source = "return { steps = { start = function(self) end } }";
    luaflow_flow *flow = nullptr;
    size_t size = 0;
    if (luaflow_flow_load_string(source.data(), source.size(), "x.lua", nullptr, &flow, nullptr) != LUAFLOW_OK)
        return false;
    bool described = luaflow_flow_describe(flow, &size) != nullptr && size > 0;
    luaflow_flow_close(flow);
    return described;
}

bool hears_what_it_gave_a_function_for()
{
    std::vector<int> heard;
    luaflow_run_options options = LUAFLOW_RUN_OPTIONS_INIT;
    luaflow_event event = luaflow_event();
    options.on_event = hear;
    options.payload = &heard;
    event.type = LUAFLOW_RUN_FINISHED;
    options.on_event(options.payload, &event);
    return options.size == sizeof options && heard.size() == 1 && heard[0] == LUAFLOW_RUN_FINISHED;
}

} // namespace

int main()
{
    const bool passed[] = {refuses_a_missing_store(), loads_a_flow(), hears_what_it_gave_a_function_for()};
    int failed = 0;
    for (bool ok : passed)
        failed += !ok;
    std::printf("%d failed\n", failed);
    return failed;
}
