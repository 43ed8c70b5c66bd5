/* pool.c -- N threads with a Lua state each. Batches wait in one queue that all workers
 * share, so that no batch waits behind a long task while another worker is idle. */
#include "pool.h"
#include "clock.h"
#include "isolate.h"
#include "replay.h"
#include "seal.h"
#include "step.h"
#include "thread.h"

#include <errno.h>
#include <stdlib.h>

/* A worker keeps a state for so many flows. */
enum { STATES = 4 };

/* A batch that lasts longer than this is cut short: the rest goes back. */
enum { PATIENCE_US = 5000 };

typedef struct worker {
    pthread_t thread;
    lf_pool *pool;
    uint32_t number;             /* from 1 */
    lf_log *log;
    lf_seal *seal;
    lf_flow *warm;               /* counted: make a state for it before any work; or NULL */
    lf_stepper *steppers[STATES]; /* the most recent first */
    pthread_mutex_t lock;        /* a leaf: guards what follows */
    lf_task *running;            /* one of several of its batch, or NULL */
    uint64_t since;              /* when it began */
    lf_batch *apart;             /* where it goes on, the rest of its batch having been taken */
} worker;

struct lf_pool {
    lf_store *store;
    lf_staged *staged;
    lf_mailbox *home;
    const lf_host *host;
    lf_isolate *isolate;
    pthread_mutex_t lock;        /* a leaf: guards the four below */
    pthread_cond_t work;
    lf_queue queue;
    uint32_t queued, idle;
    bool stopping;
    /* the scheduler's */
    worker **workers;
    uint32_t n_workers, room, wanted;
};

/* ---- a worker's states ---- */

/* The worker's state for a flow, made if need be: it replaces the one used longest ago. */
static lf_stepper *stepper_for(worker *w, lf_flow *flow, luaflow_error *err)
{
    int at = 0;
    while (at < STATES - 1 && w->steppers[at] != NULL && lf_stepper_flow(w->steppers[at]) != flow)
        at++;
    lf_stepper *s = w->steppers[at];
    if (s != NULL && lf_stepper_flow(s) != flow) {
        lf_stepper_free(s);
        s = NULL;
    }
    w->steppers[at] = NULL;
    if (s == NULL) {
        if (lf_stepper_new(flow, w->pool->host, &s, err) != LUAFLOW_OK)
            return NULL;
        lf_host_log(w->pool->host, LUAFLOW_LOG_DEBUG, "worker %u has made a Lua state for flow %s",
                    (unsigned)w->number, lf_flow_name(flow));
    }
    memmove(w->steppers + 1, w->steppers, (size_t)at * sizeof w->steppers[0]);
    w->steppers[0] = s;
    return s;
}

/* Counts the task among those of its step; the first of them are told one by one. */
static void count(lf_facts *facts, lf_task *t)
{
    if (!facts->listened)
        return;
    uint32_t before = atomic_fetch_add_explicit(&facts->begun[t->step], 1, memory_order_relaxed);
    t->told = facts->progress_after == 0 || before < facts->progress_after;
}

static void tell_start(lf_facts *facts, lf_task *t)
{
    count(facts, t);
    if (!t->told)
        return;
    lf_bytes place = {0}, reason = {0};
    luaflow_event event = {.type = LUAFLOW_TASK_STARTED};
    lf_task_place(t, &place);
    if (facts->replay != NULL) {
        lf_replay_reason(t, &reason);
        event.reason = lf_bytes_cstr(&reason);
    }
    lf_task_tell(t, lf_slice_of(place.data, place.size),
                 lf_graph_step(lf_flow_graph(facts->flow), t->step)->name, event);
    lf_bytes_fini(&place);
    lf_bytes_fini(&reason);
}

/* Takes over what can be; the rest is left unstarted. Nothing is run, so a run that is halted
 * takes over all the same: who resumes it finds what its origin had done. */
static void replay_batch(const worker *w, lf_batch *b)
{
    lf_view *view;
    if (lf_view_begin(w->pool->store, &view, &b->error) != LUAFLOW_OK)
        return;
    size_t next = b->tasks[0].number - 1;
    for (uint32_t i = 0; i < b->n && b->error.code == LUAFLOW_OK; i++) {
        bool reused;
        lf_replay_task(view, &b->tasks[i], &next, &reused, &b->error);
        if (reused)
            count(b->facts, &b->tasks[i]);
    }
    lf_view_end(view);
}

/* From here on the scheduler may take the rest of the batch of `t`, which is to run. */
static void expose(worker *w, lf_task *t, uint64_t now)
{
    if (t->batch->n == 1)
        return;
    pthread_mutex_lock(&w->lock);
    w->running = t;
    w->since = now;
    pthread_mutex_unlock(&w->lock);
}

/* And no longer. If it has, `*t` goes on in a batch of its own. */
static void claim(worker *w, lf_task **t)
{
    if ((*t)->batch->n == 1)
        return;
    pthread_mutex_lock(&w->lock);
    lf_batch *apart = w->apart;
    w->apart = NULL;
    w->running = NULL;
    pthread_mutex_unlock(&w->lock);
    if (apart == NULL)
        return;
    lf_batch *rest = (*t)->batch;
    *t = &apart->tasks[0];
    lf_seal_move(w->seal, *t);
    lf_batch_free(rest); /* which the taker held for us */
}

