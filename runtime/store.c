/* store.c -- one directory, one LMDB environment.
 *
 * Every entry but the blobs begins with a seal, a hash over its table, key and value:
 * LMDB notices no flipped bit, and a sound record under a wrong number is damage too.
 * A blob is checked by its own name.
 *
 * Knows nothing of Lua or libevent. Any thread: the registry of open stores and each
 * store's idle views have a leaf lock of their own; LMDB has the writers' lock. */
#include "store.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum table { BLOBS, TASKS, STEPS, RUNS, FLOWS, TAGS, LOGS, META, TABLES };

/* BLOBS  key 16, salt u8 -> 0, bytes; or 1, size u64 of what lies in chunks
 *        key 16, salt u8, chunk u32 -> bytes
 * TASKS  run u32, task u32 -> task record
 * STEPS  run u32, step u32, failed u8, first task u32 -> how many, how far the last, the gaps
 * RUNS   run u32, part u8 -> run record (0), run state (1)
 * FLOWS  name, 0, run u32 -> nothing
 * TAGS   tag, 0, run u32 -> nothing
 * LOGS   run u32, task u32, attempt u32, sequence u32 -> log piece
 * META   "version", "next", "pruned" -> u32. Whoever removes blobs raises "pruned" in the
 *        same transaction: see renew(). */
static const char *const table_names[TABLES] = {"blobs", "tasks", "steps", "runs",
                                                "flows", "tags",  "logs",  "meta"};

enum {
    STORE_VERSION = 1,
    MAX_READERS = 1024,
    IDLE_VIEWS = 32,
    NAME_MAX_SIZE = 128, /* of flows and tags; LMDB's keys end at 511 bytes */
    SEAL = 4,
    PLAIN = 0, CHUNKED = 1,
    RUN_RECORD = 0, RUN_STATE = 1
};

#define CHUNK ((size_t)4 << 20)      /* contiguous free pages for so much are easily found */
#define AT_ONCE ((size_t)64 << 20)   /* of one blob in one transaction: dirty pages are memory */
#define NEARLY_FULL ((uint64_t)4 << 20)

struct lf_view {
    lf_store *store;
    MDB_txn *txn;
    lf_view *next; /* among the idle ones */
};

struct lf_store {
    lf_store *next; /* in the registry */
    dev_t dev;
    ino_t ino;
    pid_t pid;      /* the process that opened it: LMDB does not survive fork() */
    unsigned users; /* 0 while it is being opened or closed */
    char *dir;
    MDB_env *env;
    MDB_dbi table[TABLES];
    bool readonly;
    pthread_mutex_t idle_lock;
    lf_view *idle; /* their transactions keep their place among the readers */
    unsigned n_idle;
};

struct lf_write {
    lf_view view;
    MDB_cursor *tasks;  /* for appending; NULL until the first task */
    uint64_t last_task; /* the greatest key there, as a number */
    bool any_task;
    bool any_blob;      /* one was put or found already */
    lf_bytes scratch;
};

/* ---- what went wrong, in words ---- */

static int fail_disk(const char *dir, int rc, luaflow_error *err)
{
    struct statvfs fs;
    uint64_t left = statvfs(dir, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
    if (rc == ENOSPC || (rc == EIO && left < NEARLY_FULL))
        return lf_fail(err, LUAFLOW_ESTORE,
                       "disk full: cannot write %s/data.mdb, %llu bytes free; make room, then go on "
                       "with `luaflow resume`", dir, left == UINT64_MAX ? 0 : (unsigned long long)left);
    if (rc == EDQUOT)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "disk quota used up: cannot write %s/data.mdb; make room, then go on with "
                       "`luaflow resume`", dir);
    if (rc == EFBIG)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot write %s/data.mdb: it would pass the largest file size allowed; "
                       "raise the limit (ulimit -f), then go on with `luaflow resume`", dir);
    return lf_fail(err, LUAFLOW_ESTORE,
                   "input/output error on %s/data.mdb: check the disk, then run `luaflow verify`", dir);
}

/* `doing` is "open", "read" or "write". */
static int fail_lmdb(const char *dir, const char *doing, int rc, luaflow_error *err)
{
    switch (rc) {
    case ENOMEM:
        return lf_fail_memory(err);
    case ENOSPC: case EDQUOT: case EFBIG: case EIO:
        return fail_disk(dir, rc, err);
    case EACCES: case EPERM: case EROFS:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot %s %s/data.mdb: %s; change its permissions, or name another store "
                       "with --store", doing, dir, strerror(rc));
    case MDB_MAP_FULL:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb is as large as this process may map; raise its limit of address "
                       "space (ulimit -v), or remove old runs with `luaflow prune`", dir);
    case MDB_MAP_RESIZED:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb has grown past what this process may map; raise its limit of "
                       "address space (ulimit -v) and start again", dir);
    case MDB_READERS_FULL:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s has %d readers, and no room for more; end some of the programs that use it",
                       dir, MAX_READERS);
    case MDB_PANIC:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s cannot be used any more in this process, after a write that failed; what "
                       "was committed is safe: close the store (end the program) and open it again",
                       dir);
    case MDB_BAD_TXN:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "nothing was written to %s, since a part of it failed", dir);
    case MDB_VERSION_MISMATCH:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb was made by another version of LMDB than this %s; use that one",
                       dir, lf_store_library());
    case MDB_INVALID:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb is not the file of a store, or its head is damaged; restore it "
                       "from a copy, or name another store with --store", dir);
    case MDB_CORRUPTED: case MDB_PAGE_NOTFOUND:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb is damaged (%s): run `luaflow verify` to see what it hurts", dir,
                       mdb_strerror(rc));
    default:
        return lf_fail(err, LUAFLOW_ESTORE, "cannot %s %s/data.mdb: %s", doing, dir, mdb_strerror(rc));
    }
}

static int fail_read(const lf_view *v, int rc, luaflow_error *err)
{
    return fail_lmdb(v->store->dir, "read", rc, err);
}

static int fail_write(const lf_write *w, int rc, luaflow_error *err)
{
    return fail_lmdb(w->view.store->dir, "write", rc, err);
}

LF_PRINTF(3, 4)
static int fail_damaged(const lf_view *v, luaflow_error *err, const char *what, ...)
{
    char text[160];
    va_list args;
    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    return lf_fail(err, LUAFLOW_ESTORE,
                   "%s in %s/data.mdb is damaged, or written by a newer luaflow: run `luaflow verify` "
                   "to see what it hurts", text, v->store->dir);
}

/* ---- keys and entries ---- */

struct key {
    size_t size;
    uint8_t bytes[NAME_MAX_SIZE + 8];
};

