/* module_read.c -- what a store remembers, as tables: runs, tasks, artifacts and logs, as
 * methods of the runtime. Knows nothing of running. Lives on the thread of the state that
 * calls it. */
#include "module_inside.h"

#include <inttypes.h>
#include <stdio.h>

enum { LIST_MAX = 1 << 20 };

/* [-0, +1, raises] */
LF_RAISES static void push_numbers(lua_State *L, const uint64_t *numbers, size_t n)
{
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushnumber(L, (double)numbers[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* [-0, +1, raises] */
LF_RAISES static void push_run_info(lua_State *L, const luaflow_run_info *info)
{
    lua_createtable(L, 0, 12);
    lf_set_number(L, "id", (double)info->id);
    lf_set_string(L, "flow", info->flow);
    lf_set_status(L, info->status);
    lf_set_number(L, "created_at", info->created_at);
    lf_set_known(L, "finished_at", info->finished_at);
    lf_set_known(L, "origin_run_id", (double)info->origin);
    lf_set_string(L, "problem", info->problem);
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, info->seed);
    lf_set_string(L, "seed", seed);
    lua_createtable(L, (int)info->n_tags, 0);
    for (size_t i = 0; i < info->n_tags; i++) {
        lua_pushstring(L, info->tags[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "tags");
    lua_createtable(L, 0, 4);
    lf_set_counts(L, &info->counts);
    lua_setfield(L, -2, "tasks");
    lua_createtable(L, (int)info->n_steps, 0);
    for (size_t i = 0; i < info->n_steps; i++) {
        lua_createtable(L, 0, 5);
        lf_set_string(L, "name", info->steps[i].name);
        lf_set_counts(L, &info->steps[i].counts);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "steps");
}

/* rt:run(id) */
static int runtime_run(lua_State *L)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    uint64_t id = lf_arg_number(L, 2);
    lf_scratch *s = lf_scratch_new(L);
    luaflow_run_info *info;
    if (luaflow_run_read(rt->handle, id, &info, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    s->memory = info;
    push_run_info(L, info);
    lf_scratch_clear(s);
    return 1;
}

/* How many numbers a list may give at once: argument `arg`.  [-0, +0, raises] */
LF_RAISES static size_t check_max(lua_State *L, int arg)
{
    lua_Number n = luaL_checknumber(L, arg);
    luaL_argcheck(L, n >= 1 && n <= LIST_MAX, arg, "must be from 1 to 1048576");
    return (size_t)n;
}

/* rt:runs(flow or nil, tag or nil, before or nil, max) -> numbers, newest first */
static int runtime_runs(lua_State *L)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    const char *flow = luaL_optstring(L, 2, NULL);
    const char *tag = luaL_optstring(L, 3, NULL);
    uint64_t before = lf_arg_optional_number(L, 4);
    size_t max = check_max(L, 5), n;
    lf_scratch *s = lf_scratch_new(L);
    uint64_t *ids = lf_push_block(L, max, sizeof *ids);
    if (luaflow_runs_list(rt->handle, flow, tag, before, ids, max, &n, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    push_numbers(L, ids, n);
    return 1;
}

/* rt:part(id, "source" | "description" | "params") -> text or table */
static int runtime_part(lua_State *L)
{
    static const char *const parts[] = {"source", "description", "params", NULL};
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    uint64_t id = lf_arg_number(L, 2);
    int part = luaL_checkoption(L, 3, NULL, parts);
    lf_scratch *s = lf_scratch_new(L);
    size_t size;
    if (luaflow_run_part_read(rt->handle, id, part, &s->memory, &size, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    if (part != LUAFLOW_PART_SOURCE)
        return lf_scratch_value(L, s, size);
    lua_pushlstring(L, s->memory, size);
    lf_scratch_clear(s);
    return 1;
}

/* rt:tag(id, tags to add, tags to remove) -> true */
static int runtime_tag(lua_State *L)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    uint64_t id = lf_arg_number(L, 2);
    lua_settop(L, 4);
    lf_scratch *s = lf_scratch_new(L);
    size_t n_add, n_remove;
    const char *const *add = lf_push_strings(L, 3, "tags", &n_add);
    const char *const *removed = lf_push_strings(L, 4, "tags", &n_remove);
    if (luaflow_run_tag(rt->handle, id, add, n_add, removed, n_remove, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    lua_pushboolean(L, true);
    return 1;
}

/* rt:tasks(run, step or nil, failed_only, after, max) -> numbers, ascending */
static int runtime_tasks(lua_State *L)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    uint64_t id = lf_arg_number(L, 2);
    const char *step = luaL_optstring(L, 3, NULL);
    bool failed = lua_toboolean(L, 4);
    uint64_t after = lf_arg_optional_number(L, 5);
    size_t max = check_max(L, 6), n;
    lf_scratch *s = lf_scratch_new(L);
    uint64_t *numbers = lf_push_block(L, max, sizeof *numbers);
    int rc = luaflow_tasks_list(rt->handle, id, step, failed, after, numbers, max, &n, &s->err);
    if (rc != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    push_numbers(L, numbers, n);
    return 1;
}

/* [-0, +1, raises] */
LF_RAISES static void push_task_info(lua_State *L, const luaflow_task_info *info)
{
    lua_createtable(L, 0, 16);
    lf_set_number(L, "run", (double)info->run);
    lf_set_number(L, "task", (double)info->task);
    lf_set_string(L, "step", info->step);
    lf_set_string(L, "path", info->path);
    lf_set_boolean(L, "failed", info->failed);
    lf_set_boolean(L, "caught", info->caught);
    lf_set_number(L, "attempt", info->attempt);
    lf_set_known(L, "worker", info->worker);
    lf_set_number(L, "started_at", info->started_at);
    lf_set_number(L, "finished_at", info->finished_at);
    lf_set_string(L, "message", info->message);
    lf_set_string(L, "traceback", info->traceback);
    lf_set_known(L, "origin_run", (double)info->origin_run);
    lf_set_known(L, "origin_task", (double)info->origin_task);
    push_numbers(L, info->parents, info->n_parents);
    lua_setfield(L, -2, "parents");
    lua_createtable(L, (int)info->n_attempts, 0);
    for (size_t i = 0; i < info->n_attempts; i++) {
        const luaflow_attempt_info *attempt = &info->attempts[i];
        lua_createtable(L, 0, 5);
        lf_set_number(L, "worker", attempt->worker);
        lf_set_number(L, "started_at", attempt->started_at);
        lf_set_number(L, "finished_at", attempt->finished_at);
        lf_set_string(L, "message", attempt->message);
        lf_set_string(L, "traceback", attempt->traceback);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "attempts");
    lua_createtable(L, (int)info->n_artifacts, 0);
    for (size_t i = 0; i < info->n_artifacts; i++) {
        const luaflow_artifact_info *artifact = &info->artifacts[i];
        lua_createtable(L, 0, 3);
        lf_set_string(L, "name", artifact->name);
        lf_set_number(L, "size", (double)artifact->size);
        lf_set_boolean(L, "inherited", artifact->inherited);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "artifacts");
}

/* rt:task(run, number) */
static int runtime_task(lua_State *L)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    uint64_t id = lf_arg_number(L, 2), task = lf_arg_number(L, 3);
    lf_scratch *s = lf_scratch_new(L);
    luaflow_task_info *info;
    if (luaflow_task_read(rt->handle, id, task, &info, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    s->memory = info;
    push_task_info(L, info);
    lf_scratch_clear(s);
    return 1;
}

/* The canonical bytes of rt:…(run, task, name) in `*out`; whether they could be read.
 * [-0, +1, raises] */
LF_RAISES static bool read_artifact(lua_State *L, lf_scratch **out, size_t *size)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    uint64_t id = lf_arg_number(L, 2), task = lf_arg_number(L, 3);
    const char *name = luaL_checkstring(L, 4);
    lf_scratch *s = *out = lf_scratch_new(L);
    int rc = luaflow_artifact_read(rt->handle, id, task, name, &s->memory, size, &s->err);
    return rc == LUAFLOW_OK;
}

/* rt:artifact(run, task, name, marked) -> true, value; marked as by core.decode_marked */
static int runtime_artifact(lua_State *L)
{
    lf_scratch *s;
    size_t size;
    bool marked = lua_toboolean(L, 5);
    if (!read_artifact(L, &s, &size))
        return lf_scratch_fail(L, s);
    lua_pushboolean(L, true);
    int rc = marked ? luaflow_value_push_marked(L, s->memory, size, &s->err)
                    : luaflow_value_push(L, s->memory, size, &s->err);
    if (rc != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    lf_scratch_clear(s);
    return 2;
}

/* rt:bytes(run, task, name) -> canonical bytes */
static int runtime_bytes(lua_State *L)
{
    lf_scratch *s;
    size_t size;
    if (!read_artifact(L, &s, &size))
        return lf_scratch_fail(L, s);
    lua_pushlstring(L, s->memory, size);
    lf_scratch_clear(s);
    return 1;
}

/* rt:log(run, task) -> { { task =, attempt =, time =, stream =, text = }, … } */
static int runtime_log(lua_State *L)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    uint64_t id = lf_arg_number(L, 2), task = lf_arg_number(L, 3);
    lf_scratch *s = lf_scratch_new(L);
    luaflow_log *log;
    if (luaflow_log_read(rt->handle, id, task, &log, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    s->memory = log;
    lua_createtable(L, (int)log->n_entries, 0);
    for (size_t i = 0; i < log->n_entries; i++) {
        const luaflow_log_entry *entry = &log->entries[i];
        lua_createtable(L, 0, 5);
        lf_set_number(L, "task", (double)entry->task);
        lf_set_number(L, "attempt", entry->attempt);
        lf_set_number(L, "time", entry->time);
        lf_set_stream(L, entry->stream);
        lf_set_bytes(L, "text", entry->text, entry->text_size);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lf_scratch_clear(s);
    return 1;
}

/* rt:logs(run, after, max) -> numbers, the place of each one's step in the run's steps */
static int runtime_logs(lua_State *L)
{
    lf_core_runtime *rt = lf_arg_runtime(L, 1);
    uint64_t id = lf_arg_number(L, 2), after = lf_arg_optional_number(L, 3);
    size_t max = check_max(L, 4), n;
    lf_scratch *s = lf_scratch_new(L);
    uint64_t *numbers = lf_push_block(L, max, sizeof *numbers);
    uint32_t *steps = lf_push_block(L, max, sizeof *steps);
    if (luaflow_logs_list(rt->handle, id, after, numbers, steps, max, &n, &s->err) != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    push_numbers(L, numbers, n);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushnumber(L, (double)steps[i] + 1);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 2;
}

void lf_core_reading(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"run", runtime_run},
        {"runs", runtime_runs},
        {"part", runtime_part},
        {"tag", runtime_tag},
        {"tasks", runtime_tasks},
        {"task", runtime_task},
        {"artifact", runtime_artifact},
        {"bytes", runtime_bytes},
        {"log", runtime_log},
        {"logs", runtime_logs},
        {NULL, NULL},
    };
    lf_core_methods(L, LF_RUNTIME_TYPE, methods, NULL);
}
