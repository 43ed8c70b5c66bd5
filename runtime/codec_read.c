/* codec_read.c -- reading values, and lists and words for them.
 * Knows nothing of LMDB or threads; a state's own thread only, where it takes one.
 *
 * Bytes are read once, with suspicion, and the value is made on the way where there is a state
 * to make it in. Bytes that lie about their size still cost nothing: every element that a
 * list or map promises must have a byte of its own in what is left, and what is made for
 * bytes that turn out damaged is bounded by their number. */
#include "codec_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

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

static inline uint64_t read_uint(lf_reader *in, unsigned width)
{
    uint64_t v = 0;
    if (lf_reader_left(in) < width) {
        lf_reader_fail(in);
        return 0;
    }
    memcpy((uint8_t *)&v + sizeof v - width, in->at, width);
    in->at += width;
    return __builtin_bswap64(v);
}

static const char *const OVERLONG = "not the shortest form", *const CUT_OFF = "cut off";

/* A length of `width` bytes, of which a shorter form holds what is below `least`. */
static inline const char *read_length(lf_reader *in, unsigned width, uint64_t least, uint64_t *n)
{
    *n = read_uint(in, width);
    return *n < least ? OVERLONG : NULL;
}

static inline const char *read_unsigned(lf_reader *in, unsigned width, token *t)
{
    static const uint64_t least[] = {
        [1] = 128, [2] = 1 << 8, [4] = 1 << 16, [8] = UINT64_C(1) << 32};
    uint64_t v;
    const char *why = read_length(in, width, least[width], &v);
    if (why == NULL && v > (uint64_t)1 << 53)
        why = "an integer past 2^53";
    t->kind = NUMBER;
    t->number = (double)v;
    return why;
}

static inline const char *read_signed(lf_reader *in, unsigned width, token *t)
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

static inline const char *read_float64(lf_reader *in, token *t)
{
    uint64_t bits = read_uint(in, 8);
    double v;
    memcpy(&v, &bits, sizeof v);
    t->kind = NUMBER;
    t->number = v;
    if (isnan(v))
        return bits != LF_NAN_DOUBLE ? "a second form of nan" : NULL;
    return lf_is_integer(v) ? "a whole number as float" : NULL;
}

static inline const char *read_bytes(lf_reader *in, token_kind kind, unsigned width, uint64_t least,
                              token *t)
{
    uint64_t n;
    const char *why = read_length(in, width, least, &n);
    t->kind = kind;
    t->bytes = lf_read(in, n);
    return why;
}

static inline const char *read_count(lf_reader *in, token_kind kind, unsigned width, token *t)
{
    uint64_t n;
    const char *why = read_length(in, width, width == 2 ? 16 : 1 << 16, &n);
    t->kind = kind;
    t->count = (size_t)n;
    return why;
}

/* Of `width` bytes of length; 0 means that it is `size`. */
static inline const char *read_ext(lf_reader *in, unsigned width, uint64_t size, token *t)
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

/* Reads a head that begins with no fewer bytes than its own; what is cut off behind that reads
 * as zeros and shows in `in->bad`. Returns what is wrong with it, or NULL. */