static void put_u32(uint8_t *to, uint32_t n)
{
    to[0] = (uint8_t)(n >> 24);
    to[1] = (uint8_t)(n >> 16);
    to[2] = (uint8_t)(n >> 8);
    to[3] = (uint8_t)n;
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void key_u8(struct key *k, uint8_t n) { k->bytes[k->size++] = n; }

static void key_u32(struct key *k, uint32_t n)
{
    put_u32(k->bytes + k->size, n);
    k->size += 4;
}

/* A name and its NUL. False for one that no flow or tag can have. */
static bool key_name(struct key *k, lf_slice name)
{
    if (name.size == 0 || name.size > NAME_MAX_SIZE || memchr(name.data, 0, name.size) != NULL)
        return false;
    memcpy(k->bytes + k->size, name.data, name.size);
    k->size += name.size;
    key_u8(k, 0);
    return true;
}

static void key_blob(struct key *k, const lf_key *key, uint8_t salt)
{
    memcpy(k->bytes, key->bytes, sizeof key->bytes);
    k->size = sizeof key->bytes;
    key_u8(k, salt);
}

static MDB_val val_of(const struct key *k) { return (MDB_val){k->size, (void *)k->bytes}; }

static bool starts_with(MDB_val key, const struct key *prefix)
{
    return key.mv_size >= prefix->size && memcmp(key.mv_data, prefix->bytes, prefix->size) == 0;
}

static uint32_t u32_at(MDB_val key, size_t offset)
{
    return key.mv_size < offset + 4 ? 0 : get_u32((const uint8_t *)key.mv_data + offset);
}

static uint32_t seal_of(enum table t, MDB_val key, const uint8_t *value, size_t size)
{
    return (uint32_t)lf_hash(lf_hash(t, key.mv_data, key.mv_size), value, size);
}

static int fail_entry(const lf_view *v, enum table t, MDB_val key, luaflow_error *err)
{
    uint32_t first = u32_at(key, 0), second = u32_at(key, 4);
    switch (t) {
    case TASKS: return fail_damaged(v, err, "the record of task %u of run %u", second, first);
    case LOGS: return fail_damaged(v, err, "the log of task %u of run %u", second, first);
    case RUNS: return fail_damaged(v, err, "the record of run %u", first);
    case STEPS: return fail_damaged(v, err, "the list of tasks of run %u", first);
    default: return fail_damaged(v, err, "an entry of the table '%s'", table_names[t]);
    }
}

/* What is under the seal. */
static int unseal(const lf_view *v, enum table t, MDB_val key, MDB_val data, lf_slice *out,
                  luaflow_error *err)
{
    const uint8_t *at = data.mv_data;
    if (data.mv_size < SEAL || get_u32(at) != seal_of(t, key, at + SEAL, data.mv_size - SEAL))
        return fail_entry(v, t, key, err);
    *out = lf_slice_of(at + SEAL, data.mv_size - SEAL);
    return LUAFLOW_OK;
}

/* LUAFLOW_ENOTFOUND without a sentence when there is none. */
static int get(const lf_view *v, enum table t, const struct key *k, lf_slice *out, luaflow_error *err)
{
    MDB_val key = val_of(k), data;
    int rc = mdb_get(v->txn, v->store->table[t], &key, &data);
    if (rc == MDB_NOTFOUND)
        return LUAFLOW_ENOTFOUND;
    return rc != 0 ? fail_read(v, rc, err) : unseal(v, t, key, data, out, err);
}

static void fill_entry(enum table t, MDB_val key, MDB_val data, lf_slice value)
{
    uint8_t *to = data.mv_data;
    put_u32(to, seal_of(t, key, value.data, value.size));
    if (value.size > 0)
        memcpy(to + SEAL, value.data, value.size);
}

/* Returns LMDB's code: MDB_KEYEXIST with MDB_NOOVERWRITE. */
static int put(lf_write *w, enum table t, const struct key *k, lf_slice value, unsigned flags)
{
    MDB_val key = val_of(k), data = {SEAL + value.size, NULL};
    int rc = mdb_put(w->view.txn, w->view.store->table[t], &key, &data, flags | MDB_RESERVE);
    if (rc == 0)
        fill_entry(t, key, data, value);
    return rc;
}

static struct key meta_key(const char *name)
{
    struct key k = {.size = strlen(name)};
    memcpy(k.bytes, name, k.size);
    return k;
}

/* A number of the table META; 0 when it is not there. */
static int get_meta(const lf_view *v, const char *name, uint32_t *n, luaflow_error *err)
{
    struct key k = meta_key(name);
    lf_slice value;
    int rc = get(v, META, &k, &value, err);
    *n = 0;
    if (rc == LUAFLOW_ENOTFOUND)
        return LUAFLOW_OK;
    if (rc == LUAFLOW_OK && value.size != 4)
        return fail_entry(v, META, val_of(&k), err);
    if (rc == LUAFLOW_OK)
        *n = get_u32(value.data);
    return rc;
}

static int put_meta(lf_write *w, const char *name, uint32_t n)
{
    struct key k = meta_key(name);
    uint8_t raw[4];
    put_u32(raw, n);
    return put(w, META, &k, lf_slice_of(raw, sizeof raw), 0);
}

/* ---- a file that is shorter than it says ----
 *
 * Reading past the end of a map's file is a SIGBUS, so a truncated file must be found
 * before it is read. But LMDB leaves pages at the end unwritten that the transaction
 * which took them freed again: a short file is sound if all that is missing is in the
 * list of free pages. That list is a tree of its own, read here with pread, from a
 * snapshot that an open read transaction keeps. */

_Static_assert(sizeof(size_t) == 8, "pages are laid out as on 64-bit machines");

enum { PAGE_HEAD = 16, PAGE_BRANCH = 1, PAGE_LEAF = 2, NODE_HEAD = 8, NODE_BIG = 1, DEEPEST = 32 };

struct tail {
    int fd;
    size_t page_size;
    uint64_t from, to; /* the missing pages: [from, to) */
    uint64_t free;     /* how many of them are known to be free */
    uint64_t visits;   /* of a sound tree: fewer than there are pages */
};

static uint16_t u16_of(const uint8_t *at) { uint16_t n; memcpy(&n, at, sizeof n); return n; }
static uint32_t u32_of(const uint8_t *at) { uint32_t n; memcpy(&n, at, sizeof n); return n; }
static uint64_t u64_of(const uint8_t *at) { uint64_t n; memcpy(&n, at, sizeof n); return n; }

static bool read_at(const struct tail *t, uint64_t page, size_t offset, void *to, size_t size)
{
    return page < t->from &&
           pread(t->fd, to, size, (off_t)(page * t->page_size + offset)) == (ssize_t)size;
}

static void tally(struct tail *t, const uint8_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t page = u64_of(ids + 8 * i);
        t->free += page >= t->from && page < t->to;
    }
}

/* A list too long for its leaf: a count, then the pages. */
static bool tally_far(struct tail *t, uint64_t page, size_t size)
{
    uint8_t ids[4096];
    for (size_t at = 0; at < size; at += sizeof ids) {
        size_t part = size - at < sizeof ids ? size - at : sizeof ids;
        if (!read_at(t, page, PAGE_HEAD + at, ids, part))
            return false;
        size_t skip = at == 0 ? 8 : 0;
        tally(t, ids + skip, (part - skip) / 8);
    }
    return true;
}

static bool tally_node(struct tail *t, const uint8_t *page, size_t at)
{
    if (at + NODE_HEAD > t->page_size)
        return false;
    size_t size = u32_of(page + at), value = at + NODE_HEAD + u16_of(page + at + 6);
    if (u16_of(page + at + 4) & NODE_BIG)
        return value + 8 <= t->page_size && size >= 8 && tally_far(t, u64_of(page + value), size);
    if (size < 8 || value + size > t->page_size)
        return false;
    tally(t, page + value + 8, size / 8 - 1);
    return true;
}

static bool tally_tree(struct tail *t, uint64_t root, unsigned depth)
{
    uint8_t *page = depth < DEEPEST && t->visits++ < t->from ? malloc(t->page_size) : NULL;
    bool good = page != NULL && read_at(t, root, 0, page, t->page_size);
    unsigned kind = good ? u16_of(page + 10) : 0;
    size_t n = good ? u16_of(page + 12) : 0; /* where the list of nodes ends */
    good = good && (kind == PAGE_BRANCH || kind == PAGE_LEAF) && n >= PAGE_HEAD && n <= t->page_size;
    for (size_t i = PAGE_HEAD; good && i + 2 <= n; i += 2) {
        size_t at = u16_of(page + i);
        if (kind == PAGE_LEAF)
            good = tally_node(t, page, at);
        else
            good = at + NODE_HEAD <= t->page_size &&
                   tally_tree(t, u32_of(page + at) | (uint64_t)u16_of(page + at + 4) << 32, depth + 1);
    }
    free(page);
    return good;
}

