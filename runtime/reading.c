/* reading.c -- the part of luaflow.h that reads the store: views are begun and ended within
 * each call, and what is given out is copied into one block. */
#include "description.h"
#include "runtime.h"

#include <stdlib.h>

int lf_runtime_number(uint64_t wide, const char *what, uint32_t *number, luaflow_error *err)
{
    *number = (uint32_t)wide;
    if (wide == 0 || wide > UINT32_MAX)
        return lf_fail(err, LUAFLOW_ENOTFOUND, "there is no %s %llu", what, (unsigned long long)wide);
    return LUAFLOW_OK;
}

/* ---- one block for a struct, its arrays and its strings ---- */

int lf_runtime_give(lf_buf *buf, void **bytes, size_t *size)
{
    *size = buf->size;
    *bytes = lf_buf_release(buf);
    return LUAFLOW_OK;
}

/* ---- runs ---- */

static luaflow_run_info *run_block(const lf_run_record *record, const lf_run_state *state,
                                   const lf_description *names)
{
    size_t text = record->flow.size + 1 + record->tags.size + record->n_tags + state->problem.size + 1;
    for (uint32_t i = 0; i < state->n_steps; i++)
        text += lf_description_name(names, i).size + 1;
    luaflow_run_info *info = calloc(1, sizeof *info + state->n_steps * sizeof(luaflow_step_info) +
                                           record->n_tags * sizeof(char *) + text);
    if (info == NULL)
        return NULL;
    luaflow_step_info *steps = (void *)(info + 1);
    const char **tags = (void *)(steps + state->n_steps);
    char *at = (void *)(tags + record->n_tags);
    info->flow = lf_runtime_keep(&at, record->flow);
    if (state->problem.size > 0)
        info->problem = lf_runtime_keep(&at, state->problem);
    lf_reader r = lf_reader_of(record->tags.data, record->tags.size);
    for (uint32_t i = 0; i < record->n_tags; i++)
        tags[i] = lf_runtime_keep(&at, lf_read_string(&r));
    r = lf_reader_of(state->counts.data, state->counts.size);
    for (uint32_t i = 0; i < state->n_steps; i++)
        steps[i] = (luaflow_step_info){lf_runtime_keep(&at, lf_description_name(names, i)), lf_counts_next(&r)};
    info->tags = tags;
    info->n_tags = record->n_tags;
    info->steps = steps;
    info->n_steps = state->n_steps;
    return info;
}

static int status_now(luaflow *rt, uint32_t run, uint8_t status)
{
    if (status == LUAFLOW_RUNNING && !lf_owner_alive(rt->owner, run))
        return LUAFLOW_INTERRUPTED;
    return status;
}

static int read_run(luaflow *rt, lf_view *v, uint32_t run, luaflow_run_info **out, luaflow_error *err)
{
    lf_run_record record;
    lf_run_state state;
    lf_description names;
    int rc = lf_view_run(v, run, &record, &state, err);
    if (rc == LUAFLOW_OK)
        rc = lf_description_read(v, &record, &names, err);
    if (rc != LUAFLOW_OK)
        return rc;
    luaflow_run_info *info = run_block(&record, &state, &names);
    lf_description_fini(&names);
    if (info == NULL)
        return lf_fail_memory(err);
    info->id = run;
    info->origin = record.origin;
    info->status = status_now(rt, run, state.status);
    info->created_at = (double)record.created_us / 1e6;
    info->finished_at = (double)state.finished_us / 1e6;
    info->seed = record.seed;
    info->counts = state.total;
    *out = info;
    return LUAFLOW_OK;
}

int luaflow_run_read(luaflow *rt, uint64_t wide, luaflow_run_info **out, luaflow_error *err)
{
    uint32_t run;
    lf_view *v;
    int rc = lf_runtime_number(wide, "run", &run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = read_run(rt, v, run, out, err);
    lf_view_end(v);
    /* a run that ended between the snapshot and the look at its owner is no dead one */
    if (rc == LUAFLOW_OK && (*out)->status == LUAFLOW_INTERRUPTED && (*out)->finished_at == 0) {
        free(*out);
        rc = lf_view_begin(rt->store, &v, err);
        if (rc == LUAFLOW_OK) {
            rc = read_run(rt, v, run, out, err);
            lf_view_end(v);
        }
    }
    return rc;
}

static void widen(uint64_t *out, const uint32_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i];
}

