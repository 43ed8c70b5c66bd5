/* pool.h -- N threads with a Lua state each, that run batches of tasks; a step that must be
 * isolated runs in a process for which its thread waits. A runner. Knows nothing of plans. Its functions belong to the runtime's owner, start and grow to the
 * scheduler's thread. */
#ifndef LF_POOL_H
#define LF_POOL_H

#include "flow.h"
#include "mailbox.h"
#include "runner.h"
#include "staged.h"
#include "store.h"

typedef struct lf_pool lf_pool;

/* Starts no thread but, for `warm` (which may be NULL), one that makes a state for that flow
 * while the caller stores the run; the others start with the work. Sealed batches go to `home`. Borrows all. */
int lf_pool_open(lf_store *store, lf_staged *staged, lf_mailbox *home, lf_flow *warm, lf_pool **out,
                 luaflow_error *err);

/* What processes for isolated steps are started from (isolate.h; NULL, as at first: by the
 * environment or the build). Copies it. Before the first batch. */
int lf_pool_executable(lf_pool *p, const char *executable, luaflow_error *err);

/* Waits for steps that are running, gives back what was not started, ends the threads.
 * Accepts NULL. */
void lf_pool_close(lf_pool *p);

lf_runner lf_pool_runner(lf_pool *p);

#endif
