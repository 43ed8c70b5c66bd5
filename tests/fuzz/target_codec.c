/* target_codec.c -- any bytes as a value: they are refused by everyone, or read by everyone and
 * written again as they were; and no NaN but the one reaches Lua. */
#include "fuzz.h"
#include "codec_inside.h"

#include <lauxlib.h>

enum { SOME = 40 }; /* elements of a list that are looked at */

static void check_error(int rc, luaflow_error *err)
{
    MUST(rc == LUAFLOW_EVALUE && err->message != NULL);
    luaflow_error_clear(err);
}

/* The value at the top is written as `bytes`. */
static void check_encodes(lua_State *L, lf_slice bytes)
{
    lf_bytes out = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_codec_encode(L, -1, "x", &out, &err) != LUAFLOW_OK)
        fuzz_stop("what was decoded is not encoded: %s", luaflow_error_text(&err));
    MUST(lf_slice_equal(lf_slice_of(out.data, out.size), bytes));
    lf_bytes_fini(&out);
}

/* Whether a NaN is one that LuaJIT can tell from its pointers. */
static void check_number(lua_State *L)
{
    double n = lua_tonumber(L, -1);
    uint64_t bits;
    memcpy(&bits, &n, sizeof bits);
    MUST(!isnan(n) || (bits & ~(UINT64_C(1) << 63)) == LF_NAN_DOUBLE);
}

/* [-0, +0, raises] */
static void check_nans(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TNUMBER)
        check_number(L);
    if (lua_type(L, -1) == LUA_TTABLE || lua_type(L, -1) == 10) {
        fuzz_push_file(L, "values.lua");
        lua_getfield(L, -1, "has_settled_nans");
        lua_pushvalue(L, -3);
        lua_call(L, 1, 1);
        MUST(lua_toboolean(L, -1));
        lua_pop(L, 2);
    }
}

/* The list of which the value at the top is the whole. */
static void check_elements(lua_State *L, const lf_list *list)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    check_error(lf_list_push(L, list, 0, &err), &err);
    check_error(lf_list_push(L, list, list->size + 1, &err), &err);
    for (uint64_t i = 1; i <= list->size && i <= SOME; i++) {
        MUST(lf_list_push(L, list, i, &err) == LUAFLOW_OK);
        check_nans(L);
        if (list->kind == LF_LIST_ARRAY)
            check_encodes(L, lf_slice_of(list->bytes.data + list->offsets[i - 1],
                                         (size_t)(list->offsets[i] - list->offsets[i - 1])));
        lua_pop(L, 1);
    }
}

static bool may_be_list(lua_State *L)
{
    double n = lua_tonumber(L, -1);
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER: return n >= 0 && n <= LF_WHOLE_MAX && n == floor(n); /* -0 too */
    case LUA_TTABLE: return !lua_getmetatable(L, -1) || (lua_pop(L, 1), false);
    default: return lua_type(L, -1) == 10;
    }
}

static int check(lua_State *L)
{
    lf_slice bytes = *(const lf_slice *)lua_touserdata(L, 1);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    size_t skipped = lf_codec_skip(bytes);
    MUST(skipped <= bytes.size);
    lf_list list;
    int list_rc = lf_list_init(&list, bytes, &err);
    if (list_rc != LUAFLOW_OK)
        check_error(list_rc, &err);
    int rc = lf_codec_decode(L, bytes, &err);
    MUST((rc == LUAFLOW_OK) == (bytes.size > 0 && skipped == bytes.size));
    char what[LF_KIND_MAX];
    MUST(strlen(lf_codec_kind(bytes, what, sizeof what)) < sizeof what);
    MUST((strcmp(what, "something damaged") == 0) == (rc != LUAFLOW_OK));
    if (rc != LUAFLOW_OK) {
        check_error(rc, &err);
        MUST(list_rc != LUAFLOW_OK);
        return 0;
    }
    check_encodes(L, bytes);
    check_nans(L);
    if (list_rc == LUAFLOW_OK) {
        MUST(may_be_list(L));
        check_elements(L, &list);
        lf_list_fini(&list);
    } else {
        MUST(lua_type(L, -1) != LUA_TNUMBER || !may_be_list(L));
    }
    MUST(lf_codec_decode_marked(L, bytes, &err) == LUAFLOW_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lf_slice bytes = lf_slice_of(data, size);
    fuzz_call(check, &bytes);
    return 0;
}
