/* store_read.c -- of the store: records of tasks, runs and logs, found and checked. */
#include "store_inside.h"

#include <stdlib.h>

int lf_view_task(lf_view *v, uint32_t run, uint32_t task, lf_task_record *out, luaflow_error *err)
{
    lf_entry_key k = {0};
    key_u32(&k, run);
    key_u32(&k, task);
    lf_slice value;
    int rc = lf_entry_get_task(v, &k, &value, err);
    if (rc == LUAFLOW_ENOTFOUND)
        return lf_fail(err, rc, "run %u has no finished task %u", run, task);
    if (rc == LUAFLOW_OK && !lf_task_record_get(value, out))
        return lf_entry_fail(v, LF_TASKS, val_of(&k), err);
    return rc;
}

int lf_view_attempt(lf_view *v, uint32_t run, uint32_t task, uint32_t attempt, lf_task_record *out,
                    luaflow_error *err)
{
    lf_entry_key k = {0};
    key_u32(&k, run);
    key_u32(&k, task);
    key_u32(&k, attempt);
    lf_slice value;
    int rc = lf_entry_get(v, LF_ATTEMPTS, &k, &value, err);
    if (rc == LUAFLOW_ENOTFOUND)
        return lf_fail(err, rc, "task %u of run %u has no attempt %u", task, run, attempt);
    if (rc == LUAFLOW_OK && !lf_task_record_get(value, out))
        return lf_entry_fail(v, LF_ATTEMPTS, val_of(&k), err);
    return rc;
}

int lf_view_parents(lf_view *v, uint32_t run, uint32_t task, const lf_task_record *of, uint32_t *n,
                    luaflow_error *err)
{
    uint64_t told = lf_parents_count(of->parents);
    MDB_stat all;
    *n = 0;
    int rc = mdb_stat(v->txn, v->store->table[LF_TASKS], &all);
    if (rc != 0)
        return lf_view_fail(v, rc, err);
    if (told >= task || told > all.ms_entries || (told == 0 && of->parents.size > 0))
        return lf_damage_fail(v, err, "the record of task %u of run %u", task, run);
    *n = (uint32_t)told;
    return LUAFLOW_OK;
}

int lf_view_resolve(lf_view *v, uint32_t *run, lf_task_record *task, luaflow_error *err)
{
    if (!(task->flags & LF_TASK_REUSED))
        return LUAFLOW_OK;
    uint32_t origin = task->origin_task;
    *run = task->origin_run;
    int rc = lf_view_task(v, *run, origin, task, err);
    if (rc == LUAFLOW_ENOTFOUND || (rc == LUAFLOW_OK && task->flags & (LF_TASK_REUSED | LF_TASK_FAILED)))
        return lf_damage_fail(v, err, "task %u of run %u, which another reuses,", origin, *run);
    return rc;
}

int lf_view_base(lf_view *v, uint32_t run, const lf_task_record *task, lf_task_record *base,
                 luaflow_error *err)
{
    uint32_t of = task->flags & LF_TASK_FAR ? task->base_run : run;
    int rc = lf_view_task(v, of, task->base, base, err);
    bool is_none = rc == LUAFLOW_OK &&
                   (base->base != 0 || base->flags & (LF_TASK_REUSED | LF_TASK_FAILED));
    if (rc == LUAFLOW_ENOTFOUND || is_none)
        return lf_damage_fail(v, err, "task %u of run %u, on which another stands,", task->base, of);
    return rc;
}

int lf_view_output(lf_view *v, uint32_t run, const lf_task_record *of, lf_slice name, lf_ref *ref,
                   bool *found, luaflow_error *err)
{
    lf_task_record task = *of, base;
    int rc = lf_view_resolve(v, &run, &task, err);
    if (rc != LUAFLOW_OK)
        return rc;
    *found = lf_output_find(&task, name, ref);
    if (!*found && task.base != 0) {
        if ((rc = lf_view_base(v, run, &task, &base, err)) != LUAFLOW_OK)
            return rc;
        *found = lf_output_find(&base, name, ref);
    }
    if (*found && ref->kind == LF_REF_REMOVED)
        *found = false;
    return LUAFLOW_OK;
}

