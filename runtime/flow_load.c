/* flow_load.c -- what a flow's chunk returns, made into its graph and description.
 * The loader's thread only. What the user's table means is decided in
 * lua/luaflow/flow.lua; here the chunk is run once, in the flow's private state, and the
 * normal table read. Everything runs inside one protected call. */
#include "flow_inside.h"

#include <stdlib.h>

#include <lauxlib.h>

typedef struct loading {
    lf_flow *f;
    const luaflow_attribute *with;
    size_t n_with;
    luaflow_error *err;
    int rc;
    lf_bytes scratch; /* keys and texts of one step's cases */
    lf_bytes told;    /* problems of the graph: where and sentence, each with a NUL */
    luaflow_error why; /* of a value that cannot be stored */
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

/* ---- from the normal table to the graph ---- */

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
        .doubtful = flag_field(L, "doubtful"),
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
LF_RAISES static void add_problem(lua_State *L, int problems, const char *where,
                                  const char *sentence)
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
    lua_getfield(L, normal, "params");
    for (size_t i = 1, n = lua_objlen(L, -1); i <= n; i++) {
        lua_rawgeti(L, -1, (int)i);
        lua_getfield(L, -1, "default");                             /* params, param, default */
        lf_bytes_clear(&l->scratch);
        int rc = lf_codec_encode(L, -1, "default", &l->scratch, &l->why);
        want_memory(L, l, rc == LUAFLOW_OK || rc == LUAFLOW_EVALUE);
        if (rc == LUAFLOW_EVALUE) {
            lua_getfield(L, -2, "name");
            const char *colon = strstr(luaflow_error_text(&l->why), ": ");
            lua_pushfstring(L, "parameter '%s' has a default that cannot be stored%s",
                            lua_tostring(L, -1), colon != NULL ? colon : "");
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
    lua_setmetatable(L, -2);                                        /* chunk, env */
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_insert(L, -3);                                              /* globals, chunk, env */
    lua_pushvalue(L, -1);
    lua_setfenv(L, -3);
    lua_replace(L, LUA_GLOBALSINDEX);                               /* globals, chunk */
    lf_failure failure;
    int rc = lf_state_call(L, 0, 1, &failure);
    if (rc != LUAFLOW_OK) {
        rc = rc == LUAFLOW_ENOMEM ? lf_fail_memory(l->err)
                                  : lf_flow_fail(l->f, failure.message, l->err);
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
    lua_call(L, 4, 3); /* l, module, raw, normal, problems, functions */
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

int lf_flow_examine(lf_flow *f, const luaflow_attribute *with, size_t n, luaflow_error *err)
{
    loading l = {.f = f, .with = with, .n_with = n, .err = err};
    int failed = lua_cpcall(f->L, load_inside, &l);
    lf_bytes_fini(&l.scratch);
    lf_bytes_fini(&l.told);
    luaflow_error_clear(&l.why);
    return lf_flow_judge(f->L, failed, f, l.rc, err);
}
