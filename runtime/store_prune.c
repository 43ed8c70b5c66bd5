/* store_prune.c -- of the store: runs that go, and what nobody needs any more.
 *
 * First a run's record goes, with its entries by flow and tag: from then on nothing new can
 * point to it. Then all is marked that runs with a record need, in one snapshot: their own
 * records, those of other runs' tasks which they reuse or stand on, and the blobs of both. Last,
 * everything else is swept, records before blobs, later runs before earlier ones, in short
 * transactions: stopped anywhere, nothing that is there points to something that is gone.
 *
 * Blobs that come to be needed after the snapshot: while "sweep" is set in LF_META, whoever puts
 * a blob or finds it there already notes it there too (lf_keep_blob), and the sweep looks there
 * within its own transaction.
 *
 * Memory: some 34 bytes for each blob that is needed, 8 for each task of a run without a record. */
#include "store_inside.h"

#include "clock.h"

#include <stdlib.h>

enum { SLICE_US = 20000, SLICE_ENTRIES = 4096, KEEP_SIZE = 18 };

typedef struct list {
    uint64_t *items;
    size_t n, room;
} list;

typedef struct blob_name {
    uint8_t bytes[17]; /* key and salt */
} blob_name;

struct lf_needed {
    list runs; /* that have a record; all lists are sorted */
    list whole,
        bases; /* tasks of other runs, run << 32 | task: needed with their logs, or as a base */
    blob_name *blobs; /* open addressing */
    bool *is_used;
    size_t n_blobs, room;
};

/* ---- lists and sets ---- */

