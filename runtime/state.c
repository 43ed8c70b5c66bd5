/* state.c -- a Lua state furnished our way, and the one door into it.
 * Knows nothing of the store or of tasks. A state belongs to one thread for life. */
#include "state.h"
#include "state_inside.h"
#include "embedded.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

/* What a state of ours has besides Lua. Lives as long as the state, and a moment
 * longer: finalizers print while the state closes. */
typedef struct home {
    lf_output_fn out;
    void *payload;
    FILE *streams[2];    /* what io.stdout and io.stderr write to */
    lf_bytes line;       /* of print, while it is put together */
    lf_failure *failure; /* of the innermost call */
} home;

/* Where in the registry `home`, the message handler and the table of what else is kept at hand
 * are (nothing may be allocated where nothing may be raised): far from the numbers that
 * luaL_ref gives, and found faster than by a name. */
enum { HOME = 0x6c660001, EXPLAIN, KEPT };
enum {
    KEPT_REQUIRE = 1,
    KEPT_RESULT, /* of lf_state_require, on its way out of a protected call */
    KEPT_OUTPUT, /* io.output, io.input, io.stdout, io.stdin as they were */
    KEPT_INPUT,
    KEPT_STDOUT,
    KEPT_STDIN
};

static home *home_of(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, HOME);
    home *h = lua_touserdata(L, -1);
    lua_pop(L, 1);
    assert(h != NULL);
    return h;
}

/* Pushes what is kept as `slot`.  [-0, +1, -] */
static void push_kept(lua_State *L, int slot)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, KEPT);
    lua_rawgeti(L, -1, slot);
    lua_remove(L, -2);
}

/* ---- our own modules ---- */

static int compare_module(const void *name, const void *module)
{
    return strcmp(name, ((const lf_embedded *)module)->name);
}

/* A searcher of package.loaders: the modules that are compiled in. */
static int search(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const lf_embedded *m = bsearch(name, lf_embedded_modules, lf_embedded_count,
                                   sizeof *lf_embedded_modules, compare_module);
    if (m == NULL) {
        lua_pushfstring(L, "\n\tno module '%s' compiled into luaflow", name);
        return 1;
    }
    if (luaL_loadbuffer(L, (const char *)m->bytes, m->size, m->name) != 0)
        return luaL_error(L, "module '%s' of luaflow does not load: %s", name, lua_tostring(L, -1));
    return 1;
}

LF_RAISES void lf_state_furnish(lua_State *L)
{
    luaL_checkstack(L, 4, "luaflow");
    lua_getglobal(L, "package");
    if (lua_istable(L, -1))
        lua_getfield(L, -1, "loaders");
    if (!lua_istable(L, -1))
        luaL_error(L, "luaflow needs the table package.loaders");
    lua_rawgeti(L, -1, 2);                                /* package, loaders, second */
    if (lua_tocfunction(L, -1) != search) {
        for (int i = (int)lua_objlen(L, -2); i >= 2; i--) {
            lua_rawgeti(L, -2, i);
            lua_rawseti(L, -3, i + 1);
        }
        lua_pushcfunction(L, search);
        lua_rawseti(L, -3, 2);
    }
    lua_pop(L, 3);
}

/* ---- output ---- */

static void emit(home *h, int stream, const char *text, size_t size)
{
    if (h->out != NULL && size > 0)
        h->out(h->payload, stream, text, size);
}

/* print: as Lua's own, each call one piece of output. */
static int print(lua_State *L)
{
    home *h = lua_touserdata(L, lua_upvalueindex(1));
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        if (lua_type(L, i) == LUA_TSTRING)
            continue;
        lua_getglobal(L, "tostring");
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
            return luaL_error(L, "'tostring' must return a string to 'print'");
        lua_replace(L, i);
    }
    enum { KEEP = 1 << 16 };
    lf_bytes_clear(&h->line); /* only now: tostring may have printed */
    for (int i = 1; i <= n; i++) {
        size_t size;
        const char *text = lua_tolstring(L, i, &size);
        if (i > 1)
            lf_bytes_put_u8(&h->line, '\t');
        lf_bytes_put(&h->line, text, size);
    }
    lf_bytes_put_u8(&h->line, '\n');
    bool failed = h->line.failed;
    if (!failed)
        emit(h, 1, (const char *)h->line.data, h->line.size);
    if (h->line.room > KEEP)
        lf_bytes_fini(&h->line);
    return failed ? luaL_error(L, "not enough memory") : 0;
}

