/* module.c -- the Lua face of luaflow.h: require "luaflow.core". No behaviour of
 * its own, and nothing of the house but the public header. Lives on the thread of
 * the state that calls it.
 *
 * Handles are userdata that are made first and filled then. What a C function gives
 * us to free waits in a scratch userdata while Lua, which may jump, copies it.
 *
 * A run's handle is a block of its own, listed in its runtime: its userdata may be
 * collected while events are delivered, when it must not be closed yet. */
#include <luaflow.h>

#include <lauxlib.h>
#include <lua.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLOW_TYPE "luaflow.flow"
#define RUNTIME_TYPE "luaflow.runtime"
#define RUN_TYPE "luaflow.run"
#define SCRATCH_TYPE "luaflow.scratch"
#define RUNS_TABLE "luaflow.runs" /* registry: weak, from a run's block to its userdata */

enum { LIST_MAX = 1 << 20 };

typedef struct runtime runtime;

/* One open run. */
typedef struct run {
    luaflow_run *handle;
    runtime *rt;
    bool orphan; /* its userdata is gone; closed once nothing is delivered */
    struct run *next, *prev;
} run;

struct runtime {
    luaflow *handle; /* NULL once closed */
    run *runs;
    lua_State *delivering; /* the state inside luaflow_poll or luaflow_wait, or NULL */
    bool raised;           /* a callback's error lies on top of its stack */
};

/* ---- what C gave us, until Lua has copied it ------------------------- */

typedef struct scratch {
    luaflow_error err;
    void *memory; /* for luaflow_free */
} scratch;

static void scratch_clear(scratch *s)
{
    luaflow_error_clear(&s->err);
    luaflow_free(s->memory);
    s->memory = NULL;
}

static int scratch_gc(lua_State *L)
{
    scratch_clear(lua_touserdata(L, 1));
    return 0;
}

/* [-0, +1, raises] */
static scratch *scratch_new(lua_State *L)
{
    scratch *s = lua_newuserdata(L, sizeof *s);
    *s = (scratch){LUAFLOW_ERROR_INIT, NULL};
    luaL_getmetatable(L, SCRATCH_TYPE);
    lua_setmetatable(L, -2);
    return s;
}

static const char *code_name(int code)
{
    switch (code) {
    case LUAFLOW_ENOMEM: return "memory";
    case LUAFLOW_EUSAGE: return "usage";
    case LUAFLOW_EFLOW: return "flow";
    case LUAFLOW_ESTORE: return "store";
    case LUAFLOW_ENOTFOUND: return "notfound";
    case LUAFLOW_ESTEP: return "step";
    default: return "value";
    }
}

/* Returns nil, message, code from a function.  [-0, +3, raises] */
static int fail(lua_State *L, scratch *s)
{
    lua_pushnil(L);
    lua_pushstring(L, luaflow_error_text(&s->err));
    lua_pushstring(L, code_name(s->err.code));
    scratch_clear(s);
    return 3;
}

/* ---- reading tables of options --------------------------------------- */

/* All [-0, +0, raises]. What they return is anchored in the table at `index`. */

static const char *string_field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "option '%s' must be a string", name);
    const char *s = lua_tostring(L, -1);
    lua_pop(L, 1);
    return s;
}

static bool boolean_field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    bool b = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return b;
}

static uint32_t count_field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "option '%s' must be a number", name);
    lua_Number n = lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (!(n >= 0 && n <= UINT32_MAX))
        luaL_error(L, "option '%s' must be from 0 to 4294967295", name);
    return (uint32_t)n;
}

/* A number of a run or a task.  [-0, +0, raises] */
static uint64_t check_number(lua_State *L, int arg)
{
    lua_Number n = luaL_checknumber(L, arg);
    luaL_argcheck(L, n >= 0 && n <= 9007199254740992.0, arg, "not a number of a run or task");
    return (uint64_t)n;
}

static uint64_t optional_number(lua_State *L, int arg)
{
    return lua_isnoneornil(L, arg) ? 0 : check_number(L, arg);
}

/* Pushes a block for `n` items, which Lua frees.  [-0, +1, raises] */
static void *push_block(lua_State *L, size_t n, size_t item)
{
    return memset(lua_newuserdata(L, n * item + 1), 0, n * item + 1);
}

/* The strings of the list at `index`, which anchors them. Pushes the block they are
 * listed in.  [-0, +1, raises] */
