/* replay.h -- what a resumed run takes over from its origin: the tasks that succeeded there, and
 * all of whose ancestors are taken over. They are found by step and place, which are the same
 * in every run; what they left stays where it is. Immutable once made: any thread. Knows
 * nothing of Lua, of plans or of who runs tasks. */
#ifndef LF_REPLAY_H
#define LF_REPLAY_H

#include "graph.h"
#include "store.h"
#include "task.h"

typedef struct lf_replay lf_replay;

/* Reads all that run `origin` has done, of a flow whose graph now is `graph` (borrowed as long).
 * `step`, where not NULL, and all after it are to run again. LUAFLOW_EUSAGE when there is no such
 * step, or when a task to be taken over now has other successors. The caller frees `*out`. */
int lf_replay_new(lf_store *s, const lf_graph *graph, uint32_t origin, const char *step,
                  lf_replay **out, luaflow_error *err);
void lf_replay_free(lf_replay *r); /* accepts NULL */

/* How many tasks of a step are taken over. */
uint32_t lf_replay_count(const lf_replay *r, uint32_t step);

/* If `t`, of a run whose facts have a replay, is taken over, seals it as such (a success whose
 * origin is set) and says so in `*reused`; else it is as it was. `*next` is a guess at where it is
 * among the tasks of the origin, from 0, and is left at the one after it. LUAFLOW_ESTORE or
 * LUAFLOW_ENOMEM. */
int lf_replay_task(lf_view *v, lf_task *t, size_t *next, bool *reused, luaflow_error *err);

/* Appends why `t` is reused or runs: "it failed in run 3". */
void lf_replay_reason(const lf_task *t, lf_bytes *out);

/* If the parent of `t`, which is to run, was reused, puts a stand-in in its place that holds
 * what it left; `*last` (counted, the caller's) is the one made before, for siblings come
 * together. */
int lf_replay_parent(lf_store *s, lf_task *t, lf_task **last, luaflow_error *err);

#endif