static ssize_t write_stdout(void *cookie, const char *text, size_t size)
{
    emit(cookie, 1, text, size);
    return (ssize_t)size;
}

static ssize_t write_stderr(void *cookie, const char *text, size_t size)
{
    emit(cookie, 2, text, size);
    return (ssize_t)size;
}

static FILE *open_stream(home *h, int stream)
{
    FILE *f = fopencookie(h, "w", (cookie_io_functions_t){
                                      .write = stream == 1 ? write_stdout : write_stderr});
    /* Unbuffered: a line shows when it is written, and nothing of a task is left
     * for the next one. */
    if (f != NULL)
        setvbuf(f, NULL, _IONBF, 0);
    return f;
}

/* file:setvbuf(): has no effect on what is captured.  Upvalues: the original, home. */
static int set_buffer(lua_State *L)
{
    home *h = lua_touserdata(L, lua_upvalueindex(2));
    FILE **file = lua_touserdata(L, 1);
    if (file != NULL && lua_objlen(L, 1) >= sizeof *file &&
        (*file == h->streams[0] || *file == h->streams[1])) {
        lua_pushboolean(L, 1);
        return 1;
    }
    int n = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* Lets io.`name` of the table at the top, a file of LuaJIT's whose memory begins with
 * its FILE *, write to `to`. It stays a true file: io.type, FFI calls that take a
 * FILE * and compiled traces see nothing else.  [-0, +0, raises] */
LF_RAISES static void redirect(lua_State *L, const char *name, FILE *from, FILE *to)
{
    lua_getfield(L, -1, name);
    FILE **file = luaL_checkudata(L, -1, LUA_FILEHANDLE);
    if (lua_objlen(L, -1) < sizeof *file || *file != from)
        luaL_error(L, "io.%s is not made as this LuaJIT makes files", name);
    *file = to;
    lua_pop(L, 1);
}

/* [-0, +0, raises] */
LF_RAISES static void capture(lua_State *L, home *h)
{
    lua_pushlightuserdata(L, h);
    lua_pushcclosure(L, print, 1);
    lua_setglobal(L, "print");

    lua_getglobal(L, "io");
    redirect(L, "stdout", stdout, h->streams[0]);
    redirect(L, "stderr", stderr, h->streams[1]);
    lua_pop(L, 1);

    luaL_getmetatable(L, LUA_FILEHANDLE);
    lua_getfield(L, -1, "__index");                                      /* mt, methods */
    lua_getfield(L, -1, "setvbuf");
    lua_pushlightuserdata(L, h);
    lua_pushcclosure(L, set_buffer, 2);
    lua_setfield(L, -2, "setvbuf");
    lua_pop(L, 2);
}

/* Gives io.output() or io.input() its first file back. What else was there is
 * flushed: nobody will write to it any more.  [-0, +0, -] */
static void reset_default(lua_State *L, int setter, int standard)
{
    push_kept(L, setter);
    if (lua_pcall(L, 0, 1, 0) == 0) {                                    /* file */
        push_kept(L, standard);
        if (!lua_rawequal(L, -1, -2)) {
            FILE **file = lua_touserdata(L, -2);
            if (setter == KEPT_OUTPUT && *file != NULL)
                fflush(*file);
            push_kept(L, setter);
            lua_insert(L, -2);                            /* file, setter, standard */
            lua_pcall(L, 1, 0, 0);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

void lf_state_output(lua_State *L, lf_output_fn out, void *payload)
{
    home *h = home_of(L);
    reset_default(L, KEPT_OUTPUT, KEPT_STDOUT);
    reset_default(L, KEPT_INPUT, KEPT_STDIN);
    h->out = out;
    h->payload = payload;
}

/* ---- failures ---- */

void lf_failure_fini(lf_failure *f)
{
    free(f->message);
    free(f->traceback);
    *f = (lf_failure){0};
}

/* error object -> string; may raise, since it may call __tostring and __index. */
static int describe(lua_State *L)
{
    if (lua_isstring(L, 1) || (luaL_callmeta(L, 1, "__tostring") && lua_isstring(L, -1))) {
        lua_tostring(L, -1);
        return 1;
    }
    lua_settop(L, 1);
    if (lua_istable(L, 1)) {
        lua_getfield(L, 1, "message");
        if (lua_type(L, -1) == LUA_TSTRING)
            return 1;
    }
    return 0;
}

/* Sets the message from the error object at the top.  [-0, +0, -] */
static void set_message(lua_State *L, lf_failure *f)
{
    size_t size;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
    lf_bytes message = {0};
    for (size_t i = 0; text != NULL && i < size; i++)
        if (text[i] == '\0') /* a message is a C string; its other bytes stay */
            lf_bytes_put(&message, "\\0", 2);
        else
            lf_bytes_put_u8(&message, (uint8_t)text[i]);
    if (text == NULL)
        lf_bytes_printf(&message, "(error object is a %s value)", luaL_typename(L, -1));
    lf_bytes_cstr(&message);
    free(f->message);
    f->message = (char *)message.data;
}

static bool begins_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Whether a frame is the user's: neither C's nor LuaJIT's nor ours. Fills `ar`. */
static bool is_users(lua_State *L, lua_Debug *ar)
{
    return lua_getinfo(L, "S", ar) != 0 && *ar->what != 'C' &&
           !begins_with(ar->short_src, "[builtin:") && !begins_with(ar->source, "=luaflow/") &&
           !begins_with(ar->source, "=luaflow.lua") && !begins_with(ar->source, "=[luaflow");
}

/* One line of a traceback, as Lua writes it. */
static void put_frame(lua_State *L, lua_Debug *ar, lf_bytes *text)
{
    lua_getinfo(L, "nSl", ar);
    lf_bytes_printf(text, "\n\t%s:", ar->short_src);
    if (ar->currentline > 0)
        lf_bytes_printf(text, "%d:", ar->currentline);
    if (*ar->namewhat != '\0')
        lf_bytes_printf(text, " in function '%s'", ar->name);
    else if (*ar->what == 'm')
        lf_bytes_printf(text, " in main chunk");
    else
        lf_bytes_printf(text, " in function <%s:%d>", ar->short_src, ar->linedefined);
}

/* How many frames the stack has, in about the logarithm of that many looks. */
static int stack_depth(lua_State *L)
{
    lua_Debug ar;
    int low = 0, high = 1; /* `low` levels are there, level `high` is not */
    while (lua_getstack(L, high, &ar)) {
        low = high;
        high *= 2;
    }
    while (low + 1 < high) {
        int middle = low + (high - low) / 2;
        if (lua_getstack(L, middle, &ar))
            low = middle;
        else
            high = middle;
    }
    return low + 1;
}

/* The user's frames from `level` on; of many the first and the last. Finding a frame
 * costs as much as it is deep, so of a very deep stack the middle is not looked at. */
static void put_traceback(lua_State *L, int level, lf_bytes *text)
{
    enum { FIRST = 12, LAST = 10, LOOKS = 400 };
    lua_Debug ar;
    int depth = stack_depth(L), shown = 0, found = 0, tail[LAST];
    for (; level < depth && level < LOOKS && shown < FIRST; level++)
        if (lua_getstack(L, level, &ar) && is_users(L, &ar)) {
            if (shown++ == 0)
                lf_bytes_printf(text, "stack traceback:");
            put_frame(L, &ar, text);
        }
    int at = depth - 1, end = at - LOOKS > level ? at - LOOKS : level;
    for (; at >= end && found < LAST; at--)
        if (lua_getstack(L, at, &ar) && is_users(L, &ar))
            tail[found++] = at;
    bool gap = false; /* one more of the user's, or one that was not looked at */
    for (; !gap && at >= level; at--)
        gap = at < end || (lua_getstack(L, at, &ar) && is_users(L, &ar));
    if (gap)
        lf_bytes_printf(text, "%s\n\t...", shown == 0 ? "stack traceback:" : "");
    else if (shown == 0 && found > 0)
        lf_bytes_printf(text, "stack traceback:");
    while (found > 0)
        if (lua_getstack(L, tail[--found], &ar))
            put_frame(L, &ar, text);
}

/* The message handler: copies what happened out of the state before it unwinds. */
static int explain(lua_State *L)
{
    home *h = lua_touserdata(L, lua_upvalueindex(1));
    lf_failure *f = h->failure;
    if (f == NULL)
        return 1;
    lf_failure_fini(f);
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING) {
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_pushvalue(L, 1);
        if (lua_pcall(L, 1, 1, 0) != 0 || lua_isnil(L, -1))
            lua_settop(L, 1);
    }
    set_message(L, f);
    lf_bytes text = {0};
    put_traceback(L, 1, &text);
    lf_bytes_cstr(&text);
    f->traceback = (char *)text.data;
    lua_settop(L, 1);
    return 1;
}

/* ---- the door ---- */

int lf_state_call(lua_State *L, int n_args, int n_results, lf_failure *failure)
{
    home *h = home_of(L);
    lf_failure *outer = h->failure;
    int base = lua_gettop(L) - n_args; /* of the function, then of the handler */
    assert(base >= 1);
    if (failure != NULL)
        *failure = (lf_failure){0};
    h->failure = failure;
    lua_rawgeti(L, LUA_REGISTRYINDEX, EXPLAIN);
    lua_insert(L, base);
    int rc = lua_pcall(L, n_args, n_results, base);
    h->failure = outer;
    lua_remove(L, base);
    if (rc == 0) {
        assert(n_results == LUA_MULTRET || lua_gettop(L) == base - 1 + n_results);
        return LUAFLOW_OK;
    }
    /* Out of memory and an error in the handler come without having been explained. */
    if (failure != NULL && (rc != LUA_ERRRUN || failure->message == NULL))
        set_message(L, failure);
    if (failure != NULL && failure->traceback == NULL)
        failure->traceback = strdup("");
    lua_pop(L, 1);
    assert(lua_gettop(L) == base - 1);
    return rc == LUA_ERRMEM ? LUAFLOW_ENOMEM : LUAFLOW_ESTEP;
}

int lf_state_try(lua_State *L, int n_args, int n_results, int code, luaflow_error *err)
{
    lf_failure failure;
    int rc = lf_state_call(L, n_args, n_results, &failure);
    if (rc == LUAFLOW_OK)
        return LUAFLOW_OK;
    if (rc == LUAFLOW_ENOMEM || failure.message == NULL)
        code = lf_fail_memory(err);
    else
        lf_fail_text(err, code, failure.message);
    lf_failure_fini(&failure);
    return code;
}

/* name -> nothing: the module is left as KEPT_RESULT. */
static int require_kept(lua_State *L)
{
    const char *module = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, KEPT);
    lua_rawgeti(L, -1, KEPT_REQUIRE);
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
    lua_rawseti(L, -2, KEPT_RESULT);
    return 0;
}

int lf_state_require(lua_State *L, const char *module, luaflow_error *err)
{
    int rc = lua_cpcall(L, require_kept, (void *)(uintptr_t)module);
    if (rc != 0) {
        const char *why = lua_tostring(L, -1);
        rc = rc == LUA_ERRMEM
                 ? lf_fail_memory(err)
                 : lf_fail(err, LUAFLOW_EFLOW, "%s", why != NULL ? why : "an error without a text");
        lua_pop(L, 1);
        return rc;
    }
    push_kept(L, KEPT_RESULT);
    return LUAFLOW_OK;
}

/* ---- what our Lua asks C for ---- */

static int native_registered(lua_State *L)
{
    lf_codec_registered(L, luaL_checkstring(L, 1));
    return 1;
}

static int native_class(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lf_codec_class(L);
    return 1;
}

static int native_unregister(lua_State *L)
{
    lf_codec_unregister(L, luaL_checkstring(L, 1));
    return 0;
}

static int native_register(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lf_codec_register(L, name);
    return 0;
}

void lf_state_natives(lua_State *L)
{
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 8);                  /* loaded */
    lua_getfield(L, -1, "luaflow.native");                               /* loaded, natives */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushcfunction(L, native_register);
        lua_setfield(L, -2, "register");
        lua_pushcfunction(L, native_registered);
        lua_setfield(L, -2, "registered");
        lua_pushcfunction(L, native_class);
        lua_setfield(L, -2, "class");
        lua_pushcfunction(L, native_unregister);
        lua_setfield(L, -2, "unregister");
        lf_state_children(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "luaflow.native");
    }
    lua_remove(L, -2);
}

