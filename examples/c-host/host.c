/* host.c -- an engine that runs a flow. It gives the flow's steps a function of its own, prints what
 * happens, and reads the result that the last step left.
 *
 *     cc -o host host.c $(pkg-config --cflags --libs luaflow)
 *     ./host heights.lua */
#include <luaflow.h>

#include <lauxlib.h>

#include <stdio.h>

/* What the engine is good at: here, the height of a hill. Workers call it at the same time, each
 * in a Lua state and thread of its own, so it touches nothing that is shared. */
static int terrain_height(lua_State *L)
{
    double x = luaL_checknumber(L, 1), y = luaL_checknumber(L, 2);
    lua_pushnumber(L, 100 / (1 + x * x + y * y));
    return 1;
}

static int open_terrain(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, terrain_height);
    lua_setfield(L, -2, "height");
    return 1;
}

/* Called once in each worker's state: `require "terrain"` finds the module there. */
static int on_state(void *payload, lua_State *L, luaflow_error *err)
{
    (void)payload, (void)err;
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, open_terrain);
    lua_setfield(L, -2, "terrain");
    return LUAFLOW_OK;
}

static void on_event(void *payload, const luaflow_event *event)
{
    (void)payload;
    switch (event->type) {
    case LUAFLOW_LINE: printf("%s says: %.*s\n", event->path, (int)event->text_size, event->text); break;
    case LUAFLOW_TASK_FINISHED: printf("%s is done\n", event->path); break;
    case LUAFLOW_TASK_FAILED: printf("%s failed: %s\n", event->path, event->message); break;
    default: break;
    }
}

/* Runs the flow and prints what its last task left as `highest`. */
static int run(luaflow *rt, luaflow_flow *flow, luaflow_error *err)
{
    luaflow_run_options options = LUAFLOW_RUN_OPTIONS_INIT;
    luaflow_run *started;
    options.on_event = on_event;
    int rc = luaflow_start(rt, flow, &options, &started, err);
    if (rc != LUAFLOW_OK)
        return rc;
    while (!luaflow_wait(started, -1)) /* a signal handler ends the waiting, not the run */
        continue;
    lua_State *L = luaL_newstate();
    rc = luaflow_run_artifact_push(started, "highest", L, err);
    if (rc == LUAFLOW_OK)
        printf("the highest point is %.1f\n", lua_tonumber(L, -1));
    lua_close(L);
    luaflow_run_close(started);
    return rc;
}

int main(int argc, char **argv)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_flow_options flow_options = LUAFLOW_FLOW_OPTIONS_INIT;
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    luaflow_flow *flow = NULL;
    luaflow *rt = NULL;
    options.store = ".luaflow";
    options.create = true;
    options.on_state = flow_options.on_state = on_state;
    int rc = luaflow_flow_load(argc > 1 ? argv[1] : "heights.lua", &flow_options, &flow, &err);
    if (rc == LUAFLOW_OK)
        rc = luaflow_open(&options, &rt, &err);
    if (rc == LUAFLOW_OK)
        rc = run(rt, flow, &err);
    if (rc != LUAFLOW_OK)
        fprintf(stderr, "%s\n", luaflow_error_text(&err));
    luaflow_error_clear(&err);
    luaflow_close(rt);
    luaflow_flow_close(flow);
    return rc == LUAFLOW_OK ? 0 : 1;
}
