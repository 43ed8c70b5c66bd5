/* codec.c -- what a state keeps for the codec, and the writing of values.
 * Knows nothing of LMDB or threads; a state's own thread only. */
#include "codec_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "FFI arrays are stored as they lie in memory: little-endian machines only"
#endif

enum { TYPE_CDATA = 10 }; /* lua_type() of cdata, which lua.h does not name */

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
    lua_getfield(L, LUA_REGISTRYINDEX, LF_CODEC_ROOM);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    make_room(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, LF_CODEC_ROOM);
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

/* ---- writing single values ---- */

/* Writes `head` and `width` bytes of `v`, big-endian. */
static void put_headed(lf_bytes *out, uint8_t head, uint64_t v, unsigned width)
{
    uint8_t *to = lf_bytes_reserve(out, 9);
    if (to == NULL)
        return;
    to[0] = head;
    for (unsigned i = width; i > 0; i--, v >>= 8)
        to[i] = (uint8_t)v;
    out->size += 1 + width;
}

void lf_codec_put_number(lf_bytes *out, double n)
{
    if (lf_is_integer(n)) {
        int64_t i = (int64_t)n;
        if (i >= -32 && i <= 127)          lf_bytes_put_u8(out, (uint8_t)i);
        else if (i >= 0 && i <= UINT8_MAX)  put_headed(out, 0xcc, (uint64_t)i, 1);
        else if (i >= 0 && i <= UINT16_MAX) put_headed(out, 0xcd, (uint64_t)i, 2);
        else if (i >= 0 && i <= UINT32_MAX) put_headed(out, 0xce, (uint64_t)i, 4);
        else if (i >= 0)                    put_headed(out, 0xcf, (uint64_t)i, 8);
        else if (i >= INT8_MIN)             put_headed(out, 0xd0, (uint64_t)i, 1);
        else if (i >= INT16_MIN)            put_headed(out, 0xd1, (uint64_t)i, 2);
        else if (i >= INT32_MIN)            put_headed(out, 0xd2, (uint64_t)i, 4);
        else                                put_headed(out, 0xd3, (uint64_t)i, 8);
        return;
    }
    uint64_t bits;
    memcpy(&bits, &n, sizeof bits);
    put_headed(out, 0xcb, isnan(n) ? LF_NAN_DOUBLE : bits, 8);
}

void lf_codec_put_string(lf_bytes *out, const char *s, size_t size)
{
    if (lf_is_utf8(lf_slice_of(s, size))) {
        if (size <= 31)              lf_bytes_put_u8(out, (uint8_t)(0xa0 | size));
        else if (size <= UINT8_MAX)  put_headed(out, 0xd9, size, 1);
        else if (size <= UINT16_MAX) put_headed(out, 0xda, size, 2);
        else                         put_headed(out, 0xdb, size, 4);
    } else {
        if (size <= UINT8_MAX)       put_headed(out, 0xc4, size, 1);
        else if (size <= UINT16_MAX) put_headed(out, 0xc5, size, 2);
        else                         put_headed(out, 0xc6, size, 4);
    }
    lf_bytes_put(out, s, size);
}

static void put_count(lf_bytes *out, bool list, size_t n)
{
    if (n <= 15)              lf_bytes_put_u8(out, (uint8_t)((list ? 0x90 : 0x80) | n));
    else if (n <= UINT16_MAX) put_headed(out, list ? 0xdc : 0xde, n, 2);
    else                      put_headed(out, list ? 0xdd : 0xdf, n, 4);
}

static void put_ext(lf_bytes *out, uint8_t ext, size_t size)
{
    switch (size) {
    case 1:  lf_bytes_put_u8(out, 0xd4); break;
    case 2:  lf_bytes_put_u8(out, 0xd5); break;
    case 4:  lf_bytes_put_u8(out, 0xd6); break;
    case 8:  lf_bytes_put_u8(out, 0xd7); break;
    case 16: lf_bytes_put_u8(out, 0xd8); break;
    default:
        if (size <= UINT8_MAX)       put_headed(out, 0xc7, size, 1);
        else if (size <= UINT16_MAX) put_headed(out, 0xc8, size, 2);
        else                         put_headed(out, 0xc9, size, 4);
    }
    lf_bytes_put_u8(out, ext);
}

/* ---- encoding ---- */

