/* step.c -- runs one step in one Lua state. Here is the call of the step; step_natives.c has the
 * functions by which lua/luaflow/task.lua reads what the task may read, and step_gather.c
 * tells what it left. */
#include "step_inside.h"

#include <lauxlib.h>
#include <stdlib.h>

enum { CHECK_EVERY = 1000, TYPES_BOUND = 40000 };

/* Memory beyond this, in KB, and beyond twice what the state began with, is wear. */
enum { MEMORY_SLACK_KB = 256 * 1024 };

/* A heap this small may grow to four times its size before it is collected, not to twice. */
enum { SMALL_KB = 16 * 1024 };

/* What a task leaves behind beyond this is collected at once, lest the arrays of two tasks
 * stand in memory together. */
enum { GARBAGE_KB = 32 * 1024 };

/* ---- making a stepper ---- */

static int perform(lua_State *L);
static int collect_inside(lua_State *L);

static int furnish(lua_State *L)
{
    lf_stepper *s = lua_touserdata(L, 1);
    lf_state_natives(L);                                        /* natives */
    lf_step_natives(L, s);
    lua_getfield(L, 2, "bind");
    lua_pushvalue(L, -2);
    lua_call(L, 1, 2);                                          /* natives, originals, settled */
    s->settled = luaL_ref(L, LUA_REGISTRYINDEX);
    s->originals = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 2, "begin");
    s->begin = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 2, "find_step");
    s->find_step = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 2, "make_inputs");
    s->make_inputs = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 2, "reset");
    s->reset = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushboolean(L, false);
    s->name_kept = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, perform);
    s->perform = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, collect_inside);
    s->collect = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    s->randomseed = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    s->globals = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_setfield(L, -2, "__index");
    s->inherit = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void output(void *payload, int stream, const char *text, size_t size)
{
    lf_stepper *s = payload;
    if (s->world != NULL && !s->muted)
        s->world->ask->print(s->world, stream, text, size);
}

/* Asks task.lua whether the chunk at the top must run anew for every task.
 * [-0, +0, never raises] */
static int find_alone(lf_stepper *s, luaflow_error *err)
{
    lua_State *L = s->L;
    s->alone = LUA_NOREF;
    if (!lf_flow_is_plain(s->flow) || lf_flow_parcel(s->flow) != NULL)
        return LUAFLOW_OK; /* a parcel's chunk does no more for a task than must be done */
    int rc = lf_state_require(L, "luaflow.task", err);
    if (rc != LUAFLOW_OK)
        return rc;
    lua_getfield(L, -1, "steps_alone");
    lua_remove(L, -2);
    lua_pushvalue(L, -2);
    if ((rc = lf_state_try(L, 1, 1, LUAFLOW_ENOMEM, err)) != LUAFLOW_OK)
        return rc;
    if (lua_istable(L, -1))
        s->alone = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
    return LUAFLOW_OK;
}

static int prepare(lf_stepper *s, luaflow_error *err)
{
    lua_State *L = s->L;
    int rc = lf_state_require(L, "luaflow.task", err);          /* task */
    if (rc != LUAFLOW_OK)
        return rc;
    lua_pushcfunction(L, furnish);
    lua_pushlightuserdata(L, s);
    lua_pushvalue(L, -3);
    if ((rc = lf_state_try(L, 2, 0, LUAFLOW_ENOMEM, err)) != LUAFLOW_OK)
        return rc;
    if ((rc = lf_state_require(L, "luaflow.isolation", err)) != LUAFLOW_OK)
        return rc;
    lua_settop(L, 0);
    lf_state_output(L, output, s);
    return LUAFLOW_OK;
}

int lf_stepper_prepare(lf_stepper **out, luaflow_error *err)
{
    lf_stepper *s = calloc(1, sizeof *s);
    if (s == NULL)
        return lf_fail_memory(err);
    s->L = lf_state_new();
    int rc = s->L == NULL ? lf_fail_memory(err) : prepare(s, err);
    if (rc != LUAFLOW_OK) {
        lf_stepper_free(s);
        return rc;
    }
    *out = s;
    return LUAFLOW_OK;
}

int lf_stepper_enter(lf_stepper *s, lf_flow *flow, bool own_process, luaflow_error *err)
{
    lua_State *L = s->L;
    s->flow = lf_flow_ref(flow);
    int rc = lf_flow_enter(s->flow, L, err);                    /* chunk */
    if (rc == LUAFLOW_OK)
        rc = find_alone(s, err);
    if (rc != LUAFLOW_OK)
        return rc;
    s->chunk = luaL_ref(L, LUA_REGISTRYINDEX);
    if ((rc = lf_state_require(L, "luaflow.isolation", err)) != LUAFLOW_OK)
        return rc;
    lua_getfield(L, -1, "furnish_worker");
    lua_pushboolean(L, own_process);
    if ((rc = lf_state_try(L, 1, 0, LUAFLOW_ENOMEM, err)) != LUAFLOW_OK)
        return rc;
    lua_settop(L, 0);
    s->began_kb = s->kept_kb = lua_gc(L, LUA_GCCOUNT, 0);
    lua_gc(L, LUA_GCSETPAUSE, 400);
    return LUAFLOW_OK;
}

