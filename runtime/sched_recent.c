/* sched_recent.c -- tasks that a join may ask for before they are committed. */
#include "sched_recent.h"

#include <stdlib.h>

static uint32_t slot_of(const lf_recent *r, uint32_t number)
{
    uint32_t at = number * 2654435761u & (r->room - 1);
    while (r->slots[at] != NULL && r->slots[at]->number != number)
        at = (at + 1) & (r->room - 1);
    return at;
}

static bool grow(lf_recent *r)
{
    uint32_t before = r->room;
    lf_task **old = r->slots, **fresh = calloc(before ? before * 2 : 64, sizeof *fresh);
    if (fresh == NULL)
        return false;
    r->slots = fresh;
    r->room = before ? before * 2 : 64;
    for (uint32_t i = 0; i < before; i++)
        if (old[i] != NULL)
            r->slots[slot_of(r, old[i]->number)] = old[i];
    free(old);
    return true;
}

bool lf_recent_add(lf_recent *r, lf_task *t)
{
    if (r->n * 2 >= r->room && !grow(r))
        return false;
    r->slots[slot_of(r, t->number)] = t;
    r->n++;
    return true;
}

lf_task *lf_recent_find(const lf_recent *r, uint32_t number)
{
    return r->n == 0 ? NULL : r->slots[slot_of(r, number)];
}

void lf_recent_remove(lf_recent *r, uint32_t number)
{
    if (lf_recent_find(r, number) == NULL)
        return;
    uint32_t mask = r->room - 1, hole = slot_of(r, number);
    r->slots[hole] = NULL;
    r->n--;
    for (uint32_t at = (hole + 1) & mask; r->slots[at] != NULL; at = (at + 1) & mask) {
        lf_task *t = r->slots[at]; /* it may have been pushed past the hole */
        r->slots[at] = NULL;
        r->slots[slot_of(r, t->number)] = t;
    }
}

void lf_recent_fini(lf_recent *r) { free(r->slots); }
