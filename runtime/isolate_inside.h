/* isolate_inside.h -- what the files of the room `isolate` share. Nobody else includes it. */
#ifndef LF_ISOLATE_INSIDE_H
#define LF_ISOLATE_INSIDE_H

#include "isolate.h"
#include "wire.h"

#include <sys/types.h>

/* A process: it leads a group of its own, and ends with its end of the socket. */
struct lf_child {
    struct lf_child *next;   /* of those that wait */
    pid_t pid;
    int pidfd;               /* readable when it has ended; or -1 */
    int out[2];              /* what it writes to stdout and stderr; -1 at the end */
    lf_wire wire;
    uint64_t surroundings;   /* a hash of what it inherited */
};

/* isolate_child.c: starts one. LUAFLOW_ESTEP or LUAFLOW_ENOMEM. */
int lf_child_start(const char *executable, uint64_t surroundings, lf_child **out, luaflow_error *err);

/* A hash of what a child inherits of the process as it is now. */
uint64_t lf_child_surroundings(void);

/* Whether it is gone, or will not talk any more. */
bool lf_child_is_gone(const lf_child *c);

/* Sends a signal to its whole group. */
void lf_child_signal(const lf_child *c, int signal_number);

/* Ends all that is left of its group, and waits for it. False when nobody knows how it ended,
 * since a host takes all such news. The status is as waitpid gives it. */
bool lf_child_end(lf_child *c, int *status);

/* Frees what remains. Accepts NULL. */
void lf_child_free(lf_child *c);

#endif