/* The newer of the two heads of the file: root of the free list, last page. */
static bool read_head(const struct tail *t, uint64_t *root, uint64_t *last)
{
    enum { ROOT = PAGE_HEAD + 64, LAST = PAGE_HEAD + 120, TXN = PAGE_HEAD + 128, SIZE = TXN + 8 };
    uint8_t head[2][SIZE];
    if (!read_at(t, 0, 0, head[0], SIZE) || !read_at(t, 1, 0, head[1], SIZE))
        return false;
    const uint8_t *newer = head[u64_of(head[0] + TXN) < u64_of(head[1] + TXN)];
    *root = u64_of(newer + ROOT);
    *last = u64_of(newer + LAST);
    return true;
}

/* Called while a read transaction is open. */
static int check_length(const lf_store *s, luaflow_error *err)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat st;
    int fd, rc = mdb_env_info(s->env, &info);
    if (rc == 0) rc = mdb_env_stat(s->env, &pages);
    if (rc == 0) rc = mdb_env_get_fd(s->env, &fd);
    if (rc == 0 && fstat(fd, &st) != 0) rc = errno;
    if (rc != 0)
        return fail_lmdb(s->dir, "open", rc, err);
    size_t size = pages.ms_psize;
    if ((uint64_t)st.st_size / size > info.me_last_pgno)
        return LUAFLOW_OK;

    struct tail t = {.fd = fd, .page_size = size, .from = (uint64_t)st.st_size / size};
    uint64_t root, last;
    if (read_head(&t, &root, &last)) {
        t.to = last + 1;
        if (fstat(fd, &st) == 0) /* again: this head may be newer, and its file longer */
            t.from = (uint64_t)st.st_size / size;
        if (t.from >= t.to || (root != UINT64_MAX && tally_tree(&t, root, 0) && t.free == t.to - t.from))
            return LUAFLOW_OK;
    }
    return lf_fail(err, LUAFLOW_ESTORE,
                   "%s/data.mdb is truncated: it has %llu bytes and should have %llu; restore it from "
                   "a copy, or name another store with --store", s->dir, (unsigned long long)st.st_size,
                   ((unsigned long long)info.me_last_pgno + 1) * size);
}

/* ---- making a store ---- */

static void close_env(MDB_env *env)
{
    if (env != NULL)
        mdb_env_close(env);
}

/* LMDB opens data.mdb without close-on-exec. */
static int keep_from_children(MDB_env *env)
{
    int fd, rc = mdb_env_get_fd(env, &fd);
    return rc == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ? errno : rc;
}

/* An empty file for its owner alone, whatever the umask. */
static int touch(int dir, const char *name)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int rc = fchmod(fd, 0600) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

static int make_tables(MDB_env *env)
{
    lf_store s = {.env = env};
    lf_write w = {.view = {.store = &s}};
    int rc = mdb_txn_begin(env, NULL, 0, &w.view.txn);
    if (rc != 0)
        return rc;
    for (int t = 0; rc == 0 && t < TABLES; t++)
        rc = mdb_dbi_open(w.view.txn, table_names[t], MDB_CREATE, &s.table[t]);
    if (rc == 0)
        rc = put_meta(&w, "version", STORE_VERSION);
    if (rc == 0)
        return mdb_txn_commit(w.view.txn);
    mdb_txn_abort(w.view.txn);
    return rc;
}

/* Makes the files of a new store in `dir` and sees them to the disk; an errno or LMDB's code. */
static int make_files(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    MDB_env *env = NULL;
    int rc = fchmod(fd, 0700) == 0 ? 0 : errno;
    if (rc == 0) rc = touch(fd, "data.mdb");
    if (rc == 0) rc = touch(fd, "lock.mdb");
    if (rc == 0) rc = mdb_env_create(&env);
    if (rc == 0) rc = mdb_env_set_maxdbs(env, TABLES);
    if (rc == 0) rc = mdb_env_set_maxreaders(env, MAX_READERS);
    if (rc == 0) rc = mdb_env_open(env, dir, MDB_NOTLS, 0600);
    if (rc == 0) rc = keep_from_children(env);
    if (rc == 0) rc = make_tables(env);
    if (rc == 0) rc = mdb_env_sync(env, 1);
    close_env(env);
    if (rc == 0 && fsync(fd) != 0 && errno != EINVAL) /* not every file system syncs directories */
        rc = errno;
    close(fd);
    return rc;
}

static void remove_files(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        unlinkat(fd, "data.mdb", 0);
        unlinkat(fd, "lock.mdb", 0);
        close(fd);
    }
    rmdir(dir);
}

static int sync_directory(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : errno; /* one may be allowed to write it and not to read it */
    int rc = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    close(fd);
    return rc;
}

static int fail_make(const char *dir, const char *parent, int rc, luaflow_error *err)
{
    switch (rc) {
    case ENOMEM: return lf_fail_memory(err);
    case ENOSPC: case EDQUOT: case EFBIG: case EIO: return fail_disk(parent, rc, err);
    case ENOENT: case ENOTDIR:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot make the store %s: there is no directory %s; make it first", dir, parent);
    case EACCES: case EPERM: case EROFS:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot make the store %s: %s may not be written (%s); name another place with "
                       "--store", dir, parent, strerror(rc));
    case EBUSY: case EXDEV:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot make the store %s: it is a mount point; name a directory in it", dir);
    default:
        return lf_fail(err, LUAFLOW_ESTORE, "cannot make the store %s: %s", dir, mdb_strerror(rc));
    }
}

static char *parent_of(const char *dir)
{
    const char *slash = strrchr(dir, '/');
    if (slash == NULL)
        return strdup(".");
    return slash == dir ? strdup("/") : strndup(dir, (size_t)(slash - dir));
}

/* Builds the store beside its place and renames it there. Somebody who was faster wins:
 * that is no failure, there is a store now. `dir` has no slash at its end. */
static int make_store(const char *dir, luaflow_error *err)
{
    char *parent = parent_of(dir), *aside = NULL;
    if (parent == NULL || asprintf(&aside, "%s.new-XXXXXX", dir) < 0) {
        free(parent);
        return lf_fail_memory(err);
    }
    int rc = mkdtemp(aside) != NULL ? 0 : errno;
    if (rc == 0) {
        rc = make_files(aside);
        if (rc == 0 && rename(aside, dir) != 0)
            rc = errno;
        if (rc != 0)
            remove_files(aside);
        if (rc == ENOTEMPTY || rc == EEXIST)
            rc = 0;
        if (rc == 0)
            rc = sync_directory(parent);
    }
    if (rc != 0)
        fail_make(dir, parent, rc, err);
    free(aside);
    free(parent);
    return rc == 0 ? LUAFLOW_OK : rc == ENOMEM ? LUAFLOW_ENOMEM : LUAFLOW_ESTORE;
}

/* ---- opening ---- */

static bool forbidden(int rc) { return rc == EACCES || rc == EPERM || rc == EROFS; }

/* The map is only address space; it cannot be made larger under a living reader, so it is
 * as large from the start as the machine lets it be. */
static int open_env(lf_store *s, unsigned flags)
{
#ifdef LF_SANITIZE
    static const unsigned char bits[] = {34, 32};
#else
    static const unsigned char bits[] = {40, 38, 36, 34, 32};
#endif
    int rc = EINVAL;
    for (size_t i = 0; i < sizeof bits && (rc == ENOMEM || rc == EINVAL); i++) {
        MDB_env *env = NULL;
        rc = mdb_env_create(&env);
        if (rc == 0) rc = mdb_env_set_maxdbs(env, TABLES);
        if (rc == 0) rc = mdb_env_set_maxreaders(env, MAX_READERS);
        if (rc == 0) rc = mdb_env_set_mapsize(env, (size_t)1 << bits[i]);
        if (rc == 0) rc = mdb_env_open(env, s->dir, MDB_NOTLS | flags, 0600);
        if (rc == 0) rc = keep_from_children(env);
        if (rc == 0)
            s->env = env;
        else
            close_env(env);
    }
    s->readonly = (flags & MDB_RDONLY) != 0;
    return rc;
}