/* ---- making and freeing ---- */

/* Keeps `library`.`name` as `slot` of the table at `kept`.  [-0, +0, raises] */
LF_RAISES static void keep(lua_State *L, int kept, const char *library, const char *name, int slot)
{
    lua_getglobal(L, library);
    lua_getfield(L, -1, name);
    lua_rawseti(L, kept, slot);
    lua_pop(L, 1);
}

static int furnish_all(lua_State *L)
{
    home *h = lua_touserdata(L, 1);
    luaL_openlibs(L);
    lf_codec_prepare(L);
    lf_state_furnish(L);
    lf_state_natives(L);
    lua_pop(L, 1);

    lua_pushlightuserdata(L, h);
    lua_rawseti(L, LUA_REGISTRYINDEX, HOME);
    lua_pushlightuserdata(L, h);
    lua_pushcfunction(L, describe);
    lua_pushcclosure(L, explain, 2);
    lua_rawseti(L, LUA_REGISTRYINDEX, EXPLAIN);
    lua_createtable(L, KEPT_STDIN, 0);
    int kept = lua_gettop(L);
    keep(L, kept, "_G", "require", KEPT_REQUIRE);
    keep(L, kept, "io", "output", KEPT_OUTPUT);
    keep(L, kept, "io", "input", KEPT_INPUT);
    keep(L, kept, "io", "stdout", KEPT_STDOUT);
    keep(L, kept, "io", "stdin", KEPT_STDIN);
    lua_rawseti(L, LUA_REGISTRYINDEX, KEPT);

    capture(L, h);
    return 0;
}

