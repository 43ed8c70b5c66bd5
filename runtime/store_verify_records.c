/* store_verify_records.c -- of the store: what records say of themselves and of each other. */
#include "store_verify.h"

#include <stdlib.h>

/* ---- runs ---- */

static int visit_run(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    lf_verify *v = payload;
    lf_slice value;
    if (!lf_verify_open(v, key, data, 5, &value))
        return LUAFLOW_OK;
    uint32_t number = get_u32(key.data);
    uint8_t part = key.data[4];
    struct lf_verify_run *run = v->n_runs > 0 ? &v->runs[v->n_runs - 1] : NULL;
    if (run == NULL || run->number != number) {
        if (!lf_verify_room((void **)&v->runs, v->n_runs, &v->runs_room, sizeof *v->runs))
            return lf_fail_memory(err);
        run = &v->runs[v->n_runs++];
        *run = (struct lf_verify_run){.number = number};
    }
    lf_buf *copy = part <= LF_RUN_STATE ? lf_buf_copy(value.data, value.size) : NULL;
    if (part <= LF_RUN_STATE && copy == NULL)
        return lf_fail_memory(err);
    if (part <= LF_RUN_STATE) {
        lf_buf_free(run->bytes[part]); /* of a page that is there twice */
        run->bytes[part] = copy;
    }
    bool good = part == LF_RUN_RECORD  ? lf_run_record_get(lf_buf_slice(copy), &run->record)
                : part == LF_RUN_STATE ? lf_run_state_get(lf_buf_slice(copy), &run->state)
                                       : false;
    if (good)
        return LUAFLOW_OK;
    run->is_hurt = true;
    if (part <= LF_RUN_STATE) {
        lf_buf_free(copy);
        run->bytes[part] = NULL;
    }
    lf_verify_say_of(v, number, 0, "its record is damaged, or written by a newer luaflow");
    return LUAFLOW_OK;
}

static int check_runs(lf_verify *v, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    for (size_t i = 0; rc == LUAFLOW_OK && i < v->n_runs; i++) {
        struct lf_verify_run *run = &v->runs[i];
        v->sum->runs++;
        if ((run->bytes[0] == NULL || run->bytes[1] == NULL) && !run->is_hurt)
            lf_verify_say_of(v, run->number, 0, "a part of its record is missing");
        if (run->number >= v->next && v->next != 0)
            lf_verify_say_of(v, run->number, 0,
                             "its number is to be given to the next run as well (%u)", v->next);
        if (run->bytes[1] != NULL &&
            (run->counts = calloc(run->state.n_steps + 1, sizeof *run->counts)) == NULL)
            return lf_fail_memory(err);
        if (run->bytes[0] == NULL)
            continue;
        rc = lf_verify_need(v, &run->record.source, err);
        if (rc == LUAFLOW_OK)
            rc = lf_verify_need(v, &run->record.description, err);
        if (rc == LUAFLOW_OK)
            rc = lf_verify_need(v, &run->record.params, err);
    }
    return rc;
}

static bool has_tag(const lf_run_record *record, lf_slice name)
{
    for (lf_reader r = lf_reader_of(record->tags.data, record->tags.size); r.at < r.end;)
        if (lf_slice_equal(lf_read_string(&r), name))
            return true;
    return false;
}

/* An entry of the table LF_FLOWS or LF_TAGS. */
static int visit_name(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    lf_verify *v = payload;
    lf_slice value;
    if (!lf_verify_open(v, key, data, 0, &value) || key.size < 6)
        return LUAFLOW_OK;
    lf_slice name = {key.data, key.size - 5};
    uint32_t number = get_u32(key.data + key.size - 4);
    struct lf_verify_run *run = lf_verify_run(v, number);
    bool known = run != NULL && run->bytes[0] != NULL;
    bool fits = known && (v->table == LF_FLOWS ? lf_slice_equal(run->record.flow, name)
                                               : has_tag(&run->record, name));
    if (known && v->table == LF_FLOWS)
        run->in_flows = run->in_flows || fits;
    else if (known)
        run->n_tags += fits;
    if (!fits && !(run != NULL && run->is_hurt))
        lf_verify_say_of(v, number, 0, "it is listed under the %s '%.*s', %s",
                         v->table == LF_FLOWS ? "flow" : "tag", (int)name.size,
                         (const char *)name.data,
                         known ? "which it does not have" : "and its record is missing");
    return LUAFLOW_OK;
}

static void check_names(lf_verify *v)
{
    for (size_t i = 0; i < v->n_runs; i++) {
        const struct lf_verify_run *run = &v->runs[i];
        if (run->bytes[0] != NULL && !run->in_flows)
            lf_verify_say_of(v, run->number, 0, "it is not listed under its flow");
        if (run->bytes[0] != NULL && run->n_tags != run->record.n_tags)
            lf_verify_say_of(v, run->number, 0, "it is not listed under all of its tags");
    }
}

