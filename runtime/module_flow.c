/* module_flow.c -- flows as Lua handles, and the parameters given to them. Knows nothing
 * of runs. Lives on the thread of the state that calls it. */
#include "module_inside.h"

/* ---- parameters ---- */

/* [-0, +0, raises] */
LF_RAISES static size_t count_pairs(lua_State *L, int index)
{
    size_t n = 0;
    if (lua_isnil(L, index))
        return 0;
    if (!lua_istable(L, index))
        luaL_error(L, "parameters must be a table: { name = value }");
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        n++;
    return n;
}

/* The name of the pair that lua_next pushed.  [-0, +0, raises] */
LF_RAISES static const char *name_of_pair(lua_State *L)
{
    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "the name of a parameter must be a string");
    return lua_tostring(L, -2);
}

bool lf_push_params(lua_State *L, int texts, int values, lf_scratch *s, const luaflow_param **out,
                    size_t *n)
{
    size_t most = count_pairs(L, texts) + count_pairs(L, values);
    luaflow_param *params = lf_push_block(L, most, sizeof *params);
    lua_newtable(L);                                            /* block, anchor */
    int anchor = lua_gettop(L);
    *n = 0;
    *out = params;
    if (!lua_isnil(L, texts))
        for (lua_pushnil(L); lua_next(L, texts); lua_pop(L, 1)) { /* …, name, text */
            const char *name = name_of_pair(L);
            if (lua_type(L, -1) != LUA_TSTRING)
                luaL_error(L, "the text of parameter '%s' must be a string", name);
            params[(*n)++] = (luaflow_param){.name = name, .text = lua_tostring(L, -1)};
        }
    if (lua_isnil(L, values))
        return true;
    for (lua_pushnil(L); lua_next(L, values); lua_pop(L, 1)) {  /* …, name, value */
        const char *name = name_of_pair(L);
        size_t size;
        if (luaflow_value_encode(L, -1, name, &s->memory, &size, &s->err) != LUAFLOW_OK) {
            lua_settop(L, anchor);
            return false;
        }
        lua_pushlstring(L, s->memory, size);                    /* …, name, value, bytes */
        lf_scratch_clear(s);
        const char *bytes = lua_tostring(L, -1);
        params[*n] = (luaflow_param){.name = name, .value = bytes, .value_size = size};
        lua_rawseti(L, anchor, (int)++*n);
    }
    return true;
}

/* ---- flows ---- */

luaflow_flow *lf_arg_flow(lua_State *L, int arg)
{
    luaflow_flow **slot = luaL_checkudata(L, arg, LF_FLOW_TYPE);
    luaL_argcheck(L, *slot != NULL, arg, "this flow is closed");
    return *slot;
}

static int flow_close(lua_State *L)
{
    luaflow_flow **slot = luaL_checkudata(L, 1, LF_FLOW_TYPE);
    luaflow_flow *flow = *slot;
    *slot = NULL;
    luaflow_flow_close(flow); /* runs of it keep what they need */
    return 0;
}

/* The attributes in the list at `index` (nil: none), which anchors their strings. Pushes
 * the block they are listed in.  [-0, +1, raises] */
LF_RAISES static const luaflow_attribute *push_attributes(lua_State *L, int index, size_t *n)
{
    if (!lua_isnil(L, index))
        luaL_checktype(L, index, LUA_TTABLE);
    *n = lua_istable(L, index) ? lua_objlen(L, index) : 0;
    luaflow_attribute *list = lf_push_block(L, *n, sizeof *list);
    for (size_t i = 0; i < *n; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        if (!lua_istable(L, -1))
            luaL_error(L, "an attribute must be a table: { name =, value = }");
        list[i].name = lf_option_string(L, -1, "name");
        list[i].value = lf_option_string(L, -1, "value");
        if (list[i].name == NULL || list[i].value == NULL)
            luaL_error(L, "an attribute needs a name and a value");
        lua_pop(L, 1);
    }
    return list;
}

/* Pushes a handle that is closed as yet.  [-0, +1, raises] */
LF_RAISES static luaflow_flow **push_handle(lua_State *L)
{
    luaflow_flow **slot = lua_newuserdata(L, sizeof(luaflow_flow *));
    *slot = NULL;
    luaL_getmetatable(L, LF_FLOW_TYPE);
    lua_setmetatable(L, -2);
    return slot;
}

/* core.load(path, { { name =, value = }, … } or nil) */
static int core_load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    luaflow_flow_options options = LUAFLOW_FLOW_OPTIONS_INIT;
    lua_settop(L, 2);
    options.with = push_attributes(L, 2, &options.n_with);
    lf_scratch *s = lf_scratch_new(L);
    luaflow_flow **slot = push_handle(L);
    if (luaflow_flow_load(path, &options, slot, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    return 1;
}

/* core.ship(table, name or nil, { { name =, value = }, … } or nil): a flow as a file would return it */
static int core_ship(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *name = luaL_optstring(L, 2, NULL);
    luaflow_flow_options options = LUAFLOW_FLOW_OPTIONS_INIT;
    lua_settop(L, 3);
    options.with = push_attributes(L, 3, &options.n_with);
    lf_scratch *s = lf_scratch_new(L);
    luaflow_flow **slot = push_handle(L);
    if (luaflow_flow_load_lua(L, 1, name, &options, slot, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    return 1;
}

/* flow:describe() -> { name =, doc =, file =, params =, steps = } */
static int flow_describe(lua_State *L)
{
    luaflow_flow *flow = lf_arg_flow(L, 1);
    lf_scratch *s = lf_scratch_new(L);
    size_t size;
    const void *bytes = luaflow_flow_describe(flow, &size);
    if (luaflow_value_push(L, bytes, size, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    return 1;
}

/* flow:params({ name = text }, { name = value }) -> { name = value } of all parameters */
static int flow_params(lua_State *L)
{
    luaflow_flow *flow = lf_arg_flow(L, 1);
    lua_settop(L, 3);
    lf_scratch *s = lf_scratch_new(L);
    const luaflow_param *params;
    size_t n, size;
    if (!lf_push_params(L, 2, 3, s, &params, &n))
        return lf_scratch_fail(L, s);
    if (luaflow_flow_params(flow, params, n, &s->memory, &size, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    return lf_scratch_value(L, s, size);
}

void lf_core_flows(lua_State *L)
{
    static const luaL_Reg functions[] = {{"load", core_load}, {"ship", core_ship}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"describe", flow_describe},
        {"params", flow_params},
        {"close", flow_close},
        {NULL, NULL},
    };
    lf_core_methods(L, LF_FLOW_TYPE, methods, flow_close);
    lf_core_add(L, functions);
}
