/* sched_recent.c -- tasks that a join may ask for before they are committed.
 *
 * Tasks come, are asked for and go nearly in the order of their numbers. So neighbours lie
 * together, in pages: only every so manieth look-up meets memory that the last did not. */
#include "sched_recent.h"

#include <stdlib.h>

enum { PAGE = 16, FIRST_ROOM = 64 };

typedef struct lf_recent_page {
    uint32_t number; /* of its tasks, divided by PAGE */
    uint32_t n;
    lf_task *tasks[PAGE];
} page;

static uint32_t slot_of(const lf_recent *r, uint32_t number)
{
    uint32_t mask = r->room - 1, at = number * 2654435761u & mask;
    while (r->pages[at] != NULL && r->pages[at]->number != number)
        at = (at + 1) & mask;
    return at;
}

static page *page_of(lf_recent *r, uint32_t task)
{
    uint32_t number = task / PAGE;
    if (r->last != NULL && r->last->number == number)
        return r->last;
    page *found = r->n_pages == 0 ? NULL : r->pages[slot_of(r, number)];
    if (found != NULL)
        r->last = found;
    return found;
}

static bool grow(lf_recent *r)
{
    uint32_t before = r->room;
    page **old = r->pages, **fresh = calloc(before ? before * 2 : FIRST_ROOM, sizeof *fresh);
    if (fresh == NULL)
        return false;
    r->pages = fresh;
    r->room = before ? before * 2 : FIRST_ROOM;
    for (uint32_t i = 0; i < before; i++)
        if (old[i] != NULL)
            r->pages[slot_of(r, old[i]->number)] = old[i];
    free(old);
    return true;
}

static page *add_page(lf_recent *r, uint32_t number)
{
    if (r->n_pages * 2 >= r->room && !grow(r))
        return NULL;
    page *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->number = number;
    r->pages[slot_of(r, number)] = p;
    r->n_pages++;
    r->last = p;
    return p;
}

static void remove_page(lf_recent *r, page *p)
{
    uint32_t mask = r->room - 1, hole = slot_of(r, p->number);
    r->pages[hole] = NULL;
    r->n_pages--;
    for (uint32_t at = (hole + 1) & mask; r->pages[at] != NULL; at = (at + 1) & mask) {
        page *moved = r->pages[at]; /* it may have been pushed past the hole */
        r->pages[at] = NULL;
        r->pages[slot_of(r, moved->number)] = moved;
    }
    if (r->last == p)
        r->last = NULL;
    free(p);
}

bool lf_recent_add(lf_recent *r, lf_task *t)
{
    page *p = page_of(r, t->number);
    if (p == NULL && (p = add_page(r, t->number / PAGE)) == NULL)
        return false;
    p->tasks[t->number % PAGE] = t;
    p->n++;
    r->n++;
    return true;
}

lf_task *lf_recent_find(lf_recent *r, uint32_t number)
{
    page *p = page_of(r, number);
    return p == NULL ? NULL : p->tasks[number % PAGE];
}

void lf_recent_remove(lf_recent *r, uint32_t number)
{
    page *p = page_of(r, number);
    if (p == NULL || p->tasks[number % PAGE] == NULL)
        return;
    p->tasks[number % PAGE] = NULL;
    r->n--;
    if (--p->n == 0)
        remove_page(r, p);
}

void lf_recent_fini(lf_recent *r)
{
    for (uint32_t i = 0; i < r->room; i++)
        free(r->pages[i]);
    free(r->pages);
}