static const char *read_head(lf_reader *in, token *t)
{
    uint8_t head = *in->at++;
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

/* Reads a head. Returns what is wrong, or NULL. */
static inline const char *read_token(lf_reader *in, token *t)
{
    if (in->at == in->end)
        return CUT_OFF;
    const char *why = read_head(in, t);
    return in->bad ? CUT_OFF : why;
}

/* ---- reading values ---- */

/* What LuaJIT can hold. */
enum { MOST_ELEMENTS = 1 << 27, MOST_HASHED = 1 << 26, BIGGEST = 0x7fffff00 };

typedef struct decoder {
    lf_reader in;
    lua_State *L;  /* where the value is made; NULL: it is only checked */
    bool marked;   /* lf_codec_decode_marked */
    uint64_t owed; /* values that open lists and maps still promise, of a byte or more each */
} decoder;

static bool is_string(const token *t) { return t->kind == STRING || t->kind == BINARY; }

/* UTF-8 is never written as bin, and nothing else as str. */
static const char *check_string(const token *t)
{
    if (t->bytes.size > BIGGEST)
        return "a string longer than Lua's";
    return lf_is_utf8(t->bytes) == (t->kind == STRING) ? NULL : "a string of the wrong kind";
}

/* Before a list or map of `count` values: whether there may be so many. */
static const char *promise(decoder *d, uint64_t count, unsigned depth, const char *too_long)
{
    if (depth >= LF_DEPTH_MAX)
        return "nested too deep";
    d->owed += count;
    return d->owed > lf_reader_left(&d->in) ? too_long : NULL;
}

/* All that follow push one value where there is a state, and leave what they please where they
 * fail.  [-0, +1, raises; without a state never] */
LF_RAISES static const char *read_value(decoder *d, unsigned depth);

LF_RAISES static const char *read_list(decoder *d, size_t count, unsigned depth)
{
    const char *why = promise(d, count, depth, "a list longer than the bytes");
    if (why == NULL && count > MOST_ELEMENTS)
        why = "a list longer than Lua's";
    if (why != NULL)
        return why;
    if (d->L != NULL) {
        luaL_checkstack(d->L, 4, "a value to decode is too deep");
        lua_createtable(d->L, (int)count, 0);
    }
    for (size_t i = 1; i <= count; i++) {
        d->owed--;
        if ((why = read_value(d, depth + 1)) != NULL)
            return why;
        if (d->L != NULL)
            lua_rawseti(d->L, -2, (int)i);
    }
    return NULL;
}

LF_RAISES static const char *read_key(decoder *d, token *t)
{
    const char *why = read_token(&d->in, t);
    if (why != NULL)
        return why;
    switch (t->kind) {
    case STRING:
    case BINARY:
        if ((why = check_string(t)) == NULL && d->L != NULL)
            lua_pushlstring(d->L, (const char *)t->bytes.data, t->bytes.size);
        return why;
    case BOOLEAN:
        if (d->L != NULL)
            lua_pushboolean(d->L, t->number != 0);
        return NULL;
    case NUMBER:
        if (isnan(t->number) || (t->number == 0 && signbit(t->number)))
            break;
        if (d->L != NULL)
            lua_pushnumber(d->L, t->number);
        return NULL;
    default:
        break;
    }
    return "a key that is no string, number or boolean";
}

LF_RAISES static const char *read_map(decoder *d, size_t count, unsigned depth)
{
    const char *why = promise(d, 2 * (uint64_t)count, depth, "a map longer than the bytes");
    if (why == NULL && count > MOST_ELEMENTS)
        why = "a map longer than Lua's";
    if (why != NULL)
        return why;
    if (d->L != NULL) {
        luaL_checkstack(d->L, 4, "a value to decode is too deep");
        lua_createtable(d->L, 0, count < MOST_HASHED ? (int)count : MOST_HASHED);
    }
    lf_slice last = {NULL, 0};
    uint64_t last_order = 0;
    bool is_list = true; /* so is the empty one */
    for (size_t i = 1; i <= count; i++) {
        lf_slice key = {d->in.at, 0};
        token t;
        d->owed -= 2;
        if ((why = read_key(d, &t)) != NULL)
            return why;
        key.size = (size_t)(d->in.at - key.data);
        uint64_t order = lf_key_order(key);
        if (i > 1 && lf_compare_keys(last_order, last, order, key) >= 0)
            return "keys out of order";
        if ((why = read_value(d, depth + 1)) != NULL)
            return why;
        if (d->L != NULL)
            lua_rawset(d->L, -3);
        is_list = is_list && t.kind == NUMBER && t.number == (double)i;
        last = key;
        last_order = order;
    }
    return is_list ? "a list as map" : NULL;
}

/* ---- what has a type of its own ---- */

/* Pushes one of `types[ext]`; its memory is `size` bytes of `data`.  [-0, +1, raises] */
LF_RAISES static void push_cdata(lua_State *L, unsigned ext, const void *data, size_t size)
{
    lf_codec_push_room(L);
    lua_rawgeti(L, -1, LF_ROOM_NEW);
    lua_remove(L, -2);
    size_t count = lf_is_array_ext(ext) ? size / lf_element_size[ext - LF_EXT_ARRAY] : 0;
    lua_pushinteger(L, (lua_Integer)ext);
    lua_pushinteger(L, (lua_Integer)count);
    lua_call(L, 2, 1);
    /* The one way to a cdata's memory there is; it is ours, nobody else has seen it. */
    if (size > 0)
        memcpy((void *)(uintptr_t)lua_topointer(L, -1), data, size);
}

/* Notes that the table at the top stands for an instance of `class`, so that it is stored as
 * one again even where nobody knows the class. `room` is the codec's.  [-0, +0, raises] */
LF_RAISES static void note_unknown(lua_State *L, int room, int table, lf_slice class)
{
    luaL_checkstack(L, 4, "a value to decode is too deep");
    lua_rawgeti(L, room, LF_ROOM_UNKNOWN);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "k");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_rawseti(L, room, LF_ROOM_UNKNOWN);
    }
    lua_pushvalue(L, table);
    lua_pushlstring(L, (const char *)class.data, class.size);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

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
    lf_codec_push_room(L);
    lua_rawgeti(L, -1, LF_ROOM_BY_NAME);
    lua_pushlstring(L, (const char *)class.data, class.size);
    lua_rawget(L, -2);                                    /* table, room, classes, mt */
    if (lua_istable(L, -1)) {
        lua_setmetatable(L, -4);
    } else {
        lua_pop(L, 1);
        note_unknown(L, lua_gettop(L) - 1, lua_gettop(L) - 2, class);
    }
    lua_pop(L, 2);
}

