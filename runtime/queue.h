/* queue.h -- an intrusive list: first in, first out, or from the front.
 * Knows nothing of what it holds. Not safe across threads by itself. */
#ifndef LF_QUEUE_H
#define LF_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct lf_node {
    struct lf_node *next;
} lf_node;

typedef struct lf_queue {
    lf_node *head, **tail; /* private */
} lf_queue;

/* The struct of `type` whose `member` is the node at `ptr`. */
#define LF_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void lf_queue_init(lf_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static inline bool lf_queue_empty(const lf_queue *q) { return q->head == NULL; }

/* Puts `n` at the end. */
static inline void lf_queue_push(lf_queue *q, lf_node *n)
{
    n->next = NULL;
    *q->tail = n;
    q->tail = &n->next;
}

/* Puts `n` at the front. */
static inline void lf_queue_push_front(lf_queue *q, lf_node *n)
{
    n->next = q->head;
    if (q->head == NULL)
        q->tail = &n->next;
    q->head = n;
}

/* Takes the first, or NULL. */
static inline lf_node *lf_queue_pop(lf_queue *q)
{
    lf_node *n = q->head;
    if (n == NULL)
        return NULL;
    q->head = n->next;
    if (q->head == NULL)
        q->tail = &q->head;
    n->next = NULL;
    return n;
}

/* Appends everything in `from`, which is empty afterwards. */
static inline void lf_queue_join(lf_queue *q, lf_queue *from)
{
    if (from->head == NULL)
        return;
    *q->tail = from->head;
    q->tail = from->tail;
    lf_queue_init(from);
}

#endif
