/* store.h -- one directory, one LMDB environment: blobs by key, tasks and runs
 * by number. The one room that knows LMDB; knows nothing of Lua or libevent.
 *
 * A store may be used by any thread: each begins its own short views. Write
 * transactions belong to one thread at a time. Every failure is LUAFLOW_ESTORE
 * with a sentence naming the file and the cure, unless said otherwise. */
#ifndef LF_STORE_H
#define LF_STORE_H

#include "record.h"

typedef struct lf_store lf_store;

/* The key of an entry. */
typedef struct lf_entry_key {
    size_t size;
    uint8_t bytes[136];
} lf_entry_key;

/* Opens the store in `dir`. When there is none, makes one (directory 0700; whole
 * or not at all) if `create`, else fails with LUAFLOW_ENOTFOUND. A directory that
 * may only be read is opened for reading. Opening the same store again in this
 * process gives the same environment, counted. The caller closes `*out`. */
int lf_store_open(const char *dir, bool create, lf_store **out, luaflow_error *err);

/* Accepts NULL. */
void lf_store_close(lf_store *s);

const char *lf_store_dir(const lf_store *s);

/* The name of a file system, by the type that statfs tells, if other machines may share it: LMDB's
 * locks and its map hold on one machine only. NULL for all others. */
const char *lf_store_shared(long type);

/* The directory of the store that this thread is reading or writing just now, or NULL. Where
 * a signal of a fault finds one, the store is damaged. Async-signal-safe. */
const char *lf_store_inside(void);

/* ---- reading ---- */

/* A snapshot. Belongs to the thread that began it; short, never held while Lua
 * code of a user runs. Slices read from it are borrowed until it ends. */
typedef struct lf_view lf_view;

int lf_view_begin(lf_store *s, lf_view **out, luaflow_error *err);
void lf_view_end(lf_view *v); /* accepts NULL */

/* The value behind `ref` (not a removed one), verified and copied out; inline ones too. The
 * caller frees `*out`. */
int lf_view_blob(lf_view *v, const lf_ref *ref, lf_buf **out, luaflow_error *err);

/* Whether the blob behind `ref` is these bytes: compared where they lie, one by one. One that
 * is missing or damaged is not. */
int lf_view_blob_equal(lf_view *v, const lf_ref *ref, lf_parts bytes, bool *same,
                       luaflow_error *err);

/* A finished task's record, checked. LUAFLOW_ENOTFOUND when it is not there. */
int lf_view_task(lf_view *v, uint32_t run, uint32_t task, lf_task_record *out, luaflow_error *err);

/* The same of an attempt that another followed. */
int lf_view_attempt(lf_view *v, uint32_t run, uint32_t task, uint32_t attempt, lf_task_record *out,
                    luaflow_error *err);

/* How many parents `of`, the record of a task of a run that is there, tells of. LUAFLOW_ESTORE when
 * they cannot be so many: each has a lower number, and a record. */
int lf_view_parents(lf_view *v, uint32_t run, uint32_t task, const lf_task_record *of, uint32_t *n,
                    luaflow_error *err);

/* If `*task`, a record of run `*run`, is of a reused task, puts the record of where it ran, and
 * that run, in their place: it tells what the task left. */
int lf_view_resolve(lf_view *v, uint32_t *run, lf_task_record *task, luaflow_error *err);

/* The record of the task on which `task`, resolved and with a base, stands. */
int lf_view_base(lf_view *v, uint32_t run, const lf_task_record *task, lf_task_record *base,
                 luaflow_error *err);

/* What the task passes on under `name`: its own output, or its base's, or those of the task it
 * reuses. False in `*found` (and LUAFLOW_OK) when there is none, or when it was removed. */
int lf_view_output(lf_view *v, uint32_t run, const lf_task_record *task, lf_slice name, lf_ref *ref,
                   bool *found, luaflow_error *err);

/* Numbers of finished tasks of a run in ascending order, above `after`: of all
 * steps (`step` LF_ANY) or of one, all or only failed ones. */