/* A table that is being written, and which of its values is. */
typedef struct frame {
    const void *table;
    int key;     /* stack index of the key; 0 in a list */
    size_t slot; /* in a list: the index */
} frame;

typedef struct encoder {
    lua_State *L;
    lf_bytes *out;
    lf_bytes entries; /* a stack of `struct entry`, of all maps that are open */
    const char *name;
    luaflow_error *err;
    int room;         /* stack index of the registry's table */
    bool has_unknown; /* it has plain tables that stand for instances */
    size_t depth;
    frame frames[LF_DEPTH_MAX];
} encoder;

static void put_key_path(lf_bytes *path, lua_State *L, int key)
{
    if (lua_type(L, key) == LUA_TBOOLEAN) {
        lf_bytes_printf(path, "[%s]", lua_toboolean(L, key) ? "true" : "false");
        return;
    }
    if (lua_type(L, key) == LUA_TNUMBER) {
        lf_bytes_printf(path, "[%.14g]", lua_tonumber(L, key));
        return;
    }
    enum { SHOWN = 60 };
    size_t size, letters = 0;
    const char *s = lua_tolstring(L, key, &size);
    while (letters < size && (s[letters] == '_' || (s[letters] >= 'a' && s[letters] <= 'z') ||
                              (s[letters] >= 'A' && s[letters] <= 'Z') ||
                              (letters > 0 && s[letters] >= '0' && s[letters] <= '9')))
        letters++;
    if (letters == size && size > 0 && size <= SHOWN) {
        lf_bytes_printf(path, ".%s", s);
        return;
    }
    bool utf8 = lf_is_utf8(lf_slice_of(s, size));
    size_t shown = size;
    if (size > SHOWN)
        for (shown = SHOWN; utf8 && ((uint8_t)s[shown] & 0xc0) == 0x80; shown--) {}
    lf_bytes_printf(path, "[\"");
    for (size_t i = 0; i < shown; i++) {
        uint8_t c = (uint8_t)s[i];
        if (c == '"' || c == '\\')
            lf_bytes_printf(path, "\\%c", c);
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
            lf_bytes_printf(path, "\\%03u", c);
        else
            lf_bytes_put_u8(path, c);
    }
    lf_bytes_printf(path, "%s\"]", shown < size ? "…" : "");
}

/* model.layers[3].act, `depth` keys long. */
static void put_path(const encoder *e, size_t depth, lf_bytes *path)
{
    enum { HEAD = 10, TAIL = 10 };
    lf_bytes_printf(path, "%s", e->name);
    for (size_t i = 0; i < depth; i++) {
        if (depth > HEAD + TAIL && i == HEAD) {
            lf_bytes_printf(path, " … ");
            i = depth - TAIL;
        }
        if (e->frames[i].key != 0)
            put_key_path(path, e->L, e->frames[i].key);
        else
            lf_bytes_printf(path, "[%zu]", e->frames[i].slot);
    }
}

#define UNSTORABLE "artifact '%s' cannot be stored: "

/* Fails with the path of `depth` keys, what is the matter there, and, where that
 * names another table, its path of `other` keys. */
static int refuse(encoder *e, size_t depth, const char *what, size_t other)
{
    lf_bytes text = {0};
    put_path(e, depth, &text);
    lf_bytes_printf(&text, " %s", what);
    if (other != SIZE_MAX) {
        lf_bytes_put_u8(&text, ' ');
        put_path(e, other, &text);
    }
    const char *sentence = lf_bytes_cstr(&text);
    int rc = LUAFLOW_ENOMEM;
    if (sentence == NULL)
        lf_fail_memory(e->err);
    else
        rc = lf_fail(e->err, LUAFLOW_EVALUE, UNSTORABLE "%s", e->name, sentence);
    lf_bytes_fini(&text);
    return rc;
}

static int refuse_value(encoder *e, const char *what)
{
    return refuse(e, e->depth, what, SIZE_MAX);
}

static int encode_value(encoder *e);

/* An entry of a map, as it lies in `out`. */
typedef struct entry {
    size_t at, size, key_size;
} entry;

static lf_slice key_of(const lf_bytes *out, const entry *e)
{
    return lf_slice_of(out->data + e->at, e->key_size);
}

static int compare_entries(const void *a, const void *b, void *out)
{
    return lf_compare_keys(key_of(out, a), key_of(out, b));
}

