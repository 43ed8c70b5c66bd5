/* store_entry.c -- of the store: sealed entries, and what went wrong in words. */
#include "store_inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const lf_table_names[LF_TABLES] = {"blobs", "tasks", "attempts", "steps", "runs",
                                               "flows", "tags",  "logs",     "meta"};

/* ---- what went wrong, in words ---- */

/* LMDB takes a write that comes to the limit for an input/output error too. */
static bool is_at_size_limit(const char *path)
{
    struct rlimit limit;
    struct stat st;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           stat(path, &st) == 0 && (uint64_t)st.st_size + LF_DISK_NEARLY_FULL > limit.rlim_cur;
}

static int fail_data(const char *dir, const char *doing, int rc, luaflow_error *err)
{
    char *path;
    if (asprintf(&path, "%s/data.mdb", dir) < 0)
        return lf_fail_memory(err);
    if (rc == EIO && is_at_size_limit(path))
        rc = EFBIG;
    rc = lf_disk_fail(dir, doing, path, "go on with `luaflow resume`", rc, err);
    free(path);
    return rc;
}

int lf_lmdb_fail(const char *dir, const char *doing, int rc, luaflow_error *err)
{
    if (lf_disk_is_at_fault(rc))
        return fail_data(dir, doing, rc, err);
    switch (rc) {
    case ENOMEM: return lf_fail_memory(err);
    case EACCES:
    case EPERM:
    case EROFS:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot %s %s/data.mdb: %s; change its permissions, or name another store "
                       "with --store",
                       doing, dir, strerror(rc));
    case MDB_MAP_FULL:
        return lf_fail(
            err, LUAFLOW_ESTORE,
            "%s/data.mdb is as large as this process may map; raise its limit of address "
            "space (ulimit -v), or remove old runs with `luaflow prune`",
            dir);
    case MDB_MAP_RESIZED:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb has grown past what this process may map; raise its limit of "
                       "address space (ulimit -v) and start again",
                       dir);
    case MDB_READERS_FULL:
        return lf_fail(
            err, LUAFLOW_ESTORE,
            "%s has %d readers, and no room for more; end some of the programs that use it", dir,
            LF_MAX_READERS);
    case MDB_PANIC:
        return lf_fail(
            err, LUAFLOW_ESTORE,
            "%s cannot be used any more in this process, after a write that failed; what "
            "was committed is safe: close the store (end the program) and open it again",
            dir);
    case MDB_BAD_TXN:
        return lf_fail(err, LUAFLOW_ESTORE, "nothing was written to %s, since a part of it failed",
                       dir);
    case MDB_VERSION_MISMATCH:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb was made by another version of LMDB than this %s; use that one",
                       dir, lf_store_library());
    case MDB_INVALID:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb is not the file of a store, or its head is damaged; restore it "
                       "from a copy, or name another store with --store",
                       dir);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb is damaged (%s): run `luaflow verify` to see what it hurts",
                       dir, mdb_strerror(rc));
    default:
        return lf_fail(err, LUAFLOW_ESTORE, "cannot %s %s/data.mdb: %s", doing, dir,
                       mdb_strerror(rc));
    }
}

int lf_view_fail(const lf_view *v, int rc, luaflow_error *err)
{
    return lf_lmdb_fail(v->store->dir, "read", rc, err);
}

int lf_write_fail(const lf_write *w, int rc, luaflow_error *err)
{
    return lf_lmdb_fail(w->view.store->dir, "write", rc, err);
}

int lf_damage_fail(const lf_view *v, luaflow_error *err, const char *what, ...)
{
    char text[160];
    va_list args;
    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    return lf_fail(
        err, LUAFLOW_ESTORE,
        "%s in %s/data.mdb is damaged, or written by a newer luaflow: run `luaflow verify` "
        "to see what it hurts",
        text, v->store->dir);
}

/* ---- entries ---- */

static uint32_t seal_of(enum lf_table t, MDB_val key, const uint8_t *value, size_t size)
{
    return (uint32_t)lf_hash(lf_hash(t, key.mv_data, key.mv_size), value, size);
}

int lf_entry_fail(const lf_view *v, enum lf_table t, MDB_val key, luaflow_error *err)
{
    uint32_t first = u32_at(key, 0), second = u32_at(key, 4);
    switch (t) {
    case LF_TASKS: return lf_damage_fail(v, err, "the record of task %u of run %u", second, first);
    case LF_LOGS: return lf_damage_fail(v, err, "the log of task %u of run %u", second, first);
    case LF_RUNS: return lf_damage_fail(v, err, "the record of run %u", first);
    case LF_STEPS: return lf_damage_fail(v, err, "the list of tasks of run %u", first);
    default: return lf_damage_fail(v, err, "an entry of the table '%s'", lf_table_names[t]);
    }
}

bool lf_entry_sound(enum lf_table t, MDB_val key, MDB_val data, lf_slice *out)
{
    const uint8_t *at = data.mv_data;
    if (data.mv_size < LF_SEAL ||
        get_u32(at) != seal_of(t, key, at + LF_SEAL, data.mv_size - LF_SEAL))
        return false;
    *out = lf_slice_of(at + LF_SEAL, data.mv_size - LF_SEAL);
    return true;
}

