/* store_write.c -- of the store: write transactions, and the records put in them. */
#include "store_inside.h"

#include <assert.h>
#include <stdlib.h>

/* It is the writers' turn for as long as there is a transaction. LMDB's code. */
static int begin(lf_write *w)
{
    lf_store *s = w->view.store;
    lf_turn_take(s, LF_TURN_WRITER);
    int rc = mdb_txn_begin(s->env, NULL, 0, &w->view.txn);
    if (rc != 0)
        lf_turn_end(s, LF_TURN_WRITER);
    return rc;
}

int lf_write_begin(lf_store *s, lf_write **out, luaflow_error *err)
{
    int rc = lf_process_check(s, err);
    if (rc != LUAFLOW_OK)
        return rc;
    if (s->readonly)
        return lf_fail(
            err, LUAFLOW_ESTORE,
            "the store %s may only be read; change its permissions, or name another store "
            "with --store",
            s->dir);
    lf_write *w = calloc(1, sizeof *w);
    if (w == NULL)
        return lf_fail_memory(err);
    w->view.store = s;
    lf_inside_enter(s);
    rc = begin(w);
    if (rc != 0) {
        lf_inside_leave();
        free(w);
        return lf_lmdb_fail(s->dir, "write", rc, err);
    }
    *out = w;
    return LUAFLOW_OK;
}

static void close_tasks(lf_write *w)
{
    if (w->tasks != NULL)
        mdb_cursor_close(w->tasks);
    w->tasks = NULL;
    w->any_task = false;
}

static int commit(lf_write *w, luaflow_error *err)
{
    close_tasks(w);
    MDB_txn *txn = w->view.txn;
    w->view.txn = NULL;
    int rc = MDB_BAD_TXN;
    if (txn != NULL) {
        rc = mdb_txn_commit(txn);
        lf_turn_end(w->view.store, LF_TURN_WRITER);
    }
    return rc == 0 ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

int lf_write_commit(lf_write *w, luaflow_error *err)
{
    int rc = !w->was_pruned
                 ? commit(w, err)
                 : lf_fail(err, LUAFLOW_ESTORE,
                           "%s was pruned while something large was being stored; try again",
                           w->view.store->dir);
    lf_write_abort(w);
    return rc;
}

void lf_write_abort(lf_write *w)
{
    if (w == NULL)
        return;
    close_tasks(w);
    if (w->view.txn != NULL) {
        mdb_txn_abort(w->view.txn);
        lf_turn_end(w->view.store, LF_TURN_WRITER);
    }
    lf_inside_leave();
    lf_bytes_fini(&w->scratch);
    free(w);
}

lf_view *lf_write_view(lf_write *w) { return &w->view; }

/* Blobs that nothing refers to yet were unprotected in between, if nobody swept at the time that
 * would have noted them: then they must be put again. */
int lf_write_renew(lf_write *w, luaflow_error *err)
{
    uint32_t before, after;
    int rc = lf_meta_get(&w->view, "pruned", &before, err);
    if (rc == LUAFLOW_OK)
        rc = commit(w, err);
    if (rc != LUAFLOW_OK)
        return rc;
    w->sweeping = LF_UNKNOWN;
    int code = begin(w);
    if (code != 0)
        return lf_write_fail(w, code, err);
    rc = lf_meta_get(&w->view, "pruned", &after, err);
    w->was_pruned = w->was_pruned || (rc == LUAFLOW_OK && before != after && w->any_blob);
    return rc;
}

bool lf_write_was_pruned(lf_write *w)
{
    bool was = w->was_pruned;
    w->was_pruned = false;
    return was;
}

/* Finds the end of the table once. */
static int open_tasks(lf_write *w, luaflow_error *err)
{
    MDB_val key, data;
    int rc = lf_cursor_open(&w->view, LF_TASKS, &w->tasks, err);
    if (rc != LUAFLOW_OK)
        return rc;
    int at = mdb_cursor_get(w->tasks, &key, &data, MDB_LAST);
    if (at != 0 && at != MDB_NOTFOUND)
        return lf_write_fail(w, at, err);
    w->any_task = at == 0;
    w->last_task = at == 0 ? (uint64_t)u32_at(key, 0) << 32 | u32_at(key, 4) : 0;
    return LUAFLOW_OK;
}

int lf_write_task(lf_write *w, uint32_t run, uint32_t task, lf_slice record, luaflow_error *err)
{
    if (w->tasks == NULL) {
        int rc = open_tasks(w, err);
        if (rc != LUAFLOW_OK)
            return rc;
    }
    lf_entry_key k;
    k.size = 0;
    key_u32(&k, run);
    key_u32(&k, task);
    uint64_t number = (uint64_t)run << 32 | task;
    bool append = !w->any_task || number > w->last_task;
    MDB_val key = val_of(&k), data = {LF_SEAL + record.size, NULL};
    int rc = mdb_cursor_put(w->tasks, &key, &data,
                            MDB_RESERVE | (append ? MDB_APPEND : MDB_NOOVERWRITE));
    if (rc == MDB_KEYEXIST)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "task %u of run %u is in %s already: a finished task is never written again",
                       task, run, w->view.store->dir);
    if (rc != 0)
        return lf_write_fail(w, rc, err);
    lf_entry_fill(LF_TASKS, key, data, record);
    if (append) {
        w->last_task = number;
        w->any_task = true;
    }
    return LUAFLOW_OK;
}

