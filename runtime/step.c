/* step.c -- runs one task in one Lua state. Here are the call of the step and the functions
 * by which lua/luaflow/task.lua reads what the task may read; seal.c keeps what it left. */
#include "step.h"
#include "seal.h"
#include "stepper.h"

#include <lauxlib.h>
#include <stdlib.h>

enum { CHECK_EVERY = 1000, TYPES_BOUND = 40000, GATHER = 256 };

/* Memory beyond this, in KB, and beyond twice what the state began with, is wear. */
enum { MEMORY_SLACK_KB = 256 * 1024 };

/* A heap this small may grow to four times its size before it is collected, not to twice. */
enum { SMALL_KB = 16 * 1024 };

/* What a task leaves behind beyond this is collected at once, lest the arrays of two tasks
 * stand in memory together. */
enum { GARBAGE_KB = 32 * 1024 };

/* ---- what task.lua may ask ---- */

static lf_stepper *self_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

static lf_slice name_at(lua_State *L, int index)
{
    size_t size;
    const char *name = luaL_checklstring(L, index, &size);
    return lf_slice_of(name, size);
}

/* Pushes nil and the message of `err`, for task.lua to raise where the user stands. */
LF_RAISES static int refuse(lua_State *L, luaflow_error *err)
{
    lua_pushnil(L);
    lua_pushstring(L, luaflow_error_text(err));
    luaflow_error_clear(err);
    return 2;
}

/* Pushes true and the value, or nil and a message. `bytes` stay the stepper's. */
LF_RAISES static int answer(lua_State *L, lf_slice bytes)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_pushboolean(L, 1);
    if (lf_codec_decode(L, bytes, &err) != LUAFLOW_OK)
        return refuse(L, &err);
    return 2;
}

static void let_go(lf_stepper *s)
{
    lf_buf_free(s->loaded);
    s->loaded = NULL;
}

/* The same for something found. The loaded bytes are the stepper's until the next load,
 * so that decoding may run out of memory without losing them. */
LF_RAISES static int answer_found(lua_State *L, lf_stepper *s, const lf_found *found)
{
    if (found->ref.kind == LF_REF_INLINE)
        return answer(L, found->ref.bytes);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    let_go(s);
    if (lf_inputs_load(s->store, found, &s->loaded, &err) != LUAFLOW_OK)
        return refuse(L, &err);
    int n = answer(L, lf_buf_slice(s->loaded));
    let_go(s);
    return n;
}

static int native_fetch(lua_State *L)
{
    lf_stepper *s = self_of(L);
    lf_found found;
    if (lf_seal_find(s, name_at(L, 1), &found))
        return answer_found(L, s, &found);
    lua_pushboolean(L, 0);
    return 1;
}

static int native_param(lua_State *L)
{
    lf_stepper *s = self_of(L);
    lf_slice value = lf_inputs_param(lf_buf_slice(s->task->batch->facts->params), name_at(L, 1));
    if (value.size > 0)
        return answer(L, value);
    lua_pushboolean(L, 0);
    return 1;
}

static int native_element(lua_State *L)
{
    const lf_task *t = self_of(L)->task;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_pushboolean(L, 1);
    if (t->split == NULL)
        lua_pushnil(L);
    else if (lf_list_push(L, &t->split->list, t->split_index, &err) != LUAFLOW_OK)
        return refuse(L, &err);
    return 2;
}

static int native_foreach_stack(lua_State *L)
{
    const lf_stepper *s = self_of(L);
    const lf_task *t = s->task;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int depth = 0;
    for (const lf_split *p = t->split; p != NULL; p = p->up)
        depth++;
    lua_createtable(L, depth, 0);
    uint32_t index = t->split_index;
    for (const lf_split *p = t->split; p != NULL; index = p->up_index, p = p->up) {
        lua_createtable(L, 0, 4);
        lua_pushstring(L, lf_graph_step(s->graph, p->step)->name);
        lua_setfield(L, -2, "step");
        lua_pushnumber(L, index);
        lua_setfield(L, -2, "index");
        lua_pushnumber(L, (double)p->list.size);
        lua_setfield(L, -2, "size");
        if (lf_list_push(L, &p->list, index, &err) != LUAFLOW_OK)
            return refuse(L, &err);
        lua_setfield(L, -2, "input");
        lua_rawseti(L, -2, depth--);
    }
    return 1;
}

