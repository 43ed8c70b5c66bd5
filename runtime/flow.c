/* flow.c -- a flow's source, its graph and its parameters.
 * Knows nothing of threads or the store. What the user's table means is decided in
 * lua/luaflow/flow.lua; here the file is read, its chunk run once in a private state,
 * and the graph made. */
#include "flow.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

struct lf_flow {
    atomic_uint refs;
    char *path, *name, *directory;
    char *chunk_name; /* "@path" */
    lf_bytes source, description;
    lf_graph *graph;
    bool plain;
    lua_State *L;        /* the loader's thread only, as are the next two */
    int specs, defaults; /* in L's registry: params of the normal table, functions */
};

lf_flow *lf_flow_ref(lf_flow *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void lf_flow_free(lf_flow *f)
{
    if (f == NULL || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return;
    lf_state_free(f->L);
    lf_graph_free(f->graph);
    lf_bytes_fini(&f->source);
    lf_bytes_fini(&f->description);
    free(f->path);
    free(f->name);
    free(f->directory);
    free(f->chunk_name);
    free(f);
}

const char *lf_flow_name(const lf_flow *f) { return f->name; }
const char *lf_flow_path(const lf_flow *f) { return f->path; }
const lf_graph *lf_flow_graph(const lf_flow *f) { return f->graph; }
lf_slice lf_flow_source(const lf_flow *f) { return lf_slice_of(f->source.data, f->source.size); }
bool lf_flow_is_plain(const lf_flow *f) { return f->plain; }

lf_slice lf_flow_description(const lf_flow *f)
{
    return lf_slice_of(f->description.data, f->description.size);
}

/* ---- the source ---- */

static int read_source(const char *path, lf_bytes *out, luaflow_error *err)
{
    enum { PIECE = 1 << 16 };
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return lf_fail(err, LUAFLOW_EFLOW, "cannot read %s: %s", path, strerror(errno));
    for (;;) {
        uint8_t *to = lf_bytes_reserve(out, PIECE);
        size_t n = to != NULL ? fread(to, 1, PIECE, file) : 0;
        out->size += n;
        if (n == 0)
            break;
    }
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    if (out->failed)
        return lf_fail_memory(err);
    if (failed != 0)
        return lf_fail(err, LUAFLOW_EFLOW, "cannot read %s: %s", path, strerror(failed));
    return LUAFLOW_OK;
}

static bool is_telling(const char *word, size_t size)
{
    static const char *const words[] = {"_G", "getfenv", "setfenv", "dofile", "debug", "module",
                                        "package"};
    if (size >= 4 && memcmp(word, "load", 4) == 0)
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == size && memcmp(word, words[i], size) == 0)
            return true;
    return false;
}

static bool is_word(unsigned char c) { return isalnum(c) || c == '_'; }

/* Whether none of the words above stands anywhere, be it in a comment. */
static bool is_plain(lf_slice source)
{
    for (size_t i = 0; i < source.size;) {
        size_t start = i;
        while (i < source.size && is_word(source.data[i]))
            i++;
        if (i > start && is_telling((const char *)source.data + start, i - start))
            return false;
        if (i == start)
            i++;
    }
    return true;
}

/* The words by which messages, `require` and the run know the flow. */
static bool name_all(lf_flow *f, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    size_t size = strlen(base);
    if (size > 4 && strcmp(base + size - 4, ".lua") == 0)
        size -= 4;
    f->path = strdup(path);
    f->name = strndup(base, size);
    f->directory = slash == NULL ? strdup(".") : slash == path ? strdup("/")
                                               : strndup(path, (size_t)(slash - path));
    lf_bytes chunk_name = {0};
    lf_bytes_printf(&chunk_name, "@%s", path);
    f->chunk_name = lf_bytes_cstr(&chunk_name);
    return f->path != NULL && f->name != NULL && f->directory != NULL && f->chunk_name != NULL;
}

/* ---- into a state ---- */

/* The message with the file in front, should Lua not have put it there. */
static int fail_in_file(const lf_flow *f, const char *message, luaflow_error *err)
{
    if (message == NULL)
        message = "an error without a text";
    if (strstr(message, f->path) != NULL)
        return lf_fail_text(err, LUAFLOW_EFLOW, message);
    return lf_fail(err, LUAFLOW_EFLOW, "%s: %s", f->path, message);
}

typedef struct entering {
    const lf_flow *f;
    luaflow_error *err;
    int rc;
} entering;

/* Leaves the chunk in the registry under the flow's address, from where it can be
 * pushed without allocating. */
static int enter(lua_State *L)
{
    entering *e = lua_touserdata(L, 1);
    const lf_flow *f = e->f;
    if ((e->rc = lf_state_require(L, "luaflow.isolation", e->err)) != LUAFLOW_OK)
        return 0;
    lua_getfield(L, -1, "furnish");
    lua_pushstring(L, f->directory);
    lua_call(L, 1, 0);
    lua_pushlightuserdata(L, (void *)(uintptr_t)f);
    int failed = luaL_loadbufferx(L, (const char *)f->source.data, f->source.size, f->chunk_name, "t");
    if (failed == LUA_ERRMEM)
        e->rc = lf_fail_memory(e->err);
    else if (failed != 0)
        e->rc = fail_in_file(f, lua_tostring(L, -1), e->err);
    else
        lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

/* What lua_cpcall() gave for a function of ours, which has set the error if `rc` says
 * so, and else was stopped by Lua. */
static int judge(lua_State *L, int failed, const lf_flow *f, int rc, luaflow_error *err)
{
    if (failed == 0)
        return rc;
    if (rc == LUAFLOW_OK)
        rc = failed == LUA_ERRMEM ? lf_fail_memory(err)
                                  : fail_in_file(f, lua_tostring(L, -1), err);
    lua_pop(L, 1);
    return rc;
}

int lf_flow_enter(const lf_flow *f, lua_State *L, luaflow_error *err)
{
    entering e = {f, err, LUAFLOW_OK};
    int failed = lua_cpcall(L, enter, &e);
    int rc = judge(L, failed, f, e.rc, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lua_pushlightuserdata(L, (void *)(uintptr_t)f);
    lua_rawget(L, LUA_REGISTRYINDEX);
    return LUAFLOW_OK;
}

/* ---- from the normal table to the graph ---- */

typedef struct loading {
    lf_flow *f;
    const luaflow_attribute *with;
    size_t n_with;
    luaflow_error *err;
    int rc;
    lf_bytes scratch; /* keys and texts of one step's cases */
    lf_bytes told;    /* problems of the graph: where and sentence, each with a NUL */
} loading;

/* Leaves the loading function with an error that is set.  [raises] */
LF_RAISES static void stop(lua_State *L, loading *l, int rc)
{
    l->rc = rc;
    lua_pushliteral(L, "stopped");
    lua_error(L);
}

LF_RAISES static void want_memory(lua_State *L, loading *l, bool there)
{
    if (!there)
        stop(L, l, lf_fail_memory(l->err));
}

/* Fields of the table at the top. Strings are borrowed while the table has them. */
LF_RAISES static const char *string_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    const char *s = lua_tostring(L, -1);
    lua_pop(L, 1);
    return s;
}

LF_RAISES static double number_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    double n = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return n;
}

LF_RAISES static bool flag_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    bool set = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

/* Memory that lives as long as it stands on the stack.  [-0, +1, raises] */
LF_RAISES static void *push_array(lua_State *L, size_t n, size_t size)
{
    void *memory = lua_newuserdata(L, n * size + 1);
    memset(memory, 0, n * size + 1);
    return memory;
}

/* Pushes the variables of the table `env` at the top.  [-0, +1, raises] */
LF_RAISES static void push_env(lua_State *L, lf_attributes *to)
{
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        n++;
    lf_env_var *env = push_array(L, n, sizeof *env);                /* env, array */
    for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1))            /* env, array, name, value */
        env[to->n_env++] = (lf_env_var){lua_tostring(L, -2), lua_tostring(L, -1)};
    to->env = env;
}