static int begin_reading(MDB_env *env, MDB_txn **txn)
{
    int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, txn);
    if (rc == MDB_READERS_FULL && mdb_reader_check(env, NULL) == 0)
        rc = mdb_txn_begin(env, NULL, MDB_RDONLY, txn);
    return rc;
}

static int open_tables(lf_store *s, MDB_txn *txn, luaflow_error *err)
{
    for (int t = 0; t < TABLES; t++) {
        int rc = mdb_dbi_open(txn, table_names[t], 0, &s->table[t]);
        if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
            return lf_fail(err, LUAFLOW_ESTORE,
                           "%s/data.mdb belongs to some other program: it has no table '%s'; name "
                           "another store with --store", s->dir, table_names[t]);
        if (rc != 0)
            return fail_lmdb(s->dir, "open", rc, err);
    }
    lf_view v = {.store = s, .txn = txn};
    uint32_t version;
    int rc = get_meta(&v, "version", &version, err);
    if (rc == LUAFLOW_OK && version != STORE_VERSION)
        rc = lf_fail(err, LUAFLOW_ESTORE,
                     "%s is a store of version %u, and this luaflow %s knows version %d; use a newer "
                     "luaflow", s->dir, version, LUAFLOW_VERSION, STORE_VERSION);
    return rc;
}

static int check_file(const char *dir, luaflow_error *err)
{
    char *path;
    if (asprintf(&path, "%s/data.mdb", dir) < 0)
        return lf_fail_memory(err);
    struct stat st;
    int rc = LUAFLOW_OK;
    if (lstat(path, &st) != 0)
        rc = fail_lmdb(dir, "open", errno, err);
    else if (!S_ISREG(st.st_mode))
        rc = lf_fail(err, LUAFLOW_ESTORE,
                     "%s is not a regular file; name another store with --store", path);
    else if (st.st_size == 0) /* LMDB would silently make it a new, empty store */
        rc = lf_fail(err, LUAFLOW_ESTORE,
                     "%s is truncated: it has 0 bytes; restore it from a copy, or name another store "
                     "with --store", path);
    free(path);
    return rc;
}

static int open_store(lf_store *s, luaflow_error *err)
{
    int rc = check_file(s->dir, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = open_env(s, 0);
    if (forbidden(rc))
        rc = open_env(s, MDB_RDONLY);
    if (forbidden(rc))
        rc = open_env(s, MDB_RDONLY | MDB_NOLOCK); /* lock.mdb may not be written */
    MDB_txn *txn = NULL;
    if (rc == 0) rc = mdb_reader_check(s->env, NULL);
    if (rc == 0) rc = begin_reading(s->env, &txn);
    if (rc != 0)
        return fail_lmdb(s->dir, "open", rc, err);
    rc = check_length(s, err);
    if (rc == LUAFLOW_OK)
        rc = open_tables(s, txn, err);
    if (rc != LUAFLOW_OK) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn); /* keeps the tables open */
    return rc == 0 ? LUAFLOW_OK : fail_lmdb(s->dir, "open", rc, err);
}

static void shut_store(lf_store *s)
{
    while (s->idle != NULL) {
        lf_view *v = s->idle;
        s->idle = v->next;
        mdb_txn_abort(v->txn);
        free(v);
    }
    close_env(s->env);
    s->env = NULL;
}

static void free_store(lf_store *s)
{
    pthread_mutex_destroy(&s->idle_lock);
    free(s->dir);
    free(s);
}

static lf_store *new_store(const char *dir, const struct stat *st)
{
    lf_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->dir = strdup(dir);
    if (s->dir == NULL) {
        free(s);
        return NULL;
    }
    s->dev = st->st_dev;
    s->ino = st->st_ino;
    s->pid = getpid();
    pthread_mutex_init(&s->idle_lock, NULL);
    return s;
}

/* ---- the registry: LMDB must not open one file twice in a process ---- */

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t registry_changed = PTHREAD_COND_INITIALIZER;
static lf_store *registry;

/* Under the lock. What a fork() left in the child's memory is the parent's. */
static lf_store *registered(const lf_store *like)
{
    for (lf_store *s = registry; s != NULL; s = s->next)
        if (s->dev == like->dev && s->ino == like->ino && s->pid == like->pid)
            return s;
    return NULL;
}

/* Under the lock. */
static void unregister(lf_store *s)
{
    lf_store **at = &registry;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

/* Takes `fresh`. The store that is open already, or `fresh`, opened. */
static int share_store(lf_store *fresh, lf_store **out, luaflow_error *err)
{
    lf_store *s;
    pthread_mutex_lock(&registry_lock);
    while ((s = registered(fresh)) != NULL && s->users == 0)
        pthread_cond_wait(&registry_changed, &registry_lock);
    if (s != NULL) {
        s->users++;
    } else {
        fresh->next = registry;
        registry = fresh;
    }
    pthread_mutex_unlock(&registry_lock);
    if (s != NULL) {
        free_store(fresh);
        *out = s;
        return LUAFLOW_OK;
    }

    int rc = open_store(fresh, err);
    if (rc != LUAFLOW_OK)
        shut_store(fresh);
    pthread_mutex_lock(&registry_lock);
    if (rc == LUAFLOW_OK)
        fresh->users = 1;
    else
        unregister(fresh);
    pthread_cond_broadcast(&registry_changed);
    pthread_mutex_unlock(&registry_lock);
    if (rc != LUAFLOW_OK)
        free_store(fresh);
    else
        *out = fresh;
    return rc;
}

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return false;
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(d)) != NULL;)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    return empty;
}

static int fail_no_store(const char *dir, luaflow_error *err)
{
    return lf_fail(err, LUAFLOW_ENOTFOUND,
                   "there is no store in %s; `luaflow run` makes one, --store names another", dir);
}

/* Tells whether `dir` has a store now; makes one where there is nothing and `create` says so. */
static int find_store(const char *dir, bool create, struct stat *st, luaflow_error *err)
{
    if (stat(dir, st) != 0) {
        if (errno != ENOENT)
            return lf_fail(err, LUAFLOW_ESTORE, "cannot open the store %s: %s", dir, strerror(errno));
        int rc = create ? make_store(dir, err) : fail_no_store(dir, err);
        if (rc != LUAFLOW_OK || stat(dir, st) == 0)
            return rc;
        return lf_fail(err, LUAFLOW_ESTORE, "cannot open the store %s: %s", dir, strerror(errno));
    }
    if (!S_ISDIR(st->st_mode))
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s is not a directory; name the directory of a store with --store", dir);
    char *file, *real = NULL;
    struct stat there;
    if (asprintf(&file, "%s/data.mdb", dir) < 0)
        return lf_fail_memory(err);
    int rc = LUAFLOW_OK;
    if (lstat(file, &there) == 0)
        ; /* what it is, open_store() will tell */
    else if (errno != ENOENT)
        rc = fail_lmdb(dir, "open", errno, err);
    else if (!is_empty(dir))
        rc = lf_fail(err, LUAFLOW_ESTORE,
                     "%s is not a luaflow store (no data.mdb); name another directory with --store", dir);
    else if (!create)
        rc = fail_no_store(dir, err);
    else if ((real = realpath(dir, NULL)) == NULL)
        rc = lf_fail(err, LUAFLOW_ESTORE, "cannot make the store %s: %s", dir, strerror(errno));
    else if ((rc = make_store(real, err)) == LUAFLOW_OK && stat(dir, st) != 0)
        rc = lf_fail(err, LUAFLOW_ESTORE, "cannot open the store %s: %s", dir, strerror(errno));
    free(real);
    free(file);
    return rc;
}

