/* isolate.h -- one process for one attempt: starts it, answers what its step asks from the open
 * envelope, ends it in time, and leaves nothing of it behind. The attempt runs in the thread
 * that calls, which waits. Any number of threads at once. */
#ifndef LF_ISOLATE_H
#define LF_ISOLATE_H

#include "graph.h"
#include "host.h"
#include "seal.h"

typedef struct lf_isolate lf_isolate;

/* The host's executable (where it names none: $LUAFLOW_EXE, else the path fixed when this was
 * built) is what processes are started from. Borrows `host`. Starts none before the first
 * attempt. */
int lf_isolate_open(const lf_host *host, lf_isolate **out, luaflow_error *err);

/* Ends the processes that wait for an attempt. Only when no attempt runs. Accepts NULL. */
void lf_isolate_close(lf_isolate *iso);

typedef struct lf_child lf_child;

/* A process for one attempt, ready or nearly so. LUAFLOW_ESTEP when none can be started. */
int lf_isolate_take(lf_isolate *iso, lf_child **out, luaflow_error *err);
uint32_t lf_child_pid(const lf_child *c);

/* Runs `t` in `c` (taken), and seals its outcome by `seal`. What it prints is written to `log`. */
void lf_isolate_run(lf_isolate *iso, lf_child *c, lf_seal *seal, lf_task *t, lf_log *log);

#endif
