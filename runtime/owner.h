/* owner.h -- which runs have a living process: a lock on the byte of a run's
 * number in the store's file `owners`, which the kernel drops when the process
 * dies. Knows nothing of LMDB. Any thread. */
#ifndef LF_OWNER_H
#define LF_OWNER_H

#include "error.h"

typedef struct lf_owner lf_owner;

/* Opens (makes) the file in `dir`; close-on-exec, one descriptor per runtime. In
 * a directory that may only be read, the file is read if it is there. */
int lf_owner_open(const char *dir, lf_owner **out, luaflow_error *err);
void lf_owner_close(lf_owner *o); /* gives up every claim; accepts NULL */

/* Claims a run for this runtime. LUAFLOW_ESTORE when somebody else has it, and goes on having it for
 * two seconds: a process that is killed in the middle gives up its claims last of all. */
int lf_owner_claim(lf_owner *o, uint32_t run, luaflow_error *err);
void lf_owner_release(lf_owner *o, uint32_t run);

/* Whether some process, this one included, has claimed the run. */
bool lf_owner_alive(lf_owner *o, uint32_t run);

#endif
