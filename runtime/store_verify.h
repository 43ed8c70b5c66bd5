/* store_verify.h -- of the store: what the files that verify it share. Only they include it. */
#ifndef LF_STORE_VERIFY_H
#define LF_STORE_VERIFY_H

#include "store_tree.h"

/* A run that has a record. */
struct lf_verify_run {
    uint32_t number;
    lf_buf *bytes[2]; /* record and state; NULL: not there, or damaged */
    lf_run_record record;
    lf_run_state state;
    bool in_flows, is_hurt;
    uint32_t n_tags;
    luaflow_counts *counts; /* of the tasks found, by step */
};

/* A task that has a record. */
struct lf_verify_task {
    uint32_t run, task, step, attempt, base_run, base;
    uint8_t flags;
    bool is_listed, is_hurt;
    uint32_t attempts;
};

/* A blob that somebody needs. */
struct lf_verify_need {
    lf_key key;
    uint64_t size;
    uint8_t salt;
    enum { EMPTY, MISSING, SOUND, DAMAGED } became;
};

/* The blob that is being read. */
struct lf_verify_blob {
    struct lf_verify_need *need; /* NULL: none, or one that nobody needs */
    uint64_t size, at;
    lf_keying *keying;
};

typedef struct lf_verify {
    lf_pin pin;
    lf_pages pages;
    lf_finding_fn tell;
    void *payload;
    luaflow_verified *sum;
    lf_tree tree[LF_TABLES];
    bool has_table[LF_TABLES];
    enum lf_table table; /* the one that is walked; LF_TABLES: the list of them */
    bool is_free_list;
    uint32_t version, next;
    struct lf_verify_run *runs;
    size_t n_runs, runs_room;
    struct lf_verify_task *tasks;
    size_t n_tasks, tasks_room;
    struct lf_verify_need *needs; /* open addressing */
    size_t n_needs, needs_room;
    struct lf_verify_blob blob;
    uint32_t *parents;
    size_t parents_room;
    uint32_t described; /* the run whose description is in `description` */
    lf_bytes description, text;
} lf_verify;

/* ---- telling ---- */

/* The sentence is in `text`. */
void lf_verify_tell(lf_verify *v, lf_finding *f);
void lf_verify_say(lf_verify *v, const char *format, ...) LF_PRINTF(2, 3);
/* Of a run, or of a task (0: none). */
void lf_verify_say_of(lf_verify *v, uint32_t run, uint32_t task, const char *format, ...)
    LF_PRINTF(4, 5);

/* ---- finding ---- */

/* NULL when it was not seen, or is still to come. */
struct lf_verify_run *lf_verify_run(lf_verify *v, uint32_t number);
struct lf_verify_task *lf_verify_task(lf_verify *v, uint32_t run, uint32_t task);

/* Makes room for one more of `n` items. */
bool lf_verify_room(void **list, size_t n, size_t *room, size_t item);

/* ---- entries ---- */

/* Visits the entries of a table; tells when there is none. */
int lf_verify_walk(lf_verify *v, enum lf_table t, lf_visit_fn visit, luaflow_error *err);

/* The value of an entry whose key has `size` bytes (0: any number); false, and told, when it is
 * damaged. */
bool lf_verify_open(lf_verify *v, lf_slice key, lf_slice data, size_t size, lf_slice *value);

/* All tables of records. */
int lf_verify_records(lf_verify *v, luaflow_error *err);

/* ---- blobs ---- */

/* Notes that a blob is needed. */
int lf_verify_need(lf_verify *v, const lf_ref *ref, luaflow_error *err);
int lf_verify_need_outputs(lf_verify *v, const lf_task_record *task, luaflow_error *err);

/* The blobs, after all records; names those who need one that cannot be read. */
int lf_verify_blobs(lf_verify *v, luaflow_error *err);

static inline void blob_name(const lf_key *key, uint8_t salt, uint8_t name[17])
{
    memcpy(name, key->bytes, sizeof key->bytes);
    name[16] = salt;
}

static inline MDB_val val_from(lf_slice s) { return (MDB_val){s.size, (void *)s.data}; }

#endif
