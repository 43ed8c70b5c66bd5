/* flow.c -- a flow's source and its parameters, and its chunk in any state.
 * Knows nothing of threads or the store. What the chunk returns is looked at in
 * flow_load.c, and what a parameter may be is decided in lua/luaflow/params.lua. */
#include "flow_inside.h"
#include "key.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>

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
    lf_buf_free(f->parcel);
    free(f->path);
    free(f->name);
    free(f->directory);
    free(f->chunk_name);
    free(f);
}

void lf_flow_close(lf_flow *f)
{
    if (f == NULL)
        return;
    lf_state_free(f->L);
    f->L = NULL;
    lf_flow_free(f);
}

const char *lf_flow_name(const lf_flow *f) { return f->name; }
const char *lf_flow_path(const lf_flow *f) { return f->path; }
const lf_graph *lf_flow_graph(const lf_flow *f) { return f->graph; }
lf_slice lf_flow_source(const lf_flow *f) { return lf_slice_of(f->source.data, f->source.size); }
bool lf_flow_is_plain(const lf_flow *f) { return f->plain; }
bool lf_flow_is_chancy(const lf_flow *f) { return f->chancy; }

lf_buf *lf_flow_parcel(const lf_flow *f) { return f->parcel; }

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

static bool is_among(const char *const *words, lf_slice word)
{
    for (; *words != NULL; words++)
        if (strlen(*words) == word.size && memcmp(word.data, *words, word.size) == 0)
            return true;
    return false;
}

static bool is_word(unsigned char c) { return isalnum(c) || c == '_'; }

/* Looks for words that matter anywhere in the text, be it in a comment. */
static void judge_words(lf_flow *f, lf_slice text)
{
    static const char *const telling[] = {"_G", "getfenv", "setfenv", "dofile", "debug", "module",
                                          "package", NULL};
    static const char *const chancy[] = {"math", "require", NULL};
    f->plain = true;
    f->chancy = false;
    for (size_t i = 0; i < text.size;) {
        size_t start = i;
        while (i < text.size && is_word(text.data[i]))
            i++;
        lf_slice word = lf_slice_of(text.data + start, i - start);
        if ((word.size >= 4 && memcmp(word.data, "load", 4) == 0) || is_among(telling, word))
            f->plain = false;
        f->chancy = f->chancy || is_among(chancy, word);
        if (i == start)
            i++;
    }
    f->chancy = f->chancy || !f->plain;
}

/* The words by which messages, `require` and the run know the flow; without a `name` it has
 * the file's. */
static bool name_all(lf_flow *f, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    size_t size = strlen(base);
    if (size > 4 && strcmp(base + size - 4, ".lua") == 0)
        size -= 4;
    f->path = strdup(path);
    f->name = name != NULL ? strdup(name) : strndup(base, size);
    f->directory = slash == NULL ? strdup(".") : slash == path ? strdup("/")
                                               : strndup(path, (size_t)(slash - path));
    lf_bytes chunk_name = {0};
    lf_bytes_printf(&chunk_name, "@%s", path);
    f->chunk_name = lf_bytes_cstr(&chunk_name);
    return f->path != NULL && f->name != NULL && f->directory != NULL && f->chunk_name != NULL;
}

/* ---- into a state ---- */

int lf_flow_fail(const lf_flow *f, const char *message, luaflow_error *err)
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

/* Loads the source text.  [-0, +1 unless e->rc says why not, -] */
static void push_loaded(lua_State *L, entering *e)
{
    const lf_flow *f = e->f;
    int failed = luaL_loadbufferx(L, (const char *)f->source.data, f->source.size, f->chunk_name,
                                  "t");
    if (failed == LUA_ERRMEM)
        e->rc = lf_fail_memory(e->err);
    else if (failed != 0)
        e->rc = lf_flow_fail(f, lua_tostring(L, -1), e->err);
}

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
    if (f->parcel != NULL)
        e->rc = lf_flow_push_shipped(L, f, e->err);
    else
        push_loaded(L, e);
    if (e->rc == LUAFLOW_OK)
        lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

int lf_flow_judge(lua_State *L, int failed, const lf_flow *f, int rc, luaflow_error *err)
{
    if (failed == 0)
        return rc;
    if (rc == LUAFLOW_OK)
        rc = failed == LUA_ERRMEM ? lf_fail_memory(err)
                                  : lf_flow_fail(f, lua_tostring(L, -1), err);
    lua_pop(L, 1);
    return rc;
}