/* In this thread, and in a state of its own; false, with the batch's error, when there is none. */
static bool run_here(worker *w, lf_task **running, uint64_t now)
{
    lf_task *t = *running;
    lf_batch *b = t->batch;
    lf_stepper *s = stepper_for(w, b->facts->flow, &b->error);
    if (s == NULL)
        return false;
    tell_start(b->facts, t);
    lf_failure failure = {.message = NULL};
    lf_who who;
    lf_seal_begin(w->seal, t, now);
    lf_seal_who(w->seal, &who);
    expose(w, t, now);
    int rc = lf_stepper_run(s, &who, lf_seal_world(w->seal), &failure);
    claim(w, running);
    lf_seal_finish(w->seal, rc == LUAFLOW_OK ? NULL : &failure);
    lf_failure_fini(&failure);
    lf_stepper_rest(s);
    if (lf_stepper_is_worn(s)) {
        lf_host_log(w->pool->host, LUAFLOW_LOG_INFO,
                    "worker %u's Lua state for flow %s has grown too large and gives way to a new one: "
                    "modules keep data, or C types are made over and over", (unsigned)w->number,
                    lf_flow_name(b->facts->flow));
        lf_stepper_free(s);
        memmove(w->steppers, w->steppers + 1, (STATES - 1) * sizeof w->steppers[0]);
        w->steppers[STATES - 1] = NULL;
    }
    return true;
}

/* In a process of its own, for which this thread waits. */
static void run_apart(worker *w, lf_task *t)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_child *c = NULL;
    int rc = lf_isolate_take(w->pool->isolate, &c, &err);
    t->pid = rc == LUAFLOW_OK ? lf_child_pid(c) : 0;
    tell_start(t->batch->facts, t);
    if (rc == LUAFLOW_OK) {
        lf_isolate_run(w->pool->isolate, c, w->seal, t, w->log);
        return;
    }
    lf_seal_begin(w->seal, t, lf_tick_us());
    lf_seal_finish(w->seal, &(lf_failure){.message = err.message});
    luaflow_error_clear(&err);
}

/* The scheduler hears of a failure with the batch; by then too much would have been started. */
static void halt_if_failed(const lf_task *t)
{
    lf_facts *facts = t->batch->facts;
    const lf_attributes *attributes = &lf_graph_step(lf_flow_graph(facts->flow), t->step)->attributes;
    if (t->outcome == LF_BROKE && t->attempt >= attributes->retry_times && !facts->keep_going)
        atomic_store_explicit(&facts->halted, true, memory_order_relaxed);
}

/* Returns the batch that is to go home: another one if this was divided. */
static lf_batch *run_batch(worker *w, lf_batch *b)
{
    uint64_t began = lf_tick_us();
    lf_task *stand_in = NULL; /* of the last reused parent */
    if (b->replays) {
        replay_batch(w, b);
        return b;
    }
    uint64_t ended = began; /* when the next task starts, too */
    for (uint32_t i = 0; i < b->n; i++) {
        uint64_t now = ended;
        lf_task *t = &b->tasks[i];
        if (b->error.code != LUAFLOW_OK || atomic_load_explicit(&b->facts->halted, memory_order_relaxed) ||
            now - began > PATIENCE_US)
            break;
        if (lf_replay_parent(w->pool->store, t, &stand_in, &b->error) != LUAFLOW_OK)
            break;
        t->worker = w->number;
        if (lf_attributes_isolate(&lf_graph_step(lf_flow_graph(b->facts->flow), t->step)->attributes))
            run_apart(w, t);
        else if (!run_here(w, &t, now))
            break;
        halt_if_failed(t);
        ended = lf_seal_ended(w->seal);
        if (t->batch != b) {
            b = t->batch;
            began = now;
            break;
        }
    }
    lf_task_drop(stand_in);
    b->elapsed_us = ended - began;
    return b;
}

/* ---- the threads ---- */

static lf_batch *batch_of(lf_node *n)
{
    return n == NULL ? NULL : LF_OF(LF_OF(n, lf_letter, node), lf_batch, letter);
}

static lf_batch *next_batch(lf_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->idle++;
    while (lf_queue_empty(&p->queue) && !p->stopping)
        pthread_cond_wait(&p->work, &p->lock);
    p->idle--;
    lf_node *n = p->stopping ? NULL : lf_queue_pop(&p->queue);
    p->queued -= n != NULL;
    pthread_mutex_unlock(&p->lock);
    return batch_of(n);
}

static void send_back(lf_pool *p, lf_batch *b)
{
    b->letter.kind = LF_LETTER_SEALED;
    lf_mailbox_post(p->home, &b->letter.node);
}

