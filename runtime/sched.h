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

/* Any thread. Starts a run that is stored already: its events go to facts->events, the last
 * of them LUAFLOW_RUN_FINISHED. Takes one holder of `facts`; borrows `graph` until then. */
typedef struct lf_run_start {
    lf_facts *facts;
    const lf_graph *graph;
    uint32_t max_workers;
} lf_run_start;
int lf_sched_start(lf_sched *s, const lf_run_start *start, luaflow_error *err);

/* Any thread. Starts no further task of the run; it ends when those that run have ended. */
void lf_sched_cancel(lf_sched *s, uint32_t run);

#endif
