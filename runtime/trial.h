/* trial.h -- the envelope of a task made anew from what the store remembers of it, so that its
 * step can be tried again. Knows nothing of who runs it. Any thread. */
#ifndef LF_TRIAL_H
#define LF_TRIAL_H

#include "graph.h"
#include "store.h"
#include "task.h"

/* Makes a batch of one task, to be run: task `number` of the run that `facts` are of, whose
 * step is called so in `graph`, or, if `number` is 0, that step's first. It reads what it read
 * then. Its place is put into `place`, the caller's, which stays until it has been run.
 * LUAFLOW_ENOTFOUND when there is no such task, LUAFLOW_EUSAGE when it is of another step. The
 * caller frees `*out`. */
int lf_trial_new(lf_store *s, lf_facts *facts, const lf_graph *graph, const char *step,
                 uint32_t number, lf_bytes *place, lf_batch **out, luaflow_error *err);

#endif