int lf_store_open(const char *dir, bool create, lf_store **out, luaflow_error *err)
{
    size_t size = strlen(dir);
    if (size == 0)
        return lf_fail(err, LUAFLOW_ESTORE, "the name of the store is empty; name a directory");
    while (size > 1 && dir[size - 1] == '/')
        size--;
    char *plain = strndup(dir, size);
    if (plain == NULL)
        return lf_fail_memory(err);
    struct stat st;
    int rc = find_store(plain, create, &st, err);
    if (rc == LUAFLOW_OK) {
        lf_store *fresh = new_store(plain, &st);
        rc = fresh == NULL ? lf_fail_memory(err) : share_store(fresh, out, err);
    }
    free(plain);
    return rc;
}

void lf_store_close(lf_store *s)
{
    if (s == NULL || s->pid != getpid()) /* after fork() it is the parent's to close */
        return;
    pthread_mutex_lock(&registry_lock);
    bool last = --s->users == 0;
    pthread_mutex_unlock(&registry_lock);
    if (!last)
        return;
    shut_store(s); /* still registered: who opens it now waits */
    pthread_mutex_lock(&registry_lock);
    unregister(s);
    pthread_cond_broadcast(&registry_changed);
    pthread_mutex_unlock(&registry_lock);
    free_store(s);
}

const char *lf_store_dir(const lf_store *s) { return s->dir; }

const char *lf_store_library(void) { return mdb_version(NULL, NULL, NULL); }

/* ---- views ---- */

static int check_process(const lf_store *s, luaflow_error *err)
{
    if (s->pid == getpid())
        return LUAFLOW_OK;
    return lf_fail(err, LUAFLOW_ESTORE, "the store %s was opened before fork(); open it anew", s->dir);
}

static void free_view(lf_view *v)
{
    mdb_txn_abort(v->txn);
    free(v);
}

static lf_view *take_idle(lf_store *s)
{
    pthread_mutex_lock(&s->idle_lock);
    lf_view *v = s->idle;
    if (v != NULL) {
        s->idle = v->next;
        s->n_idle--;
    }
    pthread_mutex_unlock(&s->idle_lock);
    return v;
}

