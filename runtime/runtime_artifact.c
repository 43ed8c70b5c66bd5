/* runtime_artifact.c -- the part of luaflow.h that reads artifacts: as bytes, and as values in a
 * state of the host's. */
#include "runtime.h"

#include <lauxlib.h>
#include <stdlib.h>

static int find(lf_view *v, uint32_t run, uint32_t task, const char *name, lf_buf **out, luaflow_error *err)
{
    lf_task_record record;
    lf_ref ref;
    bool found = false;
    int rc = lf_view_task(v, run, task, &record, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_output(v, run, &record, lf_slice_of(name, strlen(name)), &ref, &found, err);
    if (rc == LUAFLOW_OK && !found)
        rc = lf_fail(err, LUAFLOW_ENOTFOUND, "task %u of run %u has no artifact '%s'", (unsigned)task,
                     (unsigned)run, name);
    return rc == LUAFLOW_OK ? lf_view_blob(v, &ref, out, err) : rc;
}

static int load(luaflow *rt, uint64_t wide_run, uint64_t wide_task, const char *name, lf_buf **out,
                luaflow_error *err)
{
    uint32_t run, task;
    lf_view *v;
    int rc = lf_runtime_number(wide_run, "run", &run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_runtime_number(wide_task, "task", &task, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = find(v, run, task, name, out, err);
    lf_view_end(v);
    return rc;
}

int luaflow_artifact_read(luaflow *rt, uint64_t run, uint64_t task, const char *name, void **bytes,
                          size_t *size, luaflow_error *err)
{
    lf_buf *buf = NULL;
    int rc = load(rt, run, task, name, &buf, err);
    return rc == LUAFLOW_OK ? lf_runtime_give(buf, bytes, size) : rc;
}

/* ---- into a state ---- */

typedef struct pushing {
    lf_buf *bytes;
    luaflow_error *err;
    int rc;
} pushing;

static int push_inside(lua_State *L)
{
    pushing *p = lua_touserdata(L, 1);
    p->rc = lf_codec_decode(L, lf_buf_slice(p->bytes), p->err);
    return 1; /* where there is no value, what was given */
}

int luaflow_artifact_push(luaflow *rt, uint64_t run, uint64_t task, const char *name, lua_State *L,
                          luaflow_error *err)
{
    pushing p = {.err = err};
    if (!lua_checkstack(L, 2))
        return lf_fail_memory(err);
    lua_pushcfunction(L, push_inside); /* while nothing is held that a jump would lose */
    int rc = load(rt, run, task, name, &p.bytes, err);
    if (rc != LUAFLOW_OK) {
        lua_pop(L, 1);
        return rc;
    }
    lua_pushlightuserdata(L, &p);
    int raised = lua_pcall(L, 1, 1, 0);
    if (raised == LUA_ERRMEM)
        p.rc = lf_fail_memory(err);
    else if (raised != 0)
        p.rc = lf_fail(err, LUAFLOW_EUSAGE, "this Lua state cannot take a value: %s",
                       lua_isstring(L, -1) ? lua_tostring(L, -1) : "it raises what is no text");
    if (p.rc != LUAFLOW_OK)
        lua_pop(L, 1);
    lf_buf_free(p.bytes);
    return p.rc;
}

/* ---- of a whole run ---- */

/* Finds the last task above `after` that succeeded; leaves *last alone when there is none. */
static int last_above(lf_view *v, uint32_t run, uint32_t after, uint32_t *last, luaflow_error *err)
{
    enum { PAGE = 256 };
    uint32_t page[PAGE];
    size_t n = PAGE;
    int rc = LUAFLOW_OK;
    while (rc == LUAFLOW_OK && n == PAGE) {
        bool found = false;
        rc = lf_view_tasks(v, run, LF_ANY, false, after, page, PAGE, &n, err);
        for (size_t i = rc == LUAFLOW_OK ? n : 0; rc == LUAFLOW_OK && i-- > 0 && !found;) {
            lf_task_record task;
            rc = lf_view_task(v, run, page[i], &task, err);
            found = rc == LUAFLOW_OK && (task.flags & LF_TASK_FAILED) == 0;
            if (found)
                *last = page[i];
        }
        if (n > 0)
            after = page[n - 1];
    }
    return rc;
}

static int find_last(lf_view *v, uint32_t run, uint32_t *last, luaflow_error *err)
{
    lf_run_record record;
    lf_run_state state;
    int rc = lf_view_run(v, run, &record, &state, err);
    if (rc != LUAFLOW_OK)
        return rc;
    uint64_t n = state.total.done + state.total.failed; /* so that as many numbers are given, or more */
    *last = 0;
    if (n > 0)
        rc = last_above(v, run, (uint32_t)n - 1, last, err);
    if (rc == LUAFLOW_OK && *last == 0)
        rc = last_above(v, run, 0, last, err);
    if (rc == LUAFLOW_OK && *last == 0)
        rc = lf_fail(err, LUAFLOW_ENOTFOUND, "run %u has no task that succeeded yet", (unsigned)run);
    return rc;
}

int luaflow_last_task(luaflow *rt, uint64_t wide, uint64_t *task, luaflow_error *err)
{
    uint32_t run, last;
    lf_view *v;
    int rc = lf_runtime_number(wide, "run", &run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = find_last(v, run, &last, err);
    lf_view_end(v);
    if (rc == LUAFLOW_OK)
        *task = last;
    return rc;
}

int luaflow_run_artifact(luaflow_run *r, const char *name, void **bytes, size_t *size, luaflow_error *err)
{
    luaflow *rt = lf_runtime_of(r);
    uint64_t task;
    int rc = luaflow_last_task(rt, luaflow_run_id(r), &task, err);
    return rc == LUAFLOW_OK ? luaflow_artifact_read(rt, luaflow_run_id(r), task, name, bytes, size, err) : rc;
}

int luaflow_run_artifact_push(luaflow_run *r, const char *name, lua_State *L, luaflow_error *err)
{
    luaflow *rt = lf_runtime_of(r);
    uint64_t task;
    int rc = luaflow_last_task(rt, luaflow_run_id(r), &task, err);
    return rc == LUAFLOW_OK ? luaflow_artifact_push(rt, luaflow_run_id(r), task, name, L, err) : rc;
}