static void free_home(home *h)
{
    for (int i = 0; i < 2; i++)
        if (h->streams[i] != NULL)
            fclose(h->streams[i]);
    lf_bytes_fini(&h->line);
    free(h);
}

#ifdef LF_SANITIZE
/* LuaJIT's own allocator hides what Lua does from sanitizers. */
static void *reallocate(void *payload, void *block, size_t old_size, size_t size)
{
    (void)payload, (void)old_size;
    if (size > 0)
        return realloc(block, size);
    free(block);
    return NULL;
}
#endif

static lua_State *new_state(void)
{
#ifdef LF_SANITIZE
    return lua_newstate(reallocate, NULL);
#else
    return luaL_newstate();
#endif
}

lua_State *lf_state_new(void)
{
    home *h = calloc(1, sizeof *h);
    lua_State *L = h != NULL ? new_state() : NULL;
    bool ready = L != NULL && (h->streams[0] = open_stream(h, 1)) != NULL &&
                 (h->streams[1] = open_stream(h, 2)) != NULL &&
                 lua_cpcall(L, furnish_all, h) == 0;
    if (ready)
        return L;
    if (L != NULL)
        lua_close(L);
    if (h != NULL)
        free_home(h);
    return NULL;
}

void lf_state_free(lua_State *L)
{
    if (L == NULL)
        return;
    home *h = home_of(L);
    lua_close(L);
    free_home(h);
}
