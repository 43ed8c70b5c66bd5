/* step_natives.c -- what lua/luaflow/task.lua may ask of the task that runs: its artifacts, its
 * inputs, who it is. Each function finds its stepper as an upvalue; what fails is given back as
 * nil and a message, for Lua to raise where the user stands. */
#include "inputs.h"
#include "step_inside.h"

#include <lauxlib.h>

static lf_stepper *self_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* The stepper, for functions that read for the task that runs. A finalizer may call them when
 * no task does, or while one of them is at work. */
LF_RAISES static lf_stepper *reader_of(lua_State *L)
{
    lf_stepper *s = self_of(L);
    if (s->who == NULL)
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
    if (!s->who->is_join || (slot != NULL && !(number >= 1 && number <= s->who->n_inputs)))
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

/* The same for a value that was asked for, or false where there is none. The bytes are the
 * stepper's meanwhile, so that decoding may run out of memory without losing them. */
LF_RAISES static int answer_given(lua_State *L, lf_stepper *s, const lf_given *given)
{
    if (!given->found) {
        lua_pushboolean(L, 0);
        return 1;
    }
    if (given->buf == NULL)
        return answer(L, given->bytes);
    let_go(s);
    s->loaded = given->buf;
    int n = answer(L, given->bytes);
    let_go(s);
    return n;
}

static int native_fetch(lua_State *L)
{
    lf_stepper *s = reader_of(L);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_given given;
    if (s->world->ask->fetch(s->world, name_at(L, 1), &given, &err) != LUAFLOW_OK)
        return lf_step_refuse(L, &err);
    return answer_given(L, s, &given);
}

static int native_param(lua_State *L)
{
    lf_stepper *s = reader_of(L);
    lf_slice value = lf_inputs_param(s->who->params, name_at(L, 1));
    if (value.size > 0)
        return answer(L, value);
    lua_pushboolean(L, 0);
    return 1;
}

/* Pushes the element of a level, or nil and a message.  [-0, +1 or +2, raises] */
LF_RAISES static bool push_element(lua_State *L, lf_stepper *s, uint32_t n, lf_level *level)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (s->world->ask->level(s->world, n, level, &err) == LUAFLOW_OK &&
        lf_list_push(L, level->list, level->at, &err) == LUAFLOW_OK)
        return true;
    lf_step_refuse(L, &err);
    return false;
}

static int native_element(lua_State *L)
{
    lf_stepper *s = reader_of(L);
    lf_level level;
    lua_pushboolean(L, 1);
    if (s->who->depth == 0)
        lua_pushnil(L);
    else
        push_element(L, s, 0, &level);
    return 2;
}