/* ---- tasks ---- */

static int check_parents(lf_verify *v, uint32_t run, uint32_t task, const lf_task_record *record,
                         luaflow_error *err)
{
    uint64_t n = lf_parents_count(record->parents);
    if (n > v->n_tasks || (n == 0 && record->parents.size > 0)) {
        lf_verify_say_of(v, run, task, "tasks before it are missing");
        return LUAFLOW_OK;
    }
    while (v->parents_room < n)
        if (!lf_verify_room((void **)&v->parents, v->parents_room, &v->parents_room,
                            sizeof *v->parents))
            return lf_fail_memory(err);
    if (n > 0)
        lf_parents_get(record->parents, v->parents);
    for (uint64_t i = 0; i < n; i++)
        if (lf_verify_task(v, run, v->parents[i]) == NULL) {
            lf_verify_say_of(v, run, task, "task %u of that run, which came before it, is missing",
                             v->parents[i]);
            break;
        }
    return LUAFLOW_OK;
}

/* The task on which one stands whose run and base are these. */
static void check_base(lf_verify *v, const struct lf_verify_task *of, uint32_t run, uint32_t task)
{
    const struct lf_verify_task *base =
        of->base == 0 ? NULL : lf_verify_task(v, of->base_run, of->base);
    if (of->base != 0 && (base == NULL || base->base != 0 || base->flags & LF_TASK_REUSED))
        lf_verify_say_of(v, run, task, "task %u of run %u, whose artifacts it passes on, is %s",
                         of->base, of->base_run, base == NULL ? "missing" : "not what it was");
}

static void check_origin(lf_verify *v, uint32_t run, uint32_t task, const lf_task_record *record)
{
    const struct lf_verify_task *origin =
        lf_verify_task(v, record->origin_run, record->origin_task);
    if (origin == NULL || origin->flags & (LF_TASK_REUSED | LF_TASK_FAILED))
        lf_verify_say_of(v, run, task, "task %u of run %u, which it reuses, is %s",
                         record->origin_task, record->origin_run,
                         origin == NULL ? "missing" : "not what it was");
    else
        check_base(v, origin, run, task);
}

static void count(struct lf_verify_run *run, const lf_task_record *task)
{
    luaflow_counts *c =
        run->counts != NULL && task->step < run->state.n_steps ? &run->counts[task->step] : NULL;
    if (c == NULL)
        return;
    *(task->flags & LF_TASK_FAILED ? &c->failed : &c->done) += 1;
    c->reused += (task->flags & LF_TASK_REUSED) != 0;
}

static int visit_task(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    lf_verify *v = payload;
    lf_slice value;
    lf_task_record task;
    if (!lf_verify_open(v, key, data, 8, &value))
        return LUAFLOW_OK;
    uint32_t number = get_u32(key.data), at = get_u32(key.data + 4);
    if (!lf_task_record_get(value, &task)) {
        lf_verify_say_of(v, number, at, "its record is damaged, or written by a newer luaflow");
        return LUAFLOW_OK;
    }
    if (!lf_verify_room((void **)&v->tasks, v->n_tasks, &v->tasks_room, sizeof *v->tasks))
        return lf_fail_memory(err);
    struct lf_verify_task *seen = &v->tasks[v->n_tasks++];
    *seen = (struct lf_verify_task){number,
                                    at,
                                    task.step,
                                    task.attempt,
                                    task.flags & LF_TASK_FAR ? task.base_run : number,
                                    task.base,
                                    task.flags,
                                    false,
                                    false,
                                    0};
    int rc = lf_verify_need_outputs(v, &task, err);
    struct lf_verify_run *run = lf_verify_run(v, number);
    if (rc != LUAFLOW_OK || run == NULL) /* of one that was pruned */
        return rc;
    v->sum->tasks++;
    count(run, &task);
    if (run->bytes[1] != NULL && task.step >= run->state.n_steps)
        lf_verify_say_of(v, number, at, "its step, number %u, is none of its flow", task.step);
    if (task.flags & LF_TASK_REUSED)
        check_origin(v, number, at, &task);
    else
        check_base(v, seen, number, at);
    return check_parents(v, number, at, &task, err);
}

static int visit_attempt(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    lf_verify *v = payload;
    lf_slice value;
    lf_task_record attempt;
    if (!lf_verify_open(v, key, data, 12, &value))
        return LUAFLOW_OK;
    uint32_t run = get_u32(key.data), number = get_u32(key.data + 4);
    if (!lf_task_record_get(value, &attempt)) {
        lf_verify_say_of(v, run, number, "the record of its attempt %u is damaged",
                         get_u32(key.data + 8));
        return LUAFLOW_OK;
    }
    struct lf_verify_task *task = lf_verify_task(v, run, number);
    if (task != NULL && get_u32(key.data + 8) < task->attempt)
        task->attempts++;
    return lf_verify_need_outputs(v, &attempt, err);
}