/* ---- values ---- */

LF_RAISES static const char *read_class(decoder *d, lf_slice bytes, unsigned depth)
{
    decoder inside = {.in = lf_reader_of(bytes.data, bytes.size), .L = d->L, .marked = d->marked};
    token name, t;
    const char *why = read_token(&inside.in, &name);
    if (why != NULL || !is_string(&name) || check_string(&name) != NULL)
        return "a class without a name";
    if (read_token(&inside.in, &t) != NULL || (t.kind != LIST && t.kind != MAP))
        return "an object that is no table";
    why = t.kind == LIST ? read_list(&inside, t.count, depth) : read_map(&inside, t.count, depth);
    if (why == NULL && lf_reader_left(&inside.in) > 0)
        why = "an object of the wrong length";
    if (why == NULL && d->L != NULL)
        set_class(d->L, name.bytes, d->marked);
    return why;
}

/* What is wrong with an ext that is no class, or NULL. */
static const char *check_ext(const token *t)
{
    if (t->ext == LF_EXT_INT64 || t->ext == LF_EXT_UINT64)
        return t->bytes.size == 8 ? NULL : "a 64-bit integer of the wrong length";
    if (!lf_is_array_ext(t->ext))
        return "an unknown extension";
    unsigned element = t->ext - LF_EXT_ARRAY;
    if (t->bytes.size % lf_element_size[element] != 0 || t->bytes.size > BIGGEST)
        return "an FFI array of the wrong length";
    return lf_nans_are_settled(element, t->bytes) ? NULL : "a second form of nan";
}

LF_RAISES static const char *read_ext_value(decoder *d, const token *t, unsigned depth)
{
    if (t->ext == LF_EXT_CLASS)
        return read_class(d, t->bytes, depth);
    const char *why = check_ext(t);
    if (why == NULL && d->L != NULL) {
        luaL_checkstack(d->L, 4, "a value to decode is too deep");
        push_cdata(d->L, t->ext, t->bytes.data, t->bytes.size);
    }
    return why;
}

LF_RAISES static const char *read_value(decoder *d, unsigned depth)
{
    token t;
    const char *why = read_token(&d->in, &t);
    if (why != NULL)
        return why;
    switch (t.kind) {
    case NUMBER:
        if (d->L != NULL)
            lua_pushnumber(d->L, t.number);
        return NULL;
    case STRING:
    case BINARY:
        if ((why = check_string(&t)) == NULL && d->L != NULL)
            lua_pushlstring(d->L, (const char *)t.bytes.data, t.bytes.size);
        return why;
    case BOOLEAN:
        if (d->L != NULL)
            lua_pushboolean(d->L, t.number != 0);
        return NULL;
    case NIL:
        if (d->L != NULL)
            lua_pushnil(d->L);
        return depth == 0 ? NULL : "nil inside a table";
    case LIST:
        return read_list(d, t.count, depth);
    case MAP:
        return read_map(d, t.count, depth);
    default:
        return read_ext_value(d, &t, depth);
    }
}

static int refuse_bytes(const lf_reader *in, lf_slice bytes, const char *why, luaflow_error *err)
{
    return lf_fail(err, LUAFLOW_EVALUE, "these bytes are no value: %s (at byte %zu of %zu)", why,
                   (size_t)(in->at - bytes.data), bytes.size);
}

/* [-0, +1 on success and +0 on failure, raises] */
LF_RAISES static int decode(lua_State *L, lf_slice bytes, bool marked, luaflow_error *err)
{
    decoder d = {.in = lf_reader_of(bytes.data, bytes.size), .L = L, .marked = marked};
    int top = lua_gettop(L);
    luaL_checkstack(L, 4, "a value to decode");
    const char *why = read_value(&d, 0);
    if (why == NULL && lf_reader_left(&d.in) > 0)
        why = "something follows the value";
    if (why == NULL)
        return LUAFLOW_OK;
    lua_settop(L, top);
    return refuse_bytes(&d.in, bytes, why, err);
}

/* Reads past one value, `depth` tables deep.  [-0, +0, never raises] */
static const char *skip_value(lf_reader *in, unsigned depth)
{
    decoder d = {.in = *in};
    const char *why = read_value(&d, depth);
    *in = d.in;
    return why;
}

