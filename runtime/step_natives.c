/* step_natives.c -- what lua/luaflow/task.lua may ask of the task that runs: its artifacts, its
 * inputs, who it is. Each function finds its stepper as an upvalue; what fails is given back as
 * nil and a message, for Lua to raise where the user stands. */
#include "seal.h"
#include "step.h"
#include "stepper.h"

#include <lauxlib.h>
#include <stdlib.h>

/* So many inputs of a join are looked up in one view. */
enum { GATHER = 256 };

static lf_stepper *self_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* The stepper, for functions that read for the task that runs. A finalizer may call them when
 * no task does, or while one of them is at work. */
LF_RAISES static lf_stepper *reader_of(lua_State *L)
{
    lf_stepper *s = self_of(L);
    if (s->task == NULL)
        luaL_error(L, "no task runs that could read this");
    if (s->busy)
        luaL_error(L, "a finalizer cannot read artifacts");
    return s;
}

/* The same in a join, for the input that argument 1 numbers from 1. */
LF_RAISES static lf_stepper *join_of(lua_State *L, uint32_t *slot)
{
    lf_stepper *s = reader_of(L);
    lua_Number number = slot != NULL ? luaL_checknumber(L, 1) : 1;
    if (s->task->join == NULL || (slot != NULL && !(number >= 1 && number <= s->task->join->n)))
        luaL_error(L, "the task that runs has no such input");
    if (slot != NULL)
        *slot = (uint32_t)number - 1;
    return s;
}

static lf_slice name_at(lua_State *L, int index)
{
    size_t size;
    const char *name = luaL_checklstring(L, index, &size);
    return lf_slice_of(name, size);
}

/* Pushes nil and the message of `err`, for task.lua to raise where the user stands. */
LF_RAISES int lf_step_refuse(lua_State *L, luaflow_error *err)
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
    lf_stepper *s = self_of(L);
    lua_pushboolean(L, 1);
    s->busy = true; /* a collection may run finalizers; should this raise, the next task begins anew */
    int rc = lf_codec_decode(L, bytes, &err);
    s->busy = false;
    return rc == LUAFLOW_OK ? 2 : lf_step_refuse(L, &err);
}

static void let_go(lf_stepper *s)
{
    lf_buf_free(s->loaded);
    s->loaded = NULL;
}

/* The same for something found. The loaded bytes are the stepper's meanwhile, so that decoding
 * may run out of memory without losing them. */
LF_RAISES static int answer_found(lua_State *L, lf_stepper *s, const lf_found *found)
{
    if (found->ref.kind == LF_REF_INLINE)
        return answer(L, found->ref.bytes);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    let_go(s);
    if (lf_inputs_load(s->store, found, &s->loaded, &err) != LUAFLOW_OK)
        return lf_step_refuse(L, &err);
    int n = answer(L, lf_buf_slice(s->loaded));
    let_go(s);
    return n;
}

static int native_fetch(lua_State *L)
{
    lf_stepper *s = reader_of(L);
    lf_found found;
    if (lf_seal_find(s, name_at(L, 1), &found))
        return answer_found(L, s, &found);
    lua_pushboolean(L, 0);
    return 1;
}

static int native_param(lua_State *L)
{
    lf_stepper *s = reader_of(L);
    lf_slice value = lf_inputs_param(lf_buf_slice(s->task->batch->facts->params), name_at(L, 1));
    if (value.size > 0)
        return answer(L, value);
    lua_pushboolean(L, 0);
    return 1;
}

static int native_element(lua_State *L)
{
    const lf_task *t = reader_of(L)->task;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_pushboolean(L, 1);
    if (t->split == NULL)
        lua_pushnil(L);
    else if (lf_list_push(L, &t->split->list, t->split_index, &err) != LUAFLOW_OK)
        return lf_step_refuse(L, &err);
    return 2;
}

static int native_foreach_stack(lua_State *L)
{
    const lf_stepper *s = reader_of(L);
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
            return lf_step_refuse(L, &err);
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
    lua_pushboolean(L, reader_of(L)->task->join != NULL);
    return 1;
}

/* ---- inputs of a join ---- */

static int native_load(lua_State *L)
{
    uint32_t slot;
    lf_stepper *s = join_of(L, &slot);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_gathered got = {.found = false};
    lf_bytes_clear(&s->scratch);
    if (lf_inputs_gather(s->store, s->task, name_at(L, 2), slot, 1, &s->scratch, &got, &err) !=
        LUAFLOW_OK)
        return lf_step_refuse(L, &err);
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
    lf_stepper *s = join_of(L, NULL);
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
            return lf_step_refuse(L, &err);
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
    uint32_t slot, step = 0;
    lf_stepper *s = join_of(L, &slot);
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
    lf_stepper *s = join_of(L, NULL);
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
            lf_step_refuse(L, &err);
            return lua_error(L);
        }
        push_name(L, lf_graph_step(s->graph, step)->name, i, &n);
    }
    return 1;
}

/* merge() -> names, and whether each is in conflict; or nil and a message. */
static int native_merge(lua_State *L)
{
    lf_stepper *s = reader_of(L);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (s->merged == NULL && lf_inputs_merge(s->store, s->task, &s->merged, &err) != LUAFLOW_OK)
        return lf_step_refuse(L, &err);
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
    lf_stepper *s = reader_of(L);
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
        lf_step_refuse(L, &err);
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

LF_RAISES void lf_step_natives(lua_State *L, lf_stepper *s)
{
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
    for (const luaL_Reg *f = natives; f->name != NULL; f++) {
        lua_pushlightuserdata(L, s);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
}
