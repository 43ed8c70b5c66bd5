/* main.c -- the command: makes a Lua state and runs luaflow.cli in it. Gives it
 * luaflow.process, the little it must ask of the process it is in, and offers it the room
 * `prompt`. Knows nothing of the house but the public header. The main thread. */
#include <luaflow.h>

#include "prompt.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, DEFAULT_WIDTH = 80 };

/* ---- luaflow.process ------------------------------------------------- */

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupts++;
}

static void on_pipe(int signal_number) { (void)signal_number; }

static struct sigaction unwatched[3]; /* SIGINT, SIGTERM, SIGPIPE */

/* process.watch_signals(): from here on SIGINT and SIGTERM are counted, from 0, and end whatever
 * waits; a reader of our output that leaves is an error of write. (SIGPIPE has a handler
 * instead of being ignored, since what is ignored stays so in a step's children.) */
static int process_watch_signals(lua_State *L)
{
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART */
    sigemptyset(&action.sa_mask);
    struct sigaction on_reader_gone = {.sa_handler = on_pipe, .sa_flags = SA_RESTART};
    sigemptyset(&on_reader_gone.sa_mask);
    interrupts = 0;
    if (sigaction(SIGINT, &action, &unwatched[0]) != 0 ||
        sigaction(SIGTERM, &action, &unwatched[1]) != 0 ||
        sigaction(SIGPIPE, &on_reader_gone, &unwatched[2]) != 0)
        return luaL_error(L, "cannot watch signals: %s", strerror(errno));
    return 0;
}

/* process.unwatch_signals(): they do again what they did before watch_signals */
static int process_unwatch_signals(lua_State *L)
{
    if (sigaction(SIGINT, &unwatched[0], NULL) != 0 || sigaction(SIGTERM, &unwatched[1], NULL) != 0 ||
        sigaction(SIGPIPE, &unwatched[2], NULL) != 0)
        return luaL_error(L, "cannot stop watching signals: %s", strerror(errno));
    return 0;
}

static int process_interrupts(lua_State *L)
{
    lua_pushinteger(L, interrupts);
    return 1;
}

/* process.isatty(fd) */
static int process_isatty(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* process.width(): columns of the terminal that stderr is */
static int process_width(lua_State *L)
{
    struct winsize size;
    bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    lua_pushinteger(L, is_known ? size.ws_col : DEFAULT_WIDTH);
    return 1;
}

/* process.now(): seconds since 1970 */
static int process_now(lua_State *L)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
    return 1;
}

static int process_exists(lua_State *L)
{
    struct stat about;
    lua_pushboolean(L, stat(luaL_checkstring(L, 1), &about) == 0);
    return 1;
}

/* process.unreadable(path) -> why a file that exists cannot be read, or nil */
static int process_unreadable(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct stat about;
    int problem = 0;
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        problem = EISDIR;
    else if (access(path, R_OK) != 0)
        problem = errno;
    lua_pushstring(L, problem != 0 ? strerror(problem) : NULL);
    return 1;
}

/* Waits until `fd` takes bytes again, for a stdout that somebody made non-blocking. */
static void wait_writable(int fd)
{
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    poll(&waiting, 1, -1);
}

/* process.write(fd, bytes) -> true, or nil, message; no message when a reader has left (and
 * SIGPIPE did not end the process). */
static int process_write(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    size_t size;
    const char *bytes = luaL_checklstring(L, 2, &size);
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n >= 0) {
            bytes += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN) {
            wait_writable(fd);
        } else if (errno == EPIPE) {
            return 0;
        } else if (errno != EINTR) {
            lua_pushnil(L);
            lua_pushstring(L, strerror(errno));
            return 2;
        }
    }
    lua_pushboolean(L, true);
    return 1;
}

/* process.wait_readable(fd, seconds): until `fd` is readable, time is up, or a signal
 * came */
static int process_wait_readable(lua_State *L)
{
    struct pollfd waiting = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
    double seconds = luaL_checknumber(L, 2);
    lua_pushboolean(L, poll(&waiting, 1, (int)ceil(seconds * 1000)) > 0);
    return 1;
}

/* process.executable() -> the path of this command, or nil when it cannot be told */
static int process_executable(lua_State *L)
{
    char *path = lua_newuserdata(L, PATH_MAX);
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX);
    if (size <= 0)
        return 0;
    lua_pushlstring(L, path, (size_t)size);
    return 1;
}

