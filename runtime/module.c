/* module.c -- the module table of require "luaflow.core", and the stores it opens.
 * Knows nothing of the house but luaflow.h. Lives on the thread of the state that
 * calls it. */
#include "module_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* ---- a runtime: an open store ---- */

lf_core_runtime *lf_arg_runtime(lua_State *L, int arg)
{
    lf_core_runtime *rt = luaL_checkudata(L, arg, LF_RUNTIME_TYPE);
    luaL_argcheck(L, rt->handle != NULL, arg, "this store is closed");
    return rt;
}

void lf_core_refuse_inside(lua_State *L, const lf_core_runtime *rt, const char *what)
{
    if (rt->delivering != NULL)
        luaL_error(L, "%s cannot be called from on_event", what);
}

/* Its runs are all cancelled before any is waited for; their blocks go last, since events
 * may still be offered to them. */
static void close_runtime(lf_core_runtime *rt)
{
    luaflow *handle = rt->handle;
    rt->handle = NULL;
    rt->delivering = NULL; /* not so only in a state that closes from within a callback */
    luaflow_close(handle);
    lf_core_forget_warnings(rt);
    lf_core_drop_runs(rt);
    if (rt->place >= 0)
        close(rt->place);
    rt->place = -1;
}

static int runtime_close(lua_State *L)
{
    lf_core_runtime *rt = luaL_checkudata(L, 1, LF_RUNTIME_TYPE);
    lf_core_refuse_inside(L, rt, "close");
    close_runtime(rt);
    return 0;
}

static int runtime_gc(lua_State *L)
{
    close_runtime(lua_touserdata(L, 1));
    return 0;
}

/* A store that was there a moment ago.  [-0, +3, raises] */
LF_RAISES static int fail_to_open(lua_State *L, lf_core_runtime *rt, const char *store)
{
    const char *why = strerror(errno);
    close_runtime(rt);
    lua_pushnil(L);
    lua_pushfstring(L, "cannot open %s: %s", store, why);
    lua_pushstring(L, lf_code_name(LUAFLOW_ESTORE));
    return 3;
}

/* core.open { store =, create =, wait_for_host =, executable = } */
static int core_open(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    options.store = lf_option_string(L, 1, "store");
    options.create = lf_option_boolean(L, 1, "create");
    options.wait_for_host = lf_option_boolean(L, 1, "wait_for_host");
    options.executable = lf_option_string(L, 1, "executable");
    if (options.store == NULL)
        return luaL_error(L, "option 'store' must name the store's directory");
    lf_scratch *s = lf_scratch_new(L);
    lf_core_runtime *rt = lua_newuserdata(L, sizeof *rt);
    *rt = (lf_core_runtime){.place = -1};
    luaL_getmetatable(L, LF_RUNTIME_TYPE);
    lua_setmetatable(L, -2);
    lua_newtable(L); /* the runs it keeps alive */
    lua_setfenv(L, -2);
    options.on_log = lf_core_hear;
    options.log_payload = rt;
    if (luaflow_open(&options, &rt->handle, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    rt->place = open(options.store, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rt->place < 0)
        return fail_to_open(L, rt, options.store);
    return 1;
}

/* rt:place() -> what core.place says of the store's directory; nil once that was removed */
static int runtime_place(lua_State *L) { return lf_push_place_of(L, lf_arg_runtime(L, 1)->place); }

/* rt:is_delivering() -> whether this is called from within a callback */
static int runtime_is_delivering(lua_State *L)
{
    lua_pushboolean(L, lf_arg_runtime(L, 1)->delivering != NULL);
    return 1;
}

/* rt:events_lost() -> how many were dropped since nobody took them */
static int runtime_events_lost(lua_State *L)
{
    lua_pushnumber(L, (double)luaflow_events_lost(lf_arg_runtime(L, 1)->handle));
    return 1;
}

/* rt:warning() -> the oldest thing that the library warned of and nobody asked for yet, or nil */
static int runtime_warning(lua_State *L) { return lf_push_warning(L, lf_arg_runtime(L, 1)); }

/* rt:fd() -> the descriptor that is readable when events wait */
static int runtime_fd(lua_State *L)
{
    lua_pushinteger(L, luaflow_fd(lf_arg_runtime(L, 1)->handle));
    return 1;
}

void lf_core_runtimes(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", core_open}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"events_lost", runtime_events_lost},
        {"fd", runtime_fd},
        {"is_delivering", runtime_is_delivering},
        {"place", runtime_place},
        {"warning", runtime_warning},
        {"close", runtime_close},
        {NULL, NULL},
    };
    lf_core_methods(L, LF_RUNTIME_TYPE, methods, runtime_gc);
    lf_core_add(L, functions);
}

/* ---- the module ---- */

void lf_core_add(lua_State *L, const luaL_Reg *functions)
{
    for (const luaL_Reg *function = functions; function->name != NULL; function++) {
        lua_pushcfunction(L, function->func);
        lua_setfield(L, -2, function->name);
    }
}

void lf_core_methods(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction gc)
{
    if (luaL_newmetatable(L, type)) {           /* metatable */
        lua_newtable(L);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
        lua_pushstring(L, type);
        lua_setfield(L, -2, "__name");
        lua_pushboolean(L, false); /* a __gc called by hand would see any value */
        lua_setfield(L, -2, "__metatable");
    }
    lua_getfield(L, -1, "__index");             /* metatable, methods */
    lf_core_add(L, methods);
    lua_pop(L, 2);
}

static int versions(lua_State *L)
{
    lf_scratch *s = lf_scratch_new(L);
    s->memory = luaflow_versions();
    if (s->memory == NULL)
        return luaL_error(L, "not enough memory");
    lua_pushstring(L, s->memory);
    lf_scratch_clear(s);
    return 1;
}

int luaopen_luaflow_core(lua_State *L)
{
    static const luaL_Reg functions[] = {{"versions", versions}, {NULL, NULL}};
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 8);  /* loaded */
    lua_getfield(L, -1, "luaflow.core");
    if (lua_istable(L, -1))
        return 1; /* one table, under whatever name it is opened */
    lua_pop(L, 1);
    luaflow_furnish(L);
    lua_newtable(L);                                     /* loaded, core */
    lf_core_values(L);
    lf_core_flows(L);
    lf_core_runtimes(L);
    lf_core_runs(L);
    lf_core_reading(L);
    lf_core_stores(L);
    lf_core_places(L);
    lf_core_add(L, functions);
    lf_set_string(L, "version", LUAFLOW_VERSION);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "luaflow.core");
    return 1;
}

int luaopen_luaflow(lua_State *L)
{
    luaopen_luaflow_core(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luaflow.door");
    lua_call(L, 1, 1);
    return 1;
}
