/* module_place.c -- where a state is and where stores are: directories. Knows nothing of what is
 * in them. Lives on the thread of the state that calls it. */
#include "module_inside.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* core.cwd() -> path, or nil when it is gone */
static int cwd(lua_State *L)
{
    char *path = getcwd(lua_newuserdata(L, PATH_MAX), PATH_MAX);
    lua_pushstring(L, path);
    return 1;
}

/* core.is_directory(path) */
static int is_directory(lua_State *L)
{
    struct stat about;
    lua_pushboolean(L, stat(luaL_checkstring(L, 1), &about) == 0 && S_ISDIR(about.st_mode));
    return 1;
}

/* [-0, +1, raises] */
LF_RAISES static int push_place(lua_State *L, const struct stat *about)
{
    char text[48];
    snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)about->st_dev, (uintmax_t)about->st_ino);
    lua_pushstring(L, text);
    return 1;
}

int lf_push_place_of(lua_State *L, int fd)
{
    struct stat about;
    return fstat(fd, &about) == 0 && about.st_nlink > 0 ? push_place(L, &about) : 0;
}

/* core.place(path) -> a text that is the same for a directory whatever it is called, and no other
 * one's while it is there; nil when it is not */
static int place(lua_State *L)
{
    struct stat about;
    return stat(luaL_checkstring(L, 1), &about) == 0 ? push_place(L, &about) : 0;
}

void lf_core_places(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"cwd", cwd},
        {"is_directory", is_directory},
        {"place", place},
        {NULL, NULL},
    };
    lf_core_add(L, functions);
}