static int list_tasks(lf_view *v, uint32_t run, uint32_t after, uint32_t *numbers, size_t max,
                      size_t *n, luaflow_error *err)
{
    MDB_cursor *c;
    int rc = lf_cursor_open(v, LF_TASKS, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_entry_key of_run = {0}, from;
    key_u32(&of_run, run);
    from = of_run;
    key_u32(&from, after);
    MDB_val key = val_of(&from);
    rc = mdb_cursor_get(c, &key, NULL, MDB_SET_RANGE);
    while (rc == 0 && *n < max && starts_with(key, &of_run)) {
        if (u32_at(key, 4) > after)
            numbers[(*n)++] = u32_at(key, 4);
        rc = mdb_cursor_get(c, &key, NULL, MDB_NEXT);
    }
    return lf_cursor_end(v, c, rc, err);
}

/* The smallest `max` numbers above `after` of those that come by. */
struct gather {
    uint32_t after, *numbers;
    size_t n, room, max;
    bool sorted;
};

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void tidy(struct gather *g)
{
    if (g->sorted || g->n == 0)
        return;
    qsort(g->numbers, g->n, sizeof *g->numbers, by_number);
    size_t n = 1;
    for (size_t i = 1; i < g->n; i++)
        if (g->numbers[i] != g->numbers[n - 1])
            g->numbers[n++] = g->numbers[i];
    g->n = n < g->max ? n : g->max;
    g->sorted = true;
}

static bool gather_add(struct gather *g, uint32_t number)
{
    if (number <= g->after)
        return true;
    if (g->n == g->room) {
        size_t twice = g->room < 256 ? 512 : 2 * g->room;
        if (g->n / 2 >= g->max)
            tidy(g);
        if (g->n == g->room) {
            uint32_t *grown = realloc(g->numbers, twice * sizeof *grown);
            if (grown == NULL)
                return false;
            g->numbers = grown;
            g->room = twice;
        }
    }
    g->numbers[g->n++] = number;
    g->sorted = false;
    return true;
}

/* Whether nothing from `first` on can be among the smallest. */
static bool gather_full(struct gather *g, uint32_t first)
{
    if (g->n < g->max)
        return false;
    tidy(g);
    return g->n == g->max && first > g->numbers[g->max - 1];
}

/* An entry of the table LF_STEPS: LUAFLOW_EVALUE when it is none. */
static int gather_entry(struct gather *g, uint32_t first, lf_slice value)
{
    lf_reader r = lf_reader_of(value.data, value.size);
    uint64_t n = lf_read_varint(&r), far = lf_read_varint(&r), at = first;
    if (r.bad || first + far > UINT32_MAX || n == 0 || n - 1 > lf_reader_left(&r))
        return LUAFLOW_EVALUE;
    if (first + far <= g->after)
        return LUAFLOW_OK;
    for (uint64_t i = 0; i < n; i++) {
        if (i > 0)
            at += lf_read_varint(&r);
        if (r.bad || at > first + far)
            return LUAFLOW_EVALUE;
        if (!gather_add(g, (uint32_t)at))
            return LUAFLOW_ENOMEM;
    }
    return at == first + far && r.at == r.end ? LUAFLOW_OK : LUAFLOW_EVALUE;
}

static int gather_step(lf_view *v, MDB_cursor *c, uint32_t run, uint32_t step, bool failed,
                       struct gather *g, luaflow_error *err)
{
    lf_entry_key prefix = {0};
    key_u32(&prefix, run);
    key_u32(&prefix, step);
    key_u8(&prefix, failed);
    MDB_val key = val_of(&prefix), data;
    int rc = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
    for (; rc == 0 && starts_with(key, &prefix); rc = mdb_cursor_get(c, &key, &data, MDB_NEXT)) {
        uint32_t first = u32_at(key, 9);
        if (gather_full(g, first))
            break;
        lf_slice value;
        int bad = lf_entry_unseal(v, LF_STEPS, key, data, &value, err);
        if (bad != LUAFLOW_OK)
            return bad;
        bad = gather_entry(g, first, value);
        if (bad != LUAFLOW_OK)
            return bad == LUAFLOW_ENOMEM ? lf_fail_memory(err)
                                         : lf_entry_fail(v, LF_STEPS, key, err);
    }
    return rc == 0 || rc == MDB_NOTFOUND ? LUAFLOW_OK : lf_view_fail(v, rc, err);
}

static int gather_steps(lf_view *v, MDB_cursor *c, uint32_t run, uint32_t step, bool failed,
                        struct gather *g, luaflow_error *err)
{
    if (step != LF_ANY) {
        int rc = gather_step(v, c, run, step, true, g, err);
        return rc == LUAFLOW_OK && !failed ? gather_step(v, c, run, step, false, g, err) : rc;
    }
    lf_run_state state;
    int rc = lf_view_run(v, run, NULL, &state, err);
    for (uint32_t i = 0; rc == LUAFLOW_OK && i < state.n_steps; i++)
        rc = gather_step(v, c, run, i, true, g, err);
    if (rc != LUAFLOW_ENOTFOUND)
        return rc;
    luaflow_error_clear(err); /* no run: no tasks */
    return LUAFLOW_OK;
}

int lf_view_tasks(lf_view *v, uint32_t run, uint32_t step, bool failed, uint32_t after,
                  uint32_t *numbers, size_t max, size_t *n, luaflow_error *err)
{
    *n = 0;
    if (max == 0)
        return LUAFLOW_OK;
    if (step == LF_ANY && !failed)
        return list_tasks(v, run, after, numbers, max, n, err);
    MDB_cursor *c;
    int rc = lf_cursor_open(v, LF_STEPS, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    struct gather g = {.after = after, .max = max};
    rc = gather_steps(v, c, run, step, failed, &g, err);
    mdb_cursor_close(c);
    if (rc == LUAFLOW_OK && g.n > 0) {
        tidy(&g);
        memcpy(numbers, g.numbers, g.n * sizeof *numbers);
        *n = g.n;
    }
    free(g.numbers);
    return rc;
}

int lf_run_part_get(lf_view *v, uint32_t run, uint8_t part, lf_slice *value, luaflow_error *err)
{
    lf_entry_key k = run_key(run, part);
    int rc = lf_entry_get(v, LF_RUNS, &k, value, err);
    return rc == LUAFLOW_ENOTFOUND
               ? lf_fail(err, rc, "there is no run %u in %s", run, v->store->dir)
               : rc;
}

int lf_view_run(lf_view *v, uint32_t run, lf_run_record *record, lf_run_state *state,
                luaflow_error *err)
{
    lf_slice value;
    int rc = LUAFLOW_OK;
    if (record != NULL &&
        (rc = lf_run_part_get(v, run, LF_RUN_RECORD, &value, err)) == LUAFLOW_OK &&
        !lf_run_record_get(value, record))
        rc = lf_damage_fail(v, err, "the record of run %u", run);
    if (rc == LUAFLOW_OK && state != NULL &&
        (rc = lf_run_part_get(v, run, LF_RUN_STATE, &value, err)) == LUAFLOW_OK &&
        !lf_run_state_get(value, state))
        rc = lf_damage_fail(v, err, "the record of run %u", run);
    return rc;
}

/* Goes to the last key that starts with `prefix` and whose run lies below `before` (0: any). */
static int seek_back(MDB_cursor *c, const lf_entry_key *prefix, uint32_t before, MDB_val *key,
                     MDB_val *data)
{
    lf_entry_key past = *prefix;
    if (before != 0)
        key_u32(&past, before);
    else if (past.size > 0)
        past.bytes[past.size - 1]++; /* the NUL after a name */
    *key = val_of(&past);
    int rc = past.size == 0 ? MDB_NOTFOUND : mdb_cursor_get(c, key, data, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND)
        return mdb_cursor_get(c, key, data, MDB_LAST);
    return rc == 0 ? mdb_cursor_get(c, key, data, MDB_PREV) : rc;
}

/* Whether the run has the name in the table LF_FLOWS or LF_TAGS. */
static int has_name(lf_view *v, enum lf_table t, const lf_entry_key *name, uint32_t run, bool *has,
                    luaflow_error *err)
{
    lf_entry_key k = *name;
    key_u32(&k, run);
    lf_slice value;
    int rc = lf_entry_get(v, t, &k, &value, err);
    *has = rc == LUAFLOW_OK;
    return rc == LUAFLOW_ENOTFOUND ? LUAFLOW_OK : rc;
}

int lf_view_runs(lf_view *v, const char *flow, const char *tag, uint32_t before, uint32_t *runs,
                 size_t max, size_t *n, luaflow_error *err)
{
    lf_entry_key by_flow = {0}, by_tag = {0};
    *n = 0;
    if ((flow != NULL && !key_name(&by_flow, lf_slice_of(flow, strlen(flow)))) ||
        (tag != NULL && !key_name(&by_tag, lf_slice_of(tag, strlen(tag)))))
        return LUAFLOW_OK;
    enum lf_table t = tag != NULL    ? LF_TAGS
                      : flow != NULL ? LF_FLOWS
                                     : LF_RUNS; /* the rarer walks, the other asks */
    const lf_entry_key *prefix = tag != NULL ? &by_tag : &by_flow;
    MDB_cursor *c;
    int rc = lf_cursor_open(v, t, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    MDB_val key, data;
    lf_slice value;
    uint64_t below = before != 0 ? before : UINT64_MAX;
    int at = seek_back(c, prefix, before, &key, &data);
    for (; at == 0 && *n < max && starts_with(key, prefix);
         at = mdb_cursor_get(c, &key, &data, MDB_PREV)) {
        uint32_t run = u32_at(key, prefix->size);
        bool wanted =
            t != LF_RUNS || (key.mv_size == 5 && ((uint8_t *)key.mv_data)[4] == LF_RUN_RECORD);
        if (!wanted)
            continue;
        rc = lf_entry_unseal(v, t, key, data, &value, err);
        if (rc == LUAFLOW_OK && run >= below) /* or somebody who asks for those below would never end */
            rc = lf_entry_fail(v, t, key, err);
        below = run;
        if (rc == LUAFLOW_OK && t == LF_TAGS && flow != NULL)
            rc = has_name(v, LF_FLOWS, &by_flow, run, &wanted, err);
        if (rc != LUAFLOW_OK)
            break;
        if (wanted)
            runs[(*n)++] = run;
    }
    if (rc != LUAFLOW_OK) {
        mdb_cursor_close(c);
        return rc;
    }
    return lf_cursor_end(v, c, at, err);
}

static int get_piece(const lf_view *v, MDB_val key, MDB_val data, lf_log_piece *piece,
                     luaflow_error *err)
{
    lf_slice value;
    int rc = lf_entry_unseal(v, LF_LOGS, key, data, &value, err);
    return rc == LUAFLOW_OK && !lf_log_piece_get(value, piece) ? lf_entry_fail(v, LF_LOGS, key, err)
                                                               : rc;
}

int lf_view_log(lf_view *v, uint32_t run, uint32_t task, lf_log_fn tell, void *payload,
                luaflow_error *err)
{
    MDB_cursor *c;
    int rc = lf_cursor_open(v, LF_LOGS, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_entry_key prefix = {0};
    key_u32(&prefix, run);
    key_u32(&prefix, task);
    MDB_val key = val_of(&prefix), data;
    int at = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
    for (; at == 0 && starts_with(key, &prefix); at = mdb_cursor_get(c, &key, &data, MDB_NEXT)) {
        lf_log_piece piece;
        rc = get_piece(v, key, data, &piece, err);
        if (rc != LUAFLOW_OK) {
            mdb_cursor_close(c);
            return rc;
        }
        if (!tell(payload, task, u32_at(key, 8), &piece))
            break;
    }
    return lf_cursor_end(v, c, at, err);
}

int lf_view_logs(lf_view *v, uint32_t run, uint32_t after, uint32_t *tasks, uint32_t *steps,
                 size_t max, size_t *n, luaflow_error *err)
{
    *n = 0;
    MDB_cursor *c;
    int rc = lf_cursor_open(v, LF_LOGS, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_entry_key of_run = {0};
    key_u32(&of_run, run);
    int at = 0;
    while (*n < max && after < UINT32_MAX) {
        lf_entry_key from = of_run;
        key_u32(&from, after + 1);
        MDB_val key = val_of(&from), data;
        at = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
        if (at != 0 || !starts_with(key, &of_run))
            break;
        lf_log_piece piece;
        rc = get_piece(v, key, data, &piece, err);
        if (rc != LUAFLOW_OK) {
            mdb_cursor_close(c);
            return rc;
        }
        after = u32_at(key, 4);
        tasks[*n] = after;
        steps[(*n)++] = piece.step;
    }
    return lf_cursor_end(v, c, at, err);
}