/* Reads the attributes of the step at the top.  [-0, +1, raises] */
LF_RAISES static void push_attributes(lua_State *L, lf_attributes *to)
{
    to->timeout = number_field(L, "timeout");
    to->catch_name = string_field(L, "catch");
    to->isolate = flag_field(L, "isolate");
    to->max_parallel = (uint32_t)number_field(L, "max_parallel");
    lua_getfield(L, -1, "retry");
    if (lua_istable(L, -1)) {
        to->retry_times = (uint32_t)number_field(L, "times");
        to->retry_delay = number_field(L, "delay");
        to->retry_backoff = number_field(L, "backoff");
    }
    lua_pop(L, 1);
    lua_getfield(L, -1, "resources");
    if (lua_istable(L, -1))
        to->cpu = (uint32_t)number_field(L, "cpu");
    lua_pop(L, 1);
    lua_getfield(L, -1, "env");                                     /* step, env */
    if (lua_istable(L, -1)) {
        push_env(L, to);                                            /* step, env, array */
        lua_remove(L, -2);
    }
}

static lf_kind kind_of(const char *name)
{
    static const char *const names[] = {"last", "linear", "branch", "foreach", "switch"};
    size_t i = 0;
    while (strcmp(names[i], name) != 0)
        i++;
    return (lf_kind)i;
}