/* process.exit(code): at once, without waiting for threads */
static int process_exit(lua_State *L)
{
    int code = (int)luaL_checkinteger(L, 1);
    fflush(NULL);
    _exit(code);
}

static const luaL_Reg process_functions[] = {
    {"watch_signals", process_watch_signals},
    {"unwatch_signals", process_unwatch_signals},
    {"interrupts", process_interrupts},
    {"isatty", process_isatty},
    {"width", process_width},
    {"now", process_now},
    {"exists", process_exists},
    {"unreadable", process_unreadable},
    {"write", process_write},
    {"wait_readable", process_wait_readable},
    {"executable", process_executable},
    {"exit", process_exit},
    {NULL, NULL},
};

/* [-0, +1, raises] */
static int open_process(lua_State *L)
{
    lua_newtable(L);
    for (const luaL_Reg *function = process_functions; function->name != NULL; function++) {
        lua_pushcfunction(L, function->func);
        lua_setfield(L, -2, function->name);
    }
    return 1;
}

/* ---- the command ----------------------------------------------------- */

typedef struct command {
    int argc;
    char **argv;
    int exit_code;
} command;

/* Loads a module by hand where `require` finds it.  [-0, +0, raises] */
static void provide(lua_State *L, const char *name, lua_CFunction open)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* The same for one that few commands need: it is opened when it is asked for.
 * [-0, +0, raises] */
static void offer(lua_State *L, const char *name, lua_CFunction open)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
    lua_pushcfunction(L, open);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* Everything that may raise.  [-1, +0, raises] */
static int run_protected(lua_State *L)
{
    command *c = lua_touserdata(L, 1);
    luaL_openlibs(L);
    provide(L, "luaflow.core", luaopen_luaflow_core);
    provide(L, "luaflow.process", open_process);
    offer(L, "luaflow.prompt", lf_prompt_open);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luaflow.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_createtable(L, c->argc, 0);
    for (int i = 1; i < c->argc; i++) {
        lua_pushstring(L, c->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_call(L, 1, 1);
    c->exit_code = (int)lua_tointeger(L, -1);
    return 0;
}

/* Opens those of descriptors 0, 1 and 2 that nobody gave us, lest a file of the store
 * gets the number that we take for the console. */
static bool open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    }
    return true;
}

/* A process that luaflow started to run one step: it talks over the first descriptor after the
 * standard ones. */
static int serve(void)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_serve(STDERR_FILENO + 1, &err) == LUAFLOW_OK)
        _exit(EXIT_SUCCESS); /* the step's libraries have nothing more to do */
    fprintf(stderr, "luaflow: %s\n", luaflow_error_text(&err));
    luaflow_error_clear(&err);
    return EXIT_USAGE;
}

/* ---- damaged stores --------------------------------------------------- */

enum { EXIT_STORE = 3, N_FAULTS = 4 };
static const int faults[N_FAULTS] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
static struct sigaction before[N_FAULTS];

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

/* Inside a store it is the store's damage; all else goes the way it would have gone. */
static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    const char *store = luaflow_inside_store();
    if (store != NULL) {
        say("luaflow: the store ");
        say(store);
        say(" is damaged: run `luaflow verify` to see what it hurts\n");
        _exit(EXIT_STORE);
    }
    for (int i = 0; i < N_FAULTS; i++)
        if (faults[i] == signal_number)
            sigaction(signal_number, &before[i], NULL);
    if (info->si_code <= 0) /* sent by somebody; else the fault repeats itself */
        raise(signal_number);
}

static void watch_faults(void)
{
    static char stack[1 << 16]; /* where the fault is that the other one is full */
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_FAULTS; i++)
        sigaction(faults[i], &action, &before[i]);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], LUAFLOW_SERVE) == 0)
        return serve();
    if (!open_standard_streams()) /* and so there is nowhere to tell it */
        return EXIT_USAGE;
    /* A file that may not grow is an error to be told, not a signal to die of; a
     * reader that left is the other way round, whatever we inherited. */
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    watch_faults();
    command c = {argc, argv, EXIT_USAGE};
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        fputs("luaflow: out of memory\n", stderr);
        return EXIT_USAGE;
    }
    if (lua_cpcall(L, run_protected, &c) != 0) {
        const char *message = lua_tostring(L, -1);
        fprintf(stderr, "luaflow: %s\n", message != NULL ? message : "unknown error");
    }
    lua_close(L);
    return c.exit_code;
}