int lf_flow_enter(const lf_flow *f, lua_State *L, luaflow_error *err)
{
    entering e = {f, err, LUAFLOW_OK};
    int failed = lua_cpcall(L, enter, &e);
    int rc = lf_flow_judge(L, failed, f, e.rc, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lua_pushlightuserdata(L, (void *)(uintptr_t)f);
    lua_rawget(L, LUA_REGISTRYINDEX);
    return LUAFLOW_OK;
}

/* ---- loading ---- */

int lf_flow_finish(lf_flow *f, const lf_flow_words *words, const luaflow_flow_options *options,
                   lf_flow **out, luaflow_error *err)
{
    static const luaflow_flow_options none = LUAFLOW_FLOW_OPTIONS_INIT;
    if (options == NULL)
        options = &none;
    int rc;
    judge_words(f, words->text);
    if (!name_all(f, words->path, words->name) || (f->graph = lf_graph_new()) == NULL ||
        (f->L = lf_state_new()) == NULL)
        rc = lf_fail_memory(err);
    else if (f->source.size > 0 && f->source.data[0] == 0x1b)
        rc = lf_fail(err, LUAFLOW_EFLOW, "%s is bytecode; luaflow loads source text only", f->path);
    else
        rc = lf_state_visit(f->L, options->on_state, options->state_payload, err);
    if (rc == LUAFLOW_OK)
        rc = lf_flow_examine(f, options->with, options->n_with, err);
    if (rc == LUAFLOW_OK)
        *out = f;
    else
        lf_flow_free(f);
    return rc;
}

lf_flow *lf_flow_new(void)
{
    lf_flow *f = calloc(1, sizeof *f);
    if (f != NULL)
        atomic_init(&f->refs, 1);
    return f;
}

int lf_flow_load(const char *path, const luaflow_flow_options *options, lf_flow **out,
                 luaflow_error *err)
{
    lf_flow *f = lf_flow_new();
    if (f == NULL)
        return lf_fail_memory(err);
    int rc = read_source(path, &f->source, err);
    if (rc != LUAFLOW_OK) {
        lf_flow_free(f);
        return rc;
    }
    lf_flow_words words = {path, NULL, lf_flow_source(f)};
    return lf_flow_finish(f, &words, options, out, err);
}

int lf_flow_load_string(const char *source, size_t size, const char *name,
                        const luaflow_flow_options *options, lf_flow **out, luaflow_error *err)
{
    lf_flow *f = lf_flow_new();
    if (f == NULL)
        return lf_fail_memory(err);
    lf_bytes_put(&f->source, source, size);
    if (f->source.failed) {
        lf_flow_free(f);
        return lf_fail_memory(err);
    }
    lf_flow_words words = {name, NULL, lf_flow_source(f)};
    return lf_flow_finish(f, &words, options, out, err);
}

int lf_flow_known(const lf_flow_told *told, lf_flow **out, luaflow_error *err)
{
    lf_flow *f = lf_flow_new();
    bool ok = f != NULL && name_all(f, told->path, told->name);
    if (ok) {
        lf_bytes_put(&f->source, told->source.data, told->source.size);
        lf_bytes_put(&f->description, told->description.data, told->description.size);
        f->parcel = lf_buf_ref(told->parcel);
        ok = !f->source.failed && !f->description.failed;
    }
    if (!ok) {
        lf_flow_free(f);
        return lf_fail_memory(err);
    }
    judge_words(f, told->source);
    if (f->parcel != NULL) {
        f->plain = false; /* what it mentions is not told */
        f->chancy = true;
    }
    *out = f;
    return LUAFLOW_OK;
}

/* ---- parameters ---- */

typedef struct resolving {
    lf_flow *f;
    const luaflow_param *params;
    size_t n;
    lf_slice values, description; /* of the run that is resumed, if one is */
    lf_bytes *out;
    luaflow_error *err;
    luaflow_error why; /* of a value that cannot be read or stored */
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
            int rc = lf_codec_decode(L, lf_slice_of(p->value, p->value_size), &r->why);
            if (rc == LUAFLOW_EVALUE)
                rc = lf_fail(r->err, LUAFLOW_EUSAGE,
                             "parameter '%s' is given bytes that are no value: %s", p->name,
                             luaflow_error_text(&r->why));
            else if (rc != LUAFLOW_OK)
                rc = lf_fail_memory(r->err);
            if (rc != LUAFLOW_OK)
                refuse(L, r, rc);
            lua_setfield(L, -2, "value");
        }
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* Whether the value at the top can be stored, but not within the table of all parameters.
 * [-0, +0, raises] */
LF_RAISES static bool is_too_deep(lua_State *L, resolving *r)
{
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, 1);
    bool is = lf_codec_encode(L, -1, "parameters", r->out, NULL) == LUAFLOW_EVALUE;
    lua_pop(L, 1);
    return is;
}