int lf_write_attempt(lf_write *w, uint32_t run, uint32_t task, uint32_t attempt, lf_slice record,
                     luaflow_error *err)
{
    lf_entry_key k = {0};
    key_u32(&k, run);
    key_u32(&k, task);
    key_u32(&k, attempt);
    int rc = lf_entry_put(w, LF_ATTEMPTS, &k, record, MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST)
        return lf_fail(err, LUAFLOW_ESTORE, "attempt %u of task %u of run %u is in %s already", attempt,
                       task, run, w->view.store->dir);
    return rc == 0 ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

int lf_write_index(lf_write *w, uint32_t run, uint32_t step, bool failed, const uint32_t *tasks,
                   size_t n, luaflow_error *err)
{
    if (n == 0)
        return LUAFLOW_OK;
    lf_bytes *value = &w->scratch;
    lf_bytes_clear(value);
    lf_bytes_put_varint(value, n);
    lf_bytes_put_varint(value, tasks[n - 1] - tasks[0]);
    for (size_t i = 1; i < n; i++) {
        assert(tasks[i] > tasks[i - 1]);
        lf_bytes_put_varint(value, tasks[i] - tasks[i - 1]);
    }
    if (value->failed)
        return lf_fail_memory(err);
    lf_entry_key k = {0};
    key_u32(&k, run);
    key_u32(&k, step);
    key_u8(&k, failed);
    key_u32(&k, tasks[0]);
    int rc = lf_entry_put(w, LF_STEPS, &k, lf_slice_of(value->data, value->size), MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "task %u of run %u is in the list of its step in %s already", tasks[0], run,
                       w->view.store->dir);
    return rc == 0 ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

int lf_write_log(lf_write *w, uint32_t run, uint32_t task, uint32_t attempt, uint32_t sequence,
                 const lf_log_piece *piece, luaflow_error *err)
{
    lf_bytes_clear(&w->scratch);
    lf_log_piece_put(&w->scratch, piece);
    if (w->scratch.failed)
        return lf_fail_memory(err);
    lf_entry_key k = {0};
    key_u32(&k, run);
    key_u32(&k, task);
    key_u32(&k, attempt);
    key_u32(&k, sequence);
    int rc = lf_entry_put(w, LF_LOGS, &k, lf_slice_of(w->scratch.data, w->scratch.size), 0);
    return rc == 0 ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

int lf_write_next_run(lf_write *w, uint32_t *run, luaflow_error *err)
{
    int rc = lf_meta_get(&w->view, "next", run, err);
    if (rc == LUAFLOW_OK && *run == 0)
        *run = 1;
    if (rc == LUAFLOW_OK && *run == UINT32_MAX)
        return lf_fail(err, LUAFLOW_ESTORE, "%s has no run numbers left; begin another store",
                       w->view.store->dir);
    return rc;
}

static int put_run_record(lf_write *w, uint32_t run, const lf_run_record *record, unsigned flags,
                          luaflow_error *err)
{
    lf_bytes_clear(&w->scratch);
    lf_run_record_put(&w->scratch, record);
    if (w->scratch.failed)
        return lf_fail_memory(err);
    lf_entry_key k = run_key(run, LF_RUN_RECORD);
    int rc = lf_entry_put(w, LF_RUNS, &k, lf_slice_of(w->scratch.data, w->scratch.size), flags);
    if (rc == MDB_KEYEXIST)
        return lf_damage_fail(&w->view, err, "the number of the next run");
    return rc == 0 ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

int lf_write_state(lf_write *w, uint32_t run, const lf_run_state *state, luaflow_error *err)
{
    lf_bytes_clear(&w->scratch);
    lf_run_state_put(&w->scratch, state);
    if (w->scratch.failed)
        return lf_fail_memory(err);
    lf_entry_key k = run_key(run, LF_RUN_STATE);
    int rc = lf_entry_put(w, LF_RUNS, &k, lf_slice_of(w->scratch.data, w->scratch.size), 0);
    return rc == 0 ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

static int enter_name(lf_write *w, enum lf_table t, lf_slice name, uint32_t run, luaflow_error *err)
{
    lf_entry_key k = {0};
    if (!key_name(&k, name))
        return lf_fail(err, LUAFLOW_EUSAGE, "'%.*s' cannot be the name of a %s: 1 to %d bytes",
                       (int)name.size, (const char *)name.data, t == LF_FLOWS ? "flow" : "tag",
                       LF_NAME_MAX);
    key_u32(&k, run);
    int rc = lf_entry_put(w, t, &k, (lf_slice){NULL, 0}, 0);
    return rc == 0 ? LUAFLOW_OK : lf_write_fail(w, rc, err);
}

static int enter_tags(lf_write *w, uint32_t run, lf_slice tags, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    for (lf_reader r = lf_reader_of(tags.data, tags.size); rc == LUAFLOW_OK && r.at < r.end;)
        rc = enter_name(w, LF_TAGS, lf_read_string(&r), run, err);
    return rc;
}

int lf_write_run(lf_write *w, const lf_run_record *record, const lf_run_state *state, uint32_t *run,
                 luaflow_error *err)
{
    int rc = lf_write_next_run(w, run, err);
    if (rc == LUAFLOW_OK) rc = put_run_record(w, *run, record, MDB_NOOVERWRITE, err);
    if (rc == LUAFLOW_OK) rc = lf_write_state(w, *run, state, err);
    if (rc == LUAFLOW_OK) rc = enter_name(w, LF_FLOWS, record->flow, *run, err);
    if (rc == LUAFLOW_OK) rc = enter_tags(w, *run, record->tags, err);
    if (rc != LUAFLOW_OK)
        return rc;
    int code = lf_meta_put(w, "next", *run + 1);
    return code == 0 ? LUAFLOW_OK : lf_write_fail(w, code, err);
}

static int remove_tags(lf_write *w, uint32_t run, lf_slice tags, luaflow_error *err)
{
    for (lf_reader r = lf_reader_of(tags.data, tags.size); r.at < r.end;) {
        lf_entry_key k = {0};
        if (!key_name(&k, lf_read_string(&r)))
            continue;
        key_u32(&k, run);
        MDB_val key = val_of(&k);
        int rc = mdb_del(w->view.txn, w->view.store->table[LF_TAGS], &key, NULL);
        if (rc != 0 && rc != MDB_NOTFOUND)
            return lf_write_fail(w, rc, err);
    }
    return LUAFLOW_OK;
}

int lf_write_tags(lf_write *w, uint32_t run, uint32_t n_tags, lf_slice tags, luaflow_error *err)
{
    lf_slice stored;
    int rc = lf_run_part_get(&w->view, run, LF_RUN_RECORD, &stored, err);
    if (rc != LUAFLOW_OK)
        return rc;
    /* What LMDB gave ends with the next write. */
    lf_buf *copy = lf_buf_copy(stored.data, stored.size);
    lf_run_record record;
    if (copy == NULL)
        rc = lf_fail_memory(err);
    else if (!lf_run_record_get(lf_buf_slice(copy), &record))
        rc = lf_damage_fail(&w->view, err, "the record of run %u", run);
    if (rc == LUAFLOW_OK) rc = remove_tags(w, run, record.tags, err);
    if (rc == LUAFLOW_OK) rc = enter_tags(w, run, tags, err);
    if (rc == LUAFLOW_OK) {
        record.tags = tags;
        record.n_tags = n_tags;
        rc = put_run_record(w, run, &record, 0, err);
    }
    lf_buf_free(copy);
    return rc;
}