/* Puts the `n` entries at the end of `out` into the order of their keys. */
static void sort_entries(lf_bytes *out, entry *entries, size_t n)
{
    size_t start = entries[0].at, size = out->size - start;
    uint8_t *sorted = malloc(size), *to = sorted;
    if (sorted == NULL) {
        out->failed = true;
        return;
    }
    qsort_r(entries, n, sizeof *entries, compare_entries, out);
    for (size_t i = 0; i < n; i++) {
        memcpy(to, out->data + entries[i].at, entries[i].size);
        to += entries[i].size;
    }
    memcpy(out->data + start, sorted, size);
    free(sorted);
}

/* Writes what is at `index`: a number, string or boolean, as `type` says. */
static void put_scalar(lf_bytes *out, lua_State *L, int index, int type)
{
    if (type == LUA_TNUMBER) {
        lf_codec_put_number(out, lua_tonumber(L, index));
    } else if (type == LUA_TSTRING) {
        size_t size;
        const char *s = lua_tolstring(L, index, &size);
        lf_codec_put_string(out, s, size);
    } else {
        lf_bytes_put_u8(out, lua_toboolean(L, index) ? 0xc3 : 0xc2);
    }
}

static int encode_key(encoder *e, int key)
{
    int type = lua_type(e->L, key);
    if (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TBOOLEAN) {
        char what[80];
        snprintf(what, sizeof what, "has a key that is a %s", lua_typename(e->L, type));
        return refuse(e, e->depth - 1, what, SIZE_MAX);
    }
    put_scalar(e->out, e->L, key, type);
    return LUAFLOW_OK;
}

static int encode_map(encoder *e, size_t n)
{
    lua_State *L = e->L;
    frame *f = &e->frames[e->depth - 1];
    int table = lua_gettop(L);
    size_t mark = e->entries.size, written = 0;
    bool sorted = true;
    put_count(e->out, false, n);
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1), written++) {
        f->key = table + 1;
        entry now = {.at = e->out->size};
        int rc = encode_key(e, f->key);
        if (rc == LUAFLOW_OK) {
            now.key_size = e->out->size - now.at;
            rc = encode_value(e);
        }
        if (rc != LUAFLOW_OK)
            return rc;
        if (e->out->failed || e->entries.failed)
            return lf_fail_memory(e->err);
        now.size = e->out->size - now.at;
        if (sorted && written > 0) {
            entry last;
            memcpy(&last, e->entries.data + e->entries.size - sizeof last, sizeof last);
            sorted = lf_compare_keys(key_of(e->out, &last), key_of(e->out, &now)) < 0;
        }
        lf_bytes_put(&e->entries, &now, sizeof now);
    }
    f->key = 0;
    if (written != n)
        return refuse(e, e->depth - 1, "changed while it was stored", SIZE_MAX);
    if (!sorted && !e->entries.failed)
        sort_entries(e->out, (entry *)(void *)(e->entries.data + mark), n);
    e->entries.size = mark;
    return LUAFLOW_OK;
}

static int encode_list(encoder *e, size_t n)
{
    lua_State *L = e->L;
    frame *f = &e->frames[e->depth - 1];
    int table = lua_gettop(L);
    put_count(e->out, true, n);
    for (size_t i = 1; i <= n; i++) {
        f->slot = i;
        lua_rawgeti(L, table, (int)i);
        int rc = lua_isnil(L, -1) ? refuse_value(e, "changed while it was stored")
                                  : encode_value(e);
        if (rc != LUAFLOW_OK)
            return rc;
        lua_pop(L, 1);
    }
    return LUAFLOW_OK;
}

/* Writes the table at the top if it is a list of nothing but single values, in one
 * walk; else writes nothing and returns false. */
static bool encode_flat_list(encoder *e)
{
    lua_State *L = e->L;
    int table = lua_gettop(L);
    size_t n = 0, border = lua_objlen(L, table), start = e->out->size;
    if (border == 0)
        return false;
    put_count(e->out, true, border);
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        int type = lua_type(L, table + 2);
        if (lua_type(L, table + 1) != LUA_TNUMBER || lua_tonumber(L, table + 1) != (double)++n ||
            (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TBOOLEAN)) {
            lua_settop(L, table);
            n = SIZE_MAX;
            break;
        }
        put_scalar(e->out, L, table + 2, type);
    }
    if (n == border)
        return true;
    e->out->size = start;
    return false;
}