static const char *const *push_strings(lua_State *L, int index, size_t *n)
{
    *n = lua_istable(L, index) ? lua_objlen(L, index) : 0;
    const char **list = push_block(L, *n, sizeof *list);
    for (size_t i = 0; i < *n; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "a list of tags must hold strings");
        list[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    return list;
}

static size_t count_pairs(lua_State *L, int index)
{
    size_t n = 0;
    if (!lua_istable(L, index))
        return 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        n++;
    return n;
}

static const char *check_name(lua_State *L)
{
    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "the name of a parameter must be a string");
    return lua_tostring(L, -2);
}

/* Makes parameters of { name = text } at `texts` and { name = value } at `values`,
 * either of which may be nil. The block and the encoded values are pushed; false with
 * `s` filled when a value cannot be encoded.  [-0, +2, raises] */
static bool push_params(lua_State *L, int texts, int values, scratch *s, const luaflow_param **out,
                        size_t *n)
{
    size_t most = count_pairs(L, texts) + count_pairs(L, values);
    luaflow_param *params = push_block(L, most, sizeof *params);
    lua_newtable(L);                                            /* block, anchor */
    int anchor = lua_gettop(L);
    *n = 0;
    *out = params;
    if (lua_istable(L, texts))
        for (lua_pushnil(L); lua_next(L, texts); lua_pop(L, 1)) { /* …, name, text */
            const char *name = check_name(L);
            if (lua_type(L, -1) != LUA_TSTRING)
                luaL_error(L, "the text of parameter '%s' must be a string", name);
            params[(*n)++] = (luaflow_param){.name = name, .text = lua_tostring(L, -1)};
        }
    if (!lua_istable(L, values))
        return true;
    for (lua_pushnil(L); lua_next(L, values); lua_pop(L, 1)) {  /* …, name, value */
        const char *name = check_name(L);
        size_t size;
        if (luaflow_value_encode(L, -1, name, &s->memory, &size, &s->err) != LUAFLOW_OK) {
            lua_settop(L, anchor);
            return false;
        }
        lua_pushlstring(L, s->memory, size);                    /* …, name, value, bytes */
        scratch_clear(s);
        const char *bytes = lua_tostring(L, -1);
        params[*n] = (luaflow_param){.name = name, .value = bytes, .value_size = size};
        lua_rawseti(L, anchor, (int)++*n);
    }
    return true;
}

/* ---- writing tables of results --------------------------------------- */

/* All [-0, +0, raises]: they set a field of the table on top. */

static void set_string(lua_State *L, const char *field, const char *value)
{
    if (value == NULL)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, field);
}

static void set_bytes(lua_State *L, const char *field, const char *bytes, size_t size)
{
    lua_pushlstring(L, bytes == NULL ? "" : bytes, size);
    lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, field);
}

/* The same, leaving it nil for what 0 stands for. */
static void set_known(lua_State *L, const char *field, double value)
{
    if (value != 0)
        set_number(L, field, value);
}

static void set_boolean(lua_State *L, const char *field, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, field);
}

static void set_stream(lua_State *L, int stream)
{
    set_string(L, "stream", stream == 2 ? "stderr" : "stdout");
}

static void set_counts(lua_State *L, const luaflow_counts *counts)
{
    set_number(L, "started", (double)counts->started);
    set_number(L, "done", (double)counts->done);
    set_number(L, "failed", (double)counts->failed);
    set_number(L, "reused", (double)counts->reused);
}

static const char *status_name(int status)
{
    static const char *const names[] = {"running", "done", "failed", "interrupted"};
    return names[status];
}

