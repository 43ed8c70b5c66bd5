/* both.c -- a program that has the library, and Lua which loads the module: there must not be two
 * luaflows in it, for each would open the store's file, and closing it in one takes the other's locks.
 * Opens the store, its first argument, and prints what the Lua text that is its second gives. */
#include <luaflow.h>

#include <lauxlib.h>
#include <lualib.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    luaflow *rt;
    if (argc != 3)
        return 2;
    options.store = argv[1];
    options.create = true;
    if (luaflow_open(&options, &rt, NULL) != LUAFLOW_OK)
        return 1;
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    int status = luaL_dostring(L, argv[2]);
    puts(lua_tostring(L, -1));
    lua_close(L);
    luaflow_close(rt);
    return status;
}
