/* codec.c -- one Lua value and one run of canonical bytes.
 * Knows nothing of LMDB or threads; a state's own thread only.
 *
 * Decoding goes over the bytes twice: `check` reads them with suspicion and without
 * a state, so that nothing is allocated for bytes that lie about their size; `build`
 * then makes the value and trusts them. */
#include "codec.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "FFI arrays are stored as they lie in memory: little-endian machines only"
#endif

enum { TYPE_CDATA = 10 }; /* lua_type() of cdata, which lua.h does not name */

enum { EXT_INT64 = 1, EXT_UINT64 = 2, EXT_CLASS = 3, EXT_ARRAY = 16 };
enum { ELEMENT_INT64 = 6, ELEMENT_UINT64 = 7, ELEMENT_FLOAT = 8, ELEMENT_DOUBLE = 9, ELEMENTS };

static const uint8_t element_size[ELEMENTS] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
static const char *const element_name[ELEMENTS] = {"int8_t",   "uint8_t", "int16_t", "uint16_t",
                                                   "int32_t",  "uint32_t", "int64_t", "uint64_t",
                                                   "float",    "double"};

static const uint64_t NAN_DOUBLE = UINT64_C(0x7ff8000000000000);
static const uint32_t NAN_FLOAT = UINT32_C(0x7fc00000);
static const double WHOLE_MAX = 9007199254740992.0; /* 2^53 */

static bool is_array_ext(unsigned ext) { return ext >= EXT_ARRAY && ext < EXT_ARRAY + ELEMENTS; }

/* ---- what a state keeps ---- */

/* The registry's table for us, and its slots. */
#define ROOM "luaflow.codec"
enum { ROOM_KIND = 1, ROOM_NEW, ROOM_BY_NAME, ROOM_BY_METATABLE };

/* Returns kind(cdata) -> ext, size or nil, what it is; and new(ext, n) -> cdata. */
static const char ffi_helper[] =
    "local elements = ...\n"
    "local ffi = require('ffi')\n"
    "local typeof, sizeof, new, tostring, tonumber = ffi.typeof, ffi.sizeof, ffi.new, tostring, tonumber\n"
    "local match, gsub = string.match, string.gsub\n"
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

LF_RAISES void lf_codec_prepare(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, ROOM);
    if (!lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    luaL_checkstack(L, 5, "codec");
    lua_createtable(L, 4, 0);                                            /* room */
    if (luaL_loadbuffer(L, ffi_helper, sizeof ffi_helper - 1, "=luaflow/codec") != 0)
        lua_error(L);
    lua_createtable(L, ELEMENTS, 0);                                     /* room, chunk, names */
    for (int e = 0; e < ELEMENTS; e++) {
        lua_pushstring(L, element_name[e]);
        lua_rawseti(L, -2, e + 1);
    }
    lua_call(L, 1, 2);                                                   /* room, kind, new */
    lua_rawseti(L, -3, ROOM_NEW);
    lua_rawseti(L, -2, ROOM_KIND);
    lua_newtable(L);
    lua_rawseti(L, -2, ROOM_BY_NAME);
    /* A flow file registers its classes anew for every task: old ones must go. */
    lua_newtable(L);                                                     /* room, weak */
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawseti(L, -2, ROOM_BY_METATABLE);
    lua_setfield(L, LUA_REGISTRYINDEX, ROOM);
}

LF_RAISES void lf_codec_register(lua_State *L, const char *name)
{
    luaL_checkstack(L, 4, "codec");
    lua_getfield(L, LUA_REGISTRYINDEX, ROOM);                            /* mt, room */
    assert(lua_istable(L, -1));
    lua_rawgeti(L, -1, ROOM_BY_METATABLE);                               /* mt, room, names */
    lua_pushvalue(L, -3);
    lua_pushstring(L, name);
    lua_rawset(L, -3);
    lua_rawgeti(L, -2, ROOM_BY_NAME);                                    /* …, names, classes */
    lua_pushstring(L, name);
    lua_pushvalue(L, -5);
    lua_rawset(L, -3);
    lua_pop(L, 4);
}

/* ---- UTF-8 and NaN ---- */