int lf_stepper_new(lf_flow *flow, const lf_host *host, lf_stepper **out, luaflow_error *err)
{
    lf_stepper *s = NULL;
    int rc = lf_stepper_prepare(&s, err);
    if (rc == LUAFLOW_OK)
        rc = lf_state_visit(s->L, host->on_state, host->state_payload, err);
    if (rc == LUAFLOW_OK)
        rc = lf_stepper_enter(s, flow, false, err);
    if (rc != LUAFLOW_OK) {
        lf_stepper_free(s);
        return rc;
    }
    *out = s;
    return LUAFLOW_OK;
}

void lf_stepper_free(lf_stepper *s)
{
    if (s == NULL)
        return;
    lf_state_free(s->L);
    lf_buf_free(s->loaded);
    lf_bytes_fini(&s->value);
    lf_bytes_fini(&s->path);
    luaflow_error_clear(&s->problem);
    lf_flow_free(s->flow);
    free(s);
}

const lf_flow *lf_stepper_flow(const lf_stepper *s) { return s->flow; }

/* ---- running a task ---- */

/* Copies every global into the environment at the top, and makes `_G` mean it. */
LF_RAISES static void copy_globals(lua_State *L, const lf_stepper *s)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->globals);              /* env, globals */
    lua_pushnil(L);
    while (lua_next(L, -2)) {                                   /* env, globals, key, value */
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "_G");
}

/* The environment of one task becomes the thread's globals, and stays on the stack. */
LF_RAISES static void push_environment(lua_State *L, const lf_stepper *s)
{
    if (lf_flow_is_plain(s->flow)) {
        lua_newtable(L);
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->inherit);
        lua_setmetatable(L, -2);
    } else {
        lua_createtable(L, 0, 64);
        copy_globals(L, s);
    }
    lua_pushvalue(L, -1);
    lua_replace(L, LUA_GLOBALSINDEX);
}

/* Pushes the name of the task's step, which is mostly that of the last one's.  [-0, +1, raises] */
LF_RAISES static void push_name(lua_State *L, lf_stepper *s)
{
    if (s->name != NULL && strcmp(s->name, s->who->step) == 0) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->name_kept);
        return;
    }
    lua_pushstring(L, s->who->step);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, s->name_kept);
    s->name = lua_tostring(L, -1);
}

/* Pushes self.index, and self.input if that is at hand; else nil.  [-0, +2, raises] */
LF_RAISES static void push_element(lua_State *L, const lf_who *who)
{
    if (who->depth > 0)
        lua_pushnumber(L, who->index);
    else
        lua_pushnil(L);
    if (who->near == NULL || who->is_join || !lf_list_is_cheap(who->near, who->near_at) ||
        lf_list_push(L, who->near, who->near_at, NULL) != LUAFLOW_OK)
        lua_pushnil(L);
}

/* Pushes the task's self, its step's name being at the top: task.begin(), with the flow's
 * description when another run begins.  [-0, +1, raises] */
LF_RAISES static void push_self(lua_State *L, lf_stepper *s)
{
    const lf_who *who = s->who;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->begin);
    lua_pushvalue(L, -2);
    push_element(L, who);
    if (s->known_run == who->run) {
        lua_pushnil(L);
    } else if (lf_codec_decode(L, lf_flow_description(s->flow), &err) != LUAFLOW_OK) {
        lf_step_refuse(L, &err);
        lua_error(L);
    }
    lua_call(L, 4, 1);
    s->known_run = who->run;
}

/* Pushes the flow's table, made anew in the environment at the top. The chunk's own output
 * shows once: in the first task.  [-0, +1, raises] */
LF_RAISES static void push_flow(lua_State *L, lf_stepper *s)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->chunk);
    lua_pushvalue(L, -2);
    lua_setfenv(L, -2);
    s->muted = s->who->task != 1;
    lua_call(L, 0, 1);
    s->muted = false;
    if (!lua_istable(L, -1))
        luaL_error(L, "%s returned no table this time; a flow must not depend on chance or the clock",
                   lf_flow_path(s->flow));
}

/* Pushes the function of the step whose name is at `name`, in the environment at the top.
 * [-0, +1, raises] */
