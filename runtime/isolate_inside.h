/* isolate_inside.h -- what the files of the room `isolate` share. Nobody else includes it. */
#ifndef LF_ISOLATE_INSIDE_H
#define LF_ISOLATE_INSIDE_H

#include "flow.h"
#include "isolate.h"
#include "wire.h"

#include <sys/types.h>

/* A process: it leads a group of its own, and ends with its end of the socket. */
struct lf_child {
    struct lf_child *next;   /* of those that wait, or have to be waited for */
    pid_t pid;
    int pidfd;               /* readable when it has ended; or -1 */
    int out[2];              /* what it writes to stdout and stderr; -1 at the end */
    lf_wire wire;
    uint64_t surroundings;   /* a hash of what it inherited */
};

/* isolate_child.c: starts one, in `nursery` if that can, else anew. LUAFLOW_ESTEP or
 * LUAFLOW_ENOMEM. */
struct lf_nursery;
int lf_child_start(struct lf_nursery *nursery, const char *executable, uint64_t surroundings,
                   lf_child **out, luaflow_error *err);

/* Starts a process with nothing of the host but a directory and an environment; `theirs` become
 * its standard output, standard error and the socket it serves. 0 or an errno. */
int lf_child_spawn(const char *executable, const int theirs[3], pid_t *pid);

/* Moves both out of the way of what a child is given; false with errno. */
bool lf_child_raise(int pair[2]);

/* ---- isolate_nursery.c: a process from which others are forked, each with all that a step needs
 * but the flow already made. It serves one surroundings and gives way to another for the next;
 * any thread. ---- */

/* NULL when out of memory. Starts nothing yet. */
struct lf_nursery *lf_nursery_new(void);
void lf_nursery_free(struct lf_nursery *n); /* accepts NULL */

/* As lf_child_spawn. */
int lf_nursery_fork(struct lf_nursery *n, const char *executable, uint64_t surroundings,
                    const int theirs[3], pid_t *pid);

/* A hash of what a child inherits of the process as it is now. */
uint64_t lf_child_surroundings(void);

/* Whether it is gone, or will not talk any more. */
bool lf_child_is_gone(const lf_child *c);

/* Sends a signal to its whole group. */
void lf_child_signal(const lf_child *c, int signal_number);

/* Ends all that is left of its group. */
void lf_child_kill(const lf_child *c);

/* Closes everything. What is left is to be waited for. */
void lf_child_shut(lf_child *c);

/* Waits for it, `patiently` or only if it is over. Whether it was waited for, or nobody can. */
bool lf_child_wait(const lf_child *c, bool patiently);

/* Ends all that is left of its group, and waits for it. False when nobody knows how it ended,
 * since a host takes all such news. The status is as waitpid gives it. */
bool lf_child_end(lf_child *c, int *status);

/* Frees what remains. Accepts NULL. */
void lf_child_free(lf_child *c);

/* ---- one attempt ---- */

typedef enum lf_stage { LF_STARTING, LF_BEGUN, LF_ENDING } lf_stage;

typedef struct lf_attempt {
    lf_child *c;
    lf_world *world;         /* of the open task */
    lf_log *log;
    lf_who who;
    double timeout;          /* seconds, or 0 */
    lf_stage stage;
    uint64_t deadline;       /* of this stage; UINT64_MAX: none */
    bool greeted, merged, over;
    bool succeeded, failed;  /* as the child says */
    bool timed_out;
    lf_failure failure;
    luaflow_error problem;   /* why what it left cannot be kept, or it cannot be talked to */
    lf_slice *names;         /* of what it left; the envelope borrows them */
    uint32_t n_names, names_room;
    lf_bytes head, block;    /* scratch */
} lf_attempt;

/* isolate_talk.c: what is said to the child at first. */
void lf_attempt_tell(lf_attempt *a, const lf_flow *flow, const lf_attributes *attributes);

/* isolate_talk.c: hears one frame: answers a question, takes what the step leaves. */
void lf_attempt_hear(lf_attempt *a, const lf_frame *f);

/* isolate_talk.c: the conversation ends: `a->problem` says why, and goes before what the child
 * says. */
void lf_attempt_hang_up(lf_attempt *a, int code, const char *sentence);

/* isolate_talk.c: reads what the child and its own children have printed by now. */
void lf_attempt_drain(lf_attempt *a);

#endif
