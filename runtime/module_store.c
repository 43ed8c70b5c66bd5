/* module_store.c -- what is done with a store as a whole: verified, pruned, compacted. Knows
 * nothing of the house but luaflow.h. Lives on the thread of the state that calls it. */
#include "module_inside.h"

#include <stdlib.h>
#include <string.h>

#define LF_FINDINGS_TYPE "luaflow.findings"

/* What was told, until all is over: nothing may raise in between. */
typedef struct findings {
    luaflow_finding *list;
    size_t n, room;
    bool failed; /* out of memory */
} findings;

static int findings_gc(lua_State *L)
{
    findings *f = lua_touserdata(L, 1);
    for (size_t i = 0; i < f->n; i++) {
        free((char *)f->list[i].step);
        free((char *)f->list[i].path);
        free((char *)f->list[i].artifact);
        free((char *)f->list[i].text);
    }
    free(f->list);
    *f = (findings){0};
    return 0;
}

static const char *keep(findings *f, const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    f->failed = f->failed || (text != NULL && copy == NULL);
    return copy;
}

static void hear(void *payload, const luaflow_finding *told)
{
    findings *f = payload;
    if (f->n == f->room) {
        size_t room = f->room == 0 ? 16 : f->room * 2;
        luaflow_finding *grown = realloc(f->list, room * sizeof *grown);
        f->failed = f->failed || grown == NULL;
        if (grown == NULL)
            return;
        f->list = grown;
        f->room = room;
    }
    luaflow_finding *finding = &f->list[f->n++];
    *finding = *told;
    finding->step = keep(f, told->step);
    finding->path = keep(f, told->path);
    finding->artifact = keep(f, told->artifact);
    finding->text = keep(f, told->text);
}

/* [-0, +1, raises] */
LF_RAISES static void push_findings(lua_State *L, const findings *f)
{
    lua_createtable(L, (int)f->n, 0);
    for (size_t i = 0; i < f->n; i++) {
        const luaflow_finding *finding = &f->list[i];
        lua_createtable(L, 0, 6);
        lf_set_known(L, "run", (double)finding->run);
        lf_set_known(L, "task", (double)finding->task);
        lf_set_string(L, "step", finding->step);
        lf_set_string(L, "path", finding->path);
        lf_set_string(L, "artifact", finding->artifact);
        lf_set_string(L, "text", finding->text);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* core.verify(store) -> { runs =, tasks =, artifacts =, blobs =, bytes =, findings = { { run =,
 * step =, task =, path =, artifact =, text = }, … } } */
static int core_verify(lua_State *L)
{
    const char *store = luaL_checkstring(L, 1);
    lf_scratch *s = lf_scratch_new(L);
    findings *f = lua_newuserdata(L, sizeof *f);
    *f = (findings){0};
    luaL_getmetatable(L, LF_FINDINGS_TYPE);
    lua_setmetatable(L, -2);
    luaflow_verified sum;
    if (luaflow_verify(store, hear, f, &sum, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    if (f->failed)
        return luaL_error(L, "not enough memory");
    lua_createtable(L, 0, 6);
    lf_set_number(L, "runs", (double)sum.runs);
    lf_set_number(L, "tasks", (double)sum.tasks);
    lf_set_number(L, "artifacts", (double)sum.artifacts);
    lf_set_number(L, "blobs", (double)sum.blobs);
    lf_set_number(L, "bytes", (double)sum.bytes);
    push_findings(L, f);
    lua_setfield(L, -2, "findings");
    return 1;
}

/* rt:prune { keep =, flow =, older_than =, dry_run = } -> { runs =, tasks =, blobs =, bytes = } */
static int runtime_prune(lua_State *L)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lf_core_refuse_inside(L, rt, "prune");
    luaflow_prune_options options = LUAFLOW_PRUNE_OPTIONS_INIT;
    options.keep = lf_option_count(L, 2, "keep");
    options.flow = lf_option_string(L, 2, "flow");
    options.older_than = lf_option_count(L, 2, "older_than");
    options.dry_run = lf_option_boolean(L, 2, "dry_run");
    lf_scratch *s = lf_scratch_new(L);
    luaflow_pruned sum;
    if (luaflow_prune(rt->handle, &options, &sum, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    lua_createtable(L, 0, 4);
    lf_set_number(L, "runs", (double)sum.runs);
    lf_set_number(L, "tasks", (double)sum.tasks);
    lf_set_number(L, "blobs", (double)sum.blobs);
    lf_set_number(L, "bytes", (double)sum.bytes);
    return 1;
}

/* core.compact(store) -> size of its file before, size after */
static int core_compact(lua_State *L)
{
    const char *store = luaL_checkstring(L, 1);
    lf_scratch *s = lf_scratch_new(L);
    uint64_t before, after;
    if (luaflow_compact(store, &before, &after, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    lua_pushnumber(L, (double)before);
    lua_pushnumber(L, (double)after);
    return 2;
}

void lf_core_stores(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"verify", core_verify}, {"compact", core_compact}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"prune", runtime_prune}, {NULL, NULL}};
    static const luaL_Reg no_methods[] = {{NULL, NULL}};
    lf_core_methods(L, LF_RUNTIME_TYPE, methods, NULL);
    lf_core_methods(L, LF_FINDINGS_TYPE, no_methods, findings_gc);
    lf_core_add(L, functions);
}
