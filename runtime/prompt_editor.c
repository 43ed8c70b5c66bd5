/* prompt_editor.c -- lines typed on a terminal, by libedit. Knows nothing of what they
 * mean. The main thread.
 *
 * libedit would take signals its own way and send them on to the whole process group. It
 * is told not to; what comes while a line is typed is held back but when we wait for a
 * key, so none is lost. SIGINT is held back as long as the editor is open: it must not end
 * the process between a line and what is done with it. Lua is called in protection, since
 * nothing may jump over libedit. */
#include "prompt_inside.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#define EDITOR_TYPE "luaflow.editor"

enum { REMEMBERED = 1000, N_WATCHED = 4 };

static const int watched[N_WATCHED] = {SIGINT, SIGTERM, SIGWINCH, SIGCONT};
static volatile sig_atomic_t seen[N_WATCHED]; /* in the order of `watched` */
enum { INTERRUPT, TERMINATE, RESIZED, CONTINUED };

typedef struct editor {
    EditLine *el; /* NULL once closed */
    History *history;
    int complete;     /* what Tab calls, in the registry */
    sigset_t outside; /* the signals that are held back anyway */
    struct sigaction on_interrupt; /* what was done before it was opened */
    /* While a line is read: */
    lua_State *L;
    const char *prompt;
} editor;

LF_RAISES static editor *arg_editor(lua_State *L)
{
    editor *ed = luaL_checkudata(L, 1, EDITOR_TYPE);
    luaL_argcheck(L, ed->el != NULL, 1, "this editor is closed");
    return ed;
}

/* ---- called by libedit ---- */

static editor *editor_of(EditLine *el)
{
    void *ed = NULL;
    el_get(el, EL_CLIENTDATA, &ed);
    return ed;
}

/* Not const in libedit's eyes, which does not write to it. */
static char *prompt_of(EditLine *el) { return (char *)editor_of(el)->prompt; }

/* Draws the line anew where the cursor is. */
static void redraw(EditLine *el) { el_set(el, EL_REFRESH); }

/* Sees to what came while we waited for a key. True when reading is to end. */
static bool is_to_end(EditLine *el)
{
    if (seen[INTERRUPT] || seen[TERMINATE])
        return true;
    if (seen[RESIZED])
        el_resize(el);
    if (seen[CONTINUED]) { /* the shell had the terminal, and libedit does not know */
        el_set(el, EL_PREP_TERM, 0);
        el_set(el, EL_PREP_TERM, 1);
    }
    if (seen[RESIZED] || seen[CONTINUED])
        redraw(el);
    seen[RESIZED] = seen[CONTINUED] = 0;
    return false;
}

static bool has_come_too_early(int problem) { return problem == EINTR || problem == EAGAIN; }

/* The next byte of the input. 1, 0 at its end, -1. */
static int read_byte(EditLine *el, char *byte)
{
    const sigset_t *outside = &editor_of(el)->outside;
    for (;;) {
        struct pollfd waiting = {.fd = STDIN_FILENO, .events = POLLIN};
        int n = ppoll(&waiting, 1, NULL, outside);
        if (n < 0 && errno == EINTR) {
            if (is_to_end(el))
                return -1;
            continue; /* whatever errno is since then */
        }
        if (n > 0)
            n = (int)read(STDIN_FILENO, byte, 1);
        if (n >= 0 || !has_come_too_early(errno))
            return n;
    }
}

/* The next character; bytes that are none are left out. */
static int read_character(EditLine *el, wchar_t *out)
{
    mbstate_t state = {0};
    for (;;) {
        char byte;
        int n = read_byte(el, &byte);
        if (n <= 0)
            return n;
        size_t length = mbrtowc(out, &byte, 1, &state);
        if (length == (size_t)-1)
            state = (mbstate_t){0};
        else if (length != (size_t)-2)
            return 1;
    }
}

/* What Lua says to do for Tab.  [-1, +0, raises] */
static int complete_protected(lua_State *L)
{
    EditLine *el = lua_touserdata(L, 1);
    const LineInfo *line = el_line(el);
    lua_rawgeti(L, LUA_REGISTRYINDEX, editor_of(el)->complete);
    lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
    lua_call(L, 1, 2);                       /* …, insert, show */
    if (lua_isstring(L, -2) && el_insertstr(el, lua_tostring(L, -2)) != 0)
        return luaL_error(L, "there is no room for '%s'", lua_tostring(L, -2));
    if (lua_isstring(L, -1))
        printf("\n%s", lua_tostring(L, -1));
    return 0;
}

static unsigned char on_tab(EditLine *el, int key)
{
    (void)key;
    lua_State *L = editor_of(el)->L;
    if (lua_cpcall(L, complete_protected, el) != 0) {
        const char *message = lua_tostring(L, -1);
        printf("\n%s\n", message != NULL ? message : "the completion failed");
        lua_pop(L, 1);
    }
    redraw(el);
    return CC_NORM;
}

/* ---- reading a line ---- */

static void on_signal(int signal_number)
{
    for (int i = 0; i < N_WATCHED; i++)
        if (watched[i] == signal_number)
            seen[i] = 1;
}

typedef struct watch {
    sigset_t mask;
    struct sigaction before[N_WATCHED];
} watch;

static void begin_watch(watch *w)
{
    sigset_t held;
    sigemptyset(&held);
    for (int i = 0; i < N_WATCHED; i++)
        sigaddset(&held, watched[i]);
    pthread_sigmask(SIG_BLOCK, &held, &w->mask);
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_WATCHED; i++) {
        seen[i] = 0;
        sigaction(watched[i], &action, &w->before[i]);
    }
}