/* The entries of the table at the top, and whether their keys are 1..n: `#` alone
 * would call a table with holes or other keys a list. */
static size_t count_entries(lua_State *L, bool *list)
{
    int table = lua_gettop(L);
    size_t n = 0, border = lua_objlen(L, table);
    bool all = true;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1), n++) {
        if (all && lua_type(L, table + 1) == LUA_TNUMBER) {
            double key = lua_tonumber(L, table + 1);
            all = key >= 1 && key <= (double)border && key == (double)(int64_t)key;
        } else {
            all = false;
        }
    }
    *list = all && n == border;
    return n;
}

static int encode_plain_table(encoder *e)
{
    if (e->depth == LF_DEPTH_MAX) {
        char what[80];
        snprintf(what, sizeof what, "is nested more than %d tables deep", LF_DEPTH_MAX);
        return refuse_value(e, what);
    }
    const void *self = lua_topointer(e->L, -1);
    for (size_t i = 0; i < e->depth; i++)
        if (e->frames[i].table == self)
            return refuse(e, e->depth, "refers back to", i);
    if (encode_flat_list(e))
        return LUAFLOW_OK;
    e->frames[e->depth] = (frame){.table = self};
    e->depth++;
    bool list;
    size_t n = count_entries(e->L, &list);
    int rc = list ? encode_list(e, n) : encode_map(e, n);
    e->depth--;
    return rc;
}

/* Puts the header of an ext in front of what was written from `start` on. */
static int wrap_ext(encoder *e, uint8_t ext, size_t start)
{
    lf_bytes *out = e->out;
    size_t size = out->size - start;
    if (size > UINT32_MAX)
        return refuse_value(e, "is an object of 4 GiB or more");
    put_ext(out, ext, size);
    if (out->failed)
        return lf_fail_memory(e->err);
    uint8_t header[8];
    size_t header_size = out->size - start - size;
    memcpy(header, out->data + start + size, header_size);
    memmove(out->data + start + header_size, out->data + start, size);
    memcpy(out->data + start, header, header_size);
    return LUAFLOW_OK;
}

static int encode_table(encoder *e)
{
    lua_State *L = e->L;
    bool has_metatable = lua_getmetatable(L, -1);
    if (!has_metatable && !e->has_unknown)
        return encode_plain_table(e);
    if (!has_metatable)
        lua_pushvalue(L, -1);
    lua_rawgeti(L, e->room, has_metatable ? LF_ROOM_BY_METATABLE : LF_ROOM_UNKNOWN);
    lua_insert(L, -2);                                                   /* names, mt or table */
    lua_rawget(L, -2);                                                   /* names, name */
    size_t size, start = e->out->size;
    const char *class = lua_tolstring(L, -1, &size);
    if (class != NULL)
        lf_codec_put_string(e->out, class, size);
    lua_pop(L, 2);
    if (class == NULL && !has_metatable)
        return encode_plain_table(e);
    if (class == NULL)
        return refuse_value(e, "is a table with a metatable; luaflow.register can make its class "
                               "known");
    int rc = encode_plain_table(e);
    return rc == LUAFLOW_OK ? wrap_ext(e, LF_EXT_CLASS, start) : rc;
}

static int encode_cdata(encoder *e)
{
    lua_State *L = e->L;
    const uint8_t *data = lua_topointer(L, -1);
    lua_rawgeti(L, e->room, LF_ROOM_KIND);
    lua_pushvalue(L, -2);
    int rc = lua_pcall(L, 1, 2, 0);
    if (rc != 0) { /* memory ran out, or a finalizer that was due failed */
        const char *why = lua_tostring(L, -1);
        rc = rc == LUA_ERRMEM ? lf_fail_memory(e->err)
                              : lf_fail(e->err, LUAFLOW_EVALUE, UNSTORABLE "%s", e->name,
                                        why != NULL ? why : "a finalizer failed");
        lua_pop(L, 1);
        return rc;
    }
    char what[200];
    uint8_t ext = (uint8_t)lua_tointeger(L, -2);
    double size = lua_tonumber(L, -1);
    if (ext == 0)
        snprintf(what, sizeof what, "is a %s", lua_tostring(L, -1));
    lua_pop(L, 2);
    if (ext == 0)
        return refuse_value(e, what);
    if (size > UINT32_MAX)
        return refuse_value(e, "is an FFI array of 4 GiB or more");
    put_ext(e->out, ext, (size_t)size);
    uint8_t *to = lf_bytes_reserve(e->out, (size_t)size);
    if (to == NULL)
        return lf_fail_memory(e->err);
    lf_copy_elements(lf_is_array_ext(ext) ? ext - LF_EXT_ARRAY : LF_ELEMENT_INT64, to, data,
                     (size_t)size);
    e->out->size += (size_t)size;
    return LUAFLOW_OK;
}

