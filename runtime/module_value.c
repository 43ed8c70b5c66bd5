/* module_value.c -- what passes between Lua and luaflow.h: arguments and options on the
 * way in, tables of results on the way out, errors, and values and their bytes. Knows no
 * handle. Lives on the thread of the state that calls it. */
#include "module_inside.h"

#include <string.h>

/* ---- what C gave us, until Lua has copied it ---- */

void lf_scratch_clear(lf_scratch *s)
{
    luaflow_error_clear(&s->err);
    luaflow_free(s->memory);
    s->memory = NULL;
}

static int scratch_gc(lua_State *L)
{
    lf_scratch_clear(lua_touserdata(L, 1));
    return 0;
}

lf_scratch *lf_scratch_new(lua_State *L)
{
    lf_scratch *s = lua_newuserdata(L, sizeof *s);
    *s = (lf_scratch){LUAFLOW_ERROR_INIT, NULL};
    luaL_getmetatable(L, LF_SCRATCH_TYPE);
    lua_setmetatable(L, -2);
    return s;
}

const char *lf_code_name(int code)
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

int lf_scratch_fail(lua_State *L, lf_scratch *s)
{
    lua_pushnil(L);
    lua_pushstring(L, luaflow_error_text(&s->err));
    lua_pushstring(L, lf_code_name(s->err.code));
    lf_scratch_clear(s);
    return 3;
}

int lf_scratch_value(lua_State *L, lf_scratch *s, size_t size)
{
    if (luaflow_value_push(L, s->memory, size, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    lf_scratch_clear(s);
    return 1;
}

/* ---- arguments and options ---- */

#define WHOLE_MAX 9007199254740992.0 /* 2^53 */

uint64_t lf_arg_number(lua_State *L, int arg)
{
    lua_Number n = luaL_checknumber(L, arg);
    luaL_argcheck(L, n >= 0 && n <= WHOLE_MAX && n == (lua_Number)(uint64_t)n, arg,
                  "not a number of a run or task");
    return (uint64_t)n;
}

uint64_t lf_arg_optional_number(lua_State *L, int arg)
{
    return lua_isnoneornil(L, arg) ? 0 : lf_arg_number(L, arg);
}

void lf_option_push(lua_State *L, int index, const char *name)
{
    lua_pushvalue(L, index);
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

const char *lf_option_string(lua_State *L, int index, const char *name)
{
    lf_option_push(L, index, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "option '%s' must be a string", name);
    const char *s = lua_tostring(L, -1);
    lua_pop(L, 1);
    return s;
}

bool lf_option_boolean(lua_State *L, int index, const char *name)
{
    lf_option_push(L, index, name);
    bool b = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return b;
}

uint32_t lf_option_count(lua_State *L, int index, const char *name)
{
    lf_option_push(L, index, name);
    lua_Number n = lua_tonumber(L, -1); /* of nil: 0 */
    bool is_count = lua_isnil(L, -1) || lua_type(L, -1) == LUA_TNUMBER;
    lua_pop(L, 1);
    if (!is_count || !(n >= 0 && n <= UINT32_MAX) || n != (lua_Number)(uint32_t)n)
        luaL_error(L, "option '%s' must be a whole number from 0 to 4294967295", name);
    return (uint32_t)n;
}

void *lf_push_block(lua_State *L, size_t n, size_t item)
{
    return memset(lua_newuserdata(L, n * item + 1), 0, n * item + 1);
}

const char *const *lf_push_strings(lua_State *L, int index, const char *what, size_t *n)
{
    if (!lua_isnil(L, index) && !lua_istable(L, index))
        luaL_error(L, "%s must be a list of strings", what);
    *n = lua_istable(L, index) ? lua_objlen(L, index) : 0;
    const char **list = lf_push_block(L, *n, sizeof *list);
    for (size_t i = 0; i < *n; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "%s must be a list of strings", what);
        list[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    return list;
}

/* ---- results ---- */

void lf_set_string(lua_State *L, const char *field, const char *value)
{
    if (value == NULL)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, field);
}

void lf_set_bytes(lua_State *L, const char *field, const char *bytes, size_t size)
{
    lua_pushlstring(L, bytes == NULL ? "" : bytes, size);
    lua_setfield(L, -2, field);
}

void lf_set_number(lua_State *L, const char *field, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, field);
}

void lf_set_known(lua_State *L, const char *field, double value)
{
    if (value != 0)
        lf_set_number(L, field, value);
}

void lf_set_boolean(lua_State *L, const char *field, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, field);
}

const char *lf_status_name(int status)
{
    static const char *const names[] = {
        [LUAFLOW_RUNNING] = "running",
        [LUAFLOW_DONE] = "done",
        [LUAFLOW_FAILED] = "failed",
        [LUAFLOW_INTERRUPTED] = "interrupted",
    };
    return names[status];
}

void lf_set_status(lua_State *L, int status) { lf_set_string(L, "status", lf_status_name(status)); }

void lf_set_stream(lua_State *L, int stream)
{
    lf_set_string(L, "stream", stream == 2 ? "stderr" : "stdout");
}

void lf_set_counts(lua_State *L, const luaflow_counts *counts)
{
    lf_set_number(L, "started", (double)counts->started);
    lf_set_number(L, "done", (double)counts->done);
    lf_set_number(L, "failed", (double)counts->failed);
    lf_set_number(L, "reused", (double)counts->reused);
}

/* ---- values and their bytes ---- */

/* The scratch that these functions share, or a new one where a finalizer calls one of them
 * while another is at work: to make one is dearer than to decode a small value.
 * [-0, +0 or +1, raises] */
LF_RAISES static lf_scratch *scratch_at_hand(lua_State *L)
{
    lf_scratch *s = lua_touserdata(L, lua_upvalueindex(1));
    return s->memory == NULL && s->err.code == LUAFLOW_OK ? s : lf_scratch_new(L);
}

/* core.encode(value, name) -> bytes */
static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    const char *name = luaL_optstring(L, 2, "value");
    lf_scratch *s = scratch_at_hand(L);
    size_t size;
    if (luaflow_value_encode(L, 1, name, &s->memory, &size, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    lua_pushlstring(L, s->memory, size);
    lf_scratch_clear(s);
    return 1;
}

typedef int push_fn(lua_State *L, const void *bytes, size_t size, luaflow_error *err);

LF_RAISES static int decode_with(lua_State *L, push_fn *push)
{
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    lf_scratch *s = scratch_at_hand(L);
    lua_pushboolean(L, true);
    if (push(L, bytes, size, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    return 2;
}

/* core.decode(bytes) -> true, value */
static int decode(lua_State *L) { return decode_with(L, luaflow_value_push); }

/* The same; instances of registered classes come as tables whose metatable is
 * { __luaflow_class = name }. */
static int decode_marked(lua_State *L) { return decode_with(L, luaflow_value_push_marked); }

void lf_core_values(lua_State *L)
{
    static const luaL_Reg nothing[] = {{NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"encode", encode},
        {"decode", decode},
        {"decode_marked", decode_marked},
        {NULL, NULL},
    };
    lf_core_methods(L, LF_SCRATCH_TYPE, nothing, scratch_gc);
    lf_scratch_new(L);                                          /* core, scratch */
    for (const luaL_Reg *function = functions; function->name != NULL; function++) {
        lua_pushvalue(L, -1);
        lua_pushcclosure(L, function->func, 1);
        lua_setfield(L, -3, function->name);
    }
    lua_pop(L, 1);
}