/* Writes the key at the top as a message shows it. */
LF_RAISES static void put_case_text(lua_State *L, lf_bytes *out)
{
    if (lua_type(L, -1) == LUA_TBOOLEAN) {
        lf_bytes_printf(out, "%s", lua_toboolean(L, -1) ? "true" : "false");
    } else {
        const char *quote = lua_type(L, -1) == LUA_TSTRING ? "'" : "";
        lua_pushvalue(L, -1); /* lua_tostring() changes a number where it stands */
        lf_bytes_printf(out, "%s%s%s", quote, lua_tostring(L, -1), quote);
        lua_pop(L, 1);
    }
    lf_bytes_put_u8(out, 0);
}

/* Pushes the canonical keys and the texts of the list `cases` at the top.
 * [-0, +2, raises] */
LF_RAISES static void push_cases(lua_State *L, loading *l, lf_step_spec *spec)
{
    size_t n = spec->n_next;
    lf_slice *keys = push_array(L, n, sizeof *keys);
    const char **texts = push_array(L, n, sizeof *texts);           /* cases, keys, texts */
    size_t *ends = push_array(L, 2 * n, sizeof *ends);              /* cases, keys, texts, ends */
    lf_bytes_clear(&l->scratch);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -4, (int)i + 1);
        lua_getfield(L, -1, "key");
        int rc = lf_codec_encode(L, -1, spec->name, &l->scratch, l->err);
        if (rc != LUAFLOW_OK)
            stop(L, l, rc);
        ends[2 * i] = l->scratch.size;
        put_case_text(L, &l->scratch);
        ends[2 * i + 1] = l->scratch.size;
        lua_pop(L, 2);
    }
    want_memory(L, l, !l->scratch.failed);
    const uint8_t *at = l->scratch.data;
    for (size_t i = 0; i < n; i++) {
        keys[i] = lf_slice_of(at, (size_t)(l->scratch.data + ends[2 * i] - at));
        texts[i] = (const char *)l->scratch.data + ends[2 * i];
        at = l->scratch.data + ends[2 * i + 1];
    }
    lua_pop(L, 1);
    spec->case_keys = keys;
    spec->case_texts = texts;
}

