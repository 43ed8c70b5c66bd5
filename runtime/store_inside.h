/* store_inside.h -- what the files of the store share: its tables, its entries, its
 * transactions. Only they include it, and LMDB.
 *
 * Every entry but the blobs begins with a seal, a hash over its table, key and value:
 * LMDB notices no flipped bit, and a sound record under a wrong number is damage too.
 * A blob is checked by its own name. */
#ifndef LF_STORE_INSIDE_H
#define LF_STORE_INSIDE_H

#include "disk.h"
#include "owner.h"
#include "store.h"

#include <lmdb.h>
#include <pthread.h>
#include <sys/types.h>

/* LF_BLOBS  key 16, salt u8 -> 0, bytes; or 1, size u64 of what lies in chunks
 *           key 16, salt u8, chunk u32 -> bytes
 * LF_TASKS  run u32, task u32 -> task record
 * LF_ATTEMPTS run u32, task u32, attempt u32 -> task record, of an attempt that failed and was
 *           followed by another
 * LF_STEPS  run u32, step u32, failed u8, first task u32 -> how many, how far the last, gaps
 * LF_RUNS   run u32, part u8 -> run record (0), run state (1)
 * LF_FLOWS  name, 0, run u32 -> nothing
 * LF_TAGS   tag, 0, run u32 -> nothing
 * LF_LOGS   run u32, task u32, attempt u32, sequence u32 -> log piece
 * LF_META   "version", "next", "pruned", "sweep" -> u32. Whoever removes blobs raises "pruned" in
 *           the same transaction: see lf_write_renew. While "sweep" is not 0: 'b', key 16, salt u8
 *           -> nothing, of each blob that was put or found: see store_prune.c */
enum lf_table {
    LF_BLOBS, LF_TASKS, LF_ATTEMPTS, LF_STEPS, LF_RUNS, LF_FLOWS, LF_TAGS, LF_LOGS,
    LF_META, /* the last of them */
    LF_TABLES
};
extern const char *const lf_table_names[LF_TABLES];

enum {
    LF_STORE_VERSION = 2,
    LF_MAX_READERS = 1024,
    LF_NAME_MAX = 128, /* of flows and tags; LMDB's keys end at 511 bytes */
    LF_SEAL = 4,
    LF_RUN_RECORD = 0, /* the parts of a run */
    LF_RUN_STATE = 1
};

struct lf_view {
    lf_store *store;
    MDB_txn *txn;
    lf_view *next; /* among the idle ones */
    /* of a view that only reads: where it looks for tasks. Those that are asked for together
       lie together, and a cursor that is on the right page need not climb the tree. */
    MDB_cursor *tasks;
    uint64_t next_task; /* the key after that where the cursor stands, as a number; 0: it stands nowhere */
    bool is_reading;
};

struct lf_store {
    lf_store *next; /* in the registry */
    dev_t dev;
    ino_t ino;
    pid_t pid;      /* the process that opened it: LMDB does not survive fork() */
    unsigned users; /* 0 while it is being opened or closed */
    char *dir;
    MDB_env *env;
    MDB_dbi table[LF_TABLES];
    bool readonly;
    lf_owner *owner;
    pthread_mutex_t readers, writers; /* of this process: who may ask for the turn; see lf_turn_take */
    pthread_mutex_t idle_lock;
    lf_view *idle; /* their transactions keep their place among the readers */
    unsigned n_idle;
};

struct lf_write {
    lf_view view;
    MDB_cursor *tasks;  /* for appending; NULL until the first task */
    uint64_t last_task; /* the greatest key there, as a number */
    bool any_task;
    bool any_blob; /* one was put or found already */
    bool was_pruned;
    enum { LF_UNKNOWN, LF_NO, LF_YES } sweeping; /* somebody sweeps: asked when it is needed */
    lf_bytes scratch;
};

/* ---- what went wrong, in words: all return the error's code ---- */

/* An errno or code of LMDB's; `doing` is "open", "read" or "write". */
int lf_lmdb_fail(const char *dir, const char *doing, int rc, luaflow_error *err);
int lf_view_fail(const lf_view *v, int rc, luaflow_error *err);
int lf_write_fail(const lf_write *w, int rc, luaflow_error *err);
/* "`what` is damaged"; `what` is a format. */
int lf_damage_fail(const lf_view *v, luaflow_error *err, const char *what, ...) LF_PRINTF(3, 4);
int lf_entry_fail(const lf_view *v, enum lf_table t, MDB_val key, luaflow_error *err);

/* Around all that reads or writes the map: see lf_store_inside. They nest. */
void lf_inside_enter(const lf_store *s);
void lf_inside_leave(void);

/* LMDB's locks are robust mutexes, which can lose a wake-up: when a process is killed that waits for
 * one and was just woken, and another takes it just then, the others sleep on though it is free. And
 * who is killed while he opens an environment that nobody else has open leaves its lock file half
 * made to those who wait for it: they would read, and write, by a head that is not the newest. So
 * nobody waits inside of LMDB: each takes his turn before. That of the writers is held for a whole
 * transaction. They are taken in this order: OPEN, WRITER, READER. */
void lf_turn_take(lf_store *s, lf_turn turn);
void lf_turn_end(lf_store *s, lf_turn turn);

/* LUAFLOW_ESTORE after a fork(). */
int lf_process_check(const lf_store *s, luaflow_error *err);

