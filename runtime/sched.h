/* sched.h -- the loop: asks plans what is ready, runners to run it, the writer to keep it.
 * One thread owns all of that. Knows nothing of Lua, of LMDB, or of who runs tasks. */
#ifndef LF_SCHED_H
#define LF_SCHED_H

#include "graph.h"
#include "mailbox.h"
#include "runner.h"
#include "writer.h"

typedef struct lf_sched lf_sched;

/* Starts the thread. `box` is where sealed and committed batches come home to; it, the
 * runner, the writer and `staged` are borrowed until the end. */
int lf_sched_open(lf_mailbox *box, lf_runner runner, lf_writer *writer, const lf_staged *staged,
                  lf_sched **out, luaflow_error *err);

/* "2.1.12-stable": of libevent. */
const char *lf_sched_library(void);

/* Ends the thread. Only when all its runs have ended. Accepts NULL. */
void lf_sched_close(lf_sched *s);

/* Makes all that a run needs to start and to end, so that once it is stored neither can fail for
 * want of memory. Takes one holder of `facts`, even on failure; borrows `graph` until the run has
 * ended. */
typedef struct lf_run_start {
    lf_facts *facts;
    const lf_graph *graph;
    uint32_t max_workers;
} lf_run_start;
typedef struct lf_sched_run lf_sched_run;
int lf_sched_run_new(const lf_run_start *start, lf_sched_run **out, luaflow_error *err);

/* Frees one that was not started. Accepts NULL. */
void lf_sched_run_free(lf_sched_run *r);

/* Any thread. Starts a run that is stored by now: its events go to facts->events, the last of them
 * LUAFLOW_RUN_FINISHED. Takes `r`. */
void lf_sched_start(lf_sched *s, lf_sched_run *r);

/* Any thread. Starts no further task of the run; it ends when those that run have ended. */
void lf_sched_cancel(lf_sched *s, uint32_t run);

#endif
