/* sched.c -- the loop: plan, runners, writer. Here are the runs, their ends, and the letters;
 * sched_start.c makes batches, sched_end.c takes what comes back, sched_tell.c tells the world.
 * Everything but lf_sched_open, _close, _start and _cancel happens on its thread. */
#include "clock.h"
#include "sched_inside.h"

#include <errno.h>
#include <stdlib.h>

enum { TICK_MS = 500 };

/* So often it is looked whether a task keeps those of its batch waiting that have ended, or could
 * run elsewhere. */
enum { WATCH_MS = 10 };

typedef struct command {
    lf_letter letter;
    uint32_t run; /* to be cancelled */
} command;

/* ---- runs ---- */

static void hold_thing(void *thing) { lf_task_hold(thing); }
static void drop_thing(void *thing) { lf_task_drop(thing); }

void lf_sched_run_free(lf_sched_run *r)
{
    if (r == NULL)
        return;
    lf_sched_stop_waiting(r);
    lf_plan_free(r->plan);
    lf_state_letter_free(r->last);
    lf_event_free(r->farewell);
    lf_facts_free(r->facts);
    luaflow_error_clear(&r->problem);
    free(r->steps);
    free(r->parked);
    lf_recent_fini(&r->recent);
    free(r->taken);
    free(r);
}

int lf_sched_run_new(const lf_run_start *start, lf_sched_run **out, luaflow_error *err)
{
    luaflow_event farewell = {.type = LUAFLOW_RUN_FINISHED};
    lf_sched_run *r = calloc(1, sizeof *r);
    if (r == NULL) {
        lf_facts_free(start->facts);
        return lf_fail_memory(err);
    }
    r->letter.kind = LF_LETTER_START;
    r->facts = start->facts;
    r->graph = start->graph;
    r->max_workers = start->max_workers;
    r->plan = lf_plan_new(start->graph, (lf_plan_hooks){hold_thing, drop_thing});
    r->steps = calloc(start->facts->n_steps, sizeof *r->steps);
    r->taken = malloc(BATCH_TASKS * sizeof(void *));
    r->last = lf_state_letter_new(start->facts);
    r->farewell = lf_event_new(&farewell, start->facts->owner);
    if (r->plan == NULL || r->steps == NULL || r->taken == NULL || r->last == NULL ||
        r->farewell == NULL) {
        lf_sched_run_free(r);
        return lf_fail_memory(err);
    }
    for (uint32_t i = 0; i < start->facts->n_steps; i++)
        r->steps[i].batch = 1;
    *out = r;
    return LUAFLOW_OK;
}

lf_sched_run *lf_sched_find_run(lf_sched *s, const lf_facts *facts)
{
    lf_sched_run *r = s->runs;
    while (r->facts != facts) /* a batch never outlives its run here */
        r = r->next;
    return r;
}

bool lf_sched_is_halted(const lf_sched_run *r)
{
    return r->cancelled || r->problem.code != LUAFLOW_OK || (r->failed && !r->facts->keep_going);
}

void lf_sched_halt_if(lf_sched_run *r)
{
    if (lf_sched_is_halted(r))
        atomic_store(&r->facts->halted, true); /* workers look before each task */
}

void lf_sched_break(lf_sched_run *r, luaflow_error *why)
{
    if (r->problem.code == LUAFLOW_OK)
        lf_error_move(&r->problem, why);
    lf_sched_halt_if(r);
}

/* ---- ends ---- */

static int status_of(const lf_sched_run *r)
{
    if (r->failed || r->problem.code != LUAFLOW_OK)
        return LUAFLOW_FAILED;
    return lf_plan_done(r->plan) ? LUAFLOW_DONE : LUAFLOW_INTERRUPTED;
}

/* Told when the last state is stored, or could not be. */
static void finish_run(lf_sched *s, lf_sched_run *r, luaflow_error *problem)
{
    if (problem != NULL && problem->code != LUAFLOW_OK)
        lf_sched_break(r, problem);
    uint64_t now = lf_now_us();
    lf_sched_tell_progress(r, now, true);
    luaflow_event event = {.type = LUAFLOW_RUN_FINISHED, .run = r->facts->run,
                           .time = (double)now / 1e6, .status = status_of(r),
                           .counts = lf_sched_counts(r)};
    if (r->problem.code != LUAFLOW_OK) {
        event.message = luaflow_error_text(&r->problem);
        event.attempt = (uint32_t)-r->problem.code;
    }
    lf_event *e = lf_event_new(&event, r->facts->owner);
    if (e == NULL) { /* the same without its words */
        e = r->farewell;
        r->farewell = NULL;
        event.message = NULL;
        e->told = event;
    }
    lf_events_post(r->facts->events, e);
    lf_sched_run **at = &s->runs;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    lf_sched_run_free(r);
}