static int native_foreach_stack(lua_State *L)
{
    lf_stepper *s = reader_of(L);
    uint32_t depth = s->who->depth;
    lf_level level;
    lua_createtable(L, (int)depth, 0);
    for (uint32_t n = 0; n < depth; n++) {
        lua_createtable(L, 0, 4);
        if (!push_element(L, s, n, &level))
            return 2;
        lua_setfield(L, -2, "input");
        lua_pushstring(L, level.step);
        lua_setfield(L, -2, "step");
        lua_pushnumber(L, level.index);
        lua_setfield(L, -2, "index");
        lua_pushnumber(L, (double)level.size);
        lua_setfield(L, -2, "size");
        lua_rawseti(L, -2, (int)(depth - n));
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
    lua_pushboolean(L, reader_of(L)->who->is_join);
    return 1;
}

/* ---- inputs of a join ---- */

static int native_load(lua_State *L)
{
    uint32_t slot;
    lf_stepper *s = join_of(L, &slot);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_given given;
    if (s->world->ask->load(s->world, slot, name_at(L, 2), &given, &err) != LUAFLOW_OK)
        return lf_step_refuse(L, &err);
    return answer_given(L, s, &given);
}

/* collect(name, has_default, default) -> list, or nil and the slot without it, or nil and
 * a message. */
static int native_collect(lua_State *L)
{
    lf_stepper *s = join_of(L, NULL);
    lf_slice name = name_at(L, 1);
    bool has_default = lua_toboolean(L, 2);
    uint32_t n = s->who->n_inputs;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_createtable(L, (int)n, 0);
    int list = lua_gettop(L);
    for (uint32_t slot = 0; slot < n; slot++) {
        lf_given given;
        if (s->world->ask->collect(s->world, slot, name, &given, &err) != LUAFLOW_OK)
            return lf_step_refuse(L, &err);
        if (given.found) {
            answer_given(L, s, &given);
            if (lua_isnil(L, -2))
                return 2;
        } else if (has_default) {
            lua_pushvalue(L, 3);
        } else {
            lua_pushnil(L);
            lua_pushnumber(L, slot + 1);
            return 2;
        }
        lua_rawseti(L, list, (int)(slot + 1));
        lua_settop(L, list);
    }
    return 1;
}

/* Pushes the path of an input, "a[3]", or the error. */
static int native_input_path(lua_State *L)
{
    uint32_t slot;
    lf_stepper *s = join_of(L, &slot);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_bytes_clear(&s->path);
    if (s->world->ask->path(s->world, slot, &s->path, &err) != LUAFLOW_OK)
        lf_bytes_printf(&s->path, "%s", luaflow_error_text(&err));
    luaflow_error_clear(&err);
    lua_pushlstring(L, (const char *)s->path.data, s->path.size);
    return 1;
}

/* { { name=, slot= }, … }: what the inputs of a branch answer to. */
static int native_input_names(lua_State *L)
{
    lf_stepper *s = join_of(L, NULL);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_slice name;
    uint32_t slot = 0;
    lua_newtable(L);
    for (uint32_t i = 0;; i++) {
        if (s->world->ask->input_name(s->world, i, &name, &slot, &err) != LUAFLOW_OK) {
            lf_step_refuse(L, &err);
            return lua_error(L);
        }
        if (name.size == 0)
            return 1;
        lua_createtable(L, 0, 2);
        lua_pushlstring(L, (const char *)name.data, name.size);
        lua_setfield(L, -2, "name");
        lua_pushnumber(L, slot + 1);
        lua_setfield(L, -2, "slot");
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* merge() -> names, and whether each is in conflict; or nil and a message. */
static int native_merge(lua_State *L)
{
    lf_stepper *s = join_of(L, NULL);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    uint32_t n = 0;
    if (s->world->ask->merge(s->world, &n, &err) != LUAFLOW_OK)
        return lf_step_refuse(L, &err);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n; i++) {
        lf_slice name;
        bool conflict;
        s->world->ask->merged(s->world, i, &name, &conflict);
        lua_pushlstring(L, (const char *)name.data, name.size);
        lua_rawseti(L, -3, (int)i + 1);
        lua_pushboolean(L, conflict);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 2;
}

/* propagate(names): the join passes these, of what merge gave, on too. */
static int native_propagate(lua_State *L)
{
    lf_stepper *s = join_of(L, NULL);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    size_t n = lua_objlen(L, 1);
    lf_slice *names = lua_newuserdata(L, n * sizeof *names + 1);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        names[i] = name_at(L, -1); /* the list keeps it */
        lua_pop(L, 1);
    }
    if (s->world->ask->propagate(s->world, names, n, &err) != LUAFLOW_OK) {
        lf_step_refuse(L, &err);
        return lua_error(L);
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
    const lf_who *who = s->who;
    if (who == NULL)
        return 0;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_createtable(L, 0, 10);
    set_string(L, "flow_name", lf_flow_name(s->flow));
    set_number(L, "run_id", who->run);
    set_string(L, "step_name", who->step);
    set_number(L, "task_id", who->task);
    lua_pushfstring(L, "%s/%d/%s/%d", lf_flow_name(s->flow), (int)who->run, who->step, (int)who->task);
    lua_setfield(L, -2, "pathspec");
    set_number(L, "retry_count", who->attempt);
    if (who->origin != 0)
        set_number(L, "origin_run_id", who->origin);
    set_string(L, "store", who->store);
    lua_createtable(L, (int)who->n_tags, 0);
    lf_reader r = lf_reader_of(who->tags.data, who->tags.size);
    for (uint32_t i = 0; i < who->n_tags; i++) {
        lf_slice tag = lf_read_string(&r);
        lua_pushlstring(L, (const char *)tag.data, tag.size);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "tags");
    if (lf_codec_decode(L, who->params, &err) != LUAFLOW_OK) {
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
