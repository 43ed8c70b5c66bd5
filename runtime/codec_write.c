/* codec_write.c -- the writing of values. Knows nothing of LMDB or threads; a state's own
 * thread only, where it takes one.
 *
 * The walk of a table is bound by the calls of Lua's C API, so a table is walked once where
 * once is enough: a table with nothing at 1 is no list, and a list of single values is found
 * to be one while it is written. */
#include "codec_inside.h"

#include <stdio.h>
#include <stdlib.h>

enum { TYPE_CDATA = 10 }; /* lua_type() of cdata, which lua.h does not name */

/* ---- writing single values ---- */

/* Writes `head` and `width` bytes of `v`, big-endian. */
static inline void put_headed(lf_bytes *out, uint8_t head, uint64_t v, unsigned width)
{
    uint8_t *to = lf_bytes_reserve(out, 9);
    if (to == NULL)
        return;
    to[0] = head;
    v = __builtin_bswap64(v << 8 * (8 - width));
    memcpy(to + 1, &v, sizeof v);
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
        if (size <= 31) { /* nearly all are */
            uint8_t *to = lf_bytes_reserve(out, 1 + size);
            if (to == NULL)
                return;
            to[0] = (uint8_t)(0xa0 | size);
            memcpy(to + 1, s, size);
            out->size += 1 + size;
            return;
        }
        if (size <= UINT8_MAX)  put_headed(out, 0xd9, size, 1);
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

/* Writes the head of an ext to `to`, which has room for LF_ARRAY_HEAD bytes. Returns its size. */
static size_t write_ext(uint8_t *to, uint8_t ext, size_t size)
{
    static const uint8_t fixed[] = {[1] = 0xd4, [2] = 0xd5, [4] = 0xd6, [8] = 0xd7, [16] = 0xd8};
    unsigned width = 0;
    if (size < sizeof fixed && fixed[size] != 0) {
        to[0] = fixed[size];
    } else {
        width = size <= UINT8_MAX ? 1 : size <= UINT16_MAX ? 2 : 4;
        to[0] = width == 1 ? 0xc7 : width == 2 ? 0xc8 : 0xc9;
        for (unsigned i = 0; i < width; i++)
            to[1 + i] = (uint8_t)(size >> 8 * (width - 1 - i));
    }
    to[1 + width] = ext;
    return 2 + width;
}

static void put_ext(lf_bytes *out, uint8_t ext, size_t size)
{
    uint8_t *to = lf_bytes_reserve(out, LF_ARRAY_HEAD);
    if (to != NULL)
        out->size += write_ext(to, ext, size);
}

/* ---- encoding ---- */

/* A table that is being written, and which of its values is. */
typedef struct frame {
    const void *table;
    int key;     /* stack index of the key; 0 in a list */
    size_t slot; /* in a list: the index */
} frame;

/* An entry of a map, as it lies in what was written. */
typedef struct entry {
    uint64_t order; /* lf_key_order */
    size_t at, size, key_size;
} entry;

typedef struct encoder {
    lua_State *L;
    lf_bytes *out;
    const char *name;
    luaflow_error *err;
    int room;         /* stack index of the registry's table */
    bool has_unknown; /* it has plain tables that stand for instances */
    size_t depth;
    entry *entries;   /* a stack, of all maps that are open: `few`, or of the heap */
    size_t n_entries, entries_room;
    frame frames[LF_DEPTH_MAX];
    entry few[32];
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

static bool push_entry(encoder *e, entry now)
{
    if (e->n_entries == e->entries_room) {
        bool is_first = e->entries == e->few;
        entry *grown = realloc(is_first ? NULL : e->entries, 2 * e->entries_room * sizeof *grown);
        if (grown == NULL)
            return false;
        if (is_first)
            memcpy(grown, e->few, sizeof e->few);
        e->entries = grown;
        e->entries_room *= 2;
    }
    e->entries[e->n_entries++] = now;
    return true;
}

static int compare_entries(const void *left, const void *right, void *out)
{
    const entry *a = left, *b = right;
    const uint8_t *data = ((const lf_bytes *)out)->data;
    return lf_compare_keys(a->order, lf_slice_of(data + a->at, a->key_size), b->order,
                           lf_slice_of(data + b->at, b->key_size));
}

/* Puts entries into the order of their keys; false when they were in it. */
static bool sort_entries(const lf_bytes *out, entry *entries, size_t n)
{
    enum { FEW = 16 }; /* so many are sorted in place, one by one */
    void *bytes = (void *)(uintptr_t)out;
    size_t sorted = 1;
    while (sorted < n && compare_entries(&entries[sorted - 1], &entries[sorted], bytes) < 0)
        sorted++;
    if (sorted >= n)
        return false;
    if (n > FEW) {
        qsort_r(entries, n, sizeof *entries, compare_entries, bytes);
        return true;
    }
    for (; sorted < n; sorted++) {
        entry now = entries[sorted];
        size_t at = sorted;
        for (; at > 0 && compare_entries(&now, &entries[at - 1], bytes) < 0; at--)
            entries[at] = entries[at - 1];
        entries[at] = now;
    }
    return true;
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

/* Gives the map whose `n` entries were written behind one byte at `start` its head and order. */
static void finish_map(encoder *e, size_t start, const entry *entries, size_t n)
{
    lf_bytes *out = e->out;
    size_t size = out->size - start - 1;
    uint8_t *copy = lf_bytes_reserve(out, 8 + size); /* a longer head, and all entries once more */
    if (copy == NULL)
        return;
    uint8_t *to = copy + 8;
    for (size_t i = 0; i < n; i++) {
        memcpy(to, out->data + entries[i].at, entries[i].size);
        to += entries[i].size;
    }
    out->size = start;
    put_count(out, false, n);
    memmove(out->data + out->size, copy + 8, size);
    out->size += size;
}

static int encode_map(encoder *e)
{
    lua_State *L = e->L;
    lf_bytes *out = e->out;
    frame *f = &e->frames[e->depth - 1];
    int table = lua_gettop(L);
    size_t start = out->size, first = e->n_entries;
    lf_bytes_put_u8(out, 0x80);
    f->key = table + 1;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_settop(L, table + 1)) {
        entry now = {.at = out->size};
        int rc = encode_key(e, f->key);
        if (rc == LUAFLOW_OK) {
            now.key_size = out->size - now.at;
            rc = encode_value(e);
        }
        if (rc != LUAFLOW_OK)
            return rc;
        if (out->failed)
            return lf_fail_memory(e->err);
        now.size = out->size - now.at;
        now.order = lf_key_order(lf_slice_of(out->data + now.at, now.key_size));
        if (!push_entry(e, now))
            return lf_fail_memory(e->err);
    }
    f->key = 0;
    entry *entries = e->entries + first;
    size_t n = e->n_entries - first;
    if (sort_entries(out, entries, n) || n > 15)
        finish_map(e, start, entries, n);
    else if (!out->failed)
        out->data[start] = n > 0 ? (uint8_t)(0x80 | n) : 0x90;
    e->n_entries = first;
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
        lua_settop(L, table);
    }
    return LUAFLOW_OK;
}

/* Writes the table at the top if it is a list of nothing but single values, in one
 * walk; else writes nothing and returns false. */
static bool encode_flat_list(encoder *e, size_t border)
{
    lua_State *L = e->L;
    int table = lua_gettop(L);
    size_t n = 0, start = e->out->size;
    put_count(e->out, true, border);
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_settop(L, table + 1)) {
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

/* Whether the keys of the table at the top are 1..border: `#` alone would call a table with
 * holes or other keys a list. */
static bool is_list(lua_State *L, size_t border)
{
    int table = lua_gettop(L);
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_settop(L, table + 1), n++) {
        double key = lua_type(L, table + 1) == LUA_TNUMBER ? lua_tonumber(L, table + 1) : 0;
        if (!(key >= 1 && key <= (double)border && key == (double)(int64_t)key)) {
            lua_settop(L, table);
            return false;
        }
    }
    return n == border;
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
    size_t border = lua_objlen(e->L, -1); /* 0: there is nothing at 1 */
    if (border > 0 && encode_flat_list(e, border))
        return LUAFLOW_OK;
    e->frames[e->depth] = (frame){.table = self};
    e->depth++;
    int rc = border > 0 && is_list(e->L, border) ? encode_list(e, border) : encode_map(e);
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

/* What the cdata at the top is: its ext and size; or 0 with what it is at the top.
 * Returns what lua_pcall does, its message then at the top.  [-0, +1, never raises] */
static int ask_kind(lua_State *L, int room, uint8_t *ext, double *size)
{
    lua_rawgeti(L, room, LF_ROOM_KIND);
    lua_pushvalue(L, -2);
    int rc = lua_pcall(L, 1, 2, 0);
    if (rc != 0)
        return rc;
    *ext = (uint8_t)lua_tointeger(L, -2);
    *size = lua_tonumber(L, -1);
    lua_remove(L, -2);
    return 0;
}

static int encode_cdata(encoder *e)
{
    lua_State *L = e->L;
    const uint8_t *data = lua_topointer(L, -1);
    uint8_t ext = 0;
    double size = 0;
    int rc = ask_kind(L, e->room, &ext, &size);
    if (rc != 0) { /* memory ran out, or a finalizer that was due failed */
        const char *why = lua_tostring(L, -1);
        rc = rc == LUA_ERRMEM ? lf_fail_memory(e->err)
                              : lf_fail(e->err, LUAFLOW_EVALUE, UNSTORABLE "%s", e->name,
                                        why != NULL ? why : "a finalizer failed");
        lua_pop(L, 1);
        return rc;
    }
    char what[200];
    if (ext == 0)
        snprintf(what, sizeof what, "is a %s", lua_tostring(L, -1));
    lua_pop(L, 1);
    if (ext == 0)
        return refuse_value(e, what);
    if (size > UINT32_MAX)
        return refuse_value(e, "is an FFI array of 4 GiB or more");
    uint8_t *to = lf_bytes_reserve(e->out, LF_ARRAY_HEAD + (size_t)size);
    if (to == NULL)
        return lf_fail_memory(e->err);
    size_t head = write_ext(to, ext, (size_t)size);
    lf_copy_elements(lf_is_array_ext(ext) ? ext - LF_EXT_ARRAY : LF_ELEMENT_INT64, to + head, data,
                     (size_t)size);
    e->out->size += head + (size_t)size;
    return LUAFLOW_OK;
}

LF_RAISES bool lf_codec_array(lua_State *L, int index, uint8_t head[LF_ARRAY_HEAD], lf_parts *bytes)
{
    int top = lua_gettop(L);
    uint8_t ext = 0;
    double size = 0;
    if (lua_type(L, index) != TYPE_CDATA || !lua_checkstack(L, 6))
        return false;
    lua_pushvalue(L, index);
    const void *data = lua_topointer(L, -1);
    lf_codec_push_room(L);
    lua_insert(L, -2);
    bool is_array = ask_kind(L, top + 1, &ext, &size) == 0 && lf_is_array_ext(ext) && size <= UINT32_MAX;
    lua_settop(L, top);
    if (is_array)
        *bytes = (lf_parts){lf_slice_of(head, write_ext(head, ext, (size_t)size)),
                            lf_slice_of(data, (size_t)size)};
    return is_array;
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
    e.entries = e.few;
    e.entries_room = sizeof e.few / sizeof e.few[0];
    size_t start = out->size;
    lua_pushvalue(L, index);
    if (is_deep) {
        lf_bytes_reserve(out, 256); /* of most small tables all that is needed */
        lf_codec_push_room(L);
        lua_insert(L, -2);
        e.room = lua_gettop(L) - 1;
        lua_rawgeti(L, e.room, LF_ROOM_UNKNOWN);
        e.has_unknown = !lua_isnil(L, -1);
        lua_pop(L, 1);
    }
    int rc = encode_value(&e);
    if (rc == LUAFLOW_OK && out->failed)
        rc = lf_fail_memory(err);
    if (rc != LUAFLOW_OK)
        out->size = start;
    if (e.entries != e.few)
        free(e.entries);
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