int luaflow_runs_list(luaflow *rt, const char *flow, const char *tag, uint64_t before, uint64_t *ids,
                      size_t max, size_t *n, luaflow_error *err)
{
    uint32_t *found = malloc((max + 1) * sizeof *found);
    lf_view *v;
    *n = 0;
    int rc = found == NULL ? lf_fail_memory(err) : lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK) {
        free(found);
        return rc;
    }
    if (before > UINT32_MAX)
        before = 0;
    rc = lf_view_runs(v, flow, tag, (uint32_t)before, found, max, n, err);
    lf_view_end(v);
    widen(ids, found, *n);
    free(found);
    return rc;
}

int luaflow_run_part_read(luaflow *rt, uint64_t wide, int part, void **bytes, size_t *size,
                          luaflow_error *err)
{
    lf_run_record record;
    lf_run_state state;
    uint32_t run;
    lf_view *v;
    lf_buf *buf = NULL;
    int rc = lf_runtime_number(wide, "run", &run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = lf_view_run(v, run, &record, &state, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_blob(v,
                          part == LUAFLOW_PART_SOURCE        ? &record.source
                          : part == LUAFLOW_PART_DESCRIPTION ? &record.description
                                                             : &record.params,
                          &buf, err);
    lf_view_end(v);
    return rc == LUAFLOW_OK ? lf_runtime_give(buf, bytes, size) : rc;
}

/* ---- tags ---- */

typedef struct tagging {
    uint32_t run;
    const char *const *add, *const *remove;
    size_t n_add, n_remove;
} tagging;

static int by_text(const void *a, const void *b)
{
    return lf_slice_compare(*(const lf_slice *)a, *(const lf_slice *)b);
}

static bool is_removed(const tagging *t, lf_slice tag)
{
    for (size_t i = 0; i < t->n_remove; i++)
        if (lf_slice_equal(tag, lf_slice_of(t->remove[i], strlen(t->remove[i]))))
            return true;
    return false;
}

static int change_tags(void *payload, lf_write *txn, luaflow_error *err)
{
    const tagging *t = payload;
    lf_run_record record;
    lf_run_state state;
    int rc = lf_view_run(lf_write_view(txn), t->run, &record, &state, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_slice *tags = malloc((record.n_tags + t->n_add + 1) * sizeof *tags);
    if (tags == NULL)
        return lf_fail_memory(err);
    size_t n = 0;
    lf_reader r = lf_reader_of(record.tags.data, record.tags.size);
    for (uint32_t i = 0; i < record.n_tags; i++) {
        lf_slice tag = lf_read_string(&r);
        if (!is_removed(t, tag))
            tags[n++] = tag;
    }
    for (size_t i = 0; i < t->n_add; i++)
        tags[n++] = lf_slice_of(t->add[i], strlen(t->add[i]));
    qsort(tags, n, sizeof *tags, by_text);
    lf_bytes out = {0};
    uint32_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !lf_slice_equal(tags[i], tags[i - 1])) {
            lf_bytes_put_string(&out, tags[i].data, tags[i].size);
            kept++;
        }
    free(tags);
    rc = out.failed ? lf_fail_memory(err)
                    : lf_write_tags(txn, t->run, kept, lf_slice_of(out.data, out.size), err);
    lf_bytes_fini(&out);
    return rc;
}

int luaflow_run_tag(luaflow *rt, uint64_t run, const char *const *add, size_t n_add,
                    const char *const *remove, size_t n_remove, luaflow_error *err)
{
    tagging t = {0, add, remove, n_add, n_remove};
    int rc = lf_runtime_number(run, "run", &t.run, err);
    for (size_t i = 0; i < n_add && rc == LUAFLOW_OK; i++)
        rc = lf_runtime_check_tag(add[i], err);
    if (rc == LUAFLOW_OK)
        rc = lf_runtime_start(rt, NULL, err);
    if (rc == LUAFLOW_OK)
        rc = lf_writer_call(rt->writer, change_tags, &t, err);
    return rc;
}

/* ---- tasks ---- */

int luaflow_tasks_list(luaflow *rt, uint64_t wide, const char *step, bool failed, uint64_t after,
                       uint64_t *numbers, size_t max, size_t *n, luaflow_error *err)
{
    uint32_t run, number = LF_ANY, *found = malloc((max + 1) * sizeof *found);
    lf_view *v;
    *n = 0;
    int rc = found == NULL ? lf_fail_memory(err) : lf_runtime_number(wide, "run", &run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK) {
        free(found);
        return rc;
    }
    lf_run_record record;
    lf_run_state state;
    lf_description names;
    rc = lf_view_run(v, run, &record, &state, err);
    if (rc == LUAFLOW_OK && step != NULL && (rc = lf_description_read(v, &record, &names, err)) == LUAFLOW_OK) {
        number = lf_description_find(&names, lf_slice_of(step, strlen(step)));
        lf_description_fini(&names);
        if (number == LF_ANY)
            rc = lf_fail(err, LUAFLOW_ENOTFOUND, "run %u has no step '%s'", (unsigned)run, step);
    }
    if (rc == LUAFLOW_OK && after < UINT32_MAX)
        rc = lf_view_tasks(v, run, number, failed, (uint32_t)after, found, max, n, err);
    lf_view_end(v);
    widen(numbers, found, *n);
    free(found);
    return rc;
}

/* Everything a task passes on: its own outputs, and its base's behind them. */
typedef struct passed {
    lf_slice name;
    uint64_t size;
    bool inherited;
} passed;

static int compare_passed(const void *a, const void *b)
{
    return lf_slice_compare(((const passed *)a)->name, ((const passed *)b)->name);
}

static int gather_passed(lf_view *v, uint32_t run, const lf_task_record *of, passed **out, size_t *n,
                         luaflow_error *err)
{
    lf_task_record resolved = *of, base = {.n_outputs = 0};
    const lf_task_record *task = &resolved;
    int rc = lf_view_resolve(v, &run, &resolved, err);
    if (rc == LUAFLOW_OK && task->base != 0)
        rc = lf_view_base(v, run, task, &base, err);
    if (rc != LUAFLOW_OK)
        return rc;
    passed *list = malloc((task->n_outputs + base.n_outputs + 1) * sizeof *list);
    if (list == NULL)
        return lf_fail_memory(err);
    lf_slice name;
    lf_ref ref, hidden;
    *n = 0;
    lf_reader r = lf_reader_of(task->outputs.data, task->outputs.size);
    while (lf_output_next(&r, &name, &ref))
        if (ref.kind != LF_REF_REMOVED)
            list[(*n)++] = (passed){name, ref.size, false};
    r = lf_reader_of(base.outputs.data, base.outputs.size);
    while (lf_output_next(&r, &name, &ref))
        if (!lf_output_find(task, name, &hidden))
            list[(*n)++] = (passed){name, ref.size, true};
    qsort(list, *n, sizeof *list, compare_passed);
    *out = list;
    return LUAFLOW_OK;
}

/* The records of the attempts before the last, for free(), also after a failure. There is room for
 * those that were found, however many the task tells of. */
static int read_attempts(lf_view *v, uint32_t run, uint32_t number, const lf_task_record *task,
                         lf_task_record **out, luaflow_error *err)
{
    if (task->flags & LF_TASK_REUSED) {
        run = task->origin_run;
        number = task->origin_task;
    }
    int rc = LUAFLOW_OK;
    size_t room = 0;
    for (uint32_t i = 0; rc == LUAFLOW_OK && i < task->attempt; i++) {
        if (i == room) {
            room = room == 0 ? 4 : 2 * room;
            lf_task_record *grown = realloc(*out, room * sizeof *grown);
            if (grown == NULL)
                return lf_fail_memory(err);
            *out = grown;
        }
        rc = lf_view_attempt(v, run, number, i, &(*out)[i], err);
        if (rc == LUAFLOW_ENOTFOUND)
            rc = lf_fail(err, LUAFLOW_ESTORE,
                         "attempt %u of task %u of run %u is lost; run luaflow verify", (unsigned)i,
                         (unsigned)number, (unsigned)run);
    }
    return rc;
}

static luaflow_task_info *task_block(const lf_task_record *task, size_t n_parents,
                                     const lf_task_record *before, lf_slice step, lf_slice path,
                                     const passed *list, size_t n)
{
    size_t text = step.size + path.size + task->message.size + task->traceback.size + 4;
    for (size_t i = 0; i < n; i++)
        text += list[i].name.size + 1;
    for (uint32_t i = 0; i < task->attempt; i++)
        text += before[i].message.size + before[i].traceback.size + 2;
    luaflow_task_info *info = calloc(1, sizeof *info + task->attempt * sizeof(luaflow_attempt_info) +
                                            n * sizeof(luaflow_artifact_info) +
                                            n_parents * (sizeof(uint64_t) + sizeof(uint32_t)) + text);
    if (info == NULL)
        return NULL;
    luaflow_attempt_info *attempts = (void *)(info + 1);
    luaflow_artifact_info *artifacts = (void *)(attempts + task->attempt);
    uint64_t *parents = (void *)(artifacts + n);
    uint32_t *narrow = (void *)(parents + n_parents);
    char *at = (void *)(narrow + n_parents);
    if (lf_parents_get(task->parents, narrow))
        widen(parents, narrow, n_parents);
    for (size_t i = 0; i < n; i++)
        artifacts[i] = (luaflow_artifact_info){lf_runtime_keep(&at, list[i].name), list[i].size,
                                               list[i].inherited};
    for (uint32_t i = 0; i < task->attempt; i++)
        attempts[i] = (luaflow_attempt_info){
            before[i].worker, (double)before[i].started_us / 1e6,
            (double)(before[i].started_us + before[i].duration_us) / 1e6,
            lf_runtime_keep(&at, before[i].message), lf_runtime_keep(&at, before[i].traceback)};
    info->attempts = attempts;
    info->n_attempts = task->attempt;
    info->step = lf_runtime_keep(&at, step);
    info->path = lf_runtime_keep(&at, path);
    info->failed = (task->flags & LF_TASK_FAILED) != 0;
    info->caught = (task->flags & LF_TASK_CAUGHT) != 0;
    if (info->failed) {
        info->message = lf_runtime_keep(&at, task->message);
        info->traceback = lf_runtime_keep(&at, task->traceback);
    }
    info->attempt = task->attempt;
    info->worker = task->worker;
    info->started_at = (double)task->started_us / 1e6;
    info->finished_at = (double)(task->started_us + task->duration_us) / 1e6;
    info->origin_run = task->origin_run;
    info->origin_task = task->origin_task;
    info->parents = parents;
    info->n_parents = n_parents;
    info->artifacts = artifacts;
    info->n_artifacts = n;
    return info;
}

static int read_task(lf_view *v, uint32_t run, uint32_t number, luaflow_task_info **out,
                     luaflow_error *err)
{
    lf_task_record task;
    lf_run_record record;
    lf_run_state state;
    lf_description names;
    lf_task_record *before = NULL;
    passed *list = NULL;
    size_t n = 0;
    uint32_t n_parents;
    int rc = lf_view_run(v, run, &record, &state, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_task(v, run, number, &task, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_parents(v, run, number, &task, &n_parents, err);
    if (rc == LUAFLOW_OK)
        rc = lf_description_read(v, &record, &names, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = gather_passed(v, run, &task, &list, &n, err);
    if (rc == LUAFLOW_OK)
        rc = read_attempts(v, run, number, &task, &before, err);
    lf_slice step = lf_description_name(&names, task.step);
    lf_bytes text = {0};
    lf_bytes_put(&text, step.data, step.size);
    const char *step_text = lf_bytes_cstr(&text);
    lf_bytes path = {0};
    if (rc == LUAFLOW_OK && step_text != NULL) {
        lf_path_format(&path, step_text, task.place);
        *out = path.failed ? NULL
                           : task_block(&task, n_parents, before, step,
                                        lf_slice_of(path.data, path.size), list, n);
    } else {
        *out = NULL;
    }
    lf_bytes_fini(&text);
    lf_bytes_fini(&path);
    free(list);
    free(before);
    lf_description_fini(&names);
    if (rc == LUAFLOW_OK && *out == NULL)
        return lf_fail_memory(err);
    if (rc == LUAFLOW_OK) {
        (*out)->run = run;
        (*out)->task = number;
    }
    return rc;
}

int luaflow_task_read(luaflow *rt, uint64_t wide_run, uint64_t wide_task, luaflow_task_info **out,
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
    rc = read_task(v, run, task, out, err);
    lf_view_end(v);
    return rc;
}

/* ---- logs ---- */

/* Gathers entries; their texts are offsets into `text` until the block is made. */
typedef struct gathered_log {
    uint64_t task; /* as it is called in the run that is read */
    lf_bytes text, entries;
} gathered_log;

static bool gather_piece(void *payload, uint32_t task, uint32_t attempt, const lf_log_piece *piece)
{
    (void)task;
    gathered_log *g = payload;
    lf_reader r = lf_reader_of(piece->entries.data, piece->entries.size);
    uint64_t time_us;
    uint8_t stream;
    lf_slice text;
    while (lf_log_entry_next(&r, &time_us, &stream, &text)) {
        luaflow_log_entry e = {g->task, attempt, (double)time_us / 1e6, stream, NULL, text.size};
        lf_bytes_put(&g->entries, &e, sizeof e);
        lf_bytes_put(&g->text, text.data, text.size);
        lf_bytes_put_u8(&g->text, 0);
    }
    return !g->entries.failed && !g->text.failed;
}

static luaflow_log *log_block(const gathered_log *g)
{
    luaflow_log *log = malloc(sizeof *log + g->entries.size + g->text.size);
    if (log == NULL)
        return NULL;
    luaflow_log_entry *entries = (void *)(log + 1);
    char *text = (char *)entries + g->entries.size;
    if (g->entries.size > 0) {
        memcpy(entries, g->entries.data, g->entries.size);
        memcpy(text, g->text.data, g->text.size);
    }
    log->entries = entries;
    log->n_entries = g->entries.size / sizeof *entries;
    for (size_t i = 0; i < log->n_entries; i++) {
        entries[i].text = text;
        text += entries[i].text_size + 1;
    }
    return log;
}

/* A reused task's log is that of the task it reuses. */
static int where_it_ran(lf_view *v, uint32_t *run, uint32_t *task, luaflow_error *err)
{
    lf_task_record record;
    luaflow_error missing = LUAFLOW_ERROR_INIT;
    int rc = lf_view_task(v, *run, *task, &record, &missing);
    if (rc == LUAFLOW_OK && record.flags & LF_TASK_REUSED) {
        *run = record.origin_run;
        *task = record.origin_task;
    }
    if (rc == LUAFLOW_OK || rc == LUAFLOW_ENOTFOUND) { /* it still runs */
        luaflow_error_clear(&missing);
        return LUAFLOW_OK;
    }
    lf_error_move(err, &missing);
    return rc;
}

int luaflow_log_read(luaflow *rt, uint64_t wide_run, uint64_t wide_task, luaflow_log **out,
                     luaflow_error *err)
{
    uint32_t run, task;
    lf_view *v;
    gathered_log g = {wide_task, {0}, {0}};
    int rc = lf_runtime_number(wide_run, "run", &run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_runtime_number(wide_task, "task", &task, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_run_record record;
    rc = lf_view_run(v, run, &record, NULL, err);
    if (rc == LUAFLOW_OK && record.origin != 0)
        rc = where_it_ran(v, &run, &task, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_log(v, run, task, gather_piece, &g, err);
    lf_view_end(v);
    if (rc == LUAFLOW_OK) {
        *out = g.entries.failed || g.text.failed ? NULL : log_block(&g);
        if (*out == NULL)
            rc = lf_fail_memory(err);
    }
    lf_bytes_fini(&g.entries);
    lf_bytes_fini(&g.text);
    return rc;
}

/* Tasks with a log, ascending, and the step of each. */
typedef struct logged {
    uint32_t *tasks, *steps;
    size_t n;
} logged;

/* Adds reused tasks above `after`, up to `last`, where the task that they reuse has a log; at most
 * `max`. */
static int add_reused(lf_view *v, uint32_t run, uint32_t after, uint32_t last, size_t max, logged *l,
                      luaflow_error *err)
{
    enum { PAGE = 1024 };
    uint32_t *page = malloc(PAGE * sizeof *page);
    size_t n = PAGE;
    int rc = page == NULL ? lf_fail_memory(err) : LUAFLOW_OK;
    while (rc == LUAFLOW_OK && n == PAGE && l->n < max && after < last) {
        rc = lf_view_tasks(v, run, LF_ANY, false, after, page, PAGE, &n, err);
        for (size_t i = 0; rc == LUAFLOW_OK && i < n && l->n < max && page[i] <= last; i++) {
            lf_task_record task;
            uint32_t first, step;
            size_t found = 0;
            after = page[i];
            rc = lf_view_task(v, run, page[i], &task, err);
            if (rc == LUAFLOW_OK && task.flags & LF_TASK_REUSED)
                rc = lf_view_logs(v, task.origin_run, task.origin_task - 1, &first, &step, 1, &found, err);
            if (found == 1 && first == task.origin_task) {
                l->tasks[l->n] = page[i];
                l->steps[l->n++] = task.step;
            }
        }
        if (n > 0 && page[n - 1] > last)
            break;
    }
    free(page);
    return rc;
}

/* Tells the first `max` of both, which have no task in common. */
static size_t merge_logged(const logged *a, const logged *b, uint64_t *numbers, uint32_t *steps,
                           size_t max)
{
    size_t i = 0, k = 0, n = 0;
    for (; n < max && (i < a->n || k < b->n); n++) {
        bool first = k == b->n || (i < a->n && a->tasks[i] < b->tasks[k]);
        numbers[n] = first ? a->tasks[i] : b->tasks[k];
        if (steps != NULL)
            steps[n] = first ? a->steps[i] : b->steps[k];
        *(first ? &i : &k) += 1;
    }
    return n;
}

int luaflow_logs_list(luaflow *rt, uint64_t wide, uint64_t after, uint64_t *numbers, uint32_t *steps,
                      size_t max, size_t *n, luaflow_error *err)
{
    uint32_t run, *room = malloc((max + 1) * 4 * sizeof *room);
    lf_view *v;
    *n = 0;
    int rc = room == NULL ? lf_fail_memory(err) : lf_runtime_number(wide, "run", &run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK) {
        free(room);
        return rc;
    }
    logged own = {room, room + max, 0}, reused = {room + 2 * max, room + 3 * max, 0};
    lf_run_record record;
    rc = lf_view_run(v, run, &record, NULL, err);
    if (rc == LUAFLOW_OK && after < UINT32_MAX)
        rc = lf_view_logs(v, run, (uint32_t)after, own.tasks, own.steps, max, &own.n, err);
    uint32_t last = own.n == max && max > 0 ? own.tasks[max - 1] : UINT32_MAX; /* of this page */
    if (rc == LUAFLOW_OK && after < UINT32_MAX && record.origin != 0)
        rc = add_reused(v, run, (uint32_t)after, last, max, &reused, err);
    lf_view_end(v);
    if (rc == LUAFLOW_OK)
        *n = merge_logged(&own, &reused, numbers, steps, max);
    free(room);
    return rc;
}
