/* host.c -- a program that runs a flow through an installed luaflow and reads what it left: with an
 * isolated step, which needs the installed command. Is C and C++. Its argument is the store. */
#include <luaflow.h>

#include <stdio.h>
#include <string.h>

static const char SOURCE[] = "return { steps = {\n"
                             "  start  = { next = 'double', foreach = 'parts', function(self) self.parts = 3 end },\n"
                             "  double = { next = 'finish', isolate = true, function(self) self.n = self.input * 2 end },\n"
                             "  finish = function(self, inputs)\n"
                             "    self.sum = 0\n"
                             "    for _, n in ipairs(inputs:collect('n')) do self.sum = self.sum + n end\n"
                             "  end,\n"
                             "} }\n";

static luaflow_error err = LUAFLOW_ERROR_INIT;

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, luaflow_error_text(&err));
    luaflow_error_clear(&err);
    return 1;
}

static void on_event(void *payload, const luaflow_event *event)
{
    (void)payload;
    if (event->type == LUAFLOW_TASK_FAILED)
        fprintf(stderr, "%s: %s\n", event->path, event->message);
}

static int run_flow(luaflow *rt, luaflow_flow *flow)
{
    luaflow_run_options options = LUAFLOW_RUN_OPTIONS_INIT;
    luaflow_run *run;
    void *bytes;
    size_t size;
    options.on_event = on_event;
    if (luaflow_start(rt, flow, &options, &run, &err) != LUAFLOW_OK)
        return fail("starting");
    luaflow_wait(run, -1);
    int status = 0;
    if (luaflow_run_artifact(run, "sum", &bytes, &size, &err) == LUAFLOW_OK) {
        /* Of a small whole number the canonical bytes are one. */
        printf("sum is %d\n", size == 1 ? *(const unsigned char *)bytes : -1);
        luaflow_free(bytes);
    } else {
        status = fail("reading");
    }
    luaflow_run_close(run);
    return status;
}

int main(int argc, char **argv)
{
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    luaflow *rt;
    luaflow_flow *flow;
    if (argc != 2)
        return 2;
    options.store = argv[1];
    options.create = true;
    if (luaflow_open(&options, &rt, &err) != LUAFLOW_OK)
        return fail("opening");
    int status = 1;
    if (luaflow_flow_load_string(SOURCE, strlen(SOURCE), "doubles.lua", NULL, &flow, &err) == LUAFLOW_OK) {
        status = run_flow(rt, flow);
        luaflow_flow_close(flow);
    } else {
        fail("loading");
    }
    luaflow_close(rt);
    return status;
}
