/* sched_inside.h -- what the files of the scheduler share: its runs, and what is known of them.
 * Only they include it. All of it belongs to the scheduler's thread. */
#ifndef LF_SCHED_INSIDE_H
#define LF_SCHED_INSIDE_H

#include "plan.h"
#include "sched.h"
#include "sched_recent.h"
#include "thread.h"

#include <event2/event.h>

/* Batches are made to last about so long, and never longer than so many tasks, so that
 * handing one over costs little beside running it. */
enum { BATCH_US = 400, BATCH_TASKS = 256 };

/* What is known of one step in one run. */
typedef struct lf_step_state {
    uint32_t running;            /* taken and not sealed */
    uint32_t reused;             /* taken over, and sealed */
    uint32_t batch;              /* how many tasks the next batch may have */
    double mean_us;              /* of a task; 0: not known yet */
    luaflow_counts counts;       /* started: taken; done, failed: committed */
    uint64_t told_us, told_sum;  /* the last progress event */
} lf_step_state;

struct lf_sched_run {
    lf_letter letter;            /* that starts it */
    lf_sched_run *next;
    lf_sched *sched;
    lf_facts *facts;
    const lf_graph *graph;
    lf_plan *plan;
    uint32_t max_workers;
    bool failed, cancelled, ending;
    luaflow_error problem;       /* what broke the run itself */
    uint32_t out_batches;        /* with the runner */
    uint32_t slots;              /* of max_workers: what these take */
    struct lf_waiting *waiting;  /* tasks that failed, until they are tried again */
    /* of a resumed run, at first: whatever the origin has done is taken over before anything
       runs, so that nothing of it is lost should the run come to an early end */
    bool replaying;
    lf_planned **parked;         /* tasks met there that are to run */
    uint32_t n_parked, parked_room;
    uint32_t pending;            /* tasks with the writer */
    uint32_t retrying;           /* of these, failed ones that will be tried again */
    uint64_t counted;            /* tasks started as of the last state letter */
    lf_step_state *steps;
    lf_recent recent;            /* tasks before a join that are not committed yet */
    lf_planned **taken;          /* BATCH_TASKS of them: scratch */
    lf_state_letter *last;       /* both made by the start, so that ending needs no memory */
    lf_event *farewell;
};

/* A task that failed and waits for its next attempt. */
typedef struct lf_waiting {
    struct lf_waiting *next, **before;
    lf_sched_run *run;
    lf_planned *planned;
    struct event *timer;
} lf_waiting;

struct lf_sched {
    pthread_t thread;
    struct event_base *base;
    struct event *on_mail, *on_tick, *on_watch;
    lf_mailbox *box;
    lf_runner runner;
    lf_writer *writer;
    const lf_staged *staged;
    lf_sched_run *runs;
    uint32_t widest;             /* how many batches the runner may run at once by now */
    lf_queue to_writer;          /* gathered while letters are read, posted at once */
    bool stop;
};

/* ---- sched.c ---- */

lf_sched_run *lf_sched_find_run(lf_sched *s, const lf_facts *facts);

/* Starts what can be started and ends what is over. */
void lf_sched_advance(lf_sched *s);

/* Whether nothing more is to start; and lets workers know if so. */
bool lf_sched_is_halted(const lf_sched_run *r);
void lf_sched_halt_if(lf_sched_run *r);

/* The run itself is broken: takes `why`. */
void lf_sched_break(lf_sched_run *r, luaflow_error *why);

static inline const lf_attributes *lf_sched_attributes(const lf_sched_run *r, uint32_t step)
{
    return &lf_graph_step(r->graph, step)->attributes;
}

/* ---- sched_start.c: what is ready, made into batches ---- */

void lf_sched_dispatch(lf_sched *s, lf_sched_run *r);

/* How many of the run's workers one batch of the step takes: it goes to one of them, but a step
 * that uses several processors keeps the others free. */
uint32_t lf_sched_slots(const lf_sched_run *r, uint32_t step);

/* ---- sched_end.c: what comes back ---- */

void lf_sched_sealed(lf_sched *s, lf_batch *b);
void lf_sched_committed(lf_sched *s, lf_batch *b);

/* A runner's `take`, of a scheduler: all of `b` but one task, which takes long and is still with
 * the runner, and its slots with it. */
void lf_sched_divided(void *sched, lf_batch *b);

/* Seconds between this attempt of a step, counted from 0, and the next. */
double lf_sched_delay(const lf_attributes *a, uint32_t attempt);

/* Tasks that wait for an attempt wait no longer. */
void lf_sched_stop_waiting(lf_sched_run *r);

/* ---- sched_tell.c: what the world hears ---- */

/* How a task has ended, that is stored by now. */
void lf_sched_tell_end(const lf_sched_run *r, const lf_task *t);

/* How far the steps with many tasks are; the `last` time, all that was not told. */
void lf_sched_tell_progress(lf_sched_run *r, uint64_t now_us, bool last);

luaflow_counts lf_sched_counts(const lf_sched_run *r);

#endif