static void *work(void *payload)
{
    worker *w = payload;
    if (w->warm != NULL)
        stepper_for(w, w->warm, NULL); /* what goes wrong shows again with the first batch */
    lf_flow_free(w->warm);
    for (lf_batch *b; (b = next_batch(w->pool)) != NULL;) {
        send_back(w->pool, run_batch(w, b));
    }
    for (int i = 0; i < STATES; i++)
        lf_stepper_free(w->steppers[i]);
    return NULL;
}

static void free_worker(worker *w)
{
    lf_seal_free(w->seal);
    lf_log_free(w->log);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void add_worker(lf_pool *p, lf_flow *warm)
{
    if (p->n_workers == p->room) {
        uint32_t room = p->room ? p->room * 2 : 8;
        worker **workers = realloc(p->workers, room * sizeof *workers);
        if (workers == NULL)
            return;
        p->workers = workers;
        p->room = room;
    }
    worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return;
    w->pool = p;
    w->number = p->n_workers + 1;
    pthread_mutex_init(&w->lock, NULL);
    w->log = lf_log_new();
    w->seal = w->log == NULL ? NULL : lf_seal_new(p->store, p->staged, w->log);
    w->warm = warm == NULL ? NULL : lf_flow_ref(warm);
    int failed = w->seal == NULL ? ENOMEM : lf_thread_start(&w->thread, work, w);
    if (failed != 0) {
        lf_host_log(p->host, LUAFLOW_LOG_WARNING, "cannot start worker %u: %s; work goes on with %u",
                    (unsigned)w->number, strerror(failed), (unsigned)p->n_workers);
        lf_flow_free(w->warm);
        free_worker(w);
        return;
    }
    p->workers[p->n_workers++] = w;
}

/* ---- the runner ---- */

static void start(void *self, lf_batch *b)
{
    lf_pool *p = self;
    pthread_mutex_lock(&p->lock);
    lf_queue_push(&p->queue, &b->letter.node);
    bool short_handed = ++p->queued > p->idle;
    pthread_mutex_unlock(&p->lock);
    pthread_cond_signal(&p->work);
    if (short_handed && p->n_workers < p->wanted)
        add_worker(p, NULL);
    if (p->n_workers > 0)
        return;
    pthread_mutex_lock(&p->lock); /* no thread at all: the batch goes back unstarted */
    lf_queue_pop(&p->queue);
    p->queued--;
    pthread_mutex_unlock(&p->lock);
    lf_fail(&b->error, LUAFLOW_ENOMEM, "cannot start a worker's thread");
    send_back(p, b);
}

static void grow(void *self, uint32_t workers)
{
    lf_pool *p = self;
    if (p->wanted < workers)
        p->wanted = workers;
}

/* Takes what is around a task that has run so long, and leaves it a batch for itself. */
static lf_batch *take_around(worker *w, uint64_t longer_us)
{
    lf_batch *b = NULL;
    pthread_mutex_lock(&w->lock);
    lf_task *t = w->running;
    if (t != NULL && lf_tick_us() - w->since > longer_us &&
        (w->apart = lf_batch_new(t->batch->facts, 1)) != NULL) {
        b = t->batch;
        b->vacant = (uint32_t)(t - b->tasks) + 1;
        lf_task_hold(t); /* the worker drops it */
        w->running = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    return b;
}

static void divide(void *self, uint64_t longer_us, void (*take)(void *payload, lf_batch *batch),
                   void *payload)
{
    lf_pool *p = self;
    for (uint32_t i = 0; i < p->n_workers; i++) {
        lf_batch *b = take_around(p->workers[i], longer_us);
        if (b != NULL)
            take(payload, b);
    }
}

static void collect_logs(void *self, uint64_t before_us,
                         void (*take)(void *payload, lf_log_letter *letter), void *payload)
{
    lf_pool *p = self;
    for (uint32_t i = 0; i < p->n_workers; i++) {
        lf_log_letter *l = lf_log_collect(p->workers[i]->log, before_us);
        if (l != NULL)
            take(payload, l);
    }
}

lf_runner lf_pool_runner(lf_pool *p) { return (lf_runner){p, start, divide, grow, collect_logs}; }

int lf_pool_open(const lf_pool_needs *needs, lf_pool **out, luaflow_error *err)
{
    lf_pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return lf_fail_memory(err);
    p->store = needs->store;
    p->staged = needs->staged;
    p->home = needs->home;
    p->host = needs->host;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    lf_queue_init(&p->queue);
    int rc = lf_isolate_open(needs->host, &p->isolate, err);
    if (rc != LUAFLOW_OK) {
        lf_pool_close(p);
        return rc;
    }
    if (needs->warm != NULL)
        add_worker(p, needs->warm);
    *out = p;
    return LUAFLOW_OK;
}

void lf_pool_close(lf_pool *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    pthread_cond_broadcast(&p->work);
    for (uint32_t i = 0; i < p->n_workers; i++) {
        pthread_join(p->workers[i]->thread, NULL);
        free_worker(p->workers[i]);
    }
    for (lf_batch *b; (b = batch_of(lf_queue_pop(&p->queue))) != NULL;)
        send_back(p, b);
    lf_isolate_close(p->isolate);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}