/* Whether data.mdb is as long as it must be. Called while a read transaction is open. */
int lf_pages_check(const lf_store *s, luaflow_error *err);

/* ---- the file, for those who read it page by page ---- */

/* Others of this process that open the store wait while one is held, unless it was open before
 * (then `is_alone` is false): nothing of what the file says is believed. */
typedef struct lf_pin {
    lf_store *store;
    MDB_txn *txn;
    int fd;
    bool is_alone;
} lf_pin;

/* lf_pin_close, also after a failure. */
int lf_pin_open(const char *dir, lf_pin *out, luaflow_error *err);
/* Holds the newest snapshot instead of the one held: its pages stay as they are. */
int lf_pin_begin(lf_pin *p, uint64_t *txn, luaflow_error *err);
void lf_pin_close(lf_pin *p);

/* ---- keys ---- */

_Static_assert(sizeof((lf_entry_key *)0)->bytes >= LF_NAME_MAX + 8, "a name, its NUL, a number");

static inline void put_u32(uint8_t *to, uint32_t n)
{
    to[0] = (uint8_t)(n >> 24);
    to[1] = (uint8_t)(n >> 16);
    to[2] = (uint8_t)(n >> 8);
    to[3] = (uint8_t)n;
}

static inline uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void key_u8(lf_entry_key *k, uint8_t n) { k->bytes[k->size++] = n; }

static inline void key_u32(lf_entry_key *k, uint32_t n)
{
    put_u32(k->bytes + k->size, n);
    k->size += 4;
}

/* A name and its NUL. False for one that no flow or tag can have. */
static inline bool key_name(lf_entry_key *k, lf_slice name)
{
    if (name.size == 0 || name.size > LF_NAME_MAX || memchr(name.data, 0, name.size) != NULL)
        return false;
    memcpy(k->bytes + k->size, name.data, name.size);
    k->size += name.size;
    key_u8(k, 0);
    return true;
}

static inline MDB_val val_of(const lf_entry_key *k) { return (MDB_val){k->size, (void *)k->bytes}; }

static inline bool starts_with(MDB_val key, const lf_entry_key *prefix)
{
    return key.mv_size >= prefix->size && memcmp(key.mv_data, prefix->bytes, prefix->size) == 0;
}

static inline uint32_t u32_at(MDB_val key, size_t offset)
{
    return key.mv_size < offset + 4 ? 0 : get_u32((const uint8_t *)key.mv_data + offset);
}

static inline lf_entry_key run_key(uint32_t run, uint8_t part)
{
    lf_entry_key k = {0};
    key_u32(&k, run);
    key_u8(&k, part);
    return k;
}

/* ---- entries ---- */

enum { LF_BLOB_PLAIN = 0, LF_BLOB_CHUNKED = 1 }; /* what a blob's entry begins with */
#define LF_BLOB_CHUNK ((size_t)4 << 20) /* contiguous free pages for so much are easily found */

/* The value behind `k`, its seal checked. LUAFLOW_ENOTFOUND without a sentence when
 * there is none. */
int lf_entry_get(const lf_view *v, enum lf_table t, const lf_entry_key *k, lf_slice *out,
                 luaflow_error *err);

/* lf_entry_get of a task, fast for tasks that lie close to the last one. */
int lf_entry_get_task(lf_view *v, const lf_entry_key *k, lf_slice *out, luaflow_error *err);

/* Whether the seal is right; the value behind it. */
bool lf_entry_sound(enum lf_table t, MDB_val key, MDB_val data, lf_slice *out);

/* The same for what a cursor found, with a sentence. */
int lf_entry_unseal(const lf_view *v, enum lf_table t, MDB_val key, MDB_val data, lf_slice *out,
                    luaflow_error *err);

/* Returns LMDB's code: MDB_KEYEXIST with MDB_NOOVERWRITE. */
int lf_entry_put(lf_write *w, enum lf_table t, const lf_entry_key *k, lf_slice value,
                 unsigned flags);

/* A part of a run: LUAFLOW_ENOTFOUND, with a sentence, when there is none. */
int lf_run_part_get(lf_view *v, uint32_t run, uint8_t part, lf_slice *value, luaflow_error *err);

/* Seal and value into reserved memory of LF_SEAL bytes more than the value has. */
void lf_entry_fill(enum lf_table t, MDB_val key, MDB_val data, lf_slice value);

/* A number of the table LF_META; 0 when it is not there. */
int lf_meta_get(const lf_view *v, const char *name, uint32_t *n, luaflow_error *err);
int lf_meta_put(lf_write *w, const char *name, uint32_t n); /* returns LMDB's code */

int lf_cursor_open(const lf_view *v, enum lf_table t, MDB_cursor **c, luaflow_error *err);
/* Closes it; running out of entries (`rc`) is no failure. */
int lf_cursor_end(const lf_view *v, MDB_cursor *c, int rc, luaflow_error *err);

/* Notes for who sweeps just now that the blob of this key is needed. */
int lf_keep_blob(lf_write *w, const lf_entry_key *name, luaflow_error *err);
/* Whether that was noted; `name` is key and salt. */
int lf_is_kept_blob(lf_write *w, const uint8_t *name, bool *kept, luaflow_error *err);

/* Commits what there is so far, and goes on in a new transaction. */
int lf_write_renew(lf_write *w, luaflow_error *err);

#endif