/* Names the parameter among the values at `values` that cannot be stored.  [raises] */
LF_RAISES static int refuse_unstorable(lua_State *L, resolving *r, int values)
{
    lua_pushnil(L);
    while (lua_next(L, values)) {
        const char *name = lua_tostring(L, -2);
        if (lf_codec_encode(L, -1, name, r->out, &r->why) == LUAFLOW_EVALUE)
            break;
        if (is_too_deep(L, r))
            return refuse(L, r, lf_fail(r->err, LUAFLOW_EUSAGE,
                                        "parameter '%s' cannot be stored: it is nested more than %d "
                                        "tables deep", name, LF_DEPTH_MAX - 1));
        lua_pop(L, 1);
    }
    const char *text = luaflow_error_text(&r->why), *thing = "artifact ";
    if (strncmp(text, thing, strlen(thing)) == 0)
        text += strlen(thing);
    return refuse(L, r, lf_fail(r->err, LUAFLOW_EUSAGE, "parameter %s", text));
}

/* Pushes what the resumed run was given, and its description.  [-0, +2, raises] */
LF_RAISES static void push_before(lua_State *L, resolving *r)
{
    const lf_slice both[] = {r->values, r->description};
    for (int i = 0; i < 2; i++) {
        int rc = lf_codec_decode(L, both[i], &r->why);
        if (rc == LUAFLOW_EVALUE)
            rc = lf_fail(r->err, LUAFLOW_ESTORE,
                         "the parameters of the run are damaged; run luaflow verify");
        if (rc != LUAFLOW_OK)
            refuse(L, r, rc == LUAFLOW_ESTORE ? rc : lf_fail_memory(r->err));
    }
}

static int resolve_inside(lua_State *L)
{
    resolving *r = lua_touserdata(L, 1);
    bool resumes = r->description.size > 0;
    luaL_checkstack(L, 20, "parameters");
    int rc = lf_state_require(L, "luaflow.params", r->err);
    if (rc != LUAFLOW_OK)
        return refuse(L, r, rc);
    lua_getfield(L, -1, resumes ? "resume" : "resolve");
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->f->specs);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->f->defaults);
    if (resumes)
        push_before(L, r);
    else
        push_given(L, r);
    if ((rc = lf_state_try(L, resumes ? 4 : 3, 2, LUAFLOW_EUSAGE, r->err)) != LUAFLOW_OK)
        return refuse(L, r, rc);
    if (lua_isnil(L, -2))
        return refuse(L, r, lf_fail_text(r->err, LUAFLOW_EUSAGE, lua_tostring(L, -1)));
    lua_pop(L, 1);
    rc = lf_codec_encode(L, -1, "parameters", r->out, NULL);
    if (rc == LUAFLOW_EVALUE)
        return refuse_unstorable(L, r, lua_gettop(L));
    if (rc != LUAFLOW_OK || r->out->failed)
        return refuse(L, r, lf_fail_memory(r->err));
    return 0;
}

static int seed_inside(lua_State *L)
{
    double seed = *(const double *)lua_touserdata(L, 1);
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, seed);
    lua_call(L, 1, 0);
    return 0;
}

int lf_flow_seed(lf_flow *f, uint64_t seed, luaflow_error *err)
{
    double number = (double)(lf_hash(seed, "params", 6) >> 11);
    return lf_flow_judge(f->L, lua_cpcall(f->L, seed_inside, &number), f, LUAFLOW_OK, err);
}

static int resolve(resolving *r)
{
    size_t size = r->out->size;
    int failed = lua_cpcall(r->f->L, resolve_inside, r);
    if (failed != 0)
        r->out->size = size;
    luaflow_error_clear(&r->why);
    return lf_flow_judge(r->f->L, failed, r->f, r->rc, r->err);
}

int lf_flow_params(lf_flow *f, const luaflow_param *params, size_t n, lf_bytes *out,
                   luaflow_error *err)
{
    return resolve(&(resolving){.f = f, .params = params, .n = n, .out = out, .err = err});
}

int lf_flow_params_again(lf_flow *f, lf_slice values, lf_slice description, lf_bytes *out,
                         luaflow_error *err)
{
    return resolve(&(resolving){.f = f, .values = values, .description = description, .out = out, .err = err});
}