static bool push(list *l, uint64_t item)
{
    if (l->n == l->room) {
        size_t room = l->room == 0 ? 64 : l->room * 2;
        uint64_t *grown = realloc(l->items, room * sizeof *grown);
        if (grown == NULL)
            return false;
        l->items = grown;
        l->room = room;
    }
    l->items[l->n++] = item;
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts; each item once. */
static void tidy(list *l)
{
    size_t n = 0;
    if (l->n > 0)
        qsort(l->items, l->n, sizeof *l->items, by_number);
    for (size_t i = 0; i < l->n; i++)
        if (n == 0 || l->items[i] != l->items[n - 1])
            l->items[n++] = l->items[i];
    l->n = n;
}

static bool has(const list *l, uint64_t item)
{
    return l->n > 0 && bsearch(&item, l->items, l->n, sizeof item, by_number) != NULL;
}

static size_t slot_of(const lf_needed *n, const uint8_t name[17])
{
    uint64_t hash; /* keys are hashes */
    memcpy(&hash, name, sizeof hash);
    size_t at = (hash + name[16]) & (n->room - 1);
    while (n->is_used[at] && memcmp(n->blobs[at].bytes, name, 17) != 0)
        at = (at + 1) & (n->room - 1);
    return at;
}

static bool grow(lf_needed *n)
{
    lf_needed old = *n;
    n->room = old.room == 0 ? 1024 : old.room * 2;
    n->blobs = malloc(n->room * sizeof *n->blobs);
    n->is_used = calloc(n->room, sizeof *n->is_used);
    if (n->blobs == NULL || n->is_used == NULL) {
        free(n->blobs);
        free(n->is_used);
        *n = old;
        return false;
    }
    for (size_t i = 0; i < old.room; i++)
        if (old.is_used[i]) {
            size_t at = slot_of(n, old.blobs[i].bytes);
            n->blobs[at] = old.blobs[i];
            n->is_used[at] = true;
        }
    free(old.blobs);
    free(old.is_used);
    return true;
}

static int need(lf_needed *n, const lf_ref *ref, luaflow_error *err)
{
    if (ref->kind != LF_REF_KEY)
        return LUAFLOW_OK;
    if (n->n_blobs * 3 >= n->room * 2 && !grow(n))
        return lf_fail_memory(err);
    blob_name name;
    memcpy(name.bytes, ref->key.bytes, 16);
    name.bytes[16] = ref->salt;
    size_t at = slot_of(n, name.bytes);
    n->n_blobs += !n->is_used[at];
    n->is_used[at] = true;
    n->blobs[at] = name;
    return LUAFLOW_OK;
}

/* ---- choosing ---- */

typedef struct flow_count {
    char *name;
    uint64_t n;
} flow_count;

typedef struct chooser {
    const lf_prune_rule *rule;
    flow_count *flows;
    size_t n_flows;
    list chosen, origins; /* of runs that run */
} chooser;

/* How many runs of the flow came by, this one included; 0 when out of memory. */
static uint64_t count_flow(chooser *c, lf_slice name)
{
    for (size_t i = 0; i < c->n_flows; i++)
        if (lf_slice_equal(name, lf_slice_of(c->flows[i].name, strlen(c->flows[i].name))))
            return ++c->flows[i].n;
    flow_count *grown = realloc(c->flows, (c->n_flows + 1) * sizeof *grown);
    if (grown == NULL)
        return 0;
    c->flows = grown;
    char *copy = strndup((const char *)name.data, name.size);
    if (copy == NULL)
        return 0;
    c->flows[c->n_flows++] = (flow_count){copy, 1};
    return 1;
}

static bool is_running(const lf_prune_rule *rule, uint32_t run, const lf_run_state *state)
{
    return state->status == LUAFLOW_RUNNING && rule->is_alive(rule->payload, run);
}

static int choose_run(chooser *c, lf_view *v, uint32_t number, luaflow_error *err)
{
    const lf_prune_rule *rule = c->rule;
    lf_run_record run;
    lf_run_state state;
    int rc = lf_view_run(v, number, &run, &state, err);
    if (rc != LUAFLOW_OK)
        return rc;
    if (is_running(rule, number, &state))
        return run.origin == 0 || push(&c->origins, run.origin) ? LUAFLOW_OK : lf_fail_memory(err);
    uint64_t nth = count_flow(c, run.flow);
    if (nth == 0)
        return lf_fail_memory(err);
    bool goes = nth > rule->keep && run.created_us < rule->before_us &&
                (rule->flow == NULL ||
                 lf_slice_equal(run.flow, lf_slice_of(rule->flow, strlen(rule->flow))));
    return !goes || push(&c->chosen, number) ? LUAFLOW_OK : lf_fail_memory(err);
}

int lf_prune_choose(lf_view *v, const lf_prune_rule *rule, uint32_t **runs, size_t *n,
                    luaflow_error *err)
{
    enum { PAGE = 256 };
    uint32_t page[PAGE], before = 0;
    size_t found = PAGE;
    chooser c = {.rule = rule};
    int rc = LUAFLOW_OK;
    while (rc == LUAFLOW_OK && found == PAGE) {
        rc = lf_view_runs(v, NULL, NULL, before, page, PAGE, &found, err);
        for (size_t i = 0; rc == LUAFLOW_OK && i < found; i++)
            rc = choose_run(&c, v, before = page[i], err);
    }
    tidy(&c.origins);
    *n = 0;
    *runs = rc == LUAFLOW_OK ? malloc((c.chosen.n + 1) * sizeof **runs) : NULL;
    if (rc == LUAFLOW_OK && *runs == NULL)
        rc = lf_fail_memory(err);
    for (size_t i = 0; rc == LUAFLOW_OK && i < c.chosen.n; i++)
        if (!has(&c.origins, c.chosen.items[i]))
            (*runs)[(*n)++] = (uint32_t)c.chosen.items[i];
    for (size_t i = 0; i < c.n_flows; i++)
        free(c.flows[i].name);
    free(c.flows);
    free(c.chosen.items);
    free(c.origins.items);
    return rc;
}

/* ---- the record of a run goes ---- */

/* Deletes an entry that may be there. */
static int drop(lf_write *w, enum lf_table t, const lf_entry_key *k, luaflow_pruned *sum,
                luaflow_error *err)
{
    MDB_val key = val_of(k), data;
    int rc = mdb_get(w->view.txn, w->view.store->table[t], &key, &data);
    if (rc == 0) {
        sum->bytes += key.mv_size + data.mv_size;
        rc = mdb_del(w->view.txn, w->view.store->table[t], &key, NULL);
    }
    return rc == 0 || rc == MDB_NOTFOUND ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

static int drop_name(lf_write *w, enum lf_table t, lf_slice name, uint32_t run, luaflow_pruned *sum,
                     luaflow_error *err)
{
    lf_entry_key k = {0};
    if (!key_name(&k, name))
        return LUAFLOW_OK;
    key_u32(&k, run);
    return drop(w, t, &k, sum, err);
}

static int unlink_run(lf_write *w, uint32_t run, luaflow_pruned *sum, luaflow_error *err)
{
    lf_slice stored;
    lf_run_record record;
    int rc = lf_run_part_get(&w->view, run, LF_RUN_RECORD, &stored, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_buf *copy =
        lf_buf_copy(stored.data, stored.size); /* what LMDB gave ends with the next write */
    if (copy == NULL)
        return lf_fail_memory(err);
    if (!lf_run_record_get(lf_buf_slice(copy), &record))
        rc = lf_damage_fail(&w->view, err, "the record of run %u", run);
    if (rc == LUAFLOW_OK)
        rc = drop_name(w, LF_FLOWS, record.flow, run, sum, err);
    for (lf_reader r = lf_reader_of(record.tags.data, record.tags.size);
         rc == LUAFLOW_OK && r.at < r.end;)
        rc = drop_name(w, LF_TAGS, lf_read_string(&r), run, sum, err);
    for (uint8_t part = LF_RUN_RECORD; rc == LUAFLOW_OK && part <= LF_RUN_STATE; part++) {
        lf_entry_key k = run_key(run, part);
        rc = drop(w, LF_RUNS, &k, sum, err);
    }
    sum->runs += rc == LUAFLOW_OK;
    lf_buf_free(copy);
    return rc;
}

int lf_prune_unlink(lf_write *w, const lf_prune_rule *rule, const uint32_t *runs, size_t n,
                    luaflow_pruned *sum, luaflow_error *err)
{
    uint32_t *now;
    size_t n_now;
    int rc = lf_prune_choose(&w->view, rule, &now, &n_now, err); /* one may be resumed since */
    list still = {0};
    for (size_t i = 0; rc == LUAFLOW_OK && i < n_now; i++)
        if (!push(&still, now[i]))
            rc = lf_fail_memory(err);
    tidy(&still);
    for (size_t i = 0; rc == LUAFLOW_OK && i < n; i++)
        if (has(&still, runs[i]))
            rc = unlink_run(w, runs[i], sum, err);
    free(still.items);
    free(now);
    return rc;
}

/* ---- marking ---- */

static int mark_outputs(lf_needed *n, const lf_task_record *task, luaflow_error *err)
{
    lf_slice name;
    lf_ref ref;
    int rc = LUAFLOW_OK;
    for (lf_reader r = lf_reader_of(task->outputs.data, task->outputs.size);
         rc == LUAFLOW_OK && lf_output_next(&r, &name, &ref);)
        rc = need(n, &ref, err);
    return rc;
}

static int mark_foreign(lf_needed *n, list *l, uint32_t run, uint32_t task, luaflow_error *err)
{
    return has(&n->runs, run) || push(l, (uint64_t)run << 32 | task) ? LUAFLOW_OK
                                                                     : lf_fail_memory(err);
}

static int mark_task(lf_needed *n, uint32_t run, const lf_task_record *task, luaflow_error *err)
{
    int rc = mark_outputs(n, task, err);
    if (rc == LUAFLOW_OK && task->flags & LF_TASK_REUSED)
        rc = mark_foreign(n, &n->whole, task->origin_run, task->origin_task, err);
    if (rc == LUAFLOW_OK && task->base != 0)
        rc = mark_foreign(n, &n->bases, task->flags & LF_TASK_FAR ? task->base_run : run,
                          task->base, err);
    return rc;
}

/* All task records of runs that have a record, in the table LF_TASKS or LF_ATTEMPTS. */
static int mark_table(lf_needed *n, lf_view *v, enum lf_table t, luaflow_error *err)
{
    MDB_cursor *c;
    int rc = lf_cursor_open(v, t, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    MDB_val key, data;
    int at = mdb_cursor_get(c, &key, &data, MDB_FIRST);
    while (rc == LUAFLOW_OK && at == 0) {
        uint32_t run = u32_at(key, 0);
        lf_slice value;
        lf_task_record task;
        if (!has(&n->runs, run)) {
            lf_entry_key past = {0};
            key_u32(&past, run + 1);
            key = val_of(&past);
            at = run == UINT32_MAX ? MDB_NOTFOUND : mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
            continue;
        }
        rc = lf_entry_unseal(v, t, key, data, &value, err);
        if (rc == LUAFLOW_OK && !lf_task_record_get(value, &task))
            rc = lf_entry_fail(v, t, key, err);
        if (rc == LUAFLOW_OK)
            rc = mark_task(n, run, &task, err);
        at = mdb_cursor_get(c, &key, &data, MDB_NEXT);
    }
    int end = lf_cursor_end(v, c, at, rc == LUAFLOW_OK ? err : NULL);
    return rc != LUAFLOW_OK ? rc : end;
}

/* Tasks of runs that have none, which others need. */
static int mark_list(lf_needed *n, lf_view *v, const list *l, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    for (size_t i = 0; rc == LUAFLOW_OK && i < l->n; i++) {
        uint32_t run = (uint32_t)(l->items[i] >> 32), number = (uint32_t)l->items[i];
        lf_task_record task;
        rc = lf_view_task(v, run, number, &task, err);
        if (rc == LUAFLOW_ENOTFOUND)
            return lf_damage_fail(v, err, "task %u of run %u, which another needs,", number, run);
        if (rc == LUAFLOW_OK)
            rc = mark_task(n, run, &task, err);
    }
    return rc;
}

static int mark_runs(lf_needed *n, lf_view *v, const list *gone, luaflow_error *err)
{
    enum { PAGE = 256 };
    uint32_t page[PAGE], before = 0;
    size_t found = PAGE;
    int rc = LUAFLOW_OK;
    while (rc == LUAFLOW_OK && found == PAGE) {
        rc = lf_view_runs(v, NULL, NULL, before, page, PAGE, &found, err);
        for (size_t i = 0; rc == LUAFLOW_OK && i < found; i++) {
            lf_run_record run;
            before = page[i];
            if (has(gone, before))
                continue;
            rc = push(&n->runs, before) ? lf_view_run(v, before, &run, NULL, err)
                                        : lf_fail_memory(err);
            if (rc == LUAFLOW_OK)
                rc = need(n, &run.source, err);
            if (rc == LUAFLOW_OK)
                rc = need(n, &run.description, err);
            if (rc == LUAFLOW_OK)
                rc = need(n, &run.params, err);
        }
    }
    tidy(&n->runs);
    return rc;
}

int lf_needed_new(lf_view *v, const uint32_t *gone, size_t n_gone, lf_needed **out,
                  luaflow_error *err)
{
    lf_needed *n = calloc(1, sizeof *n);
    if (n == NULL || !grow(n)) {
        free(n);
        return lf_fail_memory(err);
    }
    list without = {0};
    int rc = LUAFLOW_OK;
    for (size_t i = 0; rc == LUAFLOW_OK && i < n_gone; i++)
        if (!push(&without, gone[i]))
            rc = lf_fail_memory(err);
    tidy(&without);
    if (rc == LUAFLOW_OK)
        rc = mark_runs(n, v, &without, err);
    if (rc == LUAFLOW_OK)
        rc = mark_table(n, v, LF_TASKS, err);
    if (rc == LUAFLOW_OK)
        rc = mark_table(n, v, LF_ATTEMPTS, err);
    tidy(&n->whole);
    if (rc == LUAFLOW_OK)
        rc = mark_list(n, v, &n->whole, err); /* adds their bases */
    tidy(&n->bases);
    if (rc == LUAFLOW_OK)
        rc = mark_list(n, v, &n->bases, err); /* which have none */
    free(without.items);
    if (rc != LUAFLOW_OK) {
        lf_needed_free(n);
        return rc;
    }
    *out = n;
    return LUAFLOW_OK;
}

void lf_needed_free(lf_needed *n)
{
    if (n == NULL)
        return;
    free(n->runs.items);
    free(n->whole.items);
    free(n->bases.items);
    free(n->blobs);
    free(n->is_used);
    free(n);
}

/* ---- what is swept ---- */

static const enum lf_table swept[] = {LF_TASKS, LF_STEPS, LF_ATTEMPTS, LF_LOGS};
enum { N_SWEPT = sizeof swept / sizeof swept[0] };

/* Whether somebody needs an entry of a run without a record. */
static bool is_needed(const lf_needed *n, enum lf_table t, MDB_val key)
{
    uint64_t task = (uint64_t)u32_at(key, 0) << 32 | u32_at(key, 4);
    return t != LF_STEPS && (has(&n->whole, task) || (t == LF_TASKS && has(&n->bases, task)));
}

static bool is_blob_needed(const lf_needed *n, MDB_val key)
{
    return key.mv_size < 17 || n->is_used[slot_of(n, key.mv_data)];
}

static void count(luaflow_pruned *sum, enum lf_table t, MDB_val key, MDB_val data)
{
    sum->tasks += t == LF_TASKS;
    sum->blobs += t == LF_BLOBS && key.mv_size == 17;
    sum->bytes += key.mv_size + data.mv_size;
}

int lf_prune_count(lf_view *v, const lf_needed *n, luaflow_pruned *sum, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    for (size_t i = 0; rc == LUAFLOW_OK && i <= N_SWEPT; i++) {
        enum lf_table t = i < N_SWEPT ? swept[i] : LF_BLOBS;
        MDB_cursor *c;
        MDB_val key, data;
        if ((rc = lf_cursor_open(v, t, &c, err)) != LUAFLOW_OK)
            return rc;
        int at = mdb_cursor_get(c, &key, &data, MDB_FIRST);
        for (; at == 0; at = mdb_cursor_get(c, &key, &data, MDB_NEXT)) {
            bool stays = t == LF_BLOBS ? is_blob_needed(n, key)
                                       : has(&n->runs, u32_at(key, 0)) || is_needed(n, t, key);
            if (!stays)
                count(sum, t, key, data);
        }
        rc = lf_cursor_end(v, c, at, err);
    }
    return rc;
}

/* ---- sweeping ---- */

typedef struct slice {
    lf_write *w;
    const lf_needed *needed;
    luaflow_pruned *sum;
    uint64_t until_us;
    unsigned left; /* entries that it may still look at */
} slice;

static bool is_over(slice *s)
{
    return s->left-- == 0 || (s->left % 64 == 0 && lf_tick_us() > s->until_us);
}

static lf_entry_key key_from(MDB_val key)
{
    lf_entry_key k = {.size = key.mv_size < sizeof k.bytes ? key.mv_size : sizeof k.bytes};
    memcpy(k.bytes, key.mv_data, k.size);
    return k;
}

static int has_record(lf_write *w, uint32_t run, bool *has_one, luaflow_error *err)
{
    lf_entry_key k = run_key(run, LF_RUN_RECORD);
    lf_slice value;
    int rc = lf_entry_get(&w->view, LF_RUNS, &k, &value, err);
    *has_one = rc == LUAFLOW_OK;
    return rc == LUAFLOW_ENOTFOUND ? LUAFLOW_OK : rc;
}

/* The last run below `*run` (0: the last of all) with entries and without a record; 0: none. */
static int run_below(slice *s, MDB_cursor *c, uint32_t *run, luaflow_error *err)
{
    for (bool is_kept = true; is_kept;) {
        lf_entry_key from = {0};
        MDB_val key, data;
        int at = MDB_NOTFOUND;
        key_u32(&from, *run);
        key = val_of(&from);
        if (*run != 0)
            at = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
        at = at == MDB_NOTFOUND ? mdb_cursor_get(c, &key, &data, MDB_LAST)
             : at == 0          ? mdb_cursor_get(c, &key, &data, MDB_PREV)
                                : at;
        if (at != 0 && at != MDB_NOTFOUND)
            return lf_write_fail(s->w, at, err);
        uint32_t found = at == 0 ? u32_at(key, 0) : 0;
        if (found == 0 || (*run != 0 && found >= *run)) {
            *run = 0;
            return LUAFLOW_OK;
        }
        *run = found;
        int rc = has_record(s->w, found, &is_kept, err);
        if (rc != LUAFLOW_OK)
            return rc;
    }
    return LUAFLOW_OK;
}

/* Deletes from `*from` on what starts with `prefix` and is not needed. True in `*done` at the end.
 */
static int sweep_range(slice *s, MDB_cursor *c, enum lf_table t, const lf_entry_key *prefix,
                       lf_entry_key *from, bool *done, luaflow_error *err)
{
    *done = false;
    while (!is_over(s)) {
        MDB_val key = val_of(from), data;
        int at = mdb_cursor_get(c, &key, &data, from->size > 0 ? MDB_SET_RANGE : MDB_FIRST);
        if (at == MDB_NOTFOUND || (at == 0 && !starts_with(key, prefix))) {
            *done = true;
            return LUAFLOW_OK;
        }
        if (at != 0)
            return lf_write_fail(s->w, at, err);
        *from = key_from(key);
        bool stays = t == LF_BLOBS ? is_blob_needed(s->needed, key) : is_needed(s->needed, t, key);
        if (!stays && t == LF_BLOBS) {
            int rc = lf_is_kept_blob(s->w, key.mv_data, &stays, err);
            if (rc != LUAFLOW_OK)
                return rc;
        }
        if (stays) {
            if (from->size == sizeof from->bytes)
                return lf_entry_fail(&s->w->view, t, key, err);
            key_u8(from, 0); /* the next key there can be */
            continue;
        }
        count(s->sum, t, key, data);
        if ((at = mdb_cursor_del(c, 0)) != 0)
            return lf_write_fail(s->w, at, err);
    }
    return LUAFLOW_OK;
}

static int sweep_table(slice *s, lf_sweep *at, MDB_cursor *c, luaflow_error *err)
{
    enum lf_table t = swept[at->table];
    int rc = LUAFLOW_OK;
    while (rc == LUAFLOW_OK) {
        if (at->from.size == 0) {
            rc = run_below(s, c, &at->run, err);
            if (rc != LUAFLOW_OK || at->run == 0) {
                at->table += rc == LUAFLOW_OK;
                return rc;
            }
            key_u32(&at->from, at->run);
        }
        lf_entry_key of_run = {0};
        bool done;
        key_u32(&of_run, at->run);
        rc = sweep_range(s, c, t, &of_run, &at->from, &done, err);
        if (rc != LUAFLOW_OK || !done)
            return rc;
        at->from.size = 0;
    }
    return rc;
}

static int sweep_blobs(slice *s, lf_sweep *at, MDB_cursor *c, luaflow_error *err)
{
    uint64_t before = s->sum->bytes;
    uint32_t pruned;
    static const lf_entry_key any = {0};
    int rc = sweep_range(s, c, LF_BLOBS, &any, &at->from, &at->done, err);
    if (rc == LUAFLOW_OK && s->sum->bytes != before) {
        rc = lf_meta_get(&s->w->view, "pruned", &pruned, err);
        int code = rc == LUAFLOW_OK ? lf_meta_put(s->w, "pruned", pruned + 1) : 0;
        if (code != 0)
            return lf_write_fail(s->w, code, err);
    }
    return rc;
}

int lf_prune_sweep(lf_write *w, const lf_needed *needed, lf_sweep *at, luaflow_pruned *sum,
                   luaflow_error *err)
{
    slice s = {w, needed, sum, lf_tick_us() + SLICE_US, SLICE_ENTRIES};
    int rc = LUAFLOW_OK;
    while (rc == LUAFLOW_OK && !at->done && s.left > 0 && lf_tick_us() < s.until_us) {
        bool is_records = at->table < N_SWEPT;
        MDB_cursor *c;
        rc = lf_cursor_open(&w->view, is_records ? swept[at->table] : LF_BLOBS, &c, err);
        if (rc != LUAFLOW_OK)
            return rc;
        rc = is_records ? sweep_table(&s, at, c, err) : sweep_blobs(&s, at, c, err);
        mdb_cursor_close(c);
        if (s.left > SLICE_ENTRIES) /* it ran out */
            break;
    }
    return rc;
}

/* ---- blobs that come to be needed meanwhile ---- */

static lf_entry_key keep_key(const uint8_t *name)
{
    lf_entry_key k = {0};
    key_u8(&k, 'b');
    memcpy(k.bytes + 1, name, 17);
    k.size = KEEP_SIZE;
    return k;
}

int lf_keep_blob(lf_write *w, const lf_entry_key *name, luaflow_error *err)
{
    if (w->sweeping == LF_UNKNOWN) {
        uint32_t on;
        int rc = lf_meta_get(&w->view, "sweep", &on, err);
        if (rc != LUAFLOW_OK)
            return rc;
        w->sweeping = on != 0 ? LF_YES : LF_NO;
    }
    if (w->sweeping == LF_NO)
        return LUAFLOW_OK;
    lf_entry_key k = keep_key(name->bytes);
    int rc = lf_entry_put(w, LF_META, &k, (lf_slice){NULL, 0}, 0);
    return rc == 0 ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

int lf_is_kept_blob(lf_write *w, const uint8_t *name, bool *kept, luaflow_error *err)
{
    lf_entry_key k = keep_key(name);
    lf_slice value;
    int rc = lf_entry_get(&w->view, LF_META, &k, &value, err);
    *kept = rc == LUAFLOW_OK;
    return rc == LUAFLOW_ENOTFOUND ? LUAFLOW_OK : rc;
}

/* Takes away some of what was noted. */
static int forget(lf_write *w, bool *done, luaflow_error *err)
{
    lf_entry_key prefix = {0};
    MDB_cursor *c;
    key_u8(&prefix, 'b');
    *done = false;
    int rc = lf_cursor_open(&w->view, LF_META, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    int at = 0;
    for (unsigned i = 0; at == 0 && i < SLICE_ENTRIES && !*done; i++) {
        MDB_val key = val_of(&prefix), data;
        at = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
        *done = at == MDB_NOTFOUND || (at == 0 && !starts_with(key, &prefix));
        if (at == 0 && !*done)
            at = mdb_cursor_del(c, 0);
    }
    return lf_cursor_end(&w->view, c, at, err);
}

/* What was noted before this is in the snapshot that is marked. */
int lf_prune_begin(lf_write *w, bool *done, luaflow_error *err)
{
    int rc = lf_meta_put(w, "sweep", 1);
    return rc == 0 ? forget(w, done, err) : lf_write_fail(w, rc, err);
}

int lf_prune_end(lf_write *w, bool *done, luaflow_error *err)
{
    lf_entry_key sweep = {.size = 5, .bytes = "sweep"};
    luaflow_pruned ignored = {0};
    int rc = forget(w, done, err);
    return rc == LUAFLOW_OK && *done ? drop(w, LF_META, &sweep, &ignored, err) : rc;
}
