/* step_gather.c -- what a step leaves: names written and tables touched are encoded. */
#include "step_inside.h"

#include <lauxlib.h>
#include <math.h>

enum { TYPE_CDATA = 10 }; /* lua_type of an FFI object; LuaJIT's header keeps it to itself */

/* Whether the value at the top, of the field at `key`, is the immutable one that was loaded. */
LF_RAISES static bool is_as_loaded(lua_State *L, lf_stepper *s, int key)
{
    int type = lua_type(L, -1);
    if (type == LUA_TTABLE || type == TYPE_CDATA)
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->originals);
    lua_pushvalue(L, key);
    lua_rawget(L, -2);
    bool same = lua_rawequal(L, -1, -3);
    if (same && type == LUA_TNUMBER) /* -0 equals 0, and is another number */
        same = signbit(lua_tonumber(L, -1)) == signbit(lua_tonumber(L, -3));
    lua_pop(L, 2);
    return same;
}

/* Whether the value at the top is an FFI array that was read and not changed: found out where it
 * lies, since to encode one is to copy it. False with a problem when that failed. */
LF_RAISES static bool is_same_array(lua_State *L, lf_stepper *s, lf_slice name)
{
    uint8_t head[LF_ARRAY_HEAD];
    lf_parts bytes;
    bool same = false;
    if (lua_type(L, -1) == TYPE_CDATA && lf_codec_array(L, -1, head, &bytes))
        s->world->ask->is_same(s->world, name, bytes, &same, &s->problem);
    return same;
}

LF_RAISES static bool gather_fields(lua_State *L, lf_stepper *s, int self)
{
    lua_pushnil(L);
    while (lua_next(L, self)) {                                 /* key, value */
        int key = lua_gettop(L) - 1;
        if (lua_type(L, key) != LUA_TSTRING) {
            lf_fail(&s->problem, LUAFLOW_EVALUE, "an artifact's name is a string, not a %s",
                    luaL_typename(L, key));
            return false;
        }
        size_t size;
        const char *name = lua_tolstring(L, key, &size);
        lf_slice called = lf_slice_of(name, size);
        if (name[0] != '_' && !is_as_loaded(L, s, key) && !is_same_array(L, s, called)) {
            if (s->problem.code != LUAFLOW_OK)
                return false;
            if (!lf_buf_start(&s->value)) {
                lf_fail_memory(&s->problem);
                return false;
            }
            if (lf_codec_encode(L, -1, name, &s->value, &s->problem) != LUAFLOW_OK ||
                s->world->ask->keep(s->world, called, &s->value, &s->problem) != LUAFLOW_OK)
                return false;
        }
        lua_settop(L, key);
    }
    return true;
}

/* A name that was loaded or assigned and is nil now has been removed. */
LF_RAISES static bool gather_removals(lua_State *L, lf_stepper *s, int self)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->settled);
    int settled = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, settled)) {                              /* name, true */
        size_t size;
        const char *name = lua_tolstring(L, -2, &size);
        lua_pushvalue(L, -2);
        lua_rawget(L, self);
        bool gone = lua_isnil(L, -1);
        lua_pop(L, 2);
        if (gone && s->world->ask->remove(s->world, lf_slice_of(name, size), &s->problem) != LUAFLOW_OK)
            return false;
    }
    return true;
}

LF_RAISES void lf_step_gather(lua_State *L, lf_stepper *s, int index)
{
    if (gather_fields(L, s, index))
        gather_removals(L, s, index);
}