#define LF_ANY UINT32_MAX
int lf_view_tasks(lf_view *v, uint32_t run, uint32_t step, bool failed, uint32_t after,
                  uint32_t *numbers, size_t max, size_t *n, luaflow_error *err);

/* What is remembered of a run; either may be NULL. LUAFLOW_ENOTFOUND when it is not there. */
int lf_view_run(lf_view *v, uint32_t run, lf_run_record *record, lf_run_state *state,
                luaflow_error *err);

/* Numbers of runs, newest first, below `before` (0: all), of a flow and a tag if
 * these are not NULL. */
int lf_view_runs(lf_view *v, const char *flow, const char *tag, uint32_t before, uint32_t *runs,
                 size_t max, size_t *n, luaflow_error *err);

/* Hears one piece of a log; a false answer ends the walk. */
typedef bool (*lf_log_fn)(void *payload, uint32_t task, uint32_t attempt,
                          const lf_log_piece *piece);

/* Tells the pieces of one task's log in the order they were written. */
int lf_view_log(lf_view *v, uint32_t run, uint32_t task, lf_log_fn tell, void *payload,
                luaflow_error *err);

/* Numbers (ascending, above `after`) of the tasks of a run with a log, and the
 * step of each. */
int lf_view_logs(lf_view *v, uint32_t run, uint32_t after, uint32_t *tasks, uint32_t *steps,
                 size_t max, size_t *n, luaflow_error *err);

/* ---- writing ---- */

/* So much of one blob is written in one transaction: dirty pages are memory. */
#define LF_BLOB_AT_ONCE ((size_t)64 << 20)

/* A write transaction. Nothing is seen by others, or durable, before
 * lf_write_commit; but one with very large blobs may commit what it has so far
 * on the way, which is why blobs are put before the records that need them. Once one of
 * the functions below has failed, the transaction is only good for lf_write_abort. */
typedef struct lf_write lf_write;

int lf_write_begin(lf_store *s, lf_write **out, luaflow_error *err);
int lf_write_commit(lf_write *w, luaflow_error *err); /* frees `w` either way */
void lf_write_abort(lf_write *w);                     /* frees; accepts NULL */

/* Makes sure that the store has `bytes` under `key`: compares them with what is
 * there, puts them if nothing is. Tells the salt they are found under (not 0
 * only after a proven collision). Damaged bytes under the key are replaced. */
int lf_write_blob(lf_write *w, const lf_key *key, lf_slice bytes, uint8_t *salt,
                  luaflow_error *err);

/* Whether blobs that were put in this transaction may be gone again, since it was committed in
 * parts and somebody pruned in between: then all are to be put once more, and this is to be asked
 * again. Until it is asked the transaction cannot be committed. */
bool lf_write_was_pruned(lf_write *w);

/* Puts a finished task's record (as lf_task_record_put wrote it). One that is there already is
 * never written again: LUAFLOW_ESTORE. */
int lf_write_task(lf_write *w, uint32_t run, uint32_t task, lf_slice record, luaflow_error *err);

/* Puts the record of an attempt that failed and is followed by another. */
int lf_write_attempt(lf_write *w, uint32_t run, uint32_t task, uint32_t attempt, lf_slice record,
                     luaflow_error *err);

/* Enters finished tasks of one step, in ascending order, into the index of
 * steps: one entry for many. */
int lf_write_index(lf_write *w, uint32_t run, uint32_t step, bool failed, const uint32_t *tasks,
                   size_t n, luaflow_error *err);

/* Puts one piece of a log after those already there for this task. */
int lf_write_log(lf_write *w, uint32_t run, uint32_t task, uint32_t attempt, uint32_t sequence,
                 const lf_log_piece *piece, luaflow_error *err);

/* Takes the next run number, and puts the run's record and state under it, with
 * the entries by flow and by tag. LUAFLOW_EUSAGE for a name that is empty or longer than
 * 128 bytes. */
int lf_write_run(lf_write *w, const lf_run_record *record, const lf_run_state *state,
                 uint32_t *run, luaflow_error *err);
