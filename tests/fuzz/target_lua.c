/* target_lua.c -- what Lua of ours does with any text, value or flow: the file named by
 * FUZZ_TARGET gives { text =, value =, flow = } of functions, as many as it has, which are called
 * with one. The first byte chooses. They find by require "fuzz" what they need of C. */
#include "fuzz.h"
#include "flow.h"

#include <stdlib.h>

#include <lauxlib.h>

/* value → bytes, or nil, message */
static int encode(lua_State *L)
{
    lf_bytes out = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int rc = lf_codec_encode(L, 1, "value", &out, &err);
    if (rc != LUAFLOW_OK)
        lua_pushnil(L);
    else
        lua_pushlstring(L, (const char *)out.data, out.size);
    lua_pushstring(L, luaflow_error_text(&err));
    luaflow_error_clear(&err);
    lf_bytes_fini(&out);
    return 2;
}

/* bytes → value */
static int decode(lua_State *L)
{
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_codec_decode(L, lf_slice_of(bytes, size), &err) != LUAFLOW_OK)
        fuzz_stop("what was encoded is not decoded: %s", luaflow_error_text(&err));
    return 1;
}

/* text of a flow file → code, message */
static int load(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lf_flow *flow = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int rc = lf_flow_load_string(text, size, "f.lua", NULL, &flow, &err);
    lf_flow_free(flow);
    lua_pushinteger(L, rc);
    lua_pushstring(L, luaflow_error_text(&err));
    luaflow_error_clear(&err);
    return 2;
}

/* Makes what the file finds by require "fuzz".  [-0, +0, raises] */
static void prepare(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {"load", load}, {NULL, NULL}};
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaded");
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    fuzz_push_file(L, "values.lua");
    lua_setfield(L, -2, "values");
    lua_setfield(L, -2, "fuzz");
    lua_pop(L, 2);
}

static int run(lua_State *L)
{
    lf_reader *in = lua_touserdata(L, 1);
    static const char *const kinds[] = {"text", "value", "flow"};
    static bool is_prepared;
    if (!is_prepared)
        prepare(L);
    is_prepared = true;
    fuzz_push_file(L, FUZZ_TARGET);
    size_t kind = lf_read_u8(in) % 3;
    for (lua_getfield(L, -1, kinds[kind]); lua_isnil(L, -1); lua_getfield(L, -1, kinds[kind])) {
        lua_pop(L, 1);
        kind = (kind + 1) % 3;
    }
    if (kind == 0)
        lua_pushlstring(L, (const char *)in->at, lf_reader_left(in));
    else if (kind == 1)
        fuzz_push_value(L, in, true);
    else
        fuzz_push_flow(L, in);
    lua_call(L, 1, 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lf_reader in = lf_reader_of(data, size);
    fuzz_call(run, &in);
    return 0;
}
