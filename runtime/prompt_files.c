/* prompt_files.c -- a file that belongs to its owner alone, and the names in a directory.
 * Knows nothing of what the file is for. The main thread. */
#include "prompt_inside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MODE = 0600, DIRECTORY_MODE = 0700 };

/* [-0, +2, raises] */
LF_RAISES static int fail(lua_State *L, const char *path, int problem)
{
    lua_pushnil(L);
    lua_pushfstring(L, "cannot write %s: %s", path, strerror(problem));
    return 2;
}

/* Makes the directories above `path`, a copy of which Lua owns. What is in the way is told
 * by whoever opens the file.  [-0, +0, raises] */
LF_RAISES static void make_parents(lua_State *L, const char *path)
{
    size_t size = strlen(path) + 1;
    char *copy = memcpy(lua_newuserdata(L, size), path, size);
    for (char *slash = copy; (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
        *slash = '\0';
        mkdir(copy, DIRECTORY_MODE);
    }
    lua_pop(L, 1);
}

/* 0 or what is wrong; the file is closed. */
static int write_all(int fd, const char *bytes, size_t size)
{
    int problem = 0;
    while (size > 0 && problem == 0) {
        ssize_t n = write(fd, bytes, size);
        if (n >= 0) {
            bytes += n;
            size -= (size_t)n;
        } else if (errno != EINTR) {
            problem = errno;
        }
    }
    if (close(fd) != 0 && problem == 0)
        problem = errno;
    return problem;
}

static int prompt_append(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t size;
    const char *bytes = luaL_checklstring(L, 2, &size);
    make_parents(L, path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, FILE_MODE);
    int problem = fd < 0 ? errno : write_all(fd, bytes, size);
    if (problem != 0)
        return fail(L, path, problem);
    lua_pushboolean(L, 1);
    return 1;
}

/* The file is never half there: it is written under another name first. */
static int prompt_replace(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t size;
    const char *bytes = luaL_checklstring(L, 2, &size);
    make_parents(L, path);
    const char *aside = lua_pushfstring(L, "%s.%d", path, (int)getpid());
    int fd = open(aside, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, FILE_MODE);
    int problem = fd < 0 ? errno : write_all(fd, bytes, size);
    if (problem == 0 && rename(aside, path) != 0)
        problem = errno;
    if (problem != 0) {
        unlink(aside);
        return fail(L, path, problem);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static bool is_directory(int parent, const char *name)
{
    struct stat about;
    return fstatat(parent, name, &about, 0) == 0 && S_ISDIR(about.st_mode);
}

/* [-0, +1, raises] */
static int push_names(lua_State *L)
{
    DIR *directory = lua_touserdata(L, 1);
    lua_newtable(L);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        const char *slash = is_directory(dirfd(directory), entry->d_name) ? "/" : "";
        lua_pushfstring(L, "%s%s", entry->d_name, slash);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int prompt_list(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_pushcfunction(L, push_names);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return 0;
    lua_pushlightuserdata(L, directory);
    int status = lua_pcall(L, 1, 1, 0);
    closedir(directory);
    return status == 0 ? 1 : lua_error(L);
}

void lf_prompt_files(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"append", prompt_append},
        {"replace", prompt_replace},
        {"list", prompt_list},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
