/* seal.h -- the envelope of a task while it is open: answers what the step asks, takes what it
 * leaves, and turns that into the record: values that are new are stored, everything untouched
 * is passed on by key. Knows nothing of Lua, nor of who runs the step. One thread at a time. */
#ifndef LF_SEAL_H
#define LF_SEAL_H

#include "log.h"
#include "staged.h"
#include "state.h"
#include "store.h"
#include "world.h"

typedef struct lf_seal lf_seal;

/* For one task after the other; borrows all. NULL when out of memory. */
lf_seal *lf_seal_new(lf_store *store, lf_staged *staged, lf_log *log);
void lf_seal_free(lf_seal *s); /* accepts NULL */

/* Opens `t`, at `tick` (lf_tick_us); what it prints is its log from here on. */
void lf_seal_begin(lf_seal *s, lf_task *t, uint64_t tick);

/* The open task goes on as `to`, a zeroed one in another batch; what it owns goes with it. */
void lf_seal_move(lf_seal *s, lf_task *to);

/* Of the open task. */
void lf_seal_who(lf_seal *s, lf_who *out);
lf_world *lf_seal_world(lf_seal *s);

/* Closes it: decides what its step must decide and writes the record, of a success, or of a
 * failure if there is one (NULL: none) or the outcome cannot be kept. The last failure that
 * the step catches is a success. Only running out of memory leaves the batch's error set. */
void lf_seal_finish(lf_seal *s, const lf_failure *failure);

/* When the last one was closed: a tick. */
uint64_t lf_seal_ended(const lf_seal *s);

#endif
