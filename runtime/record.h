/* record.h -- what is remembered of a task and of a run, and its bytes:
 * versioned, checksummed, the same on every machine. Knows nothing of LMDB or
 * Lua. Pure; any thread. */
#ifndef LF_RECORD_H
#define LF_RECORD_H

#include "bytes.h"
#include "error.h"
#include "key.h"

/* Values up to so many canonical bytes live in the record itself. */
#define LF_INLINE_MAX 256

/* ---- where a value is ---- */

typedef enum lf_ref_kind {
    LF_REF_REMOVED = 0, /* `self.x = nil`: hides what the base has */
    LF_REF_INLINE = 1,  /* `bytes` are the value */
    LF_REF_KEY = 2      /* a blob */
} lf_ref_kind;

typedef struct lf_ref {
    lf_ref_kind kind;
    lf_slice bytes;  /* inline */
    lf_key key;      /* blob: with `salt`, its name in the store */
    uint8_t salt;    /* 0, or counts proven collisions */
    uint64_t size;   /* of the canonical bytes */
} lf_ref;

/* Equal content: the comparison merge_artifacts makes. */
bool lf_ref_equal(const lf_ref *a, const lf_ref *b);

/* ---- places ---- */

/* A task's place is a run of varints, from the outside in: an element i of a
 * foreach is i << 1, the n-th run in a loop (n from 2) is n << 1 | 1. */
void lf_place_put_index(lf_bytes *place, uint64_t index);
void lf_place_put_turn(lf_bytes *place, uint64_t turn);

/* Appends "eval[2]#3": the step's name and the place in words. */
void lf_path_format(lf_bytes *out, const char *step, lf_slice place);

/* ---- tasks ---- */

enum {
    LF_TASK_FAILED = 1, /* else it succeeded */
    LF_TASK_CAUGHT = 2, /* succeeded by its `catch` */
    LF_TASK_REUSED = 4, /* what it left is told by the record of where it ran */
    LF_TASK_FAR = 8     /* its base is a task of another run */
};

/* A finished task. Slices are borrowed: from the bytes read, or from whoever
 * fills it in to be written. */
typedef struct lf_task_record {
    uint8_t flags;
    uint32_t step, attempt, worker;
    uint64_t started_us, duration_us; /* since 1970; */
    lf_slice place;
    uint32_t base;                    /* the task whose outputs stand behind these; 0 none. A base
                                         has no base itself, and was not reused. */
    uint32_t base_run;                /* the run of that task if FAR; else 0: this one */
    uint32_t origin_run, origin_task; /* where it ran, if REUSED; else 0 */
    lf_slice parents;                 /* see lf_parents_… */
    uint32_t n_outputs;
    lf_slice outputs;                 /* see lf_output_… */
    uint32_t width, choice;           /* what it decided: children of a foreach, target of a switch */
    lf_slice message, traceback;      /* of a failure, also one that was caught */
} lf_task_record;

/* Appends the record's bytes. Returns the offset of the outputs within them
 * (to add to what lf_output_put returned). */
size_t lf_task_record_put(lf_bytes *out, const lf_task_record *record);

/* Reads and checks them. False when damaged or of an unknown version. */
bool lf_task_record_get(lf_slice bytes, lf_task_record *out);

/* Sets the salt byte at `offset` of a record's bytes and mends its checksum. */
void lf_task_record_salt(uint8_t *bytes, size_t size, size_t offset, uint8_t salt);

/* Appends one output; outputs are appended in ascending order of their names.
 * Returns the offset of the salt byte in `out` (0 for what has none). */
size_t lf_output_put(lf_bytes *out, lf_slice name, const lf_ref *ref);

/* Reads the next output; false at the end. */
bool lf_output_next(lf_reader *r, lf_slice *name, lf_ref *ref);

/* Finds `name` among the record's own outputs. */
bool lf_output_find(const lf_task_record *record, lf_slice name, lf_ref *ref);

/* Parents are task numbers in input order, written as runs of consecutive ones. */
void lf_parents_put(lf_bytes *out, const uint32_t *numbers, size_t n);
/* How many there are (0 also for damaged bytes). */
uint64_t lf_parents_count(lf_slice parents);
/* Fills `numbers`, which has room for lf_parents_count of them. */
bool lf_parents_get(lf_slice parents, uint32_t *numbers);

/* ---- runs ---- */

/* What does not change while a run runs, but for its tags. */
typedef struct lf_run_record {
    uint32_t origin;
    uint64_t created_us, seed;
    lf_slice flow;            /* its name */
    lf_ref source, description, params;
    uint32_t n_tags;
    lf_slice tags;            /* strings, sorted: read with lf_read_string */
} lf_run_record;

void lf_run_record_put(lf_bytes *out, const lf_run_record *record);
bool lf_run_record_get(lf_slice bytes, lf_run_record *out);

/* What does change. Per-step counts are in the order of the graph. */
typedef struct lf_run_state {
    uint8_t status;           /* enum luaflow_status */
    uint64_t finished_us;     /* 0 while it runs */
    luaflow_counts total;
    uint32_t n_steps;
    lf_slice counts;          /* four varints a step: started done failed reused */
    lf_slice problem;         /* why it failed without a failed task; empty if none */
} lf_run_state;

void lf_run_state_put(lf_bytes *out, const lf_run_state *state);
bool lf_run_state_get(lf_slice bytes, lf_run_state *out);
void lf_counts_put(lf_bytes *out, const luaflow_counts *counts);
luaflow_counts lf_counts_next(lf_reader *r);

/* ---- logs ---- */

/* A piece of a task's log: whole entries, in the order they were written. */
typedef struct lf_log_piece {
    uint32_t step;
    lf_slice entries;         /* see lf_log_entry_… */
} lf_log_piece;

void lf_log_piece_put(lf_bytes *out, const lf_log_piece *piece);
bool lf_log_piece_get(lf_slice bytes, lf_log_piece *out);
void lf_log_entry_put(lf_bytes *out, uint64_t time_us, uint8_t stream, lf_slice text);
bool lf_log_entry_next(lf_reader *r, uint64_t *time_us, uint8_t *stream, lf_slice *text);

#endif
