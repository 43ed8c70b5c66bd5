/* state_children.c -- the programs that a step starts. A worker's thread blocks all signals, and
 * libc's system() ignores SIGINT for the whole process: the first would make the program
 * deaf, the second luaflow. So they are started here, with no signal blocked. */
#include "state_inside.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

static int spawn_shell(const char *command, pid_t *pid)
{
    char *const argv[] = {"sh", "-c", "--", (char *)command, NULL};
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    int rc = posix_spawnattr_init(&attributes);
    if (rc != 0)
        return rc;
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    rc = posix_spawn(pid, "/bin/sh", NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* execute(command) -> the status that wait gives, as os.execute does; execute() -> 1: there
 * is a shell. */
static int native_execute(lua_State *L)
{
    const char *command = luaL_optstring(L, 1, NULL);
    pid_t pid;
    int status = 1;
    if (command != NULL && spawn_shell(command, &pid) != 0) {
        status = -1;
    } else if (command != NULL) {
        while (waitpid(pid, &status, 0) < 0)
            if (errno != EINTR) {
                status = -1; /* a host that reaps every child took the answer */
                break;
            }
    }
    lua_pushinteger(L, status);
    return 1;
}

/* open_signals() -> what was blocked before, for close_signals */
static int native_open_signals(lua_State *L)
{
    sigset_t none, before;
    sigemptyset(&none);
    sigemptyset(&before);
    pthread_sigmask(SIG_SETMASK, &none, &before);
    lua_pushlstring(L, (const char *)&before, sizeof before);
    return 1;
}

static int native_close_signals(lua_State *L)
{
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    sigset_t before;
    luaL_argcheck(L, size == sizeof before, 1, "what open_signals gave");
    memcpy(&before, bytes, sizeof before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return 0;
}

void lf_state_children(lua_State *L)
{
    static const luaL_Reg natives[] = {
        {"execute", native_execute},
        {"open_signals", native_open_signals},
        {"close_signals", native_close_signals},
        {NULL, NULL},
    };
    luaL_register(L, NULL, natives);
}