/* The number that lf_write_run will take in this transaction. */
int lf_write_next_run(lf_write *w, uint32_t *run, luaflow_error *err);

int lf_write_state(lf_write *w, uint32_t run, const lf_run_state *state, luaflow_error *err);

/* Replaces the tags of a run (strings, sorted, each once). */
int lf_write_tags(lf_write *w, uint32_t run, uint32_t n_tags, lf_slice tags, luaflow_error *err);

/* Reads what this transaction sees: a view that ends with it (do not end it). What it gives
 * is borrowed until the next write only. */
lf_view *lf_write_view(lf_write *w);

/* ---- pruning ---- */

/* Which runs go: of those that do not run, all but the newest `keep` of each flow, where they were
 * made before `before_us`, of one flow if `flow` is not NULL. What a running run was resumed
 * from stays. */
typedef struct lf_prune_rule {
    uint64_t keep;
    const char *flow;
    uint64_t before_us;
    bool (*is_alive)(void *payload, uint32_t run); /* whether a process runs it */
    void *payload;
} lf_prune_rule;

/* The caller frees `*runs`. */
int lf_prune_choose(lf_view *v, const lf_prune_rule *rule, uint32_t **runs, size_t *n,
                    luaflow_error *err);

/* Before all of the following, each time in a new transaction, until `*done`: from then on is noted
 * which blobs come to be needed. One process at a time. */
int lf_prune_begin(lf_write *w, bool *done, luaflow_error *err);

/* Takes away the records of those of `runs` that still may go. */
int lf_prune_unlink(lf_write *w, const lf_prune_rule *rule, const uint32_t *runs, size_t n,
                    luaflow_pruned *sum, luaflow_error *err);

/* What is needed by the runs that have a record, those of `gone` left out. After a failure
 * nothing may be swept: something is damaged. */
typedef struct lf_needed lf_needed;
int lf_needed_new(lf_view *v, const uint32_t *gone, size_t n_gone, lf_needed **out,
                  luaflow_error *err);
void lf_needed_free(lf_needed *n); /* accepts NULL */

/* Counts what is not needed. */
int lf_prune_count(lf_view *v, const lf_needed *needed, luaflow_pruned *sum, luaflow_error *err);

/* How far a sweep is. Zeroed memory is its beginning. */
typedef struct lf_sweep {
    unsigned table;
    uint32_t run;
    lf_entry_key from;
    bool done;
} lf_sweep;

/* Removes some of what is not needed, as much as can be done in some hundredths of a second. */
int lf_prune_sweep(lf_write *w, const lf_needed *needed, lf_sweep *at, luaflow_pruned *sum,
                   luaflow_error *err);

/* Ends what lf_prune_begin began, in the same way. */
int lf_prune_end(lf_write *w, bool *done, luaflow_error *err);

/* Writes the file of the store in `dir` anew, without the pages that are free, and puts it in the
 * place of the old one. Only while nobody has the store open, this process included. */
int lf_store_compact(const char *dir, uint64_t *before, uint64_t *after, luaflow_error *err);

/* ---- verifying ---- */

/* Something that is wrong. Slices and text are good until the function returns that hears it. */
typedef struct lf_finding {
    uint32_t run, task;   /* 0: of none */
    uint32_t step;        /* a number of the run's graph, or LF_ANY */
    lf_slice place, name; /* of the task, of the artifact; empty where there is none */
    lf_slice description; /* the flow of the run, as far as it can be read: canonical bytes */
    const char *text;     /* the rest of the sentence that begins with the above */
} lf_finding;

typedef void (*lf_finding_fn)(void *payload, const lf_finding *finding);

/* Reads all there is in the store in `dir` and tells what is wrong with it. Reads the file by
 * itself, not through its map: no damage can harm the process. Sees one moment; what is written
 * meanwhile is no finding. LUAFLOW_OK when all could be looked at, whatever was found. */
int lf_store_verify(const char *dir, lf_finding_fn tell, void *payload, luaflow_verified *sum,
                    luaflow_error *err);

/* "LMDB 0.9.24: (date)". */
const char *lf_store_library(void);

#endif