static int visit_steps(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    lf_verify *v = payload;
    lf_slice value;
    if (!lf_verify_open(v, key, data, 13, &value))
        return LUAFLOW_OK;
    uint32_t run = get_u32(key.data), step = get_u32(key.data + 4);
    bool failed = key.data[8] != 0, good = true;
    if (lf_verify_run(v, run) == NULL)
        return LUAFLOW_OK;
    lf_reader r = lf_reader_of(value.data, value.size);
    uint64_t n = lf_read_varint(&r), at = get_u32(key.data + 9);
    lf_read_varint(&r); /* how far the last */
    for (uint64_t i = 0; i < n && good; i++) {
        if (i > 0)
            at += lf_read_varint(&r);
        good = !r.bad && at <= UINT32_MAX;
        struct lf_verify_task *task = good ? lf_verify_task(v, run, (uint32_t)at) : NULL;
        if (good && task == NULL) {
            lf_bytes_clear(&v->text);
            lf_bytes_printf(&v->text, "its record is missing");
            lf_verify_tell(v, &(lf_finding){.run = run, .task = (uint32_t)at, .step = step});
        } else if (good && (task->step != step || ((task->flags & LF_TASK_FAILED) != 0) != failed ||
                            task->is_listed)) {
            lf_verify_say_of(v, run, (uint32_t)at, "the list of tasks says something else of it");
        }
        if (task != NULL)
            task->is_listed = true;
    }
    if (!good || r.at != r.end)
        lf_verify_say_of(v, run, 0, "the list of its tasks is damaged");
    return LUAFLOW_OK;
}

static void check_tasks(lf_verify *v)
{
    const struct lf_verify_run *run = NULL;
    for (size_t i = 0; i < v->n_tasks; i++) {
        const struct lf_verify_task *t = &v->tasks[i];
        if (run == NULL || run->number != t->run)
            run = lf_verify_run(v, t->run);
        if (run == NULL)
            continue;
        if (!t->is_listed)
            lf_verify_say_of(v, t->run, t->task, "it is missing in the list of its step's tasks");
        if (!(t->flags & LF_TASK_REUSED) && t->attempts != t->attempt)
            lf_verify_say_of(v, t->run, t->task,
                             "of its %u attempts before the last, %u are stored", t->attempt,
                             t->attempts);
    }
}

/* What a run that is over says of itself. */
static void check_counts(lf_verify *v)
{
    for (size_t i = 0; i < v->n_runs; i++) {
        const struct lf_verify_run *run = &v->runs[i];
        if (run->counts == NULL || run->state.status == LUAFLOW_RUNNING)
            continue;
        lf_reader r = lf_reader_of(run->state.counts.data, run->state.counts.size);
        bool same = true;
        for (uint32_t step = 0; step < run->state.n_steps; step++) {
            luaflow_counts said = lf_counts_next(&r), found = run->counts[step];
            same = same && said.done == found.done && said.failed == found.failed &&
                   said.reused == found.reused;
        }
        if (!same)
            lf_verify_say_of(
                v, run->number, 0,
                "the numbers of its tasks are not those of the records that are there");
    }
}

static int visit_log(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    lf_verify *v = payload;
    lf_slice value, text;
    lf_log_piece piece;
    uint64_t time;
    uint8_t stream;
    if (!lf_verify_open(v, key, data, 16, &value))
        return LUAFLOW_OK;
    bool good = lf_log_piece_get(value, &piece);
    lf_reader r = lf_reader_of(good ? piece.entries.data : NULL, good ? piece.entries.size : 0);
    while (lf_log_entry_next(&r, &time, &stream, &text))
        ;
    if (!good || r.bad)
        lf_verify_say_of(v, get_u32(key.data), get_u32(key.data + 4), "its log is damaged");
    return LUAFLOW_OK;
}

int lf_verify_records(lf_verify *v, luaflow_error *err)
{
    int rc = lf_verify_walk(v, LF_RUNS, visit_run, err);
    if (rc == LUAFLOW_OK)
        rc = check_runs(v, err);
    if (rc == LUAFLOW_OK)
        rc = lf_verify_walk(v, LF_FLOWS, visit_name, err);
    if (rc == LUAFLOW_OK)
        rc = lf_verify_walk(v, LF_TAGS, visit_name, err);
    if (rc != LUAFLOW_OK)
        return rc;
    check_names(v);
    rc = lf_verify_walk(v, LF_TASKS, visit_task, err);
    if (rc == LUAFLOW_OK)
        rc = lf_verify_walk(v, LF_ATTEMPTS, visit_attempt, err);
    if (rc == LUAFLOW_OK)
        rc = lf_verify_walk(v, LF_STEPS, visit_steps, err);
    if (rc != LUAFLOW_OK)
        return rc;
    check_tasks(v);
    check_counts(v);
    return lf_verify_walk(v, LF_LOGS, visit_log, err);
}