/* Adds the step at the top to the graph.  [-0, +0, raises] */
LF_RAISES static void add_step(lua_State *L, loading *l)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 20, "a step");
    lf_step_spec spec = {
        .name = string_field(L, "name"),
        .where = string_field(L, "where"),
        .kind = kind_of(string_field(L, "kind")),
        .is_join = flag_field(L, "join"),
        .has_function = flag_field(L, "has_function"),
        .broken = flag_field(L, "broken"),
    };
    spec.over = string_field(L, spec.kind == LF_FOREACH ? "foreach" : "switch");
    lua_getfield(L, top, "next");
    spec.n_next = lua_objlen(L, -1);
    const char **next = push_array(L, spec.n_next, sizeof *next);   /* …, next, array */
    for (size_t i = 0; i < spec.n_next; i++) {
        lua_rawgeti(L, -2, (int)i + 1);
        next[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    spec.next = next;
    lua_getfield(L, top, "cases");
    if (lua_istable(L, -1))
        push_cases(L, l, &spec);
    lua_pushvalue(L, top);
    push_attributes(L, &spec.attributes);
    want_memory(L, l, lf_graph_add(l->f->graph, &spec) == LUAFLOW_OK);
    lua_settop(L, top);
}

static void note(void *payload, const char *where, const char *sentence)
{
    lf_bytes *told = payload;
    where = where != NULL ? where : "";
    lf_bytes_put(told, where, strlen(where) + 1);
    lf_bytes_put(told, sentence, strlen(sentence) + 1);
}

/* Adds a problem to the list at `problems`; `where` may be empty.  [-0, +0, raises] */
LF_RAISES static void add_problem(lua_State *L, int problems, const char *where, const char *sentence)
{
    lua_createtable(L, 0, 2);
    if (*where != '\0') {
        lua_pushstring(L, where);
        lua_setfield(L, -2, "where");
    }
    lua_pushstring(L, sentence);
    lua_setfield(L, -2, "sentence");
    lua_rawseti(L, problems, (int)lua_objlen(L, problems) + 1);
}

/* Tells of defaults that are no values: only the codec knows.  [-0, +0, raises] */
LF_RAISES static void check_defaults(lua_State *L, loading *l, int normal, int problems)
{
    luaflow_error why = LUAFLOW_ERROR_INIT;
    lua_getfield(L, normal, "params");
    for (size_t i = 1, n = lua_objlen(L, -1); i <= n; i++) {
        lua_rawgeti(L, -1, (int)i);
        lua_getfield(L, -1, "default");                             /* params, param, default */
        lf_bytes_clear(&l->scratch);
        if (lf_codec_encode(L, -1, "default", &l->scratch, &why) != LUAFLOW_OK) {
            lua_getfield(L, -2, "name");
            const char *colon = strstr(luaflow_error_text(&why), ": ");
            lua_pushfstring(L, "parameter '%s' has a default that cannot be stored%s",
                            lua_tostring(L, -1), colon != NULL ? colon : "");
            luaflow_error_clear(&why);
            add_problem(L, problems, "", lua_tostring(L, -1));
            lua_pop(L, 2);
        }
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

/* Makes the graph of the normal table at `normal`, and adds what it tells to the list
 * at `problems`.  [-0, +0, raises] */
LF_RAISES static void make_graph(lua_State *L, loading *l, int normal, int problems)
{
    lua_getfield(L, normal, "steps");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    size_t n = lua_objlen(L, -1);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, (int)i);
        add_step(L, l);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    int rc = lf_graph_seal(l->f->graph, note, &l->told);
    want_memory(L, l, rc != LUAFLOW_ENOMEM && !l->told.failed);
    lf_reader r = lf_reader_of(l->told.data, l->told.size);
    while (lf_reader_left(&r) > 0) {
        lf_slice where = lf_read(&r, strlen((const char *)r.at) + 1);
        lf_slice sentence = lf_read(&r, strlen((const char *)r.at) + 1);
        add_problem(L, problems, (const char *)where.data, (const char *)sentence.data);
    }
}

/* ---- loading ---- */

/* Calls the chunk at the top in a fresh environment, which is also the thread's while
 * it runs, and makes a table of its one result.  [-1, +1, raises] */
LF_RAISES static void run_chunk(lua_State *L, loading *l)
{
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "_G");
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);                                        /* chunk, environment */
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_insert(L, -3);                                              /* globals, chunk, environment */
    lua_pushvalue(L, -1);
    lua_setfenv(L, -3);
    lua_replace(L, LUA_GLOBALSINDEX);                               /* globals, chunk */
    lf_failure failure;
    int rc = lf_state_call(L, 0, 1, &failure);
    if (rc != LUAFLOW_OK) {
        rc = rc == LUAFLOW_ENOMEM ? lf_fail_memory(l->err)
                                  : fail_in_file(l->f, failure.message, l->err);
        lf_failure_fini(&failure);
        stop(L, l, rc);
    }
    lua_insert(L, -2);
    lua_replace(L, LUA_GLOBALSINDEX);                               /* result */
    if (!lua_istable(L, -1))
        stop(L, l, lf_fail(l->err, LUAFLOW_EFLOW, "%s returns %s%s; a flow file returns a table: "
                           "return { steps = { start = function(self) … end } }", l->f->path,
                           lua_isnil(L, -1) ? "" : "a ", luaL_typename(L, -1)));
}

/* Pushes the attributes for every step, as flow.with() of the module at `module` gives
 * them.  [-0, +1, raises] */
LF_RAISES static void push_with(lua_State *L, loading *l, int module)
{
    lua_getfield(L, module, "with");
    lua_createtable(L, (int)l->n_with, 0);
    for (size_t i = 0; i < l->n_with; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, l->with[i].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, l->with[i].value);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_call(L, 1, 2);                                              /* with, message */
    if (lua_isnil(L, -2))
        stop(L, l, lf_fail_text(l->err, LUAFLOW_EUSAGE, lua_tostring(L, -1)));
    lua_pop(L, 1);
}

/* Fails with all problems of the list, if there are any.  [-0, +0, raises] */
LF_RAISES static void report(lua_State *L, loading *l, int module, int problems)
{
    if (lua_objlen(L, problems) == 0)
        return;
    lua_getfield(L, module, "report");
    lua_pushvalue(L, problems);
    lua_pushstring(L, l->f->path);
    lua_call(L, 2, 1);
    stop(L, l, lf_fail_text(l->err, LUAFLOW_EFLOW, lua_tostring(L, -1)));
}