static int native_flow_name(lua_State *L)
{
    lua_pushstring(L, lf_flow_name(self_of(L)->flow));
    return 1;
}

static int native_is_join(lua_State *L)
{
    lua_pushboolean(L, self_of(L)->task->join != NULL);
    return 1;
}

/* ---- inputs of a join ---- */

static int native_load(lua_State *L)
{
    lf_stepper *s = self_of(L);
    uint32_t slot = (uint32_t)luaL_checkinteger(L, 1) - 1;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_gathered got = {.found = false};
    lf_bytes_clear(&s->scratch);
    if (lf_inputs_gather(s->store, s->task, name_at(L, 2), slot, 1, &s->scratch, &got, &err) !=
        LUAFLOW_OK)
        return refuse(L, &err);
    if (got.found) {
        lf_found found = lf_gathered_at(&got, &s->scratch);
        return answer_found(L, s, &found);
    }
    lua_pushboolean(L, 0);
    return 1;
}

/* collect(name, has_default, default) -> list, or nil and the slot without it, or nil and
 * a message. */
static int native_collect(lua_State *L)
{
    lf_stepper *s = self_of(L);
    lf_slice name = name_at(L, 1);
    bool has_default = lua_toboolean(L, 2);
    uint32_t n = s->task->join->n;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_gathered got[GATHER];
    lua_createtable(L, (int)n, 0);
    int list = lua_gettop(L);
    for (uint32_t from = 0; from < n; from += GATHER) {
        uint32_t count = n - from < GATHER ? n - from : GATHER;
        memset(got, 0, count * sizeof got[0]);
        lf_bytes_clear(&s->scratch);
        if (lf_inputs_gather(s->store, s->task, name, from, count, &s->scratch, got, &err) !=
            LUAFLOW_OK)
            return refuse(L, &err);
        for (uint32_t i = 0; i < count; i++) {
            if (got[i].found) {
                lf_found found = lf_gathered_at(&got[i], &s->scratch);
                answer_found(L, s, &found);
                if (lua_isnil(L, -2))
                    return 2;
            } else if (has_default) {
                lua_pushvalue(L, 3);
            } else {
                lua_pushnil(L);
                lua_pushnumber(L, from + i + 1);
                return 2;
            }
            lua_rawseti(L, list, (int)(from + i + 1));
            lua_settop(L, list);
        }
    }
    return 1;
}

/* Pushes the path of an input, "a[3]", or the error. */
static int native_input_path(lua_State *L)
{
    lf_stepper *s = self_of(L);
    uint32_t slot = (uint32_t)luaL_checkinteger(L, 1) - 1, step = 0;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_bytes_clear(&s->scratch);
    lf_bytes_clear(&s->path);
    if (lf_inputs_origin(s->store, s->task, slot, &step, &s->scratch, &err) == LUAFLOW_OK)
        lf_path_format(&s->path, lf_graph_step(s->graph, step)->name,
                       lf_slice_of(s->scratch.data, s->scratch.size));
    else
        lf_bytes_printf(&s->path, "%s", luaflow_error_text(&err));
    luaflow_error_clear(&err);
    lua_pushlstring(L, (const char *)s->path.data, s->path.size);
    return 1;
}

LF_RAISES static void push_name(lua_State *L, const char *name, uint32_t slot, int *n)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushnumber(L, slot + 1);
    lua_setfield(L, -2, "slot");
    lua_rawseti(L, -2, ++*n);
}

/* The names that the inputs of a branch answer to: first as `next` calls them, then by
 * the step that reached the join. */