/* Strict: no surrogates, nothing overlong, nothing past U+10FFFF. */
static bool is_utf8(const uint8_t *s, size_t size)
{
    const uint8_t *end = s + size;
    while (s < end) {
        uint64_t eight;
        if (end - s >= 8 && (memcpy(&eight, s, 8), (eight & UINT64_C(0x8080808080808080)) == 0)) {
            s += 8;
            continue;
        }
        uint8_t head = *s++;
        if (head < 0x80)
            continue;
        int more;
        uint8_t low = 0x80, high = 0xbf; /* of the byte after the head */
        if (head >= 0xc2 && head <= 0xdf) {
            more = 1;
        } else if (head >= 0xe0 && head <= 0xef) {
            more = 2;
            if (head == 0xe0) low = 0xa0;
            if (head == 0xed) high = 0x9f;
        } else if (head >= 0xf0 && head <= 0xf4) {
            more = 3;
            if (head == 0xf0) low = 0x90;
            if (head == 0xf4) high = 0x8f;
        } else {
            return false;
        }
        if (end - s < more)
            return false;
        for (; more > 0; more--, s++) {
            if (*s < low || *s > high)
                return false;
            low = 0x80;
            high = 0xbf;
        }
    }
    return true;
}

/* Element i of what may lie unaligned. */
static double double_at(const uint8_t *data, size_t i)
{
    double v;
    memcpy(&v, data + i * sizeof v, sizeof v);
    return v;
}

static float float_at(const uint8_t *data, size_t i)
{
    float v;
    memcpy(&v, data + i * sizeof v, sizeof v);
    return v;
}

/* Whether any of these elements is a NaN: a loop without a way out, so that it
 * runs at the speed of memory. */
static bool has_nan(unsigned element, const uint8_t *data, size_t size)
{
    unsigned found = 0;
    if (element == ELEMENT_DOUBLE) {
        for (size_t i = 0; i < size / sizeof(double); i++)
            found |= double_at(data, i) != double_at(data, i);
    } else {
        for (size_t i = 0; i < size / sizeof(float); i++)
            found |= float_at(data, i) != float_at(data, i);
    }
    return found != 0;
}

/* Calls every NaN of `size` bytes the one NaN; tells whether that changed any. */
static bool settle_nans(unsigned element, uint8_t *data, size_t size)
{
    bool changed = false;
    if (element == ELEMENT_DOUBLE) {
        for (size_t i = 0; i < size / sizeof(double); i++)
            if (isnan(double_at(data, i)) && memcmp(data + i * 8, &NAN_DOUBLE, 8) != 0) {
                memcpy(data + i * 8, &NAN_DOUBLE, 8);
                changed = true;
            }
    } else {
        for (size_t i = 0; i < size / sizeof(float); i++)
            if (isnan(float_at(data, i)) && memcmp(data + i * 4, &NAN_FLOAT, 4) != 0) {
                memcpy(data + i * 4, &NAN_FLOAT, 4);
                changed = true;
            }
    }
    return changed;
}

enum { BLOCK = 4096 }; /* is still in the first cache when it is looked at again */

static bool is_floating(unsigned element)
{
    return element == ELEMENT_FLOAT || element == ELEMENT_DOUBLE;
}

/* Copies elements, every NaN as the one NaN. */
static void copy_elements(unsigned element, uint8_t *to, const uint8_t *from, size_t size)
{
    if (!is_floating(element)) {
        memcpy(to, from, size);
        return;
    }
    for (size_t at = 0; at < size; at += BLOCK) {
        size_t n = size - at < BLOCK ? size - at : BLOCK;
        memcpy(to + at, from + at, n);
        if (has_nan(element, to + at, n))
            settle_nans(element, to + at, n);
    }
}

