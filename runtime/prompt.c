/* prompt.c -- the module luaflow.prompt, and Ctrl-C while something is evaluated. Knows
 * nothing of what that is. The main thread.
 *
 * Lua notices a signal by a hook, which code that LuaJIT has compiled does not look for.
 * It looks for LuaJIT's profiler, if there was one when it was compiled. So there is, with
 * a clock that practically never strikes but for an interrupt. */
#include "prompt_inside.h"

#include <errno.h>
#include <luajit.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define NEVER "1000000000" /* ms, and of processor time */

enum { DEAF_SECONDS = 1, SOON = 10000 /* µs */ };

static lua_State *volatile evaluating;
static volatile sig_atomic_t interrupts; /* since the call began */
static volatile sig_atomic_t unheard;    /* whether any of them is */
static struct timespec asked;            /* when the first of those came */
static struct itimerval clock_before;    /* the profiler's, when the call began */

/* Whether the profiler, whoever uses it, has SIGPROF: else that would end the process. */
static bool has_profiler(void)
{
    struct sigaction now;
    return sigaction(SIGPROF, NULL, &now) == 0 && now.sa_handler != SIG_DFL;
}

static void stop_asking(lua_State *L)
{
    setitimer(ITIMER_PROF, &clock_before, NULL);
    lua_sethook(L, NULL, 0, 0);
}

/* The hook. What is evaluated may catch the error of the first interrupt; that of the second
 * comes again wherever it was caught. */
static void raise_interrupted(lua_State *L, lua_Debug *about)
{
    (void)about;
    unheard = 0;
    if (interrupts == 1)
        stop_asking(L);
    luaL_where(L, 0); /* a hook has no frame of its own */
    lua_pushliteral(L, "interrupted");
    lua_concat(L, 2);
    lua_error(L);
}

/* Whether Lua, being in C, has not heard of an interrupt for long. */
static bool is_deaf(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!unheard)
        asked = now;
    return now.tv_sec - asked.tv_sec > DEAF_SECONDS;
}

/* Asks until it is heard: the profiler overhears its signal while memory is collected. */
static void on_interrupt(int signal_number)
{
    if (is_deaf()) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    interrupts++;
    unheard = 1;
    lua_sethook(evaluating, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    if (has_profiler()) {
        static const struct timeval soon = {.tv_usec = SOON};
        setitimer(ITIMER_PROF, &(struct itimerval){soon, soon}, NULL);
    }
}

/* SIGINT is let in, which an open editor holds back.
 * Nothing of Lua runs between the call's end and the hook's. */
static int prompt_call(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_insert(L, 1);                   /* handler, f */
    evaluating = L;
    interrupts = unheard = 0;
    getitimer(ITIMER_PROF, &clock_before);
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, &action, &before) != 0)
        return luaL_error(L, "cannot watch signals: %s", strerror(errno));
    sigset_t interrupt, mask;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &interrupt, &mask);
    int status = lua_pcall(L, 0, LUA_MULTRET, 1);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sigaction(SIGINT, &before, NULL);
    if (lua_gethook(L) == raise_interrupted)
        stop_asking(L);
    lua_pushboolean(L, status == 0);    /* handler, results…, ok */
    lua_replace(L, 1);
    return lua_gettop(L);
}

static void take_no_sample(void *payload, lua_State *L, int samples, int vm_state)
{
    (void)payload, (void)L, (void)samples, (void)vm_state;
}

void lf_prompt_calls(lua_State *L)
{
    lua_pushcfunction(L, prompt_call);
    lua_setfield(L, -2, "call");
    luaJIT_profile_start(L, "li" NEVER, take_no_sample, NULL);
}

int lf_prompt_open(lua_State *L)
{
    lua_newtable(L);
    lf_prompt_calls(L);
    lf_prompt_editors(L);
    lf_prompt_files(L);
    return 1;
}