static void end_watch(const watch *w)
{
    for (int i = 0; i < N_WATCHED; i++)
        sigaction(watched[i], &w->before[i], NULL);
    pthread_sigmask(SIG_SETMASK, &w->mask, NULL);
}

/* Why there is no line.  [-0, +1, raises] */
LF_RAISES static void push_reason(lua_State *L, int n, int problem)
{
    if (seen[TERMINATE])
        lua_pushliteral(L, "terminate");
    else if (seen[INTERRUPT])
        lua_pushliteral(L, "interrupt");
    else if (n == 0)
        lua_pushliteral(L, "end");
    else
        lua_pushstring(L, strerror(problem));
}

static int editor_read(lua_State *L)
{
    editor *ed = arg_editor(L);
    ed->prompt = luaL_checkstring(L, 2);
    ed->L = L;
    luaL_checkstack(L, LUA_MINSTACK, "completion");
    watch w;
    begin_watch(&w);
    int n = 0;
    const char *line = el_gets(ed->el, &n);
    int problem = errno;
    end_watch(&w);
    if (line == NULL) {
        lua_pushnil(L);
        push_reason(L, n, problem);
        return 2;
    }
    size_t size = strlen(line);
    lua_pushlstring(L, line, size - (size > 0 && line[size - 1] == '\n'));
    return 1;
}

static int editor_remember(lua_State *L)
{
    editor *ed = arg_editor(L);
    HistEvent event;
    if (history(ed->history, &event, H_ENTER, luaL_checkstring(L, 2)) < 0)
        return luaL_error(L, "cannot remember what was typed: %s", event.str);
    return 0;
}

/* ---- opening and closing ---- */

/* From here on until the editor is closed. It has a handler even if it was ignored, since what
 * is ignored is not held back but lost. */
static void hold_interrupts(editor *ed)
{
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &ed->outside);
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &ed->on_interrupt);
}

/* Undoes hold_interrupts. One that came too late to be heard is forgotten. */
static void let_interrupts(const editor *ed)
{
    sigaction(SIGINT, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    sigaction(SIGINT, &ed->on_interrupt, NULL);
    pthread_sigmask(SIG_SETMASK, &ed->outside, NULL);
}

static void close_editor(lua_State *L, editor *ed)
{
    luaL_unref(L, LUA_REGISTRYINDEX, ed->complete);
    if (ed->el != NULL) {
        el_end(ed->el);
        let_interrupts(ed);
    }
    if (ed->history != NULL)
        history_end(ed->history);
    *ed = (editor){.complete = LUA_NOREF};
}

static int editor_close(lua_State *L)
{
    close_editor(L, luaL_checkudata(L, 1, EDITOR_TYPE));
    return 0;
}

static int editor_gc(lua_State *L)
{
    close_editor(L, lua_touserdata(L, 1));
    return 0;
}

/* What is typed is UTF-8 wherever the locale does not say otherwise. It is that of
 * characters alone: numbers keep their point. */
static void know_characters(void)
{
    setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static bool furnish(editor *ed)
{
    EditLine *el = ed->el;
    HistEvent event;
    bool ok = history(ed->history, &event, H_SETSIZE, REMEMBERED) >= 0;
    ok = ok && history(ed->history, &event, H_SETUNIQUE, 1) >= 0;
    ok = ok && el_set(el, EL_CLIENTDATA, ed) == 0;
    ok = ok && el_set(el, EL_SIGNAL, 0) == 0;
    ok = ok && el_set(el, EL_GETCFN, read_character) == 0;
    ok = ok && el_set(el, EL_PROMPT, prompt_of) == 0;
    ok = ok && el_set(el, EL_HIST, history, ed->history) == 0;
    ok = ok && el_set(el, EL_EDITOR, "emacs") == 0;
    /* el_set would copy the names and never free them. */
    ok = ok && el_wset(el, EL_ADDFN, L"luaflow-complete", L"Completes names", on_tab) == 0;
    ok = ok && el_set(el, EL_BIND, "^I", "luaflow-complete", NULL) == 0;
    ok = ok && el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL) == 0;
    ok = ok && el_set(el, EL_BIND, "^W", "ed-delete-prev-word", NULL) == 0;
    ok = ok && el_set(el, EL_BIND, "\\e[1;5C", "em-next-word", NULL) == 0; /* Ctrl and an arrow */
    ok = ok && el_set(el, EL_BIND, "\\e[1;5D", "ed-prev-word", NULL) == 0;
    return ok;
}

static int prompt_open(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    know_characters();
    editor *ed = lua_newuserdata(L, sizeof *ed);
    *ed = (editor){.complete = LUA_NOREF};
    luaL_getmetatable(L, EDITOR_TYPE);
    lua_setmetatable(L, -2);
    lua_getfield(L, 1, "complete");
    ed->complete = luaL_ref(L, LUA_REGISTRYINDEX);
    ed->history = history_init();
    ed->el = el_init("luaflow", stdin, stdout, stderr);
    if (ed->el != NULL)
        hold_interrupts(ed);
    if (ed->history == NULL || ed->el == NULL || !furnish(ed))
        return luaL_error(L, "cannot read from this terminal: not enough memory");
    el_source(ed->el, NULL); /* the user's ~/.editrc, if there is one */
    return 1;
}

void lf_prompt_editors(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"read", editor_read},
        {"remember", editor_remember},
        {"close", editor_close},
        {NULL, NULL},
    };
    luaL_newmetatable(L, EDITOR_TYPE);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, editor_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0); /* a __gc called by hand would see any value */
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_pushcfunction(L, prompt_open);
    lua_setfield(L, -2, "open");
}