int lf_view_begin(lf_store *s, lf_view **out, luaflow_error *err)
{
    int rc = check_process(s, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_view *v = take_idle(s);
    if (v != NULL) {
        rc = mdb_txn_renew(v->txn);
    } else {
        v = calloc(1, sizeof *v);
        if (v == NULL)
            return lf_fail_memory(err);
        v->store = s;
        rc = begin_reading(s->env, &v->txn);
    }
    if (rc != 0) {
        free_view(v);
        return fail_lmdb(s->dir, "read", rc, err);
    }
    *out = v;
    return LUAFLOW_OK;
}

void lf_view_end(lf_view *v)
{
    if (v == NULL)
        return;
    lf_store *s = v->store;
    mdb_txn_reset(v->txn);
    pthread_mutex_lock(&s->idle_lock);
    bool keep = s->n_idle < IDLE_VIEWS;
    if (keep) {
        v->next = s->idle;
        s->idle = v;
        s->n_idle++;
    }
    pthread_mutex_unlock(&s->idle_lock);
    if (!keep)
        free_view(v);
}

/* ---- blobs ---- */

/* A stored blob, read piece by piece: its bytes, or its chunks. */
struct blob {
    lf_view *view;
    struct key key;
    uint64_t size, at; /* `at`: how much of it was read */
    lf_slice plain;
    bool chunked;
    bool broken;       /* not as a writer wrote it */
};

/* LUAFLOW_ENOTFOUND without a sentence when there is none. */
static int find_blob(lf_view *v, const lf_key *key, uint8_t salt, struct blob *b, luaflow_error *err)
{
    *b = (struct blob){.view = v};
    key_blob(&b->key, key, salt);
    MDB_val k = val_of(&b->key), data;
    int rc = mdb_get(v->txn, v->store->table[BLOBS], &k, &data);
    if (rc == MDB_NOTFOUND)
        return LUAFLOW_ENOTFOUND;
    if (rc != 0)
        return fail_read(v, rc, err);
    lf_reader r = lf_reader_of(data.mv_data, data.mv_size);
    uint8_t type = lf_read_u8(&r);
    if (!r.bad && type == PLAIN) {
        b->size = lf_reader_left(&r);
        b->plain = lf_read(&r, b->size);
    } else {
        b->chunked = true;
        b->size = lf_read_u64be(&r);
        b->broken = r.bad || type != CHUNKED || lf_reader_left(&r) != 0 || b->size / CHUNK >= UINT32_MAX;
    }
    return LUAFLOW_OK;
}

static int get_chunk(struct blob *b, uint32_t n, lf_slice *out, luaflow_error *err)
{
    struct key k = b->key;
    key_u32(&k, n);
    MDB_val key = val_of(&k), data;
    int rc = mdb_get(b->view->txn, b->view->store->table[BLOBS], &key, &data);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return fail_read(b->view, rc, err);
    uint64_t left = b->size - (uint64_t)n * CHUNK;
    b->broken = rc == MDB_NOTFOUND || data.mv_size != (left < CHUNK ? left : CHUNK);
    *out = b->broken ? (lf_slice){NULL, 0} : lf_slice_of(data.mv_data, data.mv_size);
    return LUAFLOW_OK;
}

/* The next piece; an empty one at the end, and where the blob is broken. */
static int next_piece(struct blob *b, lf_slice *piece, luaflow_error *err)
{
    *piece = (lf_slice){NULL, 0};
    if (b->broken || b->at == b->size)
        return LUAFLOW_OK;
    int rc = LUAFLOW_OK;
    if (b->chunked)
        rc = get_chunk(b, (uint32_t)(b->at / CHUNK), piece, err);
    else
        *piece = b->plain;
    b->at += piece->size;
    return rc;
}

static int fail_blob(const lf_view *v, const lf_ref *ref, const char *what, luaflow_error *err)
{
    char hex[2 * sizeof ref->key.bytes + 1];
    for (size_t i = 0; i < sizeof ref->key.bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", ref->key.bytes[i]);
    return lf_fail(err, LUAFLOW_ESTORE,
                   "the blob %s in %s/data.mdb is %s: run `luaflow verify` to see what it hurts", hex,
                   v->store->dir, what);
}

/* Copies first and checks the copy: what was checked is what the caller gets. */
static int copy_blob(struct blob *b, const lf_ref *ref, lf_buf **out, luaflow_error *err)
{
    lf_slice piece;
    if (b->chunked && !b->broken && b->size > 0) { /* before believing the size */
        int rc = get_chunk(b, (uint32_t)((b->size - 1) / CHUNK), &piece, err);
        if (rc != LUAFLOW_OK)
            return rc;
    }
    if (b->broken || b->size != ref->size)
        return fail_blob(b->view, ref, "damaged", err);
    lf_buf *buf = lf_buf_new(b->size);
    if (buf == NULL)
        return lf_fail_memory(err);
    int rc;
    uint64_t to = 0;
    while ((rc = next_piece(b, &piece, err)) == LUAFLOW_OK && piece.size > 0) {
        memcpy(buf->data + to, piece.data, piece.size);
        to += piece.size;
    }
    if (rc == LUAFLOW_OK) {
        lf_key key = lf_key_of(0, buf->data, buf->size);
        if (to != buf->size || !lf_key_equal(&key, &ref->key))
            rc = fail_blob(b->view, ref, "damaged", err);
    }
    if (rc != LUAFLOW_OK) {
        lf_buf_free(buf);
        return rc;
    }
    *out = buf;
    return LUAFLOW_OK;
}

int lf_view_blob(lf_view *v, const lf_ref *ref, lf_buf **out, luaflow_error *err)
{
    assert(ref->kind != LF_REF_REMOVED);
    if (ref->kind == LF_REF_INLINE) {
        *out = lf_buf_copy(ref->bytes.data, ref->bytes.size);
        return *out == NULL ? lf_fail_memory(err) : LUAFLOW_OK;
    }
    struct blob b;
    int rc = find_blob(v, &ref->key, ref->salt, &b, err);
    if (rc == LUAFLOW_ENOTFOUND)
        return fail_blob(v, ref, "missing", err);
    return rc == LUAFLOW_OK ? copy_blob(&b, ref, out, err) : rc;
}

/* Whether the stored blob is these bytes. */
static int same_bytes(struct blob *b, lf_slice bytes, bool *same, luaflow_error *err)
{
    *same = false;
    if (b->broken || b->size != bytes.size)
        return LUAFLOW_OK;
    b->at = 0;
    for (;;) {
        const uint8_t *at = bytes.data + b->at;
        lf_slice piece;
        int rc = next_piece(b, &piece, err);
        if (rc != LUAFLOW_OK)
            return rc;
        if (piece.size == 0)
            break;
        if (memcmp(piece.data, at, piece.size) != 0)
            return LUAFLOW_OK;
    }
    *same = !b->broken;
    return LUAFLOW_OK;
}

/* Whether the stored blob is what its key says. */
static int is_sound(struct blob *b, const lf_key *key, bool *sound, luaflow_error *err)
{
    lf_keying *keying = lf_keying_new(0);
    if (keying == NULL)
        return lf_fail_memory(err);
    lf_slice piece;
    int rc;
    b->at = 0;
    while ((rc = next_piece(b, &piece, err)) == LUAFLOW_OK && piece.size > 0)
        lf_keying_add(keying, piece.data, piece.size);
    lf_key found = lf_keying_end(keying);
    *sound = !b->broken && lf_key_equal(&found, key);
    return rc;
}

/* ---- reading ---- */

int lf_view_task(lf_view *v, uint32_t run, uint32_t task, lf_task_record *out, luaflow_error *err)
{
    struct key k = {0};
    key_u32(&k, run);
    key_u32(&k, task);
    lf_slice value;
    int rc = get(v, TASKS, &k, &value, err);
    if (rc == LUAFLOW_ENOTFOUND)
        return lf_fail(err, rc, "run %u has no finished task %u", run, task);
    if (rc == LUAFLOW_OK && !lf_task_record_get(value, out))
        return fail_entry(v, TASKS, val_of(&k), err);
    return rc;
}

int lf_view_output(lf_view *v, uint32_t run, const lf_task_record *task, lf_slice name, lf_ref *ref,
                   bool *found, luaflow_error *err)
{
    *found = lf_output_find(task, name, ref);
    if (!*found && task->base != 0) {
        lf_task_record base;
        int rc = lf_view_task(v, run, task->base, &base, err);
        if (rc == LUAFLOW_ENOTFOUND)
            return fail_damaged(v, err, "task %u of run %u, on which another stands,", task->base, run);
        if (rc != LUAFLOW_OK)
            return rc;
        *found = lf_output_find(&base, name, ref);
    }
    if (*found && ref->kind == LF_REF_REMOVED)
        *found = false;
    return LUAFLOW_OK;
}

static int open_cursor(const lf_view *v, enum table t, MDB_cursor **c, luaflow_error *err)
{
    int rc = mdb_cursor_open(v->txn, v->store->table[t], c);
    return rc == 0 ? LUAFLOW_OK : fail_read(v, rc, err);
}

/* The end of a walk: running out of entries is none of failing. */
static int end_walk(const lf_view *v, MDB_cursor *c, int rc, luaflow_error *err)
{
    mdb_cursor_close(c);
    return rc == 0 || rc == MDB_NOTFOUND ? LUAFLOW_OK : fail_read(v, rc, err);
}

static int list_tasks(lf_view *v, uint32_t run, uint32_t after, uint32_t *numbers, size_t max, size_t *n,
                      luaflow_error *err)
{
    MDB_cursor *c;
    if (open_cursor(v, TASKS, &c, err) != LUAFLOW_OK)
        return LUAFLOW_ESTORE;
    struct key of_run = {0}, from;
    key_u32(&of_run, run);
    from = of_run;
    key_u32(&from, after);
    MDB_val key = val_of(&from);
    int rc = mdb_cursor_get(c, &key, NULL, MDB_SET_RANGE);
    while (rc == 0 && *n < max && starts_with(key, &of_run)) {
        if (u32_at(key, 4) > after)
            numbers[(*n)++] = u32_at(key, 4);
        rc = mdb_cursor_get(c, &key, NULL, MDB_NEXT);
    }
    return end_walk(v, c, rc, err);
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

/* An entry of the table STEPS: LUAFLOW_EVALUE when it is none. */
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
    struct key prefix = {0};
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
        int bad = unseal(v, STEPS, key, data, &value, err);
        if (bad != LUAFLOW_OK)
            return bad;
        bad = gather_entry(g, first, value);
        if (bad != LUAFLOW_OK)
            return bad == LUAFLOW_ENOMEM ? lf_fail_memory(err) : fail_entry(v, STEPS, key, err);
    }
    return rc == 0 || rc == MDB_NOTFOUND ? LUAFLOW_OK : fail_read(v, rc, err);
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
    return rc == LUAFLOW_ENOTFOUND ? LUAFLOW_OK : rc;
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
    int rc = open_cursor(v, STEPS, &c, err);
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

static struct key run_key(uint32_t run, uint8_t part)
{
    struct key k = {0};
    key_u32(&k, run);
    key_u8(&k, part);
    return k;
}

static int get_run_part(lf_view *v, uint32_t run, uint8_t part, lf_slice *value, luaflow_error *err)
{
    struct key k = run_key(run, part);
    int rc = get(v, RUNS, &k, value, err);
    return rc == LUAFLOW_ENOTFOUND ? lf_fail(err, rc, "there is no run %u in %s", run, v->store->dir) : rc;
}

int lf_view_run(lf_view *v, uint32_t run, lf_run_record *record, lf_run_state *state,
                luaflow_error *err)
{
    lf_slice value;
    int rc = LUAFLOW_OK;
    if (record != NULL && (rc = get_run_part(v, run, RUN_RECORD, &value, err)) == LUAFLOW_OK &&
        !lf_run_record_get(value, record))
        rc = fail_damaged(v, err, "the record of run %u", run);
    if (rc == LUAFLOW_OK && state != NULL &&
        (rc = get_run_part(v, run, RUN_STATE, &value, err)) == LUAFLOW_OK &&
        !lf_run_state_get(value, state))
        rc = fail_damaged(v, err, "the record of run %u", run);
    return rc;
}

/* Goes to the last key that starts with `prefix` and whose run lies below `before` (0: any). */
static int seek_back(MDB_cursor *c, const struct key *prefix, uint32_t before, MDB_val *key, MDB_val *data)
{
    struct key past = *prefix;
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

/* Whether the run has the name in the table FLOWS or TAGS. */
static int has_name(lf_view *v, enum table t, const struct key *name, uint32_t run, bool *has,
                    luaflow_error *err)
{
    struct key k = *name;
    key_u32(&k, run);
    lf_slice value;
    int rc = get(v, t, &k, &value, err);
    *has = rc == LUAFLOW_OK;
    return rc == LUAFLOW_ENOTFOUND ? LUAFLOW_OK : rc;
}

int lf_view_runs(lf_view *v, const char *flow, const char *tag, uint32_t before, uint32_t *runs,
                 size_t max, size_t *n, luaflow_error *err)
{
    struct key by_flow = {0}, by_tag = {0};
    *n = 0;
    if ((flow != NULL && !key_name(&by_flow, lf_slice_of(flow, strlen(flow)))) ||
        (tag != NULL && !key_name(&by_tag, lf_slice_of(tag, strlen(tag)))))
        return LUAFLOW_OK;
    enum table t = tag != NULL ? TAGS : flow != NULL ? FLOWS : RUNS; /* the rarer walks, the other asks */
    const struct key *prefix = tag != NULL ? &by_tag : &by_flow;
    MDB_cursor *c;
    int rc = open_cursor(v, t, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    MDB_val key, data;
    lf_slice value;
    int at = seek_back(c, prefix, before, &key, &data);
    for (; at == 0 && *n < max && starts_with(key, prefix); at = mdb_cursor_get(c, &key, &data, MDB_PREV)) {
        uint32_t run = u32_at(key, prefix->size);
        bool wanted = t != RUNS || (key.mv_size == 5 && ((uint8_t *)key.mv_data)[4] == RUN_RECORD);
        if (!wanted)
            continue;
        rc = unseal(v, t, key, data, &value, err);
        if (rc == LUAFLOW_OK && t == TAGS && flow != NULL)
            rc = has_name(v, FLOWS, &by_flow, run, &wanted, err);
        if (rc != LUAFLOW_OK)
            break;
        if (wanted)
            runs[(*n)++] = run;
    }
    if (rc != LUAFLOW_OK) {
        mdb_cursor_close(c);
        return rc;
    }
    return end_walk(v, c, at, err);
}

static int get_piece(const lf_view *v, MDB_val key, MDB_val data, lf_log_piece *piece, luaflow_error *err)
{
    lf_slice value;
    int rc = unseal(v, LOGS, key, data, &value, err);
    return rc == LUAFLOW_OK && !lf_log_piece_get(value, piece) ? fail_entry(v, LOGS, key, err) : rc;
}

int lf_view_log(lf_view *v, uint32_t run, uint32_t task, lf_log_fn tell, void *payload,
                luaflow_error *err)
{
    MDB_cursor *c;
    int rc = open_cursor(v, LOGS, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    struct key prefix = {0};
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
    return end_walk(v, c, at, err);
}

int lf_view_logs(lf_view *v, uint32_t run, uint32_t after, uint32_t *tasks, uint32_t *steps,
                 size_t max, size_t *n, luaflow_error *err)
{
    *n = 0;
    MDB_cursor *c;
    int rc = open_cursor(v, LOGS, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    struct key of_run = {0};
    key_u32(&of_run, run);
    int at = 0;
    while (*n < max && after < UINT32_MAX) {
        struct key from = of_run;
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
    return end_walk(v, c, at, err);
}

/* ---- writing ---- */

int lf_write_begin(lf_store *s, lf_write **out, luaflow_error *err)
{
    int rc = check_process(s, err);
    if (rc != LUAFLOW_OK)
        return rc;
    if (s->readonly)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "the store %s may only be read; change its permissions, or name another store "
                       "with --store", s->dir);
    lf_write *w = calloc(1, sizeof *w);
    if (w == NULL)
        return lf_fail_memory(err);
    w->view.store = s;
    rc = mdb_txn_begin(s->env, NULL, 0, &w->view.txn);
    if (rc != 0) {
        free(w);
        return fail_lmdb(s->dir, "write", rc, err);
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
    int rc = txn != NULL ? mdb_txn_commit(txn) : MDB_BAD_TXN;
    return rc == 0 ? LUAFLOW_OK : fail_write(w, rc, err);
}

int lf_write_commit(lf_write *w, luaflow_error *err)
{
    int rc = commit(w, err);
    lf_write_abort(w);
    return rc;
}

void lf_write_abort(lf_write *w)
{
    if (w == NULL)
        return;
    close_tasks(w);
    mdb_txn_abort(w->view.txn);
    lf_bytes_fini(&w->scratch);
    free(w);
}

lf_view *lf_write_view(lf_write *w) { return &w->view; }

/* Commits what there is so far, and goes on in a new transaction. Blobs that nothing
 * refers to yet were unprotected in between: nobody may have pruned. */
static int renew(lf_write *w, luaflow_error *err)
{
    uint32_t before, after;
    int rc = get_meta(&w->view, "pruned", &before, err);
    if (rc == LUAFLOW_OK)
        rc = commit(w, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_store *s = w->view.store;
    int code = mdb_txn_begin(s->env, NULL, 0, &w->view.txn);
    if (code != 0)
        return fail_write(w, code, err);
    rc = get_meta(&w->view, "pruned", &after, err);
    if (rc == LUAFLOW_OK && before != after && w->any_blob)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s was pruned while a large artifact was being stored; go on with `luaflow "
                       "resume`", s->dir);
    return rc;
}

static int reserve(lf_write *w, const struct key *k, size_t size, uint8_t **to, luaflow_error *err)
{
    MDB_val key = val_of(k), data = {size, NULL};
    int rc = mdb_put(w->view.txn, w->view.store->table[BLOBS], &key, &data, MDB_RESERVE);
    if (rc != 0)
        return fail_write(w, rc, err);
    *to = data.mv_data;
    return LUAFLOW_OK;
}

/* Puts chunk after chunk. Where that took several transactions, another writer may have
 * been at the same chunks or at the whole blob: `*again` says to look anew. */
static int put_chunks(lf_write *w, const struct key *k, lf_slice bytes, bool *again, luaflow_error *err)
{
    lf_slice left = bytes;
    size_t pending = 0;
    for (uint32_t n = 0; left.size > 0; n++) {
        struct key chunk = *k;
        key_u32(&chunk, n);
        size_t size = left.size < CHUNK ? left.size : CHUNK;
        uint8_t *to;
        int rc = reserve(w, &chunk, size, &to, err);
        if (rc != LUAFLOW_OK)
            return rc;
        memcpy(to, left.data, size);
        left = lf_slice_of(left.data + size, left.size - size);
        pending += size;
        if (pending < AT_ONCE || left.size == 0)
            continue;
        pending = 0;
        rc = renew(w, err);
        if (rc != LUAFLOW_OK)
            return rc;
        MDB_val head = val_of(k), data;
        int found = mdb_get(w->view.txn, w->view.store->table[BLOBS], &head, &data);
        *again = found == 0;
        if (found != MDB_NOTFOUND)
            return found == 0 ? LUAFLOW_OK : fail_write(w, found, err);
    }
    struct blob b = {.view = &w->view, .key = *k, .size = bytes.size, .chunked = true};
    bool same = true;
    int rc = bytes.size > AT_ONCE ? same_bytes(&b, bytes, &same, err) : LUAFLOW_OK;
    *again = !same;
    return rc;
}

static int put_blob(lf_write *w, const struct key *k, lf_slice bytes, bool *again, luaflow_error *err)
{
    *again = false;
    bool chunked = bytes.size > CHUNK;
    int rc = chunked ? put_chunks(w, k, bytes, again, err) : LUAFLOW_OK;
    if (rc != LUAFLOW_OK || *again)
        return rc;
    uint8_t *to;
    rc = reserve(w, k, 1 + (chunked ? 8 : bytes.size), &to, err);
    if (rc != LUAFLOW_OK)
        return rc;
    *to++ = chunked ? CHUNKED : PLAIN;
    if (chunked) { /* last of all: a blob is there when its head is */
        put_u32(to, (uint32_t)((uint64_t)bytes.size >> 32));
        put_u32(to + 4, (uint32_t)bytes.size);
    } else if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return LUAFLOW_OK;
}

/* The head and all chunks. */
static int drop_blob(lf_write *w, const struct key *k, luaflow_error *err)
{
    MDB_cursor *c;
    int rc = open_cursor(&w->view, BLOBS, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    for (;;) {
        MDB_val key = val_of(k), data;
        rc = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
        if (rc != 0 || !starts_with(key, k))
            break;
        rc = mdb_cursor_del(c, 0);
        if (rc != 0)
            break;
    }
    return end_walk(&w->view, c, rc, err);
}

/* One look at what is under key and salt: `*done` when the bytes are there now, `*again`
 * to look once more; neither when other bytes own the place. */
static int settle_blob(lf_write *w, const lf_key *key, uint8_t salt, lf_slice bytes, bool *done,
                       bool *again, luaflow_error *err)
{
    struct blob b;
    *done = *again = false;
    int rc = find_blob(&w->view, key, salt, &b, err);
    if (rc == LUAFLOW_OK) {
        rc = same_bytes(&b, bytes, done, err);
        if (rc != LUAFLOW_OK || *done)
            return rc;
        bool sound = false;
        rc = is_sound(&b, key, &sound, err);
        if (rc != LUAFLOW_OK || sound)
            return rc;
        rc = drop_blob(w, &b.key, err);
    } else if (rc == LUAFLOW_ENOTFOUND) {
        rc = LUAFLOW_OK;
    }
    if (rc == LUAFLOW_OK)
        rc = put_blob(w, &b.key, bytes, again, err);
    *done = !*again;
    return rc;
}

int lf_write_blob(lf_write *w, const lf_key *key, lf_slice bytes, uint8_t *salt, luaflow_error *err)
{
    for (unsigned n = 0; n <= UINT8_MAX; n++) {
        bool done = false, again = true;
        while (again) {
            int rc = settle_blob(w, key, (uint8_t)n, bytes, &done, &again, err);
            if (rc != LUAFLOW_OK)
                return rc;
        }
        if (done) {
            w->any_blob = true;
            *salt = (uint8_t)n;
            return LUAFLOW_OK;
        }
    }
    return lf_fail(err, LUAFLOW_ESTORE,
                   "cannot store a value in %s: 256 others have its key, which is no accident",
                   w->view.store->dir);
}

/* Finds the end of the table once. */
static int open_tasks(lf_write *w, luaflow_error *err)
{
    MDB_val key, data;
    int rc = open_cursor(&w->view, TASKS, &w->tasks, err);
    if (rc != LUAFLOW_OK)
        return rc;
    int at = mdb_cursor_get(w->tasks, &key, &data, MDB_LAST);
    if (at != 0 && at != MDB_NOTFOUND)
        return fail_write(w, at, err);
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
    struct key k;
    k.size = 0;
    key_u32(&k, run);
    key_u32(&k, task);
    uint64_t number = (uint64_t)run << 32 | task;
    bool append = !w->any_task || number > w->last_task;
    MDB_val key = val_of(&k), data = {SEAL + record.size, NULL};
    int rc = mdb_cursor_put(w->tasks, &key, &data, MDB_RESERVE | (append ? MDB_APPEND : MDB_NOOVERWRITE));
    if (rc == MDB_KEYEXIST)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "task %u of run %u is in %s already: a finished task is never written again", task,
                       run, w->view.store->dir);
    if (rc != 0)
        return fail_write(w, rc, err);
    fill_entry(TASKS, key, data, record);
    if (append) {
        w->last_task = number;
        w->any_task = true;
    }
    return LUAFLOW_OK;
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
    struct key k = {0};
    key_u32(&k, run);
    key_u32(&k, step);
    key_u8(&k, failed);
    key_u32(&k, tasks[0]);
    int rc = put(w, STEPS, &k, lf_slice_of(value->data, value->size), MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST)
        return lf_fail(err, LUAFLOW_ESTORE, "task %u of run %u is in the list of its step in %s already",
                       tasks[0], run, w->view.store->dir);
    return rc == 0 ? LUAFLOW_OK : fail_write(w, rc, err);
}

int lf_write_log(lf_write *w, uint32_t run, uint32_t task, uint32_t attempt, uint32_t sequence,
                 const lf_log_piece *piece, luaflow_error *err)
{
    lf_bytes_clear(&w->scratch);
    lf_log_piece_put(&w->scratch, piece);
    if (w->scratch.failed)
        return lf_fail_memory(err);
    struct key k = {0};
    key_u32(&k, run);
    key_u32(&k, task);
    key_u32(&k, attempt);
    key_u32(&k, sequence);
    int rc = put(w, LOGS, &k, lf_slice_of(w->scratch.data, w->scratch.size), 0);
    return rc == 0 ? LUAFLOW_OK : fail_write(w, rc, err);
}

int lf_write_next_run(lf_write *w, uint32_t *run, luaflow_error *err)
{
    int rc = get_meta(&w->view, "next", run, err);
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
    struct key k = run_key(run, RUN_RECORD);
    int rc = put(w, RUNS, &k, lf_slice_of(w->scratch.data, w->scratch.size), flags);
    if (rc == MDB_KEYEXIST)
        return fail_damaged(&w->view, err, "the number of the next run");
    return rc == 0 ? LUAFLOW_OK : fail_write(w, rc, err);
}

int lf_write_state(lf_write *w, uint32_t run, const lf_run_state *state, luaflow_error *err)
{
    lf_bytes_clear(&w->scratch);
    lf_run_state_put(&w->scratch, state);
    if (w->scratch.failed)
        return lf_fail_memory(err);
    struct key k = run_key(run, RUN_STATE);
    int rc = put(w, RUNS, &k, lf_slice_of(w->scratch.data, w->scratch.size), 0);
    return rc == 0 ? LUAFLOW_OK : fail_write(w, rc, err);
}

static int enter_name(lf_write *w, enum table t, lf_slice name, uint32_t run, luaflow_error *err)
{
    struct key k = {0};
    if (!key_name(&k, name))
        return lf_fail(err, LUAFLOW_EUSAGE, "'%.*s' cannot be the name of a %s: 1 to %d bytes",
                       (int)name.size, (const char *)name.data, t == FLOWS ? "flow" : "tag",
                       NAME_MAX_SIZE);
    key_u32(&k, run);
    int rc = put(w, t, &k, (lf_slice){NULL, 0}, 0);
    return rc == 0 ? LUAFLOW_OK : fail_write(w, rc, err);
}

static int enter_tags(lf_write *w, uint32_t run, lf_slice tags, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    for (lf_reader r = lf_reader_of(tags.data, tags.size); rc == LUAFLOW_OK && r.at < r.end;)
        rc = enter_name(w, TAGS, lf_read_string(&r), run, err);
    return rc;
}

int lf_write_run(lf_write *w, const lf_run_record *record, const lf_run_state *state, uint32_t *run,
                 luaflow_error *err)
{
    int rc = lf_write_next_run(w, run, err);
    if (rc == LUAFLOW_OK) rc = put_run_record(w, *run, record, MDB_NOOVERWRITE, err);
    if (rc == LUAFLOW_OK) rc = lf_write_state(w, *run, state, err);
    if (rc == LUAFLOW_OK) rc = enter_name(w, FLOWS, record->flow, *run, err);
    if (rc == LUAFLOW_OK) rc = enter_tags(w, *run, record->tags, err);
    if (rc != LUAFLOW_OK)
        return rc;
    int code = put_meta(w, "next", *run + 1);
    return code == 0 ? LUAFLOW_OK : fail_write(w, code, err);
}

static int remove_tags(lf_write *w, uint32_t run, lf_slice tags, luaflow_error *err)
{
    for (lf_reader r = lf_reader_of(tags.data, tags.size); r.at < r.end;) {
        struct key k = {0};
        if (!key_name(&k, lf_read_string(&r)))
            continue;
        key_u32(&k, run);
        MDB_val key = val_of(&k);
        int rc = mdb_del(w->view.txn, w->view.store->table[TAGS], &key, NULL);
        if (rc != 0 && rc != MDB_NOTFOUND)
            return fail_write(w, rc, err);
    }
    return LUAFLOW_OK;
}

int lf_write_tags(lf_write *w, uint32_t run, uint32_t n_tags, lf_slice tags, luaflow_error *err)
{
    lf_slice stored;
    int rc = get_run_part(&w->view, run, RUN_RECORD, &stored, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_buf *copy = lf_buf_copy(stored.data, stored.size); /* what LMDB gave ends with the next write */
    lf_run_record record;
    if (copy == NULL)
        rc = lf_fail_memory(err);
    else if (!lf_run_record_get(lf_buf_slice(copy), &record))
        rc = fail_damaged(&w->view, err, "the record of run %u", run);
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
