/* fuzz.c -- what the targets share. */
#include "fuzz.h"
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

void fuzz_stop(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

static lua_State *state;

static void close_state(void)
{
    lf_state_free(state);
    state = NULL;
}

lua_State *fuzz_state(void)
{
    if (state == NULL) {
        state = lf_state_new();
        MUST(state != NULL);
        atexit(close_state);
    }
    return state;
}

void fuzz_call(lua_CFunction run, void *payload)
{
    lua_State *L = fuzz_state();
    int top = lua_gettop(L);
    if (lua_cpcall(L, run, payload) != 0)
        fuzz_stop("a Lua error: %s", lua_tostring(L, -1) != NULL ? lua_tostring(L, -1) : "without a text");
    MUST(lua_gettop(L) == top);
}

void fuzz_push_file(lua_State *L, const char *name)
{
    lua_getfield(L, LUA_REGISTRYINDEX, name);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_pushfstring(L, "%s/%s", FUZZ_DIRECTORY, name);
    if (luaL_loadfile(L, lua_tostring(L, -1)) != 0)
        lua_error(L);
    lua_call(L, 0, 1);
    lua_remove(L, -2);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, name);
}