size_t lf_codec_skip(lf_slice bytes)
{
    lf_reader in = lf_reader_of(bytes.data, bytes.size);
    return skip_value(&in, 0) == NULL ? (size_t)(in.at - bytes.data) : 0;
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
    return lf_fail(err, LUAFLOW_EVALUE, "%s is not a list",
                   lf_codec_kind(bytes, what, sizeof what));
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
        const char *why = skip_value(in, 1);
        if (why != NULL)
            return refuse_bytes(in, bytes, why, err);
    }
    list->offsets[count] = (uint64_t)(in->at - bytes.data);
    list->size = count;
    return LUAFLOW_OK;
}

void lf_list_fini(lf_list *list)
{
    free(list->offsets);
    *list = (lf_list){0};
}

int lf_list_init(lf_list *list, lf_slice bytes, luaflow_error *err)
{
    *list = (lf_list){.bytes = bytes};
    lf_reader in = lf_reader_of(bytes.data, bytes.size);
    token t;
    const char *why = read_token(&in, &t);
    int rc = LUAFLOW_OK;
    if (why != NULL)
        return refuse_bytes(&in, bytes, why, err);
    if (t.kind == LIST) {
        list->kind = LF_LIST_ARRAY;
        rc = cut_array(list, &in, t.count, err);
    } else if (t.kind == EXT && lf_is_array_ext(t.ext)) {
        list->kind = LF_LIST_NUMBERS;
        list->element = (uint8_t)(t.ext - LF_EXT_ARRAY);
        list->size = t.bytes.size / lf_element_size[list->element];
        why = check_ext(&t);
    } else if (t.kind == NUMBER && t.number >= 0 && t.number <= LF_WHOLE_MAX &&
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
        lf_list_fini(list);
    return rc;
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
    CASE(LF_ELEMENT_FLOAT, float)
    CASE(LF_ELEMENT_DOUBLE, double)
#undef CASE
    default: /* as indexing the array would give it */
        push_cdata(L, element == LF_ELEMENT_INT64 ? LF_EXT_INT64 : LF_EXT_UINT64, at, 8);
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
        return decode(L, lf_slice_of(list->bytes.data + at, (size_t)(list->offsets[i] - at)), false, err);
    }
    case LF_LIST_NUMBERS: {
        size_t all = (size_t)list->size * lf_element_size[list->element];
        const uint8_t *first = list->bytes.data + list->bytes.size - all;
        push_element(L, list->element, first + (i - 1) * lf_element_size[list->element]);
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
    if (t->ext == LF_EXT_INT64 || t->ext == LF_EXT_UINT64) {
        uint64_t v;
        memcpy(&v, t->bytes.data, sizeof v);
        if (t->ext == LF_EXT_INT64)
            snprintf(buffer, size, "the int64_t %lld", (long long)v);
        else
            snprintf(buffer, size, "the uint64_t %llu", (unsigned long long)v);
    } else if (t->ext == LF_EXT_CLASS) {
        lf_reader in = lf_reader_of(t->bytes.data, t->bytes.size);
        token class;
        read_token(&in, &class);
        snprintf(buffer, size, "an object of class %.*s", (int)class.bytes.size,
                 (const char *)class.bytes.data);
    } else {
        unsigned e = t->ext - LF_EXT_ARRAY;
        snprintf(buffer, size, "an FFI array (%s[%zu])", lf_element_name[e],
                 t->bytes.size / lf_element_size[e]);
    }
}

const char *lf_codec_kind(lf_slice bytes, char *buffer, size_t size)
{
    lf_reader in = lf_reader_of(bytes.data, bytes.size);
    token t;
    if (bytes.size == 0 || lf_codec_skip(bytes) != bytes.size || read_token(&in, &t) != NULL) {
        snprintf(buffer, size, "something damaged");
        return buffer;
    }
    switch (t.kind) {
    case NIL:
        snprintf(buffer, size, "nil");
        break;
    case BOOLEAN:
        snprintf(buffer, size, "the boolean %s", t.number != 0 ? "true" : "false");
        break;
    case NUMBER:
        snprintf(buffer, size, "the number %.14g", t.number);
        break;
    case STRING:
    case BINARY:
        snprintf(buffer, size, "a string");
        break;
    case LIST:
        snprintf(buffer, size, "a list of %zu element%s", t.count, t.count == 1 ? "" : "s");
        break;
    case MAP:
        snprintf(buffer, size, "a table that is not a list");
        break;
    case EXT:
        describe_ext(&t, buffer, size);
        break;
    }
    return buffer;
}