LF_RAISES static void push_step(lua_State *L, lf_stepper *s, int name)
{
    if (s->alone == LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->find_step);
        lua_pushvalue(L, -2);
        push_flow(L, s);                                        /* env, find_step, env, flow */
        lua_remove(L, -2);
        lua_call(L, 1, 1);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->alone);
        lua_pushvalue(L, name);
        lua_rawget(L, -2);                                      /* env, steps, function */
        lua_remove(L, -2);
        lua_pushvalue(L, -2);
        lua_setfenv(L, -2);
    }
}

/* perform(stepper): calls the step and tells the world what it leaves. */
static int perform(lua_State *L)
{
    lf_stepper *s = lua_touserdata(L, 1);
    const lf_who *who = s->who;
    push_name(L, s);
    push_self(L, s);                                            /* stepper, name, self */
    if (lf_flow_is_chancy(s->flow)) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->randomseed);
        lua_pushnumber(L, (double)(who->seed >> 11));
        lua_call(L, 1, 0);
    }
    push_environment(L, s);                                     /* stepper, name, self, env */
    if (who->has_function) {
        push_step(L, s, 2);
        lua_pushvalue(L, 3);                                    /* …, step, self */
        if (who->is_join) {
            lua_rawgeti(L, LUA_REGISTRYINDEX, s->make_inputs);
            lua_pushnumber(L, who->n_inputs);
            lua_call(L, 1, 1);
        }
        lua_call(L, who->is_join ? 2 : 1, 0);
    } else if (who->task == 1) {
        push_flow(L, s);
    }
    lua_settop(L, 3);
    s->muted = false;
    s->busy = true; /* a finalizer must not change what is being walked */
    lf_step_gather(L, s, 3);
    return 0;
}

static int collect_inside(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* In a protected call, since a finalizer may fail; it is then no task's business any more. */
static void collect(lf_stepper *s)
{
    lua_rawgeti(s->L, LUA_REGISTRYINDEX, s->reset); /* task.lua lets go of the last task */
    lua_pushnil(s->L);
    lf_state_call(s->L, 1, 0, NULL);
    lua_rawgeti(s->L, LUA_REGISTRYINDEX, s->collect);
    lf_state_call(s->L, 0, 0, NULL);
    s->kept_kb = lua_gc(s->L, LUA_GCCOUNT, 0);
    lua_gc(s->L, LUA_GCSETPAUSE, s->kept_kb < SMALL_KB ? 400 : 200);
}

/* The stepper's problem becomes a failure without a traceback. */
static int fail_with_problem(lf_stepper *s, lf_failure *failure)
{
    int rc = s->problem.code;
    if (rc != LUAFLOW_OK)
        *failure = (lf_failure){.message = s->problem.message};
    s->problem = (luaflow_error)LUAFLOW_ERROR_INIT;
    return rc;
}

int lf_stepper_run(lf_stepper *s, const lf_who *who, lf_world *world, lf_failure *failure)
{
    lua_State *L = s->L;
    s->who = who;
    s->world = world;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->perform);
    lua_pushlightuserdata(L, s);
    int rc = lf_state_call(L, 1, 0, failure);
    s->muted = false;
    s->busy = false;
    if (rc == LUAFLOW_OK)
        rc = fail_with_problem(s, failure);
    luaflow_error_clear(&s->problem);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->globals);
    lua_replace(L, LUA_GLOBALSINDEX);
    if (lua_gethookmask(L) != 0)
        lua_sethook(L, NULL, 0, 0); /* the step's own debug.sethook ends with it */
    if (s->io_changed)
        lf_state_output(L, output, s); /* the next task's io.write goes where print goes */
    s->io_changed = false;
    s->who = NULL;
    s->world = NULL;
    s->tasks++;
    return rc;
}

void lf_stepper_rest(lf_stepper *s)
{
    if (lua_gc(s->L, LUA_GCCOUNT, 0) > s->kept_kb + GARBAGE_KB)
        collect(s);
}

/* ---- wear ---- */

static int types_in_use(lua_State *L)
{
    int types = 0;
    if (lf_state_require(L, "luaflow.isolation", NULL) == LUAFLOW_OK) {
        lua_getfield(L, -1, "types_in_use");
        if (lf_state_call(L, 0, 1, NULL) == LUAFLOW_OK)
            types = (int)lua_tointeger(L, -1);
    }
    lua_settop(L, 0);
    return types;
}

bool lf_stepper_is_worn(lf_stepper *s)
{
    if (s->tasks % CHECK_EVERY != 0)
        return false;
    lua_gc(s->L, LUA_GCRESTART, 0); /* a step may have stopped it */
    int bound = 2 * s->began_kb + MEMORY_SLACK_KB;
    if (lua_gc(s->L, LUA_GCCOUNT, 0) > bound) {
        collect(s);
        if (s->kept_kb > bound)
            return true;
    }
    return types_in_use(s->L) > TYPES_BOUND;
}
