/* owner.h -- which runs have a living process, and whose turn it is: locks on bytes
 * of the store's file `owners`, which the kernel drops when the process dies. A run's
 * is the byte of its number. Knows nothing of LMDB. Any thread. */
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

/* What is done by one process after the other. */
typedef enum lf_turn {
    LF_TURN_OPEN,   /* opening and closing the store */
    LF_TURN_READER, /* taking a place among its readers */
    LF_TURN_WRITER, /* a write transaction */
    LF_TURNS
} lf_turn;

/* Waits until no other process has this turn, and takes it. Threads that share `o` do not exclude each
 * other: they need a lock of their own. Where the file may not be written, or locks are not to be
 * had, nobody waits. */
void lf_owner_take_turn(lf_owner *o, lf_turn turn);
void lf_owner_end_turn(lf_owner *o, lf_turn turn);

#endif
