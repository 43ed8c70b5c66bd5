/* plan.h -- one run of a graph: which tasks are ready, who waits at which join.
 * A pure machine: it is asked for ready tasks and told how they ended. Knows nothing
 * of threads, files, Lua or the clock. Owner thread only.
 *
 * A frame is opened by every branch and foreach and closed by its join; frames stack
 * as brackets do. The children of a foreach are numbered, not made: one is made when
 * it is taken, so a fan-out of n costs 4 bytes a child and nothing else for one that
 * has not begun.
 *
 * A task is told from the others of its step by its place (record.h): an index for each
 * foreach around it, and for a step in a loop its turn. Turns are counted within an
 * element of a foreach; a branch adds nothing to a place and starts no new count. */
#ifndef LF_PLAN_H
#define LF_PLAN_H

#include "graph.h"

/* Something of the plan's user that tasks carry along: the plan counts who holds it. */
typedef struct lf_plan_hooks {
    void (*hold)(void *thing); /* another holder */
    void (*drop)(void *thing); /* a holder less */
} lf_plan_hooks;

typedef struct lf_plan lf_plan;

/* A task from when it is taken until it is finished. Fields are read only. */
typedef struct lf_planned {
    uint32_t number;         /* from 1, in the order of taking */
    uint32_t step;
    uint32_t index;          /* 1..size if the nearest frame is a foreach's, else 0 */
    uint32_t turn;           /* 1, or the how-manyeth run of the step in this place */
    lf_slice prefix;         /* the place without index and turn; borrowed while the task lives */
    void *thing;             /* what its one parent left (counted), or NULL: `start`, joins */
    uint32_t parent;         /* its parent's number; 0 for `start` and joins */
    /* of a join: its inputs' numbers in order; the taker may take them away by setting
     * `inputs` to NULL, and then frees them */
    uint32_t *inputs;
    uint32_t n_inputs;
    void *opener;            /* of a join: the `thing` of the frame it closes (counted) */
    uint32_t attempt;        /* the taker's own: 0 at first, and kept when it is put back */
} lf_planned;

/* How a task ended, for its successors' sake. */
typedef struct lf_decision {
    uint64_t width;  /* of a foreach: how many children */
    uint32_t choice; /* of a switch: the step it chose */
    void *thing;     /* for its children; held as often as the plan needs it */
} lf_decision;

/* A plan with `start` ready, or NULL when out of memory. Borrows `g`. */
lf_plan *lf_plan_new(const lf_graph *g, lf_plan_hooks hooks);
void lf_plan_free(lf_plan *p); /* drops everything held; accepts NULL */

/* Of the steps with ready tasks for which `allow(payload, step)` holds (NULL: all), the one
 * to run first, or LF_NONE: what has begun goes on before more is begun (depth first, which
 * keeps few tasks alive), and of several arms the first in the order of the graph. */
uint32_t lf_plan_ready(const lf_plan *p, bool (*allow)(void *payload, uint32_t step),
                       void *payload);

/* How many tasks of `step` could be taken now. */
uint64_t lf_plan_ready_count(const lf_plan *p, uint32_t step);

/* Takes up to `max` ready tasks of `step`: concrete ones first, in the order they became
 * ready, then children of open foreaches in index order, the innermost and newest frame
 * first. Returns how many; fewer than possible only when out of memory. */
size_t lf_plan_take(lf_plan *p, uint32_t step, size_t max, lf_planned **out);

/* Puts back a task that was taken and is to be taken again; it keeps its number. Tasks put back
 * are the next to be taken of their step, in the order of their numbers. */
void lf_plan_return(lf_plan *p, lf_planned *task);

/* The task succeeded; `task` is gone afterwards, and its successors are ready. Else it
 * was as with lf_plan_fail: LUAFLOW_ENOMEM, or LUAFLOW_EUSAGE when the run would have
 * more than 2^32-1 tasks. */
int lf_plan_finish(lf_plan *p, lf_planned *task, const lf_decision *decision);

/* The task failed for good: nothing after it can run, but what does not depend on it
 * can. `task` is gone afterwards. */
void lf_plan_fail(lf_plan *p, lf_planned *task);

/* Whether the last step has finished. */
bool lf_plan_done(const lf_plan *p);

/* How many tasks are taken and not finished. */
uint64_t lf_plan_running(const lf_plan *p);

#endif