/* Writes the value at the top of the stack and leaves it there. */
static int encode_value(encoder *e)
{
    int type = lua_type(e->L, -1);
    switch (type) {
    case LUA_TNIL:
        lf_bytes_put_u8(e->out, 0xc0);
        return LUAFLOW_OK;
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
    case LUA_TSTRING:
        put_scalar(e->out, e->L, -1, type);
        return LUAFLOW_OK;
    case LUA_TTABLE:
        return encode_table(e);
    case TYPE_CDATA:
        return encode_cdata(e);
    case LUA_TTHREAD:
        return refuse_value(e, "is a coroutine");
    case LUA_TFUNCTION:
        return refuse_value(e, "is a function");
    default:
        return refuse_value(e, "is a userdata");
    }
}

LF_RAISES int lf_codec_encode(lua_State *L, int index, const char *name, lf_bytes *out,
                              luaflow_error *err)
{
    /* All that may raise is done before the first allocation: two slots for each
     * open table, and some for a metatable or a call. */
    int type = lua_type(L, index), top = lua_gettop(L);
    bool is_deep = type == LUA_TTABLE || type == TYPE_CDATA;
    if (!lua_checkstack(L, is_deep ? 2 * LF_DEPTH_MAX + 8 : 2))
        return lf_fail(err, LUAFLOW_EVALUE, UNSTORABLE "no room on Lua's stack", name);
    encoder e;
    memset(&e, 0, offsetof(encoder, frames));
    e.L = L;
    e.out = out;
    e.name = name;
    e.err = err;
    size_t start = out->size;
    lua_pushvalue(L, index);
    if (is_deep) {
        lf_codec_push_room(L);
        lua_insert(L, -2);
        e.room = lua_gettop(L) - 1;
        lua_rawgeti(L, e.room, LF_ROOM_UNKNOWN);
        e.has_unknown = !lua_isnil(L, -1);
        lua_pop(L, 1);
    }
    int rc = encode_value(&e);
    if (rc == LUAFLOW_OK && (out->failed || e.entries.failed))
        rc = lf_fail_memory(err);
    if (rc != LUAFLOW_OK)
        out->size = start;
    lf_bytes_fini(&e.entries);
    lua_settop(L, top);
    return rc;
}

/* ---- elements of lists ---- */

static void put_element(lf_bytes *out, unsigned element, const uint8_t *at)
{
    switch (element) {
#define CASE(e, type) case e: { type v; memcpy(&v, at, sizeof v); lf_codec_put_number(out, v); return; }
    CASE(0, int8_t)
    CASE(1, uint8_t)
    CASE(2, int16_t)
    CASE(3, uint16_t)
    CASE(4, int32_t)
    CASE(5, uint32_t)
    CASE(LF_ELEMENT_FLOAT, float)
    CASE(LF_ELEMENT_DOUBLE, double)
#undef CASE
    default: /* as indexing the array would give it */
        put_ext(out, element == LF_ELEMENT_INT64 ? LF_EXT_INT64 : LF_EXT_UINT64, 8);
        lf_bytes_put(out, at, 8);
    }
}

void lf_list_put(lf_bytes *out, const lf_list *list, uint64_t i)
{
    switch (list->kind) {
    case LF_LIST_ARRAY: {
        uint64_t at = list->offsets[i - 1];
        lf_bytes_put(out, list->bytes.data + at, (size_t)(list->offsets[i] - at));
        break;
    }
    case LF_LIST_NUMBERS: {
        size_t width = lf_element_size[list->element];
        const uint8_t *first = list->bytes.data + list->bytes.size - (size_t)list->size * width;
        put_element(out, list->element, first + (i - 1) * width);
        break;
    }
    case LF_LIST_RANGE:
        lf_codec_put_number(out, (double)i);
        break;
    }
}
