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

enum { DEAF_SECONDS = 1, TICK = 10000 /* µs */ };

static lua_State *volatile evaluating;
static volatile sig_atomic_t interrupts; /* since the call began */
static volatile sig_atomic_t unheard;    /* whether any of them is */
static struct timespec asked;            /* when the first of those came */
static struct itimerval clock_before;    /* the profiler's, when the call began */
static struct sigaction profiler;        /* what has SIGPROF while we do not ask */

static void raise_interrupted(lua_State *L, lua_Debug *about);

/* ---- asking, by signals ---- */

static void set_hook(void)
{
    lua_sethook(evaluating, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* Asks until it is heard: whatever LuaJIT is about when a signal comes, it may write over
 * the hook, and overhear the profiler. */
static void on_tick(int signal_number)
{
    set_hook();
    profiler.sa_handler(signal_number);
}

/* Without a profiler, which a script may have stopped, the signal would end the process. */
static void start_ticking(void)
{
    struct sigaction now, ours = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGPROF, NULL, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 ||
        now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN || now.sa_handler == on_tick)
        return;
    profiler = now;
    sigaction(SIGPROF, &ours, NULL);
    static const struct timeval tick = {.tv_usec = TICK};
    setitimer(ITIMER_PROF, &(struct itimerval){tick, tick}, NULL);
}

/* With both signals held back. */
static void stop_asking(lua_State *L)
{
    struct sigaction now;
    if (sigaction(SIGPROF, NULL, &now) == 0 && now.sa_handler == on_tick) {
        setitimer(ITIMER_PROF, &clock_before, NULL);
        sigaction(SIGPROF, &profiler, NULL);
    }
    lua_sethook(L, NULL, 0, 0);
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

static void on_interrupt(int signal_number)
{
    if (is_deaf()) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    interrupts++;
    unheard = 1;
    set_hook();
    start_ticking();
}

/* ---- hearing ---- */

static sigset_t asking_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGPROF);
    return set;
}

/* The hook. What is evaluated may catch the error of the first interrupt; that of the second
 * comes again wherever it was caught. */
static void raise_interrupted(lua_State *L, lua_Debug *about)
{
    (void)about;
    sigset_t asking = asking_signals(), mask;
    pthread_sigmask(SIG_BLOCK, &asking, &mask);
    unheard = 0;
    if (interrupts <= 1)
        stop_asking(L);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    luaL_where(L, 0); /* a hook has no frame of its own */
    lua_pushliteral(L, "interrupted");
    lua_concat(L, 2);
    lua_error(L);
}

/* SIGINT is let in, which an open editor holds back. Nothing of Lua runs between the call's
 * end and the hook's. */
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
    sigaddset(&action.sa_mask, SIGPROF);
    if (sigaction(SIGINT, &action, &before) != 0)
        return luaL_error(L, "cannot watch signals: %s", strerror(errno));
    sigset_t asking = asking_signals(), mask, ignored;
    pthread_sigmask(SIG_UNBLOCK, &asking, &mask);
    int status = lua_pcall(L, 0, LUA_MULTRET, 1);
    pthread_sigmask(SIG_BLOCK, &asking, &ignored);
    if (interrupts > 0)
        stop_asking(L);
    sigaction(SIGINT, &before, NULL);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    lua_pushboolean(L, status == 0);    /* handler, results…, ok */
    lua_replace(L, 1);
    return lua_gettop(L);
}

/* ---- the module ---- */

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
