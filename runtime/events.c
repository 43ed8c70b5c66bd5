/* events.c -- what the world is told: a bounded queue to the host's thread. */
#include "events.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* What gives way first when the queue is full; what is about a whole run never does. */
enum { LINES, TASKS, RUNS, RANKS };

/* Each rank in order; `order` merges them. */
typedef struct ranked {
    lf_queue ranks[RANKS];
} ranked;

struct lf_events {
    const lf_host *host;  /* or NULL */
    bool waits;
    pthread_cond_t room;  /* for those who wait */
    pthread_mutex_t lock; /* a leaf; the descriptor changes under it, so that it is readable
                             exactly while there are events */
    ranked posted;
    uint64_t next;
    uint32_t count, max;  /* of those posted */
    lf_queue spent;       /* for those who post to free */
    bool readable;        /* the descriptor is */
    int fd;
    atomic_uint_fast64_t lost;
    /* the host's thread only: what it has taken from there, all at once, since it may have to wait
       for the lock */
    ranked taken;
    lf_queue delivered;   /* spent, and not passed on yet */
};

static void signal_some(lf_events *q)
{
    uint64_t one = 1;
    while (write(q->fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void signal_none(lf_events *q)
{
    uint64_t count;
    while (read(q->fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

static char *keep(char **at, const char *text, size_t size)
{
    char *copy = *at;
    memcpy(copy, text, size);
    copy[size] = 0;
    *at += size + 1;
    return copy;
}

static size_t length_of(const char *text) { return text == NULL ? 0 : strlen(text); }

enum { PARTS = 7 };

lf_event *lf_event_new(const luaflow_event *told, lf_ear *owner)
{
    const char *from[PARTS] = {told->step, told->path, told->message, told->traceback, told->reason,
                               told->text, told->input};
    size_t size[PARTS], all = 0;
    for (int i = 0; i < PARTS - 2; i++)
        size[i] = length_of(from[i]);
    size[PARTS - 2] = told->text_size;
    size[PARTS - 1] = told->input_size;
    for (int i = 0; i < PARTS; i++)
        all += from[i] == NULL ? 0 : size[i] + 1;
    lf_event *e = malloc(sizeof *e + all);
    if (e == NULL)
        return NULL;
    e->owner = owner;
    e->told = *told;
    e->told.size = sizeof e->told;
    const char *input = NULL, **to[PARTS] = {&e->told.step, &e->told.path, &e->told.message,
                                             &e->told.traceback, &e->told.reason, &e->told.text, &input};
    char *at = e->text;
    for (int i = 0; i < PARTS; i++)
        if (from[i] != NULL)
            *to[i] = keep(&at, from[i], size[i]);
    e->told.input = input;
    return e;
}

void lf_event_free(lf_event *e) { free(e); }

lf_events *lf_events_new(uint32_t max, bool waits)
{
    lf_events *q = calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (q->fd < 0) {
        free(q);
        return NULL;
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->room, NULL);
    q->waits = waits;
    for (int i = 0; i < RANKS; i++) {
        lf_queue_init(&q->posted.ranks[i]);
        lf_queue_init(&q->taken.ranks[i]);
    }
    lf_queue_init(&q->spent);
    lf_queue_init(&q->delivered);
    q->max = max;
    return q;
}

void lf_events_report(lf_events *q, const lf_host *host) { q->host = host; }

static int rank_of(const lf_event *e)
{
    switch (e->told.type) {
    case LUAFLOW_LINE:
        return LINES;
    case LUAFLOW_RUN_STARTED:
    case LUAFLOW_RUN_FINISHED:
        return RUNS;
    default:
        return TASKS;
    }
}

static lf_event *event_at(lf_node *n) { return n == NULL ? NULL : LF_OF(n, lf_event, node); }

/* Takes what gives way, the oldest of the lowest rank; NULL when nothing may. */
static lf_event *pop_least(lf_events *q)
{
    lf_node *n = lf_queue_pop(&q->posted.ranks[LINES]);
    return event_at(n != NULL ? n : lf_queue_pop(&q->posted.ranks[TASKS]));
}

/* Whether this is the first event of its run that is dropped. While it is locked in its queue,
 * and so not the last one of its run, that is there. */
static bool is_first_missed(const lf_event *dropped)
{
    lf_ear *owner = dropped->owner;
    bool first = owner != NULL && !owner->missed;
    if (first)
        owner->missed = true;
    return first;
}

static void forget(lf_events *q, lf_event *dropped, bool tell)
{
    atomic_fetch_add(&q->lost, 1);
    if (tell)
        lf_host_log(q->host, LUAFLOW_LOG_WARNING,
                    "events of run %llu are dropped, printed lines first, since %u wait for luaflow_poll: call it more "
                    "often, or give luaflow_open a larger event_queue or wait_for_host",
                    (unsigned long long)dropped->told.run, (unsigned)q->max);
    lf_event_free(dropped);
}

void lf_events_post(lf_events *q, lf_event *e)
{
    if (e == NULL) {
        atomic_fetch_add(&q->lost, 1);
        return;
    }
    lf_event *dropped = NULL, *spent[2]; /* one more than comes, so that all are freed in the end */
    bool first = false;
    pthread_mutex_lock(&q->lock);
    for (int i = 0; i < 2; i++)
        spent[i] = event_at(lf_queue_pop(&q->spent));
    while (q->waits && q->count >= q->max && rank_of(e) != RUNS) /* the host posts those */
        pthread_cond_wait(&q->room, &q->lock);
    if (!q->waits && q->count >= q->max && (dropped = pop_least(q)) != NULL) {
        q->count--;
        first = is_first_missed(dropped);
    }
    e->order = q->next++;
    lf_queue_push(&q->posted.ranks[rank_of(e)], &e->node);
    q->count++;
    if (!q->readable)
        signal_some(q);
    q->readable = true;
    pthread_mutex_unlock(&q->lock);
    for (int i = 0; i < 2; i++)
        lf_event_free(spent[i]);
    if (dropped != NULL)
        forget(q, dropped, first);
}

/* Takes all that was posted; what is taken counts no longer, and so gives way to nothing. */
static void take_posted(lf_events *q)
{
    lf_queue_join(&q->spent, &q->delivered);
    for (int i = 0; i < RANKS; i++)
        lf_queue_join(&q->taken.ranks[i], &q->posted.ranks[i]);
    if (q->waits && q->count > 0)
        pthread_cond_broadcast(&q->room);
    if (q->readable && q->count == 0)
        signal_none(q);
    q->readable = q->count > 0;
    q->count = 0;
}

static lf_queue *first_of(ranked *r)
{
    lf_queue *first = NULL;
    for (int i = 0; i < RANKS; i++) {
        const lf_event *e = event_at(r->ranks[i].head);
        if (e != NULL && (first == NULL || e->order < event_at(first->head)->order))
            first = &r->ranks[i];
    }
    return first;
}

/* False when others were at the queue for so many seconds (negative: without end). */
static bool enter(lf_events *q, double seconds)
{
    struct timespec until;
    if (seconds < 0)
        return pthread_mutex_lock(&q->lock) == 0;
    if (pthread_mutex_trylock(&q->lock) == 0)
        return true;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)((seconds < 1e6 ? seconds : 1e6) * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    return pthread_mutex_timedlock(&q->lock, &until) == 0;
}

lf_event *lf_events_take_within(lf_events *q, double seconds)
{
    lf_queue *first = first_of(&q->taken);
    if (first == NULL) {
        if (!enter(q, seconds))
            return NULL;
        take_posted(q);
        pthread_mutex_unlock(&q->lock);
        first = first_of(&q->taken);
    }
    lf_event *e = first == NULL ? NULL : event_at(lf_queue_pop(first));
    if (e != NULL && first_of(&q->taken) == NULL && enter(q, seconds)) {
        take_posted(q);
        pthread_mutex_unlock(&q->lock);
    }
    return e;
}

lf_event *lf_events_take(lf_events *q) { return lf_events_take_within(q, -1); }

void lf_events_done(lf_events *q, lf_event *e) { lf_queue_push(&q->delivered, &e->node); }

void lf_events_tidy(lf_events *q)
{
    lf_queue spent;
    lf_queue_init(&spent);
    pthread_mutex_lock(&q->lock);
    lf_queue_join(&spent, &q->spent);
    pthread_mutex_unlock(&q->lock);
    lf_queue_join(&spent, &q->delivered);
    for (lf_event *e; (e = event_at(lf_queue_pop(&spent))) != NULL;)
        lf_event_free(e);
}

void lf_events_free(lf_events *q)
{
    if (q == NULL)
        return;
    for (lf_event *e; (e = lf_events_take(q)) != NULL;)
        lf_event_free(e);
    lf_events_tidy(q);
    close(q->fd);
    pthread_cond_destroy(&q->room);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

bool lf_events_wait(lf_events *q, double seconds)
{
    struct pollfd p = {q->fd, POLLIN, 0};
    if (!(seconds < 1e9)) /* also what is no number */
        seconds = -1;
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    return ppoll(&p, 1, seconds < 0 ? NULL : &t, NULL) > 0;
}

int lf_events_fd(const lf_events *q) { return q->fd; }

uint64_t lf_events_lost(const lf_events *q) { return atomic_load(&q->lost); }