static int native_input_names(lua_State *L)
{
    lf_stepper *s = self_of(L);
    const lf_join *join = s->task->join;
    const lf_step *opener = lf_graph_step(s->graph, join->step);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int n = 0;
    lua_newtable(L);
    if (opener->kind != LF_BRANCH)
        return 1;
    for (uint32_t i = 0; i < opener->n_next; i++)
        push_name(L, lf_graph_step(s->graph, opener->next[i])->name, i, &n);
    for (uint32_t i = 0; i < join->n; i++) {
        uint32_t step = 0;
        lf_bytes_clear(&s->scratch);
        if (lf_inputs_origin(s->store, s->task, i, &step, &s->scratch, &err) != LUAFLOW_OK) {
            refuse(L, &err);
            return lua_error(L);
        }
        push_name(L, lf_graph_step(s->graph, step)->name, i, &n);
    }
    return 1;
}

/* merge() -> names, and whether each is in conflict; or nil and a message. */
static int native_merge(lua_State *L)
{
    lf_stepper *s = self_of(L);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (s->merged == NULL && lf_inputs_merge(s->store, s->task, &s->merged, &err) != LUAFLOW_OK)
        return refuse(L, &err);
    uint32_t n = lf_merged_count(s->merged);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n; i++) {
        const lf_merged_entry *e = lf_merged_at(s->merged, i);
        lua_pushlstring(L, (const char *)e->name.data, e->name.size);
        lua_rawseti(L, -3, (int)i + 1);
        lua_pushboolean(L, e->conflict);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 2;
}

/* Whether `e` is among the first `n` of what is propagated. */
static bool is_propagated(const lf_stepper *s, uint32_t n, const lf_merged_entry *e)
{
    for (uint32_t i = 0; i < n; i++)
        if (s->propagated[i] == e)
            return true;
    return false;
}

/* propagate(names): the join passes these on too. */
static int native_propagate(lua_State *L)
{
    lf_stepper *s = self_of(L);
    uint32_t before = s->n_propagated; /* by earlier calls in this task */
    size_t n = lua_objlen(L, 1);
    const lf_merged_entry **chosen = realloc(s->propagated, (s->n_propagated + n + 1) * sizeof *chosen);
    if (chosen == NULL)
        return luaL_error(L, "out of memory");
    s->propagated = chosen;
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, (int)i);
        const lf_merged_entry *e = lf_merged_find(s->merged, name_at(L, -1));
        if (e != NULL && !is_propagated(s, before, e))
            chosen[s->n_propagated++] = e;
        lua_pop(L, 1);
    }
    return 0;
}

/* ---- who am I ---- */

LF_RAISES static void set_string(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

LF_RAISES static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static int native_current(lua_State *L)
{
    const lf_stepper *s = self_of(L);
    const lf_task *t = s->task;
    if (t == NULL)
        return 0;
    const lf_facts *facts = t->batch->facts;
    const char *step = lf_graph_step(s->graph, t->step)->name;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_createtable(L, 0, 10);
    set_string(L, "flow_name", lf_flow_name(s->flow));
    set_number(L, "run_id", facts->run);
    set_string(L, "step_name", step);
    set_number(L, "task_id", t->number);
    lua_pushfstring(L, "%s/%d/%s/%d", lf_flow_name(s->flow), (int)facts->run, step, (int)t->number);
    lua_setfield(L, -2, "pathspec");
    set_number(L, "retry_count", t->attempt);
    if (facts->origin != 0)
        set_number(L, "origin_run_id", facts->origin);
    set_string(L, "store", facts->store);
    lua_createtable(L, (int)facts->n_tags, 0);
    lf_reader r = lf_reader_of(facts->tags.data, facts->tags.size);
    for (uint32_t i = 0; i < facts->n_tags; i++) {
        lf_slice tag = lf_read_string(&r);
        lua_pushlstring(L, (const char *)tag.data, tag.size);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "tags");
    if (lf_codec_decode(L, lf_buf_slice(facts->params), &err) != LUAFLOW_OK) {
        refuse(L, &err);
        return lua_error(L);
    }
    lua_setfield(L, -2, "params");
    return 1;
}

static int native_io_changed(lua_State *L)
{
    self_of(L)->io_changed = true;
    return 0;
}

static const luaL_Reg natives[] = {
    {"fetch", native_fetch},
    {"param", native_param},
    {"element", native_element},
    {"foreach_stack", native_foreach_stack},
    {"flow_name", native_flow_name},
    {"is_join", native_is_join},
    {"load", native_load},
    {"collect", native_collect},
    {"input_path", native_input_path},
    {"input_names", native_input_names},
    {"merge", native_merge},
    {"propagate", native_propagate},
    {"current", native_current},
    {"io_changed", native_io_changed},
    {NULL, NULL},
};

/* ---- making a stepper ---- */

static int perform(lua_State *L);
static int seal_protected(lua_State *L);

static int furnish(lua_State *L)
{
    lf_stepper *s = lua_touserdata(L, 1);
    lf_state_natives(L);                                        /* natives */
    for (const luaL_Reg *f = natives; f->name != NULL; f++) {
        lua_pushlightuserdata(L, s);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
    lua_getfield(L, 2, "bind");
    lua_pushvalue(L, -2);
    lua_call(L, 1, 2);                                          /* natives, originals, settled */
    s->settled = luaL_ref(L, LUA_REGISTRYINDEX);
    s->originals = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 2, "run");
    s->run = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 2, "reset");
    s->reset = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, perform);
    s->perform = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, seal_protected);
    s->seal = luaL_ref(L, LUA_REGISTRYINDEX);
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
    lf_log_write(s->log, stream, text, size);
}