int lf_entry_unseal(const lf_view *v, enum lf_table t, MDB_val key, MDB_val data, lf_slice *out,
                    luaflow_error *err)
{
    return lf_entry_sound(t, key, data, out) ? LUAFLOW_OK : lf_entry_fail(v, t, key, err);
}

int lf_entry_get(const lf_view *v, enum lf_table t, const lf_entry_key *k, lf_slice *out,
                 luaflow_error *err)
{
    MDB_val key = val_of(k), data;
    int rc = mdb_get(v->txn, v->store->table[t], &key, &data);
    if (rc == MDB_NOTFOUND)
        return LUAFLOW_ENOTFOUND;
    return rc != 0 ? lf_view_fail(v, rc, err) : lf_entry_unseal(v, t, key, data, out, err);
}

/* Finds the entry of a task; tasks that are asked for one after the other are a step apart. */
static int seek_task(lf_view *v, const lf_entry_key *k, MDB_val *key, MDB_val *data)
{
    *key = val_of(k);
    uint64_t number = (uint64_t)u32_at(*key, 0) << 32 | u32_at(*key, 4);
    bool is_next = v->next_task != 0 && number == v->next_task;
    v->next_task = 0;
    int rc = is_next ? mdb_cursor_get(v->tasks, key, data, MDB_NEXT) : MDB_NOTFOUND;
    if (rc != 0 || key->mv_size != k->size || memcmp(key->mv_data, k->bytes, k->size) != 0) {
        *key = val_of(k);
        rc = mdb_cursor_get(v->tasks, key, data, MDB_SET_KEY);
    }
    if (rc == 0)
        v->next_task = number + 1;
    return rc;
}

int lf_entry_get_task(lf_view *v, const lf_entry_key *k, lf_slice *out, luaflow_error *err)
{
    if (!v->is_reading)
        return lf_entry_get(v, LF_TASKS, k, out, err);
    int rc = v->tasks != NULL ? 0 : mdb_cursor_open(v->txn, v->store->table[LF_TASKS], &v->tasks);
    MDB_val key, data;
    if (rc == 0)
        rc = seek_task(v, k, &key, &data);
    if (rc == MDB_NOTFOUND)
        return LUAFLOW_ENOTFOUND;
    return rc != 0 ? lf_view_fail(v, rc, err) : lf_entry_unseal(v, LF_TASKS, key, data, out, err);
}

void lf_entry_fill(enum lf_table t, MDB_val key, MDB_val data, lf_slice value)
{
    uint8_t *to = data.mv_data;
    put_u32(to, seal_of(t, key, value.data, value.size));
    if (value.size > 0)
        memcpy(to + LF_SEAL, value.data, value.size);
}

int lf_entry_put(lf_write *w, enum lf_table t, const lf_entry_key *k, lf_slice value,
                 unsigned flags)
{
    MDB_val key = val_of(k), data = {LF_SEAL + value.size, NULL};
    int rc = mdb_put(w->view.txn, w->view.store->table[t], &key, &data, flags | MDB_RESERVE);
    if (rc == 0)
        lf_entry_fill(t, key, data, value);
    return rc;
}

static lf_entry_key meta_key(const char *name)
{
    lf_entry_key k = {.size = strlen(name)};
    memcpy(k.bytes, name, k.size);
    return k;
}

int lf_meta_get(const lf_view *v, const char *name, uint32_t *n, luaflow_error *err)
{
    lf_entry_key k = meta_key(name);
    lf_slice value;
    int rc = lf_entry_get(v, LF_META, &k, &value, err);
    *n = 0;
    if (rc == LUAFLOW_ENOTFOUND)
        return LUAFLOW_OK;
    if (rc == LUAFLOW_OK && value.size != 4)
        return lf_entry_fail(v, LF_META, val_of(&k), err);
    if (rc == LUAFLOW_OK)
        *n = get_u32(value.data);
    return rc;
}

int lf_meta_put(lf_write *w, const char *name, uint32_t n)
{
    lf_entry_key k = meta_key(name);
    uint8_t raw[4];
    put_u32(raw, n);
    return lf_entry_put(w, LF_META, &k, lf_slice_of(raw, sizeof raw), 0);
}

int lf_cursor_open(const lf_view *v, enum lf_table t, MDB_cursor **c, luaflow_error *err)
{
    int rc = mdb_cursor_open(v->txn, v->store->table[t], c);
    return rc == 0 ? LUAFLOW_OK : lf_view_fail(v, rc, err);
}

int lf_cursor_end(const lf_view *v, MDB_cursor *c, int rc, luaflow_error *err)
{
    mdb_cursor_close(c);
    return rc == 0 || rc == MDB_NOTFOUND ? LUAFLOW_OK : lf_view_fail(v, rc, err);
}

int lf_process_check(const lf_store *s, luaflow_error *err)
{
    if (s->pid == getpid())
        return LUAFLOW_OK;
    return lf_fail(err, LUAFLOW_ESTORE, "the store %s was opened before fork(); open it anew",
                   s->dir);
}
