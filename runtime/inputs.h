/* inputs.h -- what a task reads: its parent's artifacts, its inputs if it is a join, its
 * run's parameters; from a name to bytes. Knows nothing of Lua. Worker threads; views of
 * the store are begun and ended inside each call. */
#ifndef LF_INPUTS_H
#define LF_INPUTS_H

#include "staged.h"
#include "store.h"
#include "task.h"

/* Where an artifact is. Borrowed from the tasks and scratch it was found in. */
typedef struct lf_found {
    lf_ref ref;
    lf_blob *blob; /* not NULL: it may still be in memory */
} lf_found;

/* Finds what the parent of `t` passes on under `name`; false when there is nothing. */
bool lf_inputs_find(const lf_task *t, lf_slice name, lf_found *out);

/* The next artifact that the parent passes on, in no order; *cursor starts as NULL. */
typedef struct lf_walk {
    const lf_task *source, *over; /* whose outputs are read; whose hide them (NULL: none do) */
    lf_reader reader;
    uint32_t held;
} lf_walk;
lf_walk lf_inputs_walk(const lf_task *t);
bool lf_inputs_next(lf_walk *w, lf_slice *name, lf_found *out);

/* The bytes of what was found, counted for the caller. */
int lf_inputs_load(lf_store *s, const lf_found *found, lf_buf **out, luaflow_error *err);

/* Whether what was found is these bytes: equal keys are no proof. */
int lf_inputs_same(lf_store *s, const lf_found *found, lf_parts bytes, bool *same,
                   luaflow_error *err);

/* What one input of a join has under a name. */
typedef struct lf_gathered {
    bool found;
    lf_ref ref;       /* inline bytes are at `at` in the scratch */
    size_t at;
    lf_blob *blob;    /* borrowed */
} lf_gathered;

/* Looks `name` up in the inputs [from, from + n) of a join; inline values are appended to
 * `scratch` (their `ref.bytes` are not set). */
int lf_inputs_gather(lf_store *s, const lf_task *t, lf_slice name, uint32_t from, uint32_t n,
                     lf_bytes *scratch, lf_gathered *out, luaflow_error *err);
lf_found lf_gathered_at(const lf_gathered *g, const lf_bytes *scratch);

/* Which step reached the join in this slot, and at which place (appended). */
int lf_inputs_origin(lf_store *s, const lf_task *t, uint32_t slot, uint32_t *step,
                     lf_bytes *place, luaflow_error *err);

/* ---- merging what the inputs of a join agree on ---- */

typedef struct lf_merged_entry {
    lf_slice name;
    lf_ref ref;
    lf_blob *blob;    /* counted by the merge */
    bool conflict;    /* inputs have it with different content */
} lf_merged_entry;

typedef struct lf_merged lf_merged;

/* Gathers every artifact that any input has. The caller frees `*out`. */
int lf_inputs_merge(lf_store *s, const lf_task *t, lf_merged **out, luaflow_error *err);
uint32_t lf_merged_count(const lf_merged *m);
const lf_merged_entry *lf_merged_at(const lf_merged *m, uint32_t i); /* ascending by name */
const lf_merged_entry *lf_merged_find(const lf_merged *m, lf_slice name); /* or NULL */
void lf_merged_free(lf_merged *m); /* accepts NULL */

/* ---- parameters ---- */

/* The canonical bytes of parameter `name` in a run's map of parameters; empty if none. */
lf_slice lf_inputs_param(lf_slice params, lf_slice name);

/* What a foreach that has ended went over, counted for the caller: `over` of what `task`, a record
 * of `run`, left, or else of the parameters. */
int lf_inputs_list(lf_view *v, uint32_t run, const lf_task_record *task, const char *over,
                   lf_slice params, lf_buf **out, luaflow_error *err);

#endif