/* [-0, +1, raises] */
static void push_numbers(lua_State *L, const uint64_t *numbers, size_t n)
{
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushnumber(L, (double)numbers[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* Pushes the value that bytes in `s` stand for, and frees them: its value, or nil,
 * message, code.  [-0, +1 or +3, raises] */
static int push_value(lua_State *L, scratch *s, size_t size)
{
    if (luaflow_value_push(L, s->memory, size, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    scratch_clear(s);
    return 1;
}

/* ---- flows ----------------------------------------------------------- */

static luaflow_flow *check_flow(lua_State *L, int arg)
{
    luaflow_flow **slot = luaL_checkudata(L, arg, FLOW_TYPE);
    luaL_argcheck(L, *slot != NULL, arg, "this flow is closed");
    return *slot;
}

static int flow_close(lua_State *L)
{
    luaflow_flow **slot = luaL_checkudata(L, 1, FLOW_TYPE);
    luaflow_flow *flow = *slot;
    *slot = NULL;
    luaflow_flow_close(flow); /* runs of it keep what they need */
    return 0;
}

/* core.load(path, { { name =, value = }, … } or nil) */
static int core_load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t n = lua_istable(L, 2) ? lua_objlen(L, 2) : 0;
    lua_settop(L, 2);
    luaflow_attribute *with = push_block(L, n, sizeof *with);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (int)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        with[i].name = string_field(L, -1, "name");
        with[i].value = string_field(L, -1, "value");
        if (with[i].name == NULL || with[i].value == NULL)
            return luaL_error(L, "an attribute needs a name and a value");
        lua_pop(L, 1);
    }
    scratch *s = scratch_new(L);
    luaflow_flow **slot = lua_newuserdata(L, sizeof(luaflow_flow *));
    *slot = NULL;
    luaL_getmetatable(L, FLOW_TYPE);
    lua_setmetatable(L, -2);
    if (luaflow_flow_load_with(path, with, n, slot, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    return 1;
}

static int flow_describe(lua_State *L)
{
    luaflow_flow *flow = check_flow(L, 1);
    scratch *s = scratch_new(L);
    size_t size;
    const void *bytes = luaflow_flow_describe(flow, &size);
    if (luaflow_value_push(L, bytes, size, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    return 1;
}

/* flow:params({ name = text }, { name = value }) */
static int flow_params(lua_State *L)
{
    luaflow_flow *flow = check_flow(L, 1);
    lua_settop(L, 3);
    scratch *s = scratch_new(L);
    const luaflow_param *params;
    size_t n, size;
    if (!push_params(L, 2, 3, s, &params, &n))
        return fail(L, s);
    if (luaflow_flow_params(flow, params, n, &s->memory, &size, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    return push_value(L, s, size);
}

/* ---- a runtime and its runs ------------------------------------------ */

static runtime *check_runtime(lua_State *L, int arg)
{
    runtime *rt = luaL_checkudata(L, arg, RUNTIME_TYPE);
    luaL_argcheck(L, rt->handle != NULL, arg, "this store is closed");
    return rt;
}

static run *check_run(lua_State *L, int arg)
{
    run **slot = luaL_checkudata(L, arg, RUN_TYPE);
    luaL_argcheck(L, *slot != NULL && (*slot)->handle != NULL, arg, "this run is closed");
    return *slot;
}

static void refuse_inside_callback(lua_State *L, const runtime *rt, const char *what)
{
    if (rt->delivering != NULL)
        luaL_error(L, "%s cannot be called from on_event", what);
}

/* Closes a run and takes it from its runtime's list; its block stays. */
static void close_run(run *r)
{
    if (r->rt == NULL)
        return;
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        r->rt->runs = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    luaflow_run_close(r->handle);
    r->handle = NULL;
    r->rt = NULL;
}

static void close_runtime(runtime *rt)
{
    while (rt->runs != NULL) {
        run *r = rt->runs;
        bool orphan = r->orphan;
        close_run(r);
        if (orphan)
            free(r);
    }
    luaflow *handle = rt->handle;
    rt->handle = NULL;
    luaflow_close(handle);
}

static int runtime_close(lua_State *L)
{
    runtime *rt = luaL_checkudata(L, 1, RUNTIME_TYPE);
    refuse_inside_callback(L, rt, "close");
    close_runtime(rt);
    return 0;
}

static int runtime_gc(lua_State *L)
{
    close_runtime(lua_touserdata(L, 1));
    return 0;
}

/* core.open { store =, create = } */
static int core_open(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    options.store = string_field(L, 1, "store");
    options.create = boolean_field(L, 1, "create");
    scratch *s = scratch_new(L);
    runtime *rt = lua_newuserdata(L, sizeof *rt);
    *rt = (runtime){0};
    luaL_getmetatable(L, RUNTIME_TYPE);
    lua_setmetatable(L, -2);
    lua_newtable(L); /* the runs it keeps alive */
    lua_setfenv(L, -2);
    if (luaflow_open(&options, &rt->handle, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    return 1;
}

/* Closes the run whose userdata is at `index`, and lets go of it.  [-0, +0, raises] */
static void end_run(lua_State *L, int index)
{
    run **slot = lua_touserdata(L, index);
    run *r = *slot;
    lua_getfenv(L, index);
    lua_getfield(L, -1, "runtime");
    lua_getfenv(L, -1);
    lua_pushlightuserdata(L, r);
    lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 3);
    *slot = NULL;
    close_run(r);
    free(r);
}

static int run_close(lua_State *L)
{
    run **slot = luaL_checkudata(L, 1, RUN_TYPE);
    if (*slot == NULL)
        return 0;
    if ((*slot)->rt != NULL)
        refuse_inside_callback(L, (*slot)->rt, "close");
    end_run(L, 1);
    return 0;
}

static int run_gc(lua_State *L)
{
    run **slot = lua_touserdata(L, 1);
    run *r = *slot;
    *slot = NULL;
    if (r == NULL)
        return 0;
    if (r->rt != NULL && r->rt->delivering != NULL) {
        r->orphan = true;
        return 0;
    }
    close_run(r);
    free(r);
    return 0;
}

/* ---- events ---------------------------------------------------------- */

static const char *const event_names[] = {
    [LUAFLOW_RUN_STARTED] = "run_started",     [LUAFLOW_TASK_STARTED] = "task_started",
    [LUAFLOW_LINE] = "line",                   [LUAFLOW_TASK_FINISHED] = "task_finished",
    [LUAFLOW_TASK_FAILED] = "task_failed",     [LUAFLOW_TASK_RETRYING] = "task_retrying",
    [LUAFLOW_TASK_REUSED] = "task_reused",     [LUAFLOW_PROGRESS] = "progress",
    [LUAFLOW_RUN_FINISHED] = "run_finished",
};

/* [-0, +1, raises] */
static void push_event(lua_State *L, const luaflow_event *e)
{
    lua_createtable(L, 0, 12);
    set_string(L, "event", event_names[e->type]);
    set_number(L, "run", (double)e->run);
    set_number(L, "time", e->time);
    set_string(L, "step", e->step);
    set_string(L, "path", e->path);
    set_string(L, "message", e->message);
    set_string(L, "traceback", e->traceback);
    set_known(L, "worker", e->worker);
    set_known(L, "pid", e->pid);
    if (e->task != 0) {
        set_number(L, "task", (double)e->task);
        set_number(L, "attempt", e->attempt);
    }
    if (e->type == LUAFLOW_LINE) {
        set_stream(L, e->stream);
        set_bytes(L, "text", e->text, e->text_size);
    }
    if (e->type == LUAFLOW_TASK_RETRYING)
        set_number(L, "delay", e->delay);
    if (e->type == LUAFLOW_RUN_FINISHED)
        set_string(L, "status", status_name(e->status));
    if (e->type == LUAFLOW_RUN_FINISHED || e->type == LUAFLOW_PROGRESS) {
        lua_createtable(L, 0, 4);
        set_counts(L, &e->counts);
        lua_setfield(L, -2, "counts");
    }
}

typedef struct delivery {
    run *run;
    const luaflow_event *event;
} delivery;

/* Calls the on_event of the event's run.  [-1, +0, raises] */
static int deliver_protected(lua_State *L)
{
    delivery *d = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, RUNS_TABLE);
    lua_pushlightuserdata(L, d->run);
    lua_rawget(L, -2);                 /* runs, userdata or nil */
    if (lua_isnil(L, -1))
        return 0;
    lua_getfenv(L, -1);                /* runs, userdata, env */
    lua_getfield(L, -1, "on_event");
    if (lua_isnil(L, -1))
        return 0;
    push_event(L, d->event);
    lua_call(L, 1, 0);
    return 0;
}

/* Inside luaflow_poll or luaflow_wait: an error is kept, never raised from here. */
static void deliver(void *payload, const luaflow_event *event)
{
    run *r = payload;
    runtime *rt = r->rt;
    lua_State *L = rt->delivering;
    delivery d = {r, event};
    if (r->orphan || L == NULL || lua_cpcall(L, deliver_protected, &d) == 0)
        return;
    if (rt->raised)
        lua_pop(L, 1); /* the first error is the one to tell */
    rt->raised = true;
}

/* Lets go of runs that have ended and closes those nobody holds; then raises what a
 * callback raised. `rt_index` is the runtime's userdata.  [-0, +0, raises] */
static void end_delivery(lua_State *L, runtime *rt, int rt_index)
{
    rt->delivering = NULL;
    for (run *r = rt->runs, *next; r != NULL; r = next) {
        next = r->next;
        if (!r->orphan)
            continue;
        close_run(r);
        free(r);
    }
    if (rt->raised) {
        rt->raised = false;
        lua_error(L);
    }
    lua_getfenv(L, rt_index);
    for (run *r = rt->runs; r != NULL; r = r->next) {
        if (luaflow_run_status(r->handle) == LUAFLOW_RUNNING)
            continue;
        lua_pushlightuserdata(L, r);
        lua_pushnil(L);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

static void begin_delivery(lua_State *L, runtime *rt, const char *what)
{
    refuse_inside_callback(L, rt, what);
    luaL_checkstack(L, 8, "events");
    rt->delivering = L;
}

static int runtime_poll(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    double seconds = luaL_optnumber(L, 2, 0);
    begin_delivery(L, rt, "poll");
    int n = luaflow_poll(rt->handle, seconds);
    end_delivery(L, rt, 1);
    lua_pushinteger(L, n);
    return 1;
}

static int run_wait(lua_State *L)
{
    run *r = check_run(L, 1);
    double seconds = luaL_optnumber(L, 2, -1);
    lua_settop(L, 1);
    lua_getfenv(L, 1);
    lua_getfield(L, -1, "runtime"); /* run, env, runtime */
    runtime *rt = r->rt;
    begin_delivery(L, rt, "wait");
    int ended = luaflow_wait(r->handle, seconds);
    end_delivery(L, rt, 3);
    lua_pushboolean(L, ended);
    return 1;
}

/* ---- starting and following a run ------------------------------------ */

/* Reads the seed, a number or decimal digits.  [-0, +0, raises] */
static void read_seed(lua_State *L, int index, luaflow_run_options *options)
{
    lua_getfield(L, index, "seed");
    if (!lua_isnil(L, -1)) {
        char *end = NULL;
        const char *text = lua_tostring(L, -1);
        errno = 0;
        if (text != NULL && text[0] >= '0' && text[0] <= '9')
            options->seed = strtoull(text, &end, 10);
        if (end == NULL || *end != '\0' || errno != 0)
            luaL_error(L, "option 'seed' must be a whole number from 0 to 18446744073709551615");
        options->has_seed = true;
    }
    lua_pop(L, 1);
}

/* Pushes the userdata of a new run of the runtime at 1 and the flow at 2, with the
 * options at 3; nothing is started.  [-0, +1, raises] */
static run *push_run(lua_State *L, runtime *rt)
{
    run **slot = lua_newuserdata(L, sizeof(run *));
    *slot = NULL;
    luaL_getmetatable(L, RUN_TYPE);
    lua_setmetatable(L, -2);
    lua_createtable(L, 0, 3); /* what it keeps alive, and whom it tells */
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "runtime");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "flow");
    lua_getfield(L, 3, "on_event");
    if (!lua_isnil(L, -1))
        luaL_checktype(L, -1, LUA_TFUNCTION);
    lua_setfield(L, -2, "on_event");
    lua_setfenv(L, -2);
    run *r = calloc(1, sizeof *r);
    if (r == NULL)
        luaL_error(L, "not enough memory");
    *slot = r;
    lua_getfield(L, LUA_REGISTRYINDEX, RUNS_TABLE); /* userdata, runs */
    lua_pushlightuserdata(L, r);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_getfenv(L, 1);                              /* userdata, runs, env of rt */
    lua_pushlightuserdata(L, r);
    lua_pushvalue(L, -4);
    lua_rawset(L, -3);
    lua_pop(L, 2);
    r->rt = rt;
    r->next = rt->runs;
    if (r->next != NULL)
        r->next->prev = r;
    rt->runs = r;
    return r;
}

/* rt:start(flow, { texts =, values =, tags =, seed =, max_workers =, max_num_splits =,
 * progress_after =, keep_going =, run_id_file =, on_event = }) */
static int runtime_start(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    luaflow_flow *flow = check_flow(L, 2);
    if (lua_isnoneornil(L, 3)) {
        lua_settop(L, 2);
        lua_newtable(L);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    luaflow_run_options options = LUAFLOW_RUN_OPTIONS_INIT;
    read_seed(L, 3, &options);
    options.max_workers = count_field(L, 3, "max_workers");
    options.max_num_splits = count_field(L, 3, "max_num_splits");
    options.progress_after = count_field(L, 3, "progress_after");
    options.keep_going = boolean_field(L, 3, "keep_going");
    options.run_id_file = string_field(L, 3, "run_id_file");
    lua_getfield(L, 3, "texts");  /* 4 */
    lua_getfield(L, 3, "values"); /* 5 */
    lua_getfield(L, 3, "tags");   /* 6 */
    options.tags = push_strings(L, 6, &options.n_tags);
    scratch *s = scratch_new(L);
    if (!push_params(L, 4, 5, s, &options.params, &options.n_params))
        return fail(L, s);
    run *r = push_run(L, rt);
    options.on_event = deliver;
    options.payload = r;
    if (luaflow_start(rt->handle, flow, &options, &r->handle, &s->err) == LUAFLOW_OK)
        return 1;
    end_run(L, lua_gettop(L));
    return fail(L, s);
}

static int runtime_fd(lua_State *L)
{
    lua_pushinteger(L, luaflow_fd(check_runtime(L, 1)->handle));
    return 1;
}

static int run_cancel(lua_State *L)
{
    luaflow_cancel(check_run(L, 1)->handle);
    return 0;
}

static int run_id(lua_State *L)
{
    lua_pushnumber(L, (double)luaflow_run_id(check_run(L, 1)->handle));
    return 1;
}

static int run_status(lua_State *L)
{
    lua_pushstring(L, status_name(luaflow_run_status(check_run(L, 1)->handle)));
    return 1;
}

/* run:problem() -> message, code or nil */
static int run_problem(lua_State *L)
{
    int code;
    const char *message = luaflow_run_problem(check_run(L, 1)->handle, &code);
    if (message == NULL)
        return 0;
    lua_pushstring(L, message);
    lua_pushstring(L, code_name(code));
    return 2;
}

/* ---- reading the store ----------------------------------------------- */

/* [-0, +1, raises] */
static void push_run_info(lua_State *L, const luaflow_run_info *info)
{
    lua_createtable(L, 0, 12);
    set_number(L, "id", (double)info->id);
    set_string(L, "flow", info->flow);
    set_string(L, "status", status_name(info->status));
    set_number(L, "created_at", info->created_at);
    set_known(L, "finished_at", info->finished_at);
    set_known(L, "origin_run_id", (double)info->origin);
    set_string(L, "problem", info->problem);
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, info->seed);
    set_string(L, "seed", seed);
    lua_createtable(L, (int)info->n_tags, 0);
    for (size_t i = 0; i < info->n_tags; i++) {
        lua_pushstring(L, info->tags[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "tags");
    lua_createtable(L, 0, 4);
    set_counts(L, &info->counts);
    lua_setfield(L, -2, "tasks");
    lua_createtable(L, (int)info->n_steps, 0);
    for (size_t i = 0; i < info->n_steps; i++) {
        lua_createtable(L, 0, 5);
        set_string(L, "name", info->steps[i].name);
        set_counts(L, &info->steps[i].counts);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "steps");
}

/* rt:run(id) */
static int runtime_run(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    uint64_t id = check_number(L, 2);
    scratch *s = scratch_new(L);
    luaflow_run_info *info;
    if (luaflow_run_read(rt->handle, id, &info, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    s->memory = info;
    push_run_info(L, info);
    scratch_clear(s);
    return 1;
}

/* How many numbers a list may give at once: argument `arg`.  [-0, +0, raises] */
static size_t check_max(lua_State *L, int arg)
{
    lua_Number n = luaL_checknumber(L, arg);
    luaL_argcheck(L, n >= 1 && n <= LIST_MAX, arg, "must be from 1 to 1048576");
    return (size_t)n;
}

/* rt:runs(flow or nil, tag or nil, before or nil, max) -> numbers, newest first */
static int runtime_runs(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    const char *flow = luaL_optstring(L, 2, NULL);
    const char *tag = luaL_optstring(L, 3, NULL);
    uint64_t before = optional_number(L, 4);
    size_t max = check_max(L, 5), n;
    scratch *s = scratch_new(L);
    uint64_t *ids = push_block(L, max, sizeof *ids);
    if (luaflow_runs_list(rt->handle, flow, tag, before, ids, max, &n, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    push_numbers(L, ids, n);
    return 1;
}

/* rt:part(id, "source" | "description" | "params") -> text or table */
static int runtime_part(lua_State *L)
{
    static const char *const parts[] = {"source", "description", "params", NULL};
    runtime *rt = check_runtime(L, 1);
    uint64_t id = check_number(L, 2);
    int part = luaL_checkoption(L, 3, NULL, parts);
    scratch *s = scratch_new(L);
    size_t size;
    if (luaflow_run_part_read(rt->handle, id, part, &s->memory, &size, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    if (part != LUAFLOW_PART_SOURCE)
        return push_value(L, s, size);
    lua_pushlstring(L, s->memory, size);
    scratch_clear(s);
    return 1;
}

/* rt:tag(id, tags to add, tags to remove) -> true */
static int runtime_tag(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    uint64_t id = check_number(L, 2);
    lua_settop(L, 4);
    scratch *s = scratch_new(L);
    size_t n_add, n_remove;
    const char *const *add = push_strings(L, 3, &n_add);
    const char *const *removed = push_strings(L, 4, &n_remove);
    if (luaflow_run_tag(rt->handle, id, add, n_add, removed, n_remove, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    lua_pushboolean(L, true);
    return 1;
}

/* rt:tasks(run, step or nil, failed_only, after, max) -> numbers, ascending */
static int runtime_tasks(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    uint64_t id = check_number(L, 2);
    const char *step = luaL_optstring(L, 3, NULL);
    bool failed = lua_toboolean(L, 4);
    uint64_t after = optional_number(L, 5);
    size_t max = check_max(L, 6), n;
    scratch *s = scratch_new(L);
    uint64_t *numbers = push_block(L, max, sizeof *numbers);
    int rc = luaflow_tasks_list(rt->handle, id, step, failed, after, numbers, max, &n, &s->err);
    if (rc != LUAFLOW_OK)
        return fail(L, s);
    push_numbers(L, numbers, n);
    return 1;
}

/* [-0, +1, raises] */
static void push_task_info(lua_State *L, const luaflow_task_info *info)
{
    lua_createtable(L, 0, 16);
    set_number(L, "run", (double)info->run);
    set_number(L, "task", (double)info->task);
    set_string(L, "step", info->step);
    set_string(L, "path", info->path);
    set_boolean(L, "failed", info->failed);
    set_number(L, "attempt", info->attempt);
    set_known(L, "worker", info->worker);
    set_number(L, "started_at", info->started_at);
    set_number(L, "finished_at", info->finished_at);
    set_string(L, "message", info->message);
    set_string(L, "traceback", info->traceback);
    set_known(L, "origin_run", (double)info->origin_run);
    set_known(L, "origin_task", (double)info->origin_task);
    push_numbers(L, info->parents, info->n_parents);
    lua_setfield(L, -2, "parents");
    lua_createtable(L, (int)info->n_artifacts, 0);
    for (size_t i = 0; i < info->n_artifacts; i++) {
        const luaflow_artifact_info *artifact = &info->artifacts[i];
        lua_createtable(L, 0, 3);
        set_string(L, "name", artifact->name);
        set_number(L, "size", (double)artifact->size);
        set_boolean(L, "inherited", artifact->inherited);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "artifacts");
}

/* rt:task(run, number) */
static int runtime_task(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    uint64_t id = check_number(L, 2), task = check_number(L, 3);
    scratch *s = scratch_new(L);
    luaflow_task_info *info;
    if (luaflow_task_read(rt->handle, id, task, &info, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    s->memory = info;
    push_task_info(L, info);
    scratch_clear(s);
    return 1;
}

/* The canonical bytes of rt:…(run, task, name) in `*out`; whether they could be read.
 * [-0, +1, raises] */
static bool read_artifact(lua_State *L, scratch **out, size_t *size)
{
    runtime *rt = check_runtime(L, 1);
    uint64_t id = check_number(L, 2), task = check_number(L, 3);
    const char *name = luaL_checkstring(L, 4);
    scratch *s = *out = scratch_new(L);
    return luaflow_artifact_read(rt->handle, id, task, name, &s->memory, size, &s->err) == LUAFLOW_OK;
}

/* rt:artifact(run, task, name) -> true, value */
static int runtime_artifact(lua_State *L)
{
    scratch *s;
    size_t size;
    if (!read_artifact(L, &s, &size))
        return fail(L, s);
    lua_pushboolean(L, true);
    int pushed = push_value(L, s, size);
    return pushed == 1 ? 2 : pushed;
}

/* rt:bytes(run, task, name) -> canonical bytes */
static int runtime_bytes(lua_State *L)
{
    scratch *s;
    size_t size;
    if (!read_artifact(L, &s, &size))
        return fail(L, s);
    lua_pushlstring(L, s->memory, size);
    scratch_clear(s);
    return 1;
}

/* rt:log(run, task) -> { { task =, attempt =, time =, stream =, text = }, … } */
static int runtime_log(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    uint64_t id = check_number(L, 2), task = check_number(L, 3);
    scratch *s = scratch_new(L);
    luaflow_log *log;
    if (luaflow_log_read(rt->handle, id, task, &log, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    s->memory = log;
    lua_createtable(L, (int)log->n_entries, 0);
    for (size_t i = 0; i < log->n_entries; i++) {
        const luaflow_log_entry *entry = &log->entries[i];
        lua_createtable(L, 0, 5);
        set_number(L, "task", (double)entry->task);
        set_number(L, "attempt", entry->attempt);
        set_number(L, "time", entry->time);
        set_stream(L, entry->stream);
        set_bytes(L, "text", entry->text, entry->text_size);
        lua_rawseti(L, -2, (int)i + 1);
    }
    scratch_clear(s);
    return 1;
}

/* rt:logs(run, after, max) -> numbers, the place of each one's step in the run's steps */
static int runtime_logs(lua_State *L)
{
    runtime *rt = check_runtime(L, 1);
    uint64_t id = check_number(L, 2), after = optional_number(L, 3);
    size_t max = check_max(L, 4), n;
    scratch *s = scratch_new(L);
    uint64_t *numbers = push_block(L, max, sizeof *numbers);
    uint32_t *steps = push_block(L, max, sizeof *steps);
    if (luaflow_logs_list(rt->handle, id, after, numbers, steps, max, &n, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    push_numbers(L, numbers, n);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushnumber(L, (double)steps[i] + 1);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 2;
}

/* ---- values ---------------------------------------------------------- */

/* core.encode(value, name) -> bytes */
static int core_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    const char *name = luaL_optstring(L, 2, "value");
    scratch *s = scratch_new(L);
    size_t size;
    if (luaflow_value_encode(L, 1, name, &s->memory, &size, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    lua_pushlstring(L, s->memory, size);
    scratch_clear(s);
    return 1;
}

static int decode(lua_State *L, int (*push)(lua_State *, const void *, size_t, luaflow_error *))
{
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    scratch *s = scratch_new(L);
    lua_pushboolean(L, true);
    if (push(L, bytes, size, &s->err) != LUAFLOW_OK)
        return fail(L, s);
    return 2;
}

/* core.decode(bytes) -> true, value */
static int core_decode(lua_State *L) { return decode(L, luaflow_value_push); }

/* The same; instances of registered classes come as tables whose metatable is
 * { __luaflow_class = name }. */
static int core_decode_marked(lua_State *L) { return decode(L, luaflow_value_push_marked); }

static int core_versions(lua_State *L)
{
    scratch *s = scratch_new(L);
    s->memory = luaflow_versions();
    if (s->memory == NULL)
        return luaL_error(L, "not enough memory");
    lua_pushstring(L, s->memory);
    scratch_clear(s);
    return 1;
}

/* ---- the module ------------------------------------------------------ */

static const luaL_Reg core_functions[] = {
    {"load", core_load},     {"open", core_open},
    {"encode", core_encode}, {"decode", core_decode}, {"decode_marked", core_decode_marked},
    {"versions", core_versions}, {NULL, NULL},
};

static const luaL_Reg flow_methods[] = {
    {"describe", flow_describe}, {"params", flow_params}, {"close", flow_close}, {NULL, NULL},
};

static const luaL_Reg runtime_methods[] = {
    {"start", runtime_start}, {"poll", runtime_poll},   {"fd", runtime_fd},
    {"run", runtime_run},     {"runs", runtime_runs},   {"part", runtime_part},
    {"tag", runtime_tag},     {"tasks", runtime_tasks}, {"task", runtime_task},
    {"artifact", runtime_artifact}, {"bytes", runtime_bytes},
    {"log", runtime_log},     {"logs", runtime_logs},   {"close", runtime_close},
    {NULL, NULL},
};

static const luaL_Reg run_methods[] = {
    {"wait", run_wait},     {"cancel", run_cancel},   {"id", run_id},
    {"status", run_status}, {"problem", run_problem}, {"close", run_close},
    {NULL, NULL},
};

/* Makes the metatable of a handle.  [-0, +0, raises] */
static void make_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    for (const luaL_Reg *method = methods; method->name != NULL; method++) {
        lua_pushcfunction(L, method->func);
        lua_setfield(L, -2, method->name);
    }
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, false); /* a __gc called by hand would see any value */
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

int luaopen_luaflow_core(lua_State *L)
{
    static const luaL_Reg nothing[] = {{NULL, NULL}};
    luaflow_furnish(L);
    make_type(L, SCRATCH_TYPE, nothing, scratch_gc);
    make_type(L, FLOW_TYPE, flow_methods, flow_close);
    make_type(L, RUNTIME_TYPE, runtime_methods, runtime_gc);
    make_type(L, RUN_TYPE, run_methods, run_gc);
    lua_newtable(L); /* runs by address, kept alive by others */
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, RUNS_TABLE);
    lua_newtable(L);
    for (const luaL_Reg *function = core_functions; function->name != NULL; function++) {
        lua_pushcfunction(L, function->func);
        lua_setfield(L, -2, function->name);
    }
    return 1;
}

int luaopen_luaflow(lua_State *L) { return luaopen_luaflow_core(L); }
