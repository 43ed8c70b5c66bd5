/* sched_recent.h -- tasks that a join may ask for before they are committed, by number.
 * Part of the room `sched`; its thread only. */
#ifndef LF_SCHED_RECENT_H
#define LF_SCHED_RECENT_H

#include "task.h"

struct lf_recent_page;

/* Zeroed memory is an empty one. Borrows the tasks. */
typedef struct lf_recent {
    uint32_t n; /* how many tasks */
    /* private: open addressing over pages of neighbours */
    uint32_t n_pages, room;
    struct lf_recent_page **pages;
    struct lf_recent_page *last; /* looked at last, and not freed since */
} lf_recent;

bool lf_recent_add(lf_recent *r, lf_task *t); /* false when out of memory */
lf_task *lf_recent_find(lf_recent *r, uint32_t number); /* or NULL */
void lf_recent_remove(lf_recent *r, uint32_t number);
void lf_recent_fini(lf_recent *r);

#endif