/* Puts the steps of the normal table into the graph's order and encodes it.
 * [-0, +0, raises] */
LF_RAISES static void describe(lua_State *L, loading *l, int normal)
{
    lf_flow *f = l->f;
    uint32_t n = lf_graph_size(f->graph);
    lua_getfield(L, normal, "steps");
    lua_createtable(L, (int)n, 0);                                  /* steps, ordered */
    for (uint32_t i = 1; i <= n; i++) {
        lua_rawgeti(L, -2, (int)i);
        uint32_t number = lf_graph_find(f->graph, string_field(L, "name"));
        lua_rawseti(L, -2, (int)number + 1);
    }
    lua_setfield(L, normal, "steps");
    lua_pop(L, 1);
    int rc = lf_codec_encode(L, normal, "flow", &f->description, l->err);
    if (rc != LUAFLOW_OK)
        stop(L, l, rc);
    want_memory(L, l, !f->description.failed);
}

/* Keeps the field `name` of the table at the top in the registry.  [-1, +0, raises] */
LF_RAISES static int keep(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int load_inside(lua_State *L)
{
    enum { MODULE = 2, RAW, NORMAL, PROBLEMS, FUNCTIONS };
    loading *l = lua_touserdata(L, 1);
    lf_flow *f = l->f;
    luaL_checkstack(L, 40, "a flow");
    int rc = lf_state_require(L, "luaflow.flow", l->err);
    if (rc != LUAFLOW_OK || (rc = lf_flow_enter(f, L, l->err)) != LUAFLOW_OK)
        stop(L, l, rc);
    run_chunk(L, l);                                                /* l, module, raw */
    lua_getfield(L, MODULE, "normalise");
    lua_pushvalue(L, RAW);
    lua_pushstring(L, f->path);
    lua_pushstring(L, f->name);
    push_with(L, l, MODULE);
    lua_call(L, 4, 3);                                  /* l, module, raw, normal, problems, functions */
    make_graph(L, l, NORMAL, PROBLEMS);
    check_defaults(L, l, NORMAL, PROBLEMS);
    report(L, l, MODULE, PROBLEMS);
    describe(L, l, NORMAL);

    free(f->name);
    lua_getfield(L, NORMAL, "name");
    f->name = strdup(lua_tostring(L, -1));
    want_memory(L, l, f->name != NULL);
    lua_settop(L, FUNCTIONS);
    f->defaults = keep(L, "defaults");
    lua_settop(L, NORMAL);
    f->specs = keep(L, "params");
    return 0;
}

/* Makes a flow of the source that `f` holds. Takes `f`. */
static int finish(lf_flow *f, const char *path, loading *l, lf_flow **out)
{
    luaflow_error *err = l->err;
    int rc = LUAFLOW_OK, failed;
    l->f = f;
    f->plain = is_plain(lf_flow_source(f));
    if (!name_all(f, path) || (f->graph = lf_graph_new()) == NULL ||
        (f->L = lf_state_new()) == NULL)
        rc = lf_fail_memory(err);
    else if (f->source.size > 0 && f->source.data[0] == 0x1b)
        rc = lf_fail(err, LUAFLOW_EFLOW, "%s is bytecode; luaflow loads source text only", path);
    else if ((failed = lua_cpcall(f->L, load_inside, l)) != 0)
        rc = judge(f->L, failed, f, l->rc, err);
    lf_bytes_fini(&l->scratch);
    lf_bytes_fini(&l->told);
    if (rc == LUAFLOW_OK)
        *out = f;
    else
        lf_flow_free(f);
    return rc;
}

static lf_flow *new_flow(void)
{
    lf_flow *f = calloc(1, sizeof *f);
    if (f != NULL)
        atomic_init(&f->refs, 1);
    return f;
}

int lf_flow_load_with(const char *path, const luaflow_attribute *with, size_t n, lf_flow **out,
                      luaflow_error *err)
{
    loading l = {.with = with, .n_with = n, .err = err};
    lf_flow *f = new_flow();
    if (f == NULL)
        return lf_fail_memory(err);
    int rc = read_source(path, &f->source, err);
    if (rc != LUAFLOW_OK) {
        lf_flow_free(f);
        return rc;
    }
    return finish(f, path, &l, out);
}

int lf_flow_load(const char *path, lf_flow **out, luaflow_error *err)
{
    return lf_flow_load_with(path, NULL, 0, out, err);
}

int lf_flow_load_string(const char *source, size_t size, const char *name, lf_flow **out,
                        luaflow_error *err)
{
    loading l = {.err = err};
    lf_flow *f = new_flow();
    if (f == NULL)
        return lf_fail_memory(err);
    lf_bytes_put(&f->source, source, size);
    if (f->source.failed) {
        lf_flow_free(f);
        return lf_fail_memory(err);
    }
    return finish(f, name, &l, out);
}

/* ---- parameters ---- */

typedef struct resolving {
    lf_flow *f;
    const luaflow_param *params;
    size_t n;
    lf_bytes *out;
    luaflow_error *err;
    int rc;
} resolving;

/* [raises] */
LF_RAISES static int refuse(lua_State *L, resolving *r, int rc)
{
    r->rc = rc;
    lua_pushliteral(L, "stopped");
    return lua_error(L);
}

/* Pushes { { name=, text= } or { name=, value= }, … }.  [-0, +1, raises] */
LF_RAISES static void push_given(lua_State *L, resolving *r)
{
    lua_createtable(L, (int)r->n, 0);
    for (size_t i = 0; i < r->n; i++) {
        const luaflow_param *p = &r->params[i];
        lua_createtable(L, 0, 2);
        lua_pushstring(L, p->name);
        lua_setfield(L, -2, "name");
        if (p->text != NULL) {
            lua_pushstring(L, p->text);
            lua_setfield(L, -2, "text");
        } else {
            luaflow_error why = LUAFLOW_ERROR_INIT;
            if (lf_codec_decode(L, lf_slice_of(p->value, p->value_size), &why) != LUAFLOW_OK) {
                lf_fail(r->err, LUAFLOW_EUSAGE, "parameter '%s' is given bytes that are no value: %s",
                        p->name, luaflow_error_text(&why));
                luaflow_error_clear(&why);
                refuse(L, r, LUAFLOW_EUSAGE);
            }
            lua_setfield(L, -2, "value");
        }
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* Names the parameter among the values at `values` that cannot be stored.
 * [raises] */
LF_RAISES static int refuse_unstorable(lua_State *L, resolving *r, int values)
{
    luaflow_error why = LUAFLOW_ERROR_INIT;
    for (lua_pushnil(L); lua_next(L, values); lua_pop(L, 1)) {
        const char *name = lua_tostring(L, -2);
        r->out->failed = false;
        if (lf_codec_encode(L, -1, name, r->out, &why) == LUAFLOW_OK)
            continue;
        const char *text = luaflow_error_text(&why), *thing = "artifact ";
        if (strncmp(text, thing, strlen(thing)) == 0)
            text += strlen(thing);
        lf_fail(r->err, LUAFLOW_EUSAGE, "parameter %s", text);
        luaflow_error_clear(&why);
        return refuse(L, r, LUAFLOW_EUSAGE);
    }
    return refuse(L, r, lf_fail_memory(r->err));
}

static int resolve_inside(lua_State *L)
{
    resolving *r = lua_touserdata(L, 1);
    luaL_checkstack(L, 20, "parameters");
    int rc = lf_state_require(L, "luaflow.params", r->err);
    if (rc != LUAFLOW_OK)
        return refuse(L, r, rc);
    lua_getfield(L, -1, "resolve");
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->f->specs);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->f->defaults);
    push_given(L, r);
    if ((rc = lf_state_try(L, 3, 2, LUAFLOW_EUSAGE, r->err)) != LUAFLOW_OK)
        return refuse(L, r, rc);
    if (lua_isnil(L, -2))
        return refuse(L, r, lf_fail_text(r->err, LUAFLOW_EUSAGE, lua_tostring(L, -1)));
    lua_pop(L, 1);
    if (lf_codec_encode(L, -1, "parameters", r->out, NULL) != LUAFLOW_OK || r->out->failed)
        return refuse_unstorable(L, r, lua_gettop(L));
    return 0;
}

int lf_flow_params(lf_flow *f, const luaflow_param *params, size_t n, lf_bytes *out,
                   luaflow_error *err)
{
    resolving r = {f, params, n, out, err, LUAFLOW_OK};
    size_t size = out->size;
    int failed = lua_cpcall(f->L, resolve_inside, &r);
    if (failed != 0)
        out->size = size;
    return judge(f->L, failed, f, r.rc, err);
}
