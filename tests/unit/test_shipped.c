/* A flow that a host's Lua state has as a table, on worker threads and in processes of its own:
 * through luaflow.h alone. The program that isolated steps run in is this one. */
#include "unit.h"

#include "luaflow.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A child is known by its environment, see test_isolate.c. */
__attribute__((constructor)) static void be_a_child(void)
{
    if (getenv("TEST_CHILD") != NULL)
        _exit(luaflow_serve(3, NULL) == LUAFLOW_OK ? 0 : 2);
}

/* ---- a world in one line ---- */

static char base[64];
static lua_State *host;

/* Adds the module that flows below require. */
static int add_module(void *payload, lua_State *L, luaflow_error *err)
{
    (void)payload, (void)err;
    if (luaL_dostring(L, "package.preload.host_module = function() return { add = function(a, b) return a + b end } end"))
        lua_error(L);
    return LUAFLOW_OK;
}

static luaflow *fresh_runtime(void)
{
    char store[96], itself[256];
    luaflow *rt = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    strcpy(base, "/tmp/test_shipped.XXXXXX");
    CHECK(mkdtemp(base) != NULL);
    snprintf(store, sizeof store, "%s/s", base);
    ssize_t n = readlink("/proc/self/exe", itself, sizeof itself - 1);
    CHECK(n > 0);
    itself[n] = '\0';
    setenv("TEST_CHILD", "1", 1);
    o.store = store;
    o.create = true;
    o.executable = itself;
    o.on_state = add_module;
    if (luaflow_open(&o, &rt, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    host = luaL_newstate();
    luaL_openlibs(host);
    add_module(NULL, host, NULL);
    return rt;
}

static void drop_runtime(luaflow *rt)
{
    char line[96];
    luaflow_close(rt);
    snprintf(line, sizeof line, "rm -rf '%s'", base);
    CHECK_INT(system(line), 0);
}

/* Takes the table that `source` returns out of the host's state, which it then closes. */
static luaflow_flow *flow_of(const char *source)
{
    luaflow_flow *f = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_flow_options o = LUAFLOW_FLOW_OPTIONS_INIT;
    o.on_state = add_module;
    if (luaL_dostring(host, source) != 0)
        fail_msg("%s", lua_tostring(host, -1));
    if (luaflow_flow_load_lua(host, -1, "Shipped", &o, &f, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    CHECK_INT(lua_gettop(host), 1);
    lua_close(host);
    return f;
}

static void note_failure(void *payload, const luaflow_event *e)
{
    (void)payload;
    if (e->type == LUAFLOW_TASK_FAILED)
        print_error("%s: %s\n%s\n", e->path, e->message, e->traceback);
}

/* Runs the flow with so many workers. Gives a state with the artifact `x` of its last task. */
static lua_State *left_by(luaflow *rt, luaflow_flow *f, uint32_t workers)
{
    lua_State *L = luaL_newstate();
    luaflow_run *r;
    luaflow_run_options o = LUAFLOW_RUN_OPTIONS_INIT;
    luaL_openlibs(L);
    o.max_workers = workers;
    o.on_event = note_failure;
    CHECK_INT(luaflow_start(rt, f, &o, &r, NULL), LUAFLOW_OK);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_run_status(r), LUAFLOW_DONE);
    CHECK_INT(luaflow_run_artifact_push(r, "x", L, NULL), LUAFLOW_OK);
    luaflow_run_close(r);
    return L;
}

static void check_number(luaflow *rt, luaflow_flow *f, uint32_t workers, double number)
{
    lua_State *L = left_by(rt, f, workers);
    CHECK(lua_tonumber(L, -1) == number);
    lua_close(L);
}

/* ---- what runs ---- */

TEST(a_table_runs_on_workers_when_the_hosts_state_is_long_gone)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(
        "local count, list, ffi = 0, { 1, { 2 } }, require('ffi')\n"
        "local array = ffi.new('double[2]', 3, 4)\n"
        "local function up(n) count = count + n; list[2][1] = list[2][1] + 1; array[1] = array[1] + 1 end\n"
        "return { steps = {\n"
        "  start = { next = 'a', foreach = 'items', function(self) self.items = 50 end },\n"
        "  a = { next = 'finish', function(self)\n"
        "    up(self.input)\n"
        "    self.seen = count + list[2][1] * 1000 + array[1] * 1e6\n"
        "  end },\n"
        "  finish = function(self, inputs)\n"
        "    self.x = 0\n"
        "    for i, seen in ipairs(inputs:collect('seen')) do self.x = self.x + seen - i end\n"
        "  end } }");
    check_number(rt, f, 1, 50 * 5003000);
    check_number(rt, f, 4, 50 * 5003000);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(an_isolated_step_gets_what_it_needs_through_its_socket)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(
        "local text, count = ('x'):rep(1000000), 0\n"
        "local function up() count = count + 1 return count end\n"
        "return { steps = {\n"
        "  start = { next = 'finish', isolate = true, function(self) self.first = up() + up() end },\n"
        "  finish = { timeout = 60, function(self) self.x = self.first + up() + #text end } } }");
    check_number(rt, f, 0, 1000004);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(a_compiled_loop_finds_the_upvalues_of_its_own_task)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(
        "local base, weights = 0, { 1, 2, 3 }\n"
        "local function sum(n)\n"
        "  local total = 0\n"
        "  for i = 1, n do base = base + 1 total = total + base * weights[i % 3 + 1] end\n"
        "  weights[1] = weights[1] + n\n"
        "  return total\n"
        "end\n"
        "return { steps = {\n"
        "  start = { next = 'a', foreach = 'items', function(self) self.items = 200 end },\n"
        "  a = { next = 'finish', function(self) self.y = sum(300) end },\n"
        "  finish = function(self, inputs)\n"
        "    self.x = 0\n"
        "    for _, y in ipairs(inputs:collect('y')) do self.x = self.x + (y == inputs[1].y and 1 or 0) end\n"
        "  end } }");
    check_number(rt, f, 2, 200);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(a_module_of_the_hosts_is_missed_by_those_isolated_steps_alone_that_use_it)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(
        "local add = require('host_module').add\n"
        "return { steps = {\n"
        "  start = { next = 'alone', function(self) self.sum = add(1, 2) end },\n"
        "  alone = { next = 'finish', isolate = true, function(self) self.sum = self.sum + 1 end },\n"
        "  finish = { isolate = true, catch = 'x', function(self) self.sum = add(1, 2) end } } }");
    lua_State *L = left_by(rt, f, 0);
    lua_getfield(L, -1, "message");
    const char *said = "upvalue 'add' of step 'finish' goes to workers by its name, but module 'host_module' is "
                       "not found there: module 'host_module' not found:";
    CHECK(strncmp(lua_tostring(L, -1), said, strlen(said)) == 0);
    lua_close(L);
    luaflow_flow_close(f);
    drop_runtime(rt);
}
