/* sched_recent.h -- tasks that a join may ask for before they are committed, by number.
 * Part of the room `sched`; its thread only. */
#ifndef LF_SCHED_RECENT_H
#define LF_SCHED_RECENT_H

#include "task.h"

/* Zeroed memory is an empty one. Open addressing; borrows the tasks. */
typedef struct lf_recent {
    uint32_t n;
    uint32_t room; /* private */
    lf_task **slots;
} lf_recent;

bool lf_recent_add(lf_recent *r, lf_task *t); /* false when out of memory */
lf_task *lf_recent_find(const lf_recent *r, uint32_t number); /* or NULL */
void lf_recent_remove(lf_recent *r, uint32_t number);
void lf_recent_fini(lf_recent *r);

#endif