/* Asks task.lua whether the chunk at the top must run anew for every task.
 * [-0, +0, never raises] */
static int find_alone(lf_stepper *s, luaflow_error *err)
{
    lua_State *L = s->L;
    s->alone = LUA_NOREF;
    if (!lf_flow_is_plain(s->flow))
        return LUAFLOW_OK;
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
    lua_settop(L, 0);
    lf_state_output(L, output, s);
    if ((rc = lf_flow_enter(s->flow, L, err)) != LUAFLOW_OK)    /* chunk */
        return rc;
    if ((rc = find_alone(s, err)) != LUAFLOW_OK)
        return rc;
    s->chunk = luaL_ref(L, LUA_REGISTRYINDEX);
    if ((rc = lf_state_require(L, "luaflow.isolation", err)) != LUAFLOW_OK)
        return rc;
    lua_getfield(L, -1, "furnish_worker");
    if ((rc = lf_state_try(L, 0, 0, LUAFLOW_ENOMEM, err)) != LUAFLOW_OK)
        return rc;
    lua_settop(L, 0);
    s->began_kb = s->kept_kb = lua_gc(L, LUA_GCCOUNT, 0);
    lua_gc(L, LUA_GCSETPAUSE, 400);
    return LUAFLOW_OK;
}

int lf_stepper_new(lf_flow *flow, lf_store *store, lf_staged *staged, lf_log *log,
                   lf_stepper **out, luaflow_error *err)
{
    lf_stepper *s = calloc(1, sizeof *s);
    if (s == NULL)
        return lf_fail_memory(err);
    s->flow = lf_flow_ref(flow);
    s->graph = lf_flow_graph(flow);
    s->store = store;
    s->staged = staged;
    s->log = log;
    s->L = lf_state_new();
    int rc = s->L == NULL ? lf_fail_memory(err) : prepare(s, err);
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
    lf_seal_fini(s);
    let_go(s);
    lf_bytes_fini(&s->scratch);
    lf_bytes_fini(&s->path);
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

/* The same seed for every attempt of a task, whoever runs it. */
LF_RAISES static void seed_random(lua_State *L, lf_stepper *s, const lf_step *step)
{
    const lf_task *t = s->task;
    lf_bytes_clear(&s->scratch);
    lf_bytes_put(&s->scratch, step->name, strlen(step->name) + 1);
    lf_task_place(t, &s->scratch);
    uint64_t hash = lf_hash(t->batch->facts->seed, s->scratch.data, s->scratch.size);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->randomseed);
    lua_pushnumber(L, (double)(hash >> 11));
    lua_call(L, 1, 0);
}

/* task.reset(), with the flow's description when another run begins. */
LF_RAISES static void reset(lua_State *L, lf_stepper *s)
{
    const lf_facts *facts = s->task->batch->facts;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->reset);
    if (s->known_run == facts->run) {
        lua_pushnil(L);
    } else if (lf_codec_decode(L, lf_flow_description(s->flow), &err) != LUAFLOW_OK) {
        refuse(L, &err);
        lua_error(L);
    }
    lua_call(L, 1, 0);
    s->known_run = facts->run;
}