static bool has_ended(const lf_sched_run *r)
{
    return r->out_batches == 0 && (!r->replaying || r->problem.code != LUAFLOW_OK) &&
           (lf_sched_is_halted(r) || (r->retrying == 0 && r->waiting == NULL &&
                                       lf_plan_ready(r->plan, NULL, NULL) == LF_NONE));
}

/* Sends the last state after the last tasks, so that one commit makes both durable. */
static void end_if(lf_sched *s, lf_sched_run *r)
{
    if (r->ending || !has_ended(r))
        return;
    r->ending = true;
    lf_state_letter *l = r->last;
    r->last = NULL;
    l->final = true;
    l->status = status_of(r);
    if (r->problem.code != LUAFLOW_OK)
        l->problem = strdup(luaflow_error_text(&r->problem));
    lf_queue_push(&s->to_writer, &l->letter.node);
}

static void send_letter(void *payload, lf_log_letter *l)
{
    lf_sched *s = payload;
    lf_queue_push(&s->to_writer, &l->letter.node);
}

/* Lets others see how far a run is that takes long. */
static void send_state(lf_sched *s, lf_sched_run *r)
{
    uint64_t started = lf_sched_counts(r).started;
    if (r->ending || started == r->counted)
        return;
    lf_state_letter *l = lf_state_letter_new(r->facts);
    uint64_t *by_step = l == NULL ? NULL : malloc(r->facts->n_steps * sizeof *by_step);
    if (by_step == NULL) {
        lf_state_letter_free(l); /* nothing is lost: the next tick tries again */
        return;
    }
    for (uint32_t i = 0; i < r->facts->n_steps; i++)
        by_step[i] = r->steps[i].counts.started;
    l->started = by_step;
    r->counted = started;
    lf_queue_push(&s->to_writer, &l->letter.node);
}

static void tick(evutil_socket_t fd, short what, void *payload)
{
    (void)fd, (void)what;
    lf_sched *s = payload;
    uint64_t now = lf_now_us();
    s->runner.logs(s->runner.self, now - TICK_MS * 1000 / 2, send_letter, s);
    for (lf_sched_run *r = s->runs; r != NULL; r = r->next) {
        lf_sched_tell_progress(r, now, false);
        send_state(s, r);
    }
    lf_writer_post(s->writer, &s->to_writer);
}

static void set_watch(lf_sched *s);

/* Batches are with the runner. */
static void watch(evutil_socket_t fd, short what, void *payload)
{
    (void)fd, (void)what;
    lf_sched *s = payload;
    s->runner.divide(s->runner.self, WATCH_MS * 1000 / 2, lf_sched_divided, s);
    lf_sched_advance(s);
    set_watch(s);
}

static void set_watch(lf_sched *s)
{
    struct timeval every = {0, WATCH_MS * 1000};
    uint32_t out = 0;
    for (const lf_sched_run *r = s->runs; r != NULL; r = r->next)
        out += r->out_batches;
    if (out == 0)
        event_del(s->on_watch);
    else if (!event_pending(s->on_watch, EV_TIMEOUT, NULL))
        event_add(s->on_watch, &every);
}

static void set_tick(lf_sched *s)
{
    struct timeval every = {TICK_MS / 1000, TICK_MS % 1000 * 1000};
    if (s->runs == NULL)
        event_del(s->on_tick);
    else if (!event_pending(s->on_tick, EV_TIMEOUT, NULL))
        event_add(s->on_tick, &every);
}

/* ---- letters ---- */

static void start_run(lf_sched *s, lf_sched_run *r)
{
    luaflow_event started = {.type = LUAFLOW_RUN_STARTED, .run = r->facts->run,
                             .time = (double)lf_now_us() / 1e6};
    lf_events_post(r->facts->events, lf_event_new(&started, r->facts->owner));
    r->sched = s;
    r->replaying = r->facts->replay != NULL;
    r->next = s->runs;
    s->runs = r;
    if (s->widest < r->max_workers)
        s->widest = r->max_workers;
    s->runner.grow(s->runner.self, r->max_workers);
}

static void cancel_run(lf_sched *s, uint32_t number)
{
    for (lf_sched_run *r = s->runs; r != NULL; r = r->next)
        if (r->facts->run == number) {
            r->cancelled = true;
            lf_sched_halt_if(r);
        }
}

