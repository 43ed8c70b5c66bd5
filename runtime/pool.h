/* pool.h -- N threads with a Lua state each, that run batches of tasks; a step that must be
 * isolated runs in a process for which its thread waits. A runner. Knows nothing of plans. Its functions belong to the runtime's owner, start and grow to the
 * scheduler's thread. */
#ifndef LF_POOL_H
#define LF_POOL_H

#include "flow.h"
#include "host.h"
#include "mailbox.h"
#include "runner.h"
#include "staged.h"
#include "store.h"

typedef struct lf_pool lf_pool;

/* What a pool stands on: borrows all. */
typedef struct lf_pool_needs {
    lf_store *store;
    lf_staged *staged;
    lf_mailbox *home;    /* sealed batches go there */
    const lf_host *host; /* what adds to states and hears of them */
    lf_flow *warm;       /* make a state for it at once, or NULL */
} lf_pool_needs;

/* Starts no thread but, for `warm`, one that makes a state for that flow while the caller stores
 * the run; the others start with the work. */
int lf_pool_open(const lf_pool_needs *needs, lf_pool **out, luaflow_error *err);

/* Waits for steps that are running, gives back what was not started, ends the threads.
 * Accepts NULL. */
void lf_pool_close(lf_pool *p);

lf_runner lf_pool_runner(lf_pool *p);

#endif
