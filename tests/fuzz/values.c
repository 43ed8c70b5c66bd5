/* values.c -- values from bytes, for targets that are about values. */
#include "fuzz.h"
#include "codec.h"

#include <math.h>

#include <lauxlib.h>

enum { DEEPEST = LF_DEPTH_MAX + 10, MOST_NODES = 500 };

typedef struct maker {
    lua_State *L;
    lf_reader *in;
    bool odd;
    unsigned nodes;
    int room; /* stack index of the helpers */
} maker;

static const double edges[] = {
    0, -0.0, NAN, INFINITY, -INFINITY, 0.1, 5e-324, 1.7976931348623157e308, 127, 128, 255, 256,
    65535, 65536, 2147483647, 2147483648, 4294967295, 4294967296, 9007199254740992,
    9007199254740994, 18446744073709551616.0, -1, -32, -33, -128, -129, -32768, -32769, -2147483648,
    -2147483649, -9007199254740992, -9007199254740994, 0.5, 1.5};

static const char *const words[] = {
    "name", "doc", "params", "steps", "next", "foreach", "switch", "retry", "timeout", "catch", "isolate", "env",
    "resources", "max_parallel", "times", "delay", "backoff", "cpu", "memory", "gpu", "type", "default", "required",
    "help", "separator", "choices", "string", "number", "integer", "boolean", "json", "file", "start", "a", "b", "c",
    "join", "finish", "collect", "input", "_scratch", "no_flag", "flag", "$type", "value", "bytes", "map", "pairs",
    "class", "true", "false", "null", "", ",", "::", "a b", "é", "\xff", "nan", "1e5", "0x10", "-1"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Up to `n` bytes, as many as there are. */
static lf_slice some(lf_reader *in, size_t n)
{
    return lf_read(in, n < lf_reader_left(in) ? n : lf_reader_left(in));
}

static void push_word(maker *m)
{
    lua_pushstring(m->L, words[lf_read_u8(m->in) % COUNT(words)]);
}

/* One of the functions that values.lua gives, called with `n_args`.  [-n_args, +1, raises] */
static void call_helper(maker *m, const char *name, int n_args)
{
    lua_getfield(m->L, m->room, name);
    lua_insert(m->L, -1 - n_args);
    lua_call(m->L, n_args, 1);
}

static void push(maker *m, int depth);

/* What may be a key: not nil, not NaN. */
static void push_key(maker *m)
{
    lua_State *L = m->L;
    push(m, DEEPEST);
    bool fits = lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TBOOLEAN ||
                (lua_type(L, -1) == LUA_TNUMBER && !isnan(lua_tonumber(L, -1))) ||
                (m->odd && !lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER);
    if (!fits) {
        lua_pop(L, 1);
        lua_pushinteger(L, 1);
    }
}

static void push_list(maker *m, size_t n, int depth)
{
    lua_newtable(m->L);
    for (size_t i = 1; i <= n && m->nodes < MOST_NODES; i++) {
        push(m, depth + 1);
        lua_rawseti(m->L, -2, (int)i);
    }
}

static void push_map(maker *m, size_t n, int depth)
{
    lua_newtable(m->L);
    for (size_t i = 0; i < n && m->nodes < MOST_NODES; i++) {
        push_key(m);
        push(m, depth + 1);
        lua_rawset(m->L, -3);
    }
}

static void push_double(maker *m)
{
    uint64_t bits = lf_read_u64be(m->in);
    double n;
    memcpy(&n, &bits, sizeof n);
    lua_pushnumber(m->L, n);
}

static void push_text(maker *m, size_t n)
{
    lf_bytes text = {0};
    for (size_t i = 0; i < n; i++) {
        uint32_t c = lf_read_u8(m->in);
        if (c >= 0x80) { /* two bytes of UTF-8 */
            lf_bytes_put_u8(&text, (uint8_t)(0xc2 + (c & 0x1d)));
            lf_bytes_put_u8(&text, (uint8_t)(0x80 | (c & 0x3f)));
        } else {
            lf_bytes_put_u8(&text, (uint8_t)c);
        }
    }
    MUST(!text.failed);
    lua_pushlstring(m->L, (const char *)text.data, text.size);
    lf_bytes_fini(&text);
}

/* n tables around a value. */
static void push_nested(maker *m, int n, int depth)
{
    for (int i = 0; i < n; i++)
        lua_newtable(m->L);
    push(m, depth + n);
    for (int i = 0; i < n; i++)
        lua_rawseti(m->L, -2, 1);
}

static void push_odd(maker *m, uint8_t which)
{
    lua_State *L = m->L;
    lua_pushinteger(L, which);
    call_helper(m, "odd", 1);
}

static void push(maker *m, int depth)
{
    lua_State *L = m->L;
    luaL_checkstack(L, 10, "a value");
    uint8_t op = lf_read_u8(m->in), more = op >> 4;
    m->nodes++;
    bool may_nest = depth < DEEPEST;
    switch (op & 15) {
    case 0:
        if (more % 3 == 0) lua_pushnil(L);
        else lua_pushboolean(L, more % 3 == 1);
        return;
    case 1: lua_pushinteger(L, (int8_t)lf_read_u8(m->in)); return;
    case 2: lua_pushnumber(L, edges[lf_read_u8(m->in) % COUNT(edges)]); return;
    case 3: push_double(m); return;
    case 4: {
        lf_slice s = some(m->in, more);
        lua_pushlstring(L, (const char *)s.data, s.size);
        return;
    }
    case 5: {
        lf_slice s = some(m->in, lf_read_u8(m->in) * (more > 12 ? 300u : 1u));
        lua_pushlstring(L, (const char *)s.data, s.size);
        return;
    }
    case 6: push_text(m, more); return;
    case 7: push_word(m); return;
    case 8:
        if (!may_nest) break;
        push_list(m, more, depth);
        return;
    case 9:
        if (!may_nest) break;
        push_map(m, more, depth);
        return;
    case 10: {
        lf_slice s = some(m->in, 8);
        lua_pushlstring(L, (const char *)s.data, s.size);
        lua_pushboolean(L, more & 1);
        call_helper(m, "integer64", 2);
        return;
    }
    case 11: {
        lua_pushinteger(L, lf_read_u8(m->in) % 10);
        lf_slice s = some(m->in, lf_read_u8(m->in));
        lua_pushlstring(L, (const char *)s.data, s.size);
        call_helper(m, "array", 2);
        return;
    }
    case 12: {
        int n = lf_read_u8(m->in) % (DEEPEST + 1);
        if (depth + n > DEEPEST) break;
        push_nested(m, n, depth);
        return;
    }
    case 13:
        if (!may_nest) break;
        if (more & 1) push_map(m, more / 2, depth);
        else push_list(m, more / 2, depth);
        lua_pushinteger(L, more);
        call_helper(m, "object", 2);
        return;
    case 14:
        if (!m->odd) break;
        push_odd(m, more);
        return;
    case 15: { /* many of one thing, or a list with a hole */
        push_double(m);
        lua_pushinteger(L, lf_read_u8(m->in) * (more > 12 ? 2 : 1));
        lua_pushboolean(L, more & 1);
        call_helper(m, "many", 3);
        return;
    }
    }
    lua_pushinteger(L, more);
}

static void begin(maker *m)
{
    fuzz_push_file(m->L, "values.lua");
    m->room = lua_gettop(m->L);
}

void fuzz_push_value(lua_State *L, lf_reader *in, bool odd)
{
    maker m = {.L = L, .in = in, .odd = odd};
    begin(&m);
    push(&m, 0);
    lua_remove(L, m.room);
}

/* ---- flows ---- */

/* Sets a field of the table at the top: now and then to anything, else to what `fit` pushes. */
static void set_field(maker *m, const char *name, void (*fit)(maker *m))
{
    uint8_t how = lf_read_u8(m->in);
    if (how < 0x60)
        return;
    if (how >= 0xf0)
        push(m, 1);
    else
        fit(m);
    lua_setfield(m->L, -2, name);
}

static const char *const step_names[] = {"start", "a", "b", "c", "d", "e", "join", "outer", "finish", "nowhere"};

static void push_step_name(maker *m)
{
    lua_pushstring(m->L, step_names[lf_read_u8(m->in) % COUNT(step_names)]);
}

static void push_flag(maker *m) { lua_pushboolean(m->L, lf_read_u8(m->in) & 1); }
static void push_small(maker *m) { lua_pushnumber(m->L, lf_read_u8(m->in) / 4.0); }
static void push_whole(maker *m) { lua_pushinteger(m->L, lf_read_u8(m->in)); }

static void push_next(maker *m)
{
    uint8_t how = lf_read_u8(m->in);
    if (how < 0x80) {
        push_step_name(m);
        return;
    }
    lua_newtable(m->L);
    for (int i = 1; i <= how % 4 + 1; i++) {
        if (how & 0x40) push_key(m);
        else lua_pushinteger(m->L, i);
        push_step_name(m);
        lua_rawset(m->L, -3);
    }
}

static void push_retry(maker *m)
{
    if (lf_read_u8(m->in) & 1) {
        push_whole(m);
        return;
    }
    lua_newtable(m->L);
    set_field(m, "times", push_whole);
    set_field(m, "delay", push_small);
    set_field(m, "backoff", push_small);
}

static void push_env(maker *m)
{
    lua_newtable(m->L);
    for (int i = lf_read_u8(m->in) % 4; i > 0; i--) {
        push_word(m);
        push_word(m);
        lua_rawset(m->L, -3);
    }
}

static void push_resources(maker *m)
{
    lua_newtable(m->L);
    set_field(m, "cpu", push_whole);
    set_field(m, "memory", push_small);
    set_field(m, "gpu", push_small);
}

static void push_function(maker *m)
{
    uint8_t how = lf_read_u8(m->in);
    push_odd(m, how < 0xc0 ? how & 1 : how & 15); /* the first two are function(self[, inputs]) */
}

static void push_step(maker *m)
{
    uint8_t how = lf_read_u8(m->in);
    if (how >= 0xe0) {
        push_function(m);
        return;
    }
    lua_newtable(m->L);
    if (how & 1) {
        push_function(m);
        lua_rawseti(m->L, -2, 1);
    }
    set_field(m, "next", push_next);
    if (how & 2) set_field(m, "foreach", push_word);
    if (how & 4) set_field(m, "switch", push_word);
    if (how & 8) {
        set_field(m, "doc", push_word);
        set_field(m, "retry", push_retry);
        set_field(m, "timeout", push_small);
        set_field(m, "catch", push_word);
        set_field(m, "isolate", push_flag);
    }
    if (how & 16) {
        set_field(m, "env", push_env);
        set_field(m, "resources", push_resources);
        set_field(m, "max_parallel", push_whole);
    }
    if ((how & 0xe0) == 0xa0) {
        push_key(m);
        push(m, 2);
        lua_rawset(m->L, -3);
    }
}

static void push_steps(maker *m)
{
    lua_newtable(m->L);
    for (int i = lf_read_u8(m->in) % 12; i >= 0; i--) {
        if (lf_read_u8(m->in) < 0xf0) push_step_name(m);
        else push_key(m);
        push_step(m);
        lua_rawset(m->L, -3);
    }
}

static void push_any(maker *m) { push(m, 3); }

static void push_type(maker *m)
{
    static const char *const types[] = {"string", "number", "integer", "boolean", "json", "file", "float"};
    lua_pushstring(m->L, types[lf_read_u8(m->in) % COUNT(types)]);
}

static void push_default(maker *m)
{
    if (lf_read_u8(m->in) < 0xe0) push(m, 3);
    else push_odd(m, 0);
}

static void push_choices(maker *m) { push_list(m, lf_read_u8(m->in) % 5, 3); }

static void push_params(maker *m)
{
    lua_newtable(m->L);
    for (int i = lf_read_u8(m->in) % 5; i > 0; i--) {
        push_key(m);
        lua_newtable(m->L);
        set_field(m, "type", push_type);
        set_field(m, "default", push_default);
        set_field(m, "required", push_flag);
        set_field(m, "help", push_word);
        set_field(m, "separator", push_word);
        set_field(m, "choices", push_choices);
        if (lf_read_u8(m->in) >= 0xf0) set_field(m, "odd", push_any);
        lua_rawset(m->L, -3);
    }
}

void fuzz_push_flow(lua_State *L, lf_reader *in)
{
    maker m = {.L = L, .in = in, .odd = true};
    begin(&m);
    lua_newtable(L);
    set_field(&m, "name", push_word);
    set_field(&m, "doc", push_word);
    set_field(&m, "params", push_params);
    set_field(&m, "steps", push_steps);
    lua_remove(L, m.room);
}
