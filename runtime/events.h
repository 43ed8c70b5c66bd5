/* events.h -- what the world is told: a bounded queue from many threads to the host's.
 * When the host does not take events, the oldest printed lines are dropped first, then the
 * oldest events of tasks, and counted; those about a whole run never are. Knows nothing of
 * tasks or stores. */
#ifndef LF_EVENTS_H
#define LF_EVENTS_H

#include "host.h"
#include "queue.h"

/* Who hears of a run. Embedded in what the host knows it by, which is there as long as an event
 * of it is in a queue. */
typedef struct lf_ear {
    bool missed; /* private: something for it was dropped, and that was said */
} lf_ear;

typedef struct lf_event {
    lf_node node;
    uint64_t order;
    lf_ear *owner; /* or NULL */
    luaflow_event told;
    char text[]; /* everything `told` points to */
} lf_event;

/* A copy of `told` with all its strings, or NULL. */
lf_event *lf_event_new(const luaflow_event *told, lf_ear *owner);
void lf_event_free(lf_event *e);

typedef struct lf_events lf_events;

/* Keeps at most `max` events; past that drops, or, if `waits`, lets who posts wait for the
 * host. NULL when out of memory or descriptors. */
lf_events *lf_events_new(uint32_t max, bool waits);
void lf_events_free(lf_events *q); /* and all inside; accepts NULL */

/* `host` (borrowed) hears when the first event of a run is dropped. Before anything is posted. */
void lf_events_report(lf_events *q, const lf_host *host);

/* Any thread. Takes `e` (NULL, for out of memory, is counted as lost). Blocks only
 * in a queue that `waits`. */
void lf_events_post(lf_events *q, lf_event *e);

/* Host thread. The oldest event, which the caller frees, or NULL. What waits is taken all at once,
 * and from then on gives way to nothing. */
lf_event *lf_events_take(lf_events *q);

/* The same, but gives up, and returns NULL, after so many seconds of waiting for threads that are
 * just posting: one of them may have been put to sleep by the system in the middle of it. */
lf_event *lf_events_take_within(lf_events *q, double seconds);

/* Host thread. Takes an event that was taken and delivered, for a thread that posts to free: to
 * free memory of another thread's may mean to wait for it. */
void lf_events_done(lf_events *q, lf_event *e);

/* Host thread. Frees those that nobody has freed yet. */
void lf_events_tidy(lf_events *q);

/* Host thread. Waits until there is one, at most `seconds` (negative: without end).
 * False when the time is over or a signal handler ran. */
bool lf_events_wait(lf_events *q, double seconds);

/* Readable when events wait; owned by the queue. */
int lf_events_fd(const lf_events *q);

/* How many were dropped so far. Any thread. */
uint64_t lf_events_lost(const lf_events *q);

#endif