/* Pushes the flow's table, made anew in the environment below `run`, or the step's function
 * where that comes to the same. The chunk's own output shows once: in the first task.
 * [-0, +1, raises] */
LF_RAISES static void push_flow(lua_State *L, lf_stepper *s, const lf_step *step)
{
    bool is_alone = s->alone != LUA_NOREF;
    if (is_alone) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->alone);
        lua_getfield(L, -1, step->name);                        /* env, run, steps, function */
        lua_remove(L, -2);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->chunk);
    }
    if (is_alone && !step->has_function)
        return;
    lua_pushvalue(L, -3);
    lua_setfenv(L, -2);
    if (is_alone)
        return;
    lf_log_mute(s->log, s->task->number != 1);
    lua_call(L, 0, 1);
    lf_log_mute(s->log, false);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s returned no table this time; a flow must not depend on chance or the clock",
                   lf_flow_path(s->flow));
}

/* perform(stepper) -> self */
static int perform(lua_State *L)
{
    lf_stepper *s = lua_touserdata(L, 1);
    const lf_task *t = s->task;
    const lf_step *step = lf_graph_step(s->graph, t->step);
    reset(L, s);
    seed_random(L, s, step);
    push_environment(L, s);                                     /* env */
    if (!step->has_function && t->number != 1) {
        lua_newtable(L);
        return 1;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->run);                  /* env, run */
    push_flow(L, s, step);                                      /* env, run, flow or step */
    if (!step->has_function) {
        lua_newtable(L);
        return 1;
    }
    lua_pushstring(L, step->name);
    if (t->split != NULL)
        lua_pushnumber(L, t->split_index);
    else
        lua_pushnil(L);
    if (t->join != NULL)
        lua_pushnumber(L, t->join->n);
    else
        lua_pushnil(L);
    lua_call(L, 4, 1);                                          /* env, self */
    return 1;
}

static int seal_protected(lua_State *L)
{
    lf_seal(lua_touserdata(L, 2), 1);
    return 0;
}

static void collect(lf_stepper *s)
{
    lua_rawgeti(s->L, LUA_REGISTRYINDEX, s->reset); /* task.lua lets go of the last task */
    lua_pushnil(s->L);
    lf_state_call(s->L, 1, 0, NULL);
    lua_gc(s->L, LUA_GCCOLLECT, 0);
    s->kept_kb = lua_gc(s->L, LUA_GCCOUNT, 0);
    lua_gc(s->L, LUA_GCSETPAUSE, s->kept_kb < SMALL_KB ? 400 : 200);
}

void lf_stepper_run(lf_stepper *s, lf_task *t)
{
    lua_State *L = s->L;
    lf_failure failure = {NULL, NULL};
    const lf_step *step = lf_graph_step(s->graph, t->step);
    s->task = t;
    lf_seal_begin(s);
    lf_log_begin(s->log, t, step->name);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->perform);
    lua_pushlightuserdata(L, s);
    int rc = lf_state_call(L, 1, 1, &failure);
    lf_log_mute(s->log, false);
    if (rc == LUAFLOW_OK) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->seal);
        lua_insert(L, -2);
        lua_pushlightuserdata(L, s);
        rc = lf_state_call(L, 2, 0, &failure);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->globals);
    lua_replace(L, LUA_GLOBALSINDEX);
    if (lua_gethookmask(L) != 0)
        lua_sethook(L, NULL, 0, 0); /* the step's own debug.sethook ends with it */
    lf_seal_finish(s, rc == LUAFLOW_OK ? NULL : &failure);
    lf_failure_fini(&failure);
    if (s->io_changed)
        lf_state_output(L, output, s); /* the next task's io.write goes where print goes */
    s->io_changed = false;
    s->task = NULL;
    s->tasks++;
    if (lua_gc(L, LUA_GCCOUNT, 0) > s->kept_kb + GARBAGE_KB)
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
    collect(s);
    return s->kept_kb > 2 * s->began_kb + MEMORY_SLACK_KB || types_in_use(s->L) > TYPES_BOUND;
}