/* Whether every NaN is the one NaN. */
static bool nans_are_settled(unsigned element, const uint8_t *data, size_t size)
{
    if (!is_floating(element))
        return true;
    for (size_t at = 0; at < size; at += BLOCK) {
        size_t n = size - at < BLOCK ? size - at : BLOCK;
        if (has_nan(element, data + at, n)) {
            uint8_t copy[BLOCK];
            memcpy(copy, data + at, n);
            if (settle_nans(element, copy, n))
                return false;
        }
    }
    return true;
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

static void put_number(lf_bytes *out, double n)
{
    if (n >= -WHOLE_MAX && n <= WHOLE_MAX && n == (double)(int64_t)n && !(n == 0 && signbit(n))) {
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
    put_headed(out, 0xcb, isnan(n) ? NAN_DOUBLE : bits, 8);
}

static void put_string(lf_bytes *out, const char *s, size_t size)
{
    if (is_utf8((const uint8_t *)s, size)) {
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
    bool utf8 = is_utf8((const uint8_t *)s, size);
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
    int rc = sentence == NULL ? lf_fail_memory(e->err)
                              : lf_fail(e->err, LUAFLOW_EVALUE, "artifact '%s' cannot be stored: %s",
                                        e->name, sentence);
    lf_bytes_fini(&text);
    return rc;
}

static int refuse_value(encoder *e, const char *what) { return refuse(e, e->depth, what, SIZE_MAX); }

static int encode_value(encoder *e);

/* An entry of a map, as it lies in `out`. */
typedef struct entry {
    size_t at, size, key_size;
} entry;

/* MessagePack's values are no beginnings of each other: the shorter size decides all. */
static int compare_keys(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    return memcmp(a, b, a_size < b_size ? a_size : b_size);
}

static int compare_entries(const void *a, const void *b, void *data)
{
    const entry *x = a, *y = b;
    const uint8_t *base = data;
    return compare_keys(base + x->at, x->key_size, base + y->at, y->key_size);
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
    qsort_r(entries, n, sizeof *entries, compare_entries, out->data);
    for (size_t i = 0; i < n; i++) {
        memcpy(to, out->data + entries[i].at, entries[i].size);
        to += entries[i].size;
    }
    memcpy(out->data + start, sorted, size);
    free(sorted);
}

static int encode_key(encoder *e, int key)
{
    lua_State *L = e->L;
    switch (lua_type(L, key)) {
    case LUA_TSTRING: {
        size_t size;
        const char *s = lua_tolstring(L, key, &size);
        put_string(e->out, s, size);
        return LUAFLOW_OK;
    }
    case LUA_TNUMBER:
        put_number(e->out, lua_tonumber(L, key));
        return LUAFLOW_OK;
    case LUA_TBOOLEAN:
        lf_bytes_put_u8(e->out, lua_toboolean(L, key) ? 0xc3 : 0xc2);
        return LUAFLOW_OK;
    default: {
        char what[80];
        snprintf(what, sizeof what, "has a key that is a %s", lua_typename(L, lua_type(L, key)));
        return refuse(e, e->depth - 1, what, SIZE_MAX);
    }
    }
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
            sorted = compare_keys(e->out->data + last.at, last.key_size, e->out->data + now.at,
                                  now.key_size) < 0;
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
        lua_rawgeti(L, table, (int)i);
        if (lua_type(L, -1) == LUA_TNUMBER) {
            put_number(e->out, lua_tonumber(L, -1));
        } else {
            f->slot = i;
            int rc = lua_isnil(L, -1) ? refuse_value(e, "changed while it was stored")
                                      : encode_value(e);
            if (rc != LUAFLOW_OK)
                return rc;
        }
        lua_pop(L, 1);
    }
    return LUAFLOW_OK;
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
    if (!lua_getmetatable(L, -1))
        return encode_plain_table(e);
    lua_rawgeti(L, e->room, ROOM_BY_METATABLE);                          /* mt, names */
    lua_insert(L, -2);
    lua_rawget(L, -2);                                                   /* names, name */
    size_t size, start = e->out->size;
    const char *class = lua_tolstring(L, -1, &size);
    if (class != NULL)
        put_string(e->out, class, size);
    lua_pop(L, 2);
    if (class == NULL)
        return refuse_value(e, "is a table with a metatable; luaflow.register can make its class "
                               "known");
    int rc = encode_plain_table(e);
    return rc == LUAFLOW_OK ? wrap_ext(e, EXT_CLASS, start) : rc;
}

static int encode_cdata(encoder *e)
{
    lua_State *L = e->L;
    const uint8_t *data = lua_topointer(L, -1);
    lua_rawgeti(L, e->room, ROOM_KIND);
    lua_pushvalue(L, -2);
    int rc = lua_pcall(L, 1, 2, 0);
    if (rc != 0) { /* memory ran out, or a finalizer that was due failed */
        const char *why = lua_tostring(L, -1);
        rc = rc == LUA_ERRMEM ? lf_fail_memory(e->err)
                              : lf_fail(e->err, LUAFLOW_EVALUE,
                                        "artifact '%s' cannot be stored: %s", e->name,
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
    copy_elements(is_array_ext(ext) ? ext - EXT_ARRAY : ELEMENT_INT64, to, data, (size_t)size);
    e->out->size += (size_t)size;
    return LUAFLOW_OK;
}

/* Writes the value at the top of the stack and leaves it there. */
static int encode_value(encoder *e)
{
    lua_State *L = e->L;
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        lf_bytes_put_u8(e->out, 0xc0);
        return LUAFLOW_OK;
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
    case LUA_TSTRING:
        return encode_key(e, lua_gettop(L));
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
        return lf_fail(err, LUAFLOW_EVALUE, "artifact '%s' cannot be stored: no room on Lua's stack",
                       name);
    encoder e;
    memset(&e, 0, offsetof(encoder, frames));
    e.L = L;
    e.out = out;
    e.name = name;
    e.err = err;
    size_t start = out->size;
    lua_pushvalue(L, index);
    if (is_deep) {
        lua_getfield(L, LUA_REGISTRYINDEX, ROOM);
        assert(lua_istable(L, -1));
        lua_insert(L, -2);
        e.room = lua_gettop(L) - 1;
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

/* ---- reading single values ---- */

typedef enum token_kind { NIL, BOOLEAN, NUMBER, STRING, BINARY, LIST, MAP, EXT } token_kind;

/* One value's head, and its content where it is not made of values. */
typedef struct token {
    token_kind kind;
    uint8_t ext;
    double number;  /* or the boolean */
    size_t count;   /* of a list or map */
    lf_slice bytes; /* of a string or ext */
} token;

static uint64_t read_uint(lf_reader *in, unsigned width)
{
    lf_slice s = lf_read(in, width);
    uint64_t v = 0;
    for (size_t i = 0; i < s.size; i++)
        v = v << 8 | s.data[i];
    return v;
}

static const char *const OVERLONG = "not the shortest form";

/* A length of `width` bytes, of which a shorter form holds what is below `least`. */
static const char *read_length(lf_reader *in, unsigned width, uint64_t least, uint64_t *n)
{
    *n = read_uint(in, width);
    return *n < least ? OVERLONG : NULL;
}

static const char *read_unsigned(lf_reader *in, unsigned width, token *t)
{
    static const uint64_t least[] = {[1] = 128, [2] = 1 << 8, [4] = 1 << 16, [8] = UINT64_C(1) << 32};
    uint64_t v;
    const char *why = read_length(in, width, least[width], &v);
    if (why == NULL && v > (uint64_t)1 << 53)
        why = "an integer past 2^53";
    t->kind = NUMBER;
    t->number = (double)v;
    return why;
}

static const char *read_signed(lf_reader *in, unsigned width, token *t)
{
    static const int64_t below[] = {[1] = -32, [2] = INT8_MIN, [4] = INT16_MIN, [8] = INT32_MIN};
    unsigned unused = 64 - 8 * width;
    int64_t v = (int64_t)(read_uint(in, width) << unused) >> unused;
    t->kind = NUMBER;
    t->number = (double)v;
    if (v < -((int64_t)1 << 53))
        return "an integer past 2^53";
    return v >= below[width] ? OVERLONG : NULL;
}

static const char *read_float64(lf_reader *in, token *t)
{
    uint64_t bits = read_uint(in, 8);
    double v;
    memcpy(&v, &bits, sizeof v);
    t->kind = NUMBER;
    t->number = v;
    if (isnan(v))
        return bits != NAN_DOUBLE ? "a second form of nan" : NULL;
    bool is_whole = v >= -WHOLE_MAX && v <= WHOLE_MAX && v == (double)(int64_t)v;
    return is_whole && !(v == 0 && signbit(v)) ? "a whole number as float" : NULL;
}

static const char *read_bytes(lf_reader *in, token_kind kind, unsigned width, uint64_t least,
                              token *t)
{
    uint64_t n;
    const char *why = read_length(in, width, least, &n);
    t->kind = kind;
    t->bytes = lf_read(in, n);
    return why;
}

static const char *read_count(lf_reader *in, token_kind kind, unsigned width, token *t)
{
    uint64_t n;
    const char *why = read_length(in, width, width == 2 ? 16 : 1 << 16, &n);
    t->kind = kind;
    t->count = (size_t)n;
    return why;
}

/* Of `width` bytes of length; 0 means that it is `size`. */
static const char *read_ext(lf_reader *in, unsigned width, uint64_t size, token *t)
{
    const char *why = NULL;
    if (width > 0) {
        why = read_length(in, width, width == 1 ? 0 : width == 2 ? 1 << 8 : 1 << 16, &size);
        if (size == 1 || size == 2 || size == 4 || size == 8 || size == 16)
            why = OVERLONG;
    }
    t->kind = EXT;
    t->ext = lf_read_u8(in);
    t->bytes = lf_read(in, size);
    return why;
}

/* Reads a head. Returns what is wrong with it, or NULL; what is cut off reads as
 * zeros and shows in `in->bad`. */
static const char *read_token(lf_reader *in, token *t)
{
    *t = (token){0};
    uint8_t head = lf_read_u8(in);
    if (head <= 0x7f || head >= 0xe0) {
        t->kind = NUMBER;
        t->number = (int8_t)head;
        return NULL;
    }
    if (head <= 0x9f) {
        t->kind = head <= 0x8f ? MAP : LIST;
        t->count = head & 0x0f;
        return NULL;
    }
    if (head <= 0xbf) {
        t->kind = STRING;
        t->bytes = lf_read(in, head & 0x1f);
        return NULL;
    }
    switch (head) {
    case 0xc0: t->kind = NIL; return NULL;
    case 0xc2:
    case 0xc3: t->kind = BOOLEAN; t->number = head & 1; return NULL;
    case 0xc4: return read_bytes(in, BINARY, 1, 0, t);
    case 0xc5: return read_bytes(in, BINARY, 2, 1 << 8, t);
    case 0xc6: return read_bytes(in, BINARY, 4, 1 << 16, t);
    case 0xc7: return read_ext(in, 1, 0, t);
    case 0xc8: return read_ext(in, 2, 0, t);
    case 0xc9: return read_ext(in, 4, 0, t);
    case 0xcb: return read_float64(in, t);
    case 0xcc: return read_unsigned(in, 1, t);
    case 0xcd: return read_unsigned(in, 2, t);
    case 0xce: return read_unsigned(in, 4, t);
    case 0xcf: return read_unsigned(in, 8, t);
    case 0xd0: return read_signed(in, 1, t);
    case 0xd1: return read_signed(in, 2, t);
    case 0xd2: return read_signed(in, 4, t);
    case 0xd3: return read_signed(in, 8, t);
    case 0xd4: return read_ext(in, 0, 1, t);
    case 0xd5: return read_ext(in, 0, 2, t);
    case 0xd6: return read_ext(in, 0, 4, t);
    case 0xd7: return read_ext(in, 0, 8, t);
    case 0xd8: return read_ext(in, 0, 16, t);
    case 0xd9: return read_bytes(in, STRING, 1, 32, t);
    case 0xda: return read_bytes(in, STRING, 2, 1 << 8, t);
    case 0xdb: return read_bytes(in, STRING, 4, 1 << 16, t);
    case 0xdc: return read_count(in, LIST, 2, t);
    case 0xdd: return read_count(in, LIST, 4, t);
    case 0xde: return read_count(in, MAP, 2, t);
    case 0xdf: return read_count(in, MAP, 4, t);
    default: return "a kind of value that is never written"; /* c1, float32 */
    }
}

/* ---- checking ---- */

/* What LuaJIT can hold. */
enum { MOST_ELEMENTS = 1 << 27, MOST_HASHED = 1 << 26, BIGGEST = 0x7fffff00 };

/* Each check returns what is wrong, or NULL, and reads past what it checked. */
static const char *check_value(lf_reader *in, unsigned depth, bool may_be_nil);

static const char *check_list(lf_reader *in, size_t count, unsigned depth)
{
    const char *why = depth < LF_DEPTH_MAX ? NULL : "nested too deep";
    if (why == NULL && (count > lf_reader_left(in) || count > MOST_ELEMENTS))
        why = "a list longer than the bytes";
    for (size_t i = 0; i < count && why == NULL; i++)
        why = check_value(in, depth + 1, false);
    return why;
}

static const char *check_key(const token *t)
{
    switch (t->kind) {
    case STRING:
    case BINARY:
    case BOOLEAN:
        return NULL;
    case NUMBER:
        if (!isnan(t->number) && !(t->number == 0 && signbit(t->number)))
            return NULL;
        /* fallthrough */
    default:
        return "a key that is no string, number or boolean";
    }
}

static const char *check_map(lf_reader *in, size_t count, unsigned depth)
{
    if (depth >= LF_DEPTH_MAX)
        return "nested too deep";
    if (count > lf_reader_left(in) / 2 || count > MOST_ELEMENTS)
        return "a map longer than the bytes";
    lf_slice last = {0};
    bool is_list = true; /* so is the empty one */
    for (size_t i = 1; i <= count; i++) {
        lf_slice key = {in->at, 0};
        token t;
        const char *why = read_token(in, &t);
        if (why == NULL && in->bad)
            why = "cut off";
        if (why == NULL)
            why = check_key(&t);
        if (why == NULL && (t.kind == STRING || t.kind == BINARY) &&
            is_utf8(t.bytes.data, t.bytes.size) != (t.kind == STRING))
            why = "a string of the wrong kind";
        key.size = (size_t)(in->at - key.data);
        if (why == NULL && i > 1 && compare_keys(last.data, last.size, key.data, key.size) >= 0)
            why = "keys out of order";
        if (why == NULL)
            why = check_value(in, depth + 1, false);
        if (why != NULL)
            return why;
        is_list = is_list && t.kind == NUMBER && t.number == (double)i;
        last = key;
    }
    return is_list ? "a list as map" : NULL;
}

static const char *check_class(lf_slice bytes, unsigned depth)
{
    lf_reader in = lf_reader_of(bytes.data, bytes.size);
    token t;
    const char *why = read_token(&in, &t);
    if (why == NULL && ((t.kind != STRING && t.kind != BINARY) ||
                        is_utf8(t.bytes.data, t.bytes.size) != (t.kind == STRING)))
        why = "a class without a name";
    if (why == NULL)
        why = read_token(&in, &t);
    if (why == NULL && t.kind != LIST && t.kind != MAP)
        why = "an object that is no table";
    if (why == NULL)
        why = t.kind == LIST ? check_list(&in, t.count, depth) : check_map(&in, t.count, depth);
    if (why == NULL && (in.bad || lf_reader_left(&in) > 0))
        why = "an object of the wrong length";
    return why;
}

static const char *check_ext(const token *t, unsigned depth)
{
    if (t->ext == EXT_INT64 || t->ext == EXT_UINT64)
        return t->bytes.size == 8 ? NULL : "a 64-bit integer of the wrong length";
    if (t->ext == EXT_CLASS)
        return check_class(t->bytes, depth);
    if (!is_array_ext(t->ext))
        return "an unknown extension";
    unsigned element = t->ext - EXT_ARRAY;
    if (t->bytes.size % element_size[element] != 0 || t->bytes.size > BIGGEST)
        return "an FFI array of the wrong length";
    return nans_are_settled(element, t->bytes.data, t->bytes.size) ? NULL : "a second form of nan";
}

static const char *check_value(lf_reader *in, unsigned depth, bool may_be_nil)
{
    token t;
    const char *why = read_token(in, &t);
    if (in->bad)
        return "cut off";
    if (why != NULL)
        return why;
    switch (t.kind) {
    case NIL:
        return may_be_nil ? NULL : "nil inside a table";
    case STRING:
    case BINARY:
        if (t.bytes.size > BIGGEST)
            return "a string longer than Lua's";
        return is_utf8(t.bytes.data, t.bytes.size) == (t.kind == STRING) ? NULL
                                                                         : "a string of the wrong kind";
    case LIST:
        return check_list(in, t.count, depth);
    case MAP:
        return check_map(in, t.count, depth);
    case EXT:
        return check_ext(&t, depth);
    default:
        return NULL;
    }
}

static int refuse_bytes(const lf_reader *in, lf_slice bytes, const char *why, luaflow_error *err)
{
    return lf_fail(err, LUAFLOW_EVALUE, "these bytes are no value: %s (at byte %zu of %zu)", why,
                   (size_t)(in->at - bytes.data), bytes.size);
}

size_t lf_codec_skip(lf_slice bytes)
{
    lf_reader in = lf_reader_of(bytes.data, bytes.size);
    return check_value(&in, 0, true) == NULL ? (size_t)(in.at - bytes.data) : 0;
}

/* ---- building ---- */

/* Pushes one of `types[ext]`; its memory is `size` bytes of `data`.  [-0, +1, raises] */
LF_RAISES static void push_cdata(lua_State *L, unsigned ext, const void *data, size_t size)
{
    lua_getfield(L, LUA_REGISTRYINDEX, ROOM);
    assert(lua_istable(L, -1));
    lua_rawgeti(L, -1, ROOM_NEW);
    lua_remove(L, -2);
    lua_pushinteger(L, (lua_Integer)ext);
    lua_pushinteger(L, is_array_ext(ext) ? (lua_Integer)(size / element_size[ext - EXT_ARRAY]) : 0);
    lua_call(L, 2, 1);
    /* The one way to a cdata's memory there is; it is ours, nobody else has seen it. */
    if (size > 0)
        memcpy((void *)(uintptr_t)lua_topointer(L, -1), data, size);
}

LF_RAISES static void build_value(lua_State *L, lf_reader *in, bool marked);

/* Gives the table at the top what makes it an instance of the class.  [-0, +0, raises] */
LF_RAISES static void set_class(lua_State *L, lf_slice class, bool marked)
{
    if (marked) {
        lua_createtable(L, 0, 1);
        lua_pushlstring(L, (const char *)class.data, class.size);
        lua_setfield(L, -2, "__luaflow_class");
        lua_setmetatable(L, -2);
        return;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, ROOM);
    assert(lua_istable(L, -1));
    lua_rawgeti(L, -1, ROOM_BY_NAME);
    lua_pushlstring(L, (const char *)class.data, class.size);
    lua_rawget(L, -2);                                                   /* table, room, classes, mt */
    if (lua_istable(L, -1))
        lua_setmetatable(L, -4);
    else
        lua_pop(L, 1);
    lua_pop(L, 2);
}

LF_RAISES static void build_value(lua_State *L, lf_reader *in, bool marked)
{
    luaL_checkstack(L, 6, "a value to decode is too deep");
    token t;
    read_token(in, &t);
    switch (t.kind) {
    case NIL:
        lua_pushnil(L);
        return;
    case BOOLEAN:
        lua_pushboolean(L, t.number != 0);
        return;
    case NUMBER:
        lua_pushnumber(L, t.number);
        return;
    case STRING:
    case BINARY:
        lua_pushlstring(L, (const char *)t.bytes.data, t.bytes.size);
        return;
    case LIST:
        lua_createtable(L, (int)t.count, 0);
        for (size_t i = 1; i <= t.count; i++) {
            build_value(L, in, marked);
            lua_rawseti(L, -2, (int)i);
        }
        return;
    case MAP:
        lua_createtable(L, 0, t.count < MOST_HASHED ? (int)t.count : MOST_HASHED);
        for (size_t i = 0; i < t.count; i++) {
            build_value(L, in, marked);
            build_value(L, in, marked);
            lua_rawset(L, -3);
        }
        return;
    case EXT:
        if (t.ext == EXT_CLASS) {
            lf_reader inside = lf_reader_of(t.bytes.data, t.bytes.size);
            token class;
            read_token(&inside, &class);
            build_value(L, &inside, marked);
            set_class(L, class.bytes, marked);
        } else {
            push_cdata(L, t.ext, t.bytes.data, t.bytes.size);
        }
        return;
    }
}

LF_RAISES static int decode(lua_State *L, lf_slice bytes, bool marked, luaflow_error *err)
{
    lf_reader in = lf_reader_of(bytes.data, bytes.size);
    const char *why = check_value(&in, 0, true);
    if (why == NULL && lf_reader_left(&in) > 0)
        why = "something follows the value";
    if (why != NULL)
        return refuse_bytes(&in, bytes, why, err);
    in = lf_reader_of(bytes.data, bytes.size);
    build_value(L, &in, marked);
    return LUAFLOW_OK;
}

LF_RAISES int lf_codec_decode(lua_State *L, lf_slice bytes, luaflow_error *err)
{
    return decode(L, bytes, false, err);
}

LF_RAISES int lf_codec_decode_marked(lua_State *L, lf_slice bytes, luaflow_error *err)
{
    return decode(L, bytes, true, err);
}

/* ---- lists, without a Lua state ---- */

static int refuse_list(lf_slice bytes, luaflow_error *err)
{
    char what[LF_KIND_MAX];
    return lf_fail(err, LUAFLOW_EVALUE, "%s is not a list", lf_codec_kind(bytes, what, sizeof what));
}

static int cut_array(lf_list *list, lf_reader *in, size_t count, luaflow_error *err)
{
    lf_slice bytes = list->bytes;
    if (count > lf_reader_left(in))
        return refuse_bytes(in, bytes, "a list longer than the bytes", err);
    list->offsets = malloc((count + 1) * sizeof *list->offsets);
    if (list->offsets == NULL)
        return lf_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        list->offsets[i] = (uint64_t)(in->at - bytes.data);
        const char *why = check_value(in, 1, false);
        if (why != NULL)
            return refuse_bytes(in, bytes, why, err);
    }
    list->offsets[count] = (uint64_t)(in->at - bytes.data);
    list->size = count;
    return LUAFLOW_OK;
}

int lf_list_init(lf_list *list, lf_slice bytes, luaflow_error *err)
{
    *list = (lf_list){.bytes = bytes};
    lf_reader in = lf_reader_of(bytes.data, bytes.size);
    token t;
    const char *why = read_token(&in, &t);
    int rc = LUAFLOW_OK;
    if (why != NULL || in.bad)
        return refuse_bytes(&in, bytes, why != NULL ? why : "cut off", err);
    if (t.kind == LIST) {
        list->kind = LF_LIST_ARRAY;
        rc = cut_array(list, &in, t.count, err);
    } else if (t.kind == EXT && is_array_ext(t.ext)) {
        list->kind = LF_LIST_NUMBERS;
        list->element = (uint8_t)(t.ext - EXT_ARRAY);
        list->size = t.bytes.size / element_size[list->element];
        why = check_ext(&t, 0);
    } else if (t.kind == NUMBER && t.number >= 0 && t.number <= WHOLE_MAX &&
               t.number == (double)(uint64_t)t.number) {
        list->kind = LF_LIST_RANGE;
        list->size = (uint64_t)t.number;
    } else {
        return refuse_list(bytes, err);
    }
    if (rc == LUAFLOW_OK && why == NULL && lf_reader_left(&in) > 0)
        why = "something follows the value";
    if (rc == LUAFLOW_OK && why != NULL)
        rc = refuse_bytes(&in, bytes, why, err);
    if (rc != LUAFLOW_OK)
        list->size = 0;
    return rc;
}

void lf_list_fini(lf_list *list)
{
    free(list->offsets);
    *list = (lf_list){0};
}

/* [-0, +1, raises] */
LF_RAISES static void push_element(lua_State *L, unsigned element, const uint8_t *at)
{
    switch (element) {
#define CASE(e, type) case e: { type v; memcpy(&v, at, sizeof v); lua_pushnumber(L, v); return; }
    CASE(0, int8_t)
    CASE(1, uint8_t)
    CASE(2, int16_t)
    CASE(3, uint16_t)
    CASE(4, int32_t)
    CASE(5, uint32_t)
    CASE(ELEMENT_FLOAT, float)
    CASE(ELEMENT_DOUBLE, double)
#undef CASE
    default: /* as indexing the array would give it */
        push_cdata(L, element == ELEMENT_INT64 ? EXT_INT64 : EXT_UINT64, at, 8);
    }
}

LF_RAISES int lf_list_push(lua_State *L, const lf_list *list, uint64_t i, luaflow_error *err)
{
    if (i < 1 || i > list->size)
        return lf_fail(err, LUAFLOW_EVALUE, "a list of %llu elements has none at %llu",
                       (unsigned long long)list->size, (unsigned long long)i);
    luaL_checkstack(L, 4, "an element of a list");
    switch (list->kind) {
    case LF_LIST_ARRAY: {
        uint64_t at = list->offsets[i - 1];
        lf_reader in = lf_reader_of(list->bytes.data + at, (size_t)(list->offsets[i] - at));
        build_value(L, &in, false);
        break;
    }
    case LF_LIST_NUMBERS: {
        size_t all = (size_t)list->size * element_size[list->element];
        const uint8_t *first = list->bytes.data + list->bytes.size - all;
        push_element(L, list->element, first + (i - 1) * element_size[list->element]);
        break;
    }
    case LF_LIST_RANGE:
        lua_pushnumber(L, (lua_Number)i);
        break;
    }
    return LUAFLOW_OK;
}

/* ---- words ---- */

static void describe_ext(const token *t, char *buffer, size_t size)
{
    if (t->ext == EXT_INT64 || t->ext == EXT_UINT64) {
        uint64_t v;
        memcpy(&v, t->bytes.data, sizeof v);
        if (t->ext == EXT_INT64)
            snprintf(buffer, size, "the int64_t %lld", (long long)v);
        else
            snprintf(buffer, size, "the uint64_t %llu", (unsigned long long)v);
    } else if (t->ext == EXT_CLASS) {
        lf_reader in = lf_reader_of(t->bytes.data, t->bytes.size);
        token class;
        read_token(&in, &class);
        snprintf(buffer, size, "an object of class %.*s", (int)class.bytes.size,
                 (const char *)class.bytes.data);
    } else {
        unsigned e = t->ext - EXT_ARRAY;
        snprintf(buffer, size, "an FFI array (%s[%zu])", element_name[e],
                 t->bytes.size / element_size[e]);
    }
}

const char *lf_codec_kind(lf_slice bytes, char *buffer, size_t size)
{
    lf_reader in = lf_reader_of(bytes.data, bytes.size);
    token t;
    if (lf_codec_skip(bytes) != bytes.size || read_token(&in, &t) != NULL) {
        snprintf(buffer, size, "something damaged");
        return buffer;
    }
    switch (t.kind) {
    case NIL: snprintf(buffer, size, "nil"); break;
    case BOOLEAN: snprintf(buffer, size, "the boolean %s", t.number != 0 ? "true" : "false"); break;
    case NUMBER: snprintf(buffer, size, "the number %.14g", t.number); break;
    case STRING:
    case BINARY: snprintf(buffer, size, "a string"); break;
    case LIST: snprintf(buffer, size, "a list of %zu element%s", t.count, t.count == 1 ? "" : "s"); break;
    case MAP: snprintf(buffer, size, "a table that is not a list"); break;
    case EXT: describe_ext(&t, buffer, size); break;
    }
    return buffer;
}