static void on_letter(lf_sched *s, lf_letter *l)
{
    switch (l->kind) {
    case LF_LETTER_SEALED:
        lf_sched_sealed(s, LF_OF(l, lf_batch, letter));
        break;
    case LF_LETTER_COMMITTED:
        lf_sched_committed(s, LF_OF(l, lf_batch, letter));
        break;
    case LF_LETTER_STATE: {
        lf_state_letter *state = LF_OF(l, lf_state_letter, letter);
        finish_run(s, lf_sched_find_run(s, state->facts), &state->error);
        lf_state_letter_free(state);
        break;
    }
    case LF_LETTER_START:
        start_run(s, LF_OF(l, lf_sched_run, letter));
        break;
    case LF_LETTER_CANCEL:
        cancel_run(s, LF_OF(l, command, letter)->run);
        free(LF_OF(l, command, letter));
        break;
    default:
        s->stop = true;
        break;
    }
}

void lf_sched_advance(lf_sched *s)
{
    for (lf_sched_run *r = s->runs, *next; r != NULL; r = next) {
        next = r->next;
        lf_sched_dispatch(s, r);
        end_if(s, r);
    }
    lf_writer_post(s->writer, &s->to_writer);
}

static void on_mail(evutil_socket_t fd, short what, void *payload)
{
    (void)fd, (void)what;
    lf_sched *s = payload;
    lf_queue letters;
    lf_queue_init(&letters);
    lf_mailbox_take(s->box, &letters);
    for (lf_node *n; (n = lf_queue_pop(&letters)) != NULL;)
        on_letter(s, LF_OF(n, lf_letter, node));
    lf_sched_advance(s);
    set_tick(s);
    set_watch(s);
    if (s->stop)
        event_base_loopbreak(s->base);
}

/* ---- from other threads ---- */

static void *loop(void *payload)
{
    lf_sched *s = payload;
    event_base_dispatch(s->base);
    return NULL;
}

static void free_sched(lf_sched *s)
{
    if (s->on_mail != NULL)
        event_free(s->on_mail);
    if (s->on_tick != NULL)
        event_free(s->on_tick);
    if (s->on_watch != NULL)
        event_free(s->on_watch);
    if (s->base != NULL)
        event_base_free(s->base);
    free(s);
}

/* A loop that only its own thread touches, and that looks at no environment variable. */
static struct event_base *make_base(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

int lf_sched_open(lf_mailbox *box, lf_runner runner, lf_writer *writer, const lf_staged *staged,
                  lf_sched **out, luaflow_error *err)
{
    lf_sched *s = calloc(1, sizeof *s);
    if (s == NULL)
        return lf_fail_memory(err);
    s->box = box;
    s->runner = runner;
    s->writer = writer;
    s->staged = staged;
    lf_queue_init(&s->to_writer);
    s->base = make_base();
    if (s->base != NULL) {
        s->on_mail = event_new(s->base, lf_mailbox_fd(box), EV_READ | EV_PERSIST, on_mail, s);
        s->on_tick = event_new(s->base, -1, EV_PERSIST, tick, s);
        s->on_watch = event_new(s->base, -1, EV_PERSIST, watch, s);
    }
    int failed = ENOMEM;
    if (s->on_mail != NULL && s->on_tick != NULL && s->on_watch != NULL && event_add(s->on_mail, NULL) == 0)
        failed = lf_thread_start(&s->thread, loop, s);
    if (failed != 0) {
        free_sched(s);
        return lf_fail(err, LUAFLOW_ENOMEM, "cannot start the scheduler's thread: %s", strerror(failed));
    }
    *out = s;
    return LUAFLOW_OK;
}

void lf_sched_close(lf_sched *s)
{
    if (s == NULL)
        return;
    lf_letter stop = {.kind = LF_LETTER_STOP};
    lf_mailbox_post(s->box, &stop.node);
    pthread_join(s->thread, NULL);
    free_sched(s);
}

void lf_sched_start(lf_sched *s, lf_sched_run *r) { lf_mailbox_post(s->box, &r->letter.node); }

void lf_sched_cancel(lf_sched *s, uint32_t run_number)
{
    command *c = calloc(1, sizeof *c);
    if (c == NULL)
        return; /* the caller may ask again */
    c->letter.kind = LF_LETTER_CANCEL;
    c->run = run_number;
    lf_mailbox_post(s->box, &c->letter.node);
}

const char *lf_sched_library(void) { return event_get_version(); }
