/* codec.c -- what a state keeps for the codec: the FFI's types, and the registered classes.
 * Knows nothing of LMDB or threads; a state's own thread only. */
#include "codec_inside.h"

#include <lauxlib.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "FFI arrays are stored as they lie in memory: little-endian machines only"
#endif

/* ---- what a state keeps ---- */

/* Returns kind(cdata) -> ext, size or nil, what it is; and new(ext, n) -> cdata. */
static const char ffi_helper[] =
    "local elements = ...\n"
    "local ffi = require('ffi')\n"
    "local typeof, sizeof, new = ffi.typeof, ffi.sizeof, ffi.new\n"
    "local tostring, tonumber, match, gsub = tostring, tonumber, string.match, string.gsub\n"
    "local function name_of(ctype) return match(tostring(ctype), '^ctype<(.*)>$') end\n"
    "local types, codes = { typeof('int64_t'), typeof('uint64_t') }, {}\n"
    "for e, element in ipairs(elements) do\n"
    "  types[15 + e] = typeof(element .. '[?]')\n"
    "  codes[name_of(typeof(element))] = 15 + e\n"
    "end\n"
    "local scalars = { int64_t = 1, uint64_t = 2 }\n"
    "local function code_of(ctype)\n"
    "  local name = gsub(gsub(name_of(ctype), '^const ', ''), '^volatile ', '')\n"
    "  return scalars[name] or codes[match(name, '^(.*) %[[%d?]+%]$')] or false\n"
    "end\n"
    "local known = {}\n"
    "local function kind(value)\n"
    "  local ctype = typeof(value)\n"
    "  local id = tonumber(ctype)\n"
    "  local code = known[id]\n"
    "  if code == nil then\n"
    "    code = code_of(ctype)\n"
    "    known[id] = code\n"
    "  end\n"
    "  if match(tostring(value), '^ctype<') then return nil, 'C type' end\n"
    "  if not code then return nil, 'cdata (' .. name_of(ctype) .. ')' end\n"
    "  return code, sizeof(value)\n"
    "end\n"
    "return kind, function(code, n) return new(types[code], n) end\n";

/* Pushes a new room.  [-0, +1, raises] */
LF_RAISES static void make_room(lua_State *L)
{
    luaL_checkstack(L, 5, "codec");
    lua_createtable(L, 4, 0);                                            /* room */
    if (luaL_loadbuffer(L, ffi_helper, sizeof ffi_helper - 1, "=luaflow/codec") != 0)
        lua_error(L);
    lua_createtable(L, LF_ELEMENTS, 0);                                  /* room, chunk, names */
    for (int e = 0; e < LF_ELEMENTS; e++) {
        lua_pushstring(L, lf_element_name[e]);
        lua_rawseti(L, -2, e + 1);
    }
    lua_call(L, 1, 2);                                                   /* room, kind, new */
    lua_rawseti(L, -3, LF_ROOM_NEW);
    lua_rawseti(L, -2, LF_ROOM_KIND);
    lua_newtable(L);
    lua_rawseti(L, -2, LF_ROOM_BY_NAME);
    /* A flow file registers its classes anew for every task: old ones must go. */
    lua_newtable(L);                                                     /* room, weak */
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawseti(L, -2, LF_ROOM_BY_METATABLE);
}

LF_RAISES void lf_codec_push_room(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, LF_CODEC_ROOM);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    make_room(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, LF_CODEC_ROOM);
}

LF_RAISES void lf_codec_prepare(lua_State *L)
{
    lf_codec_push_room(L);
    lua_pop(L, 1);
}

LF_RAISES void lf_codec_register(lua_State *L, const char *name)
{
    luaL_checkstack(L, 4, "codec");
    lf_codec_push_room(L);                                               /* mt, room */
    lua_rawgeti(L, -1, LF_ROOM_BY_METATABLE);                            /* mt, room, names */
    lua_pushvalue(L, -3);
    lua_pushstring(L, name);
    lua_rawset(L, -3);
    lua_rawgeti(L, -2, LF_ROOM_BY_NAME);                                 /* …, names, classes */
    lua_pushstring(L, name);
    lua_pushvalue(L, -5);
    lua_rawset(L, -3);
    lua_pop(L, 4);
}

LF_RAISES void lf_codec_registered(lua_State *L, const char *name)
{
    luaL_checkstack(L, 3, "codec");
    lf_codec_push_room(L);
    lua_rawgeti(L, -1, LF_ROOM_BY_NAME);                                 /* room, classes */
    lua_getfield(L, -1, name);
    lua_insert(L, -3);
    lua_pop(L, 2);
}

LF_RAISES void lf_codec_class(lua_State *L)
{
    luaL_checkstack(L, 3, "codec");
    lf_codec_push_room(L);
    lua_rawgeti(L, -1, LF_ROOM_BY_METATABLE);                            /* mt, room, names */
    lua_pushvalue(L, -3);
    lua_rawget(L, -2);
    lua_replace(L, -4);
    lua_pop(L, 2);
}

LF_RAISES void lf_codec_unregister(lua_State *L, const char *name)
{
    luaL_checkstack(L, 4, "codec");
    lf_codec_push_room(L);
    lua_rawgeti(L, -1, LF_ROOM_BY_METATABLE);
    lf_codec_registered(L, name);                                        /* room, names, mt */
    if (!lua_isnil(L, -1)) {
        lua_pushnil(L);
        lua_rawset(L, -3);
        lua_rawgeti(L, -2, LF_ROOM_BY_NAME);
        lua_pushnil(L);
        lua_setfield(L, -2, name);
    }
    lua_pop(L, 3);
}
