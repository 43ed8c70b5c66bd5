/* sched.c -- the loop: plan, runners, writer.
 * Everything but lf_sched_open, _close, _start and _cancel happens on its thread. */
#include "sched.h"
#include "clock.h"
#include "plan.h"
#include "replay.h"
#include "sched_recent.h"
#include "thread.h"

#include <errno.h>
#include <event2/event.h>
#include <math.h>
#include <stdlib.h>

/* Batches are made to last about so long, and never longer than so many tasks, so that
 * handing one over costs little beside running it. */
enum { BATCH_US = 400, BATCH_TASKS = 256 };

/* A step whose tasks are shorter than this has its next batches waiting with the runner. */
enum { SHORT_US = 2000 };

/* So much may wait for the writer before no further task is started. */
enum { MAX_UNCOMMITTED = 65536 };
static const uint64_t max_staged = 512u << 20;

enum { TICK_MS = 500, PROGRESS_US = 1000000 };

/* So often it is looked whether a task keeps those of its batch waiting that have ended, or could
 * run elsewhere. */
enum { WATCH_MS = 10 };

/* The element of a task that failed is told with that if it has no more bytes. */
enum { INPUT_SHOWN = 4096 };

/* A retry waits at most so many seconds. */
enum { LONGEST_DELAY = 1000000000 };

/* What is known of one step in one run. */
typedef struct step_state {
    uint32_t running;            /* taken and not sealed */
    uint32_t reused;             /* taken over, and sealed */
    uint32_t batch;              /* how many tasks the next batch may have */
    double mean_us;              /* of a task; 0: not known yet */
    luaflow_counts counts;       /* started: taken; done, failed: committed */
    uint64_t told_us, told_sum;  /* the last progress event */
} step_state;

typedef struct run {
    struct run *next;
    lf_sched *sched;
    lf_facts *facts;
    const lf_graph *graph;
    lf_plan *plan;
    uint32_t max_workers;
    bool failed, cancelled, ending;
    luaflow_error problem;       /* what broke the run itself */
    uint32_t out_batches;        /* with the runner */
    uint32_t slots;              /* of max_workers: what these take */
    struct waiting *waiting;     /* tasks that failed, until they are tried again */
    /* of a resumed run, at first: whatever the origin has done is taken over before anything
       runs, so that nothing of it is lost should the run come to an early end */
    bool replaying;
    lf_planned **parked;         /* tasks met there that are to run */
    uint32_t n_parked, parked_room;
    uint32_t pending;            /* tasks with the writer */
    uint32_t retrying;           /* of these, failed ones that will be tried again */
    uint64_t counted;            /* tasks started as of the last state letter */
    step_state *steps;
    lf_recent recent;            /* tasks before a join that are not committed yet */
    lf_planned **taken;          /* BATCH_TASKS of them: scratch */
    lf_state_letter *last;       /* both made at the start, so that ending needs no memory */
    lf_event *farewell;
} run;

/* A task that failed and waits for its next attempt. */
typedef struct waiting {
    struct waiting *next, **before;
    run *run;
    lf_planned *planned;
    struct event *timer;
} waiting;

struct lf_sched {
    pthread_t thread;
    struct event_base *base;
    struct event *on_mail, *on_tick, *on_watch;
    lf_mailbox *box;
    lf_runner runner;
    lf_writer *writer;
    const lf_staged *staged;
    run *runs;
    uint32_t widest;             /* how many batches the runner may run at once by now */
    lf_queue to_writer;          /* gathered while letters are read, posted at once */
    bool stop;
};

typedef struct command {
    lf_letter letter;
    lf_run_start start;
    uint32_t run;
} command;

/* ---- runs ---- */

static void hold_thing(void *thing) { lf_task_hold(thing); }
static void drop_thing(void *thing) { lf_task_drop(thing); }

static void free_waiting(waiting *w)
{
    *w->before = w->next;
    if (w->next != NULL)
        w->next->before = w->before;
    event_free(w->timer);
    free(w);
}

static void free_run(run *r)
{
    if (r == NULL)
        return;
    while (r->waiting != NULL)
        free_waiting(r->waiting);
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

static run *find_run(lf_sched *s, const lf_facts *facts)
{
    run *r = s->runs;
    while (r->facts != facts) /* a batch never outlives its run here */
        r = r->next;
    return r;
}

static bool is_halted(const run *r)
{
    return r->cancelled || r->problem.code != LUAFLOW_OK || (r->failed && !r->facts->keep_going);
}

static void halt_if(run *r)
{
    if (is_halted(r))
        atomic_store(&r->facts->halted, true); /* workers look before each task */
}

static void break_run(run *r, luaflow_error *why)
{
    if (r->problem.code == LUAFLOW_OK)
        lf_error_move(&r->problem, why);
    halt_if(r);
}

static const lf_attributes *attributes_of(const run *r, uint32_t step)
{
    return &lf_graph_step(r->graph, step)->attributes;
}

/* ---- making batches ---- */

static bool may_start(void *payload, uint32_t step)
{
    const run *r = payload;
    uint32_t limit = attributes_of(r, step)->max_parallel;
    return limit == 0 || r->steps[step].running < limit;
}

/* How many of the run's workers one batch of the step takes: it goes to one of them, but a step
 * that uses several processors keeps the others free. */
static uint32_t slots_of(const run *r, uint32_t step)
{
    uint32_t cpu = attributes_of(r, step)->cpu;
    return cpu == 0 ? 1 : cpu < r->max_workers ? cpu : r->max_workers;
}

static uint32_t batch_size(const run *r, uint32_t step)
{
    const step_state *st = &r->steps[step];
    const lf_attributes *attributes = attributes_of(r, step);
    uint32_t limit = attributes->max_parallel;
    if (lf_attributes_isolate(attributes))
        return 1;
    uint64_t n = st->batch, share = lf_plan_ready_count(r->plan, step) / r->max_workers + 1;
    if (n > share)
        n = share;
    if (limit > 0 && n > limit - st->running)
        n = limit - st->running;
    return (uint32_t)n;
}

/* Moves a join's inputs into its envelope, with handles on those not committed yet. */
static bool give_inputs(run *r, lf_planned *p, lf_task *t)
{
    lf_task *opener = p->opener;
    lf_join *join = calloc(1, sizeof *join);
    if (join == NULL)
        return false;
    t->join = join;
    join->step = opener->step;
    join->n = p->n_inputs;
    join->numbers = p->inputs;
    p->inputs = NULL;
    t->split = lf_split_ref(opener->split);
    t->split_index = opener->split_index;
    uint32_t room = r->recent.n < join->n ? r->recent.n : join->n;
    if (room == 0)
        return true;
    join->live = malloc(room * sizeof *join->live);
    if (join->live == NULL)
        return false;
    for (uint32_t i = 0; i < join->n && join->n_live < room; i++) {
        lf_task *input = lf_recent_find(&r->recent, join->numbers[i]);
        if (input != NULL)
            join->live[join->n_live++] = (lf_live_input){i, lf_task_hold(input)};
    }
    return true;
}

static bool fill_task(run *r, lf_planned *p, lf_task *t)
{
    t->number = p->number;
    t->step = p->step;
    t->attempt = p->attempt;
    t->index = p->index;
    t->turn = p->turn;
    t->prefix = p->prefix;
    t->planned = p;
    if (p->opener != NULL)
        return give_inputs(r, p, t);
    lf_task *parent = lf_task_hold(p->thing);
    t->parent = parent;
    if (parent == NULL)
        return true;
    bool is_child = lf_graph_step(r->graph, parent->step)->kind == LF_FOREACH;
    t->split = lf_split_ref(is_child ? parent->opened : parent->split);
    t->split_index = is_child ? p->index : parent->split_index;
    return true;
}

/* Starts one batch of at most `most` tasks of `step`; false when memory ran out. */
static bool start_batch(lf_sched *s, run *r, uint32_t step, uint32_t most)
{
    size_t n = lf_plan_take(r->plan, step, most, r->taken);
    lf_batch *b = n > 0 ? lf_batch_new(r->facts, (uint32_t)n) : NULL;
    bool ok = b != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = fill_task(r, r->taken[i], &b->tasks[i]);
    if (!ok) {
        luaflow_error err = LUAFLOW_ERROR_INIT;
        lf_fail_memory(&err);
        break_run(r, &err);
        lf_batch_free(b);
        return false;
    }
    r->steps[step].running += (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        r->steps[step].counts.started += b->tasks[i].attempt == 0;
    r->out_batches++;
    b->replays = r->replaying;
    r->slots += slots_of(r, step);
    s->runner.start(s->runner.self, b);
    return true;
}

static bool is_writer_full(const lf_sched *s, const run *r)
{
    return r->pending > MAX_UNCOMMITTED ||
           (r->pending > 0 && lf_staged_bytes(s->staged) > max_staged);
}

static bool is_full(const lf_sched *s, const run *r, uint32_t step)
{
    if (is_writer_full(s, r))
        return true;
    uint32_t slots = slots_of(r, step);
    bool alone = s->runs == r && r->next == NULL && r->max_workers == s->widest && slots == 1 &&
                 !lf_attributes_isolate(attributes_of(r, step));
    double mean = r->steps[step].mean_us;
    uint32_t ahead = alone && mean > 0 && mean < SHORT_US ? r->max_workers : 0;
    return (uint64_t)r->slots + slots > (uint64_t)r->max_workers + ahead;
}

/* Whether tasks of the step are still to be taken over. */
static bool may_replay(void *payload, uint32_t step)
{
    const run *r = payload;
    return r->steps[step].reused < lf_replay_count(r->facts->replay, step);
}

/* Takes over from the origin what is ready; what was met that is to run comes back when there
 * is no more. */
static void replay(lf_sched *s, run *r)
{
    uint32_t step = LF_NONE;
    while (r->problem.code == LUAFLOW_OK && r->out_batches < 2 * r->max_workers && !is_writer_full(s, r)) {
        step = lf_plan_ready(r->plan, may_replay, r);
        if (step == LF_NONE || !start_batch(s, r, step, BATCH_TASKS))
            break;
    }
    if (step != LF_NONE || r->out_batches > 0 || is_writer_full(s, r))
        return;
    for (uint32_t i = 0; i < r->n_parked; i++)
        lf_plan_return(r->plan, r->parked[i]);
    r->n_parked = 0;
    r->replaying = false;
}

static void dispatch(lf_sched *s, run *r)
{
    if (r->replaying && !r->ending)
        replay(s, r);
    while (!is_halted(r) && !r->ending && !r->replaying) {
        uint32_t step = lf_plan_ready(r->plan, may_start, r);
        if (step == LF_NONE || is_full(s, r, step) || !start_batch(s, r, step, batch_size(r, step)))
            return;
    }
}

/* ---- what comes back ---- */

static bool is_before_join(const run *r, const lf_task *t)
{
    const lf_step *step = lf_graph_step(r->graph, t->step);
    uint32_t next = step->kind == LF_LINEAR ? step->next[0] : step->kind == LF_SWITCH ? t->choice : LF_NONE;
    return next != LF_NONE && lf_graph_step(r->graph, next)->is_join;
}

/* Seconds between this attempt of a step, counted from 0, and the next. */
static double delay_after(const lf_attributes *a, uint32_t attempt)
{
    if (a->retry_delay == 0)
        return 0; /* times a backoff that has grown without bound, too */
    double backoff = a->retry_backoff == 0 ? 1 : a->retry_backoff;
    double delay = a->retry_delay * pow(backoff, attempt);
    return delay < LONGEST_DELAY ? delay : LONGEST_DELAY;
}

static void advance(lf_sched *s);

static void on_retry(evutil_socket_t fd, short what, void *payload)
{
    (void)fd, (void)what;
    waiting *w = payload;
    lf_sched *s = w->run->sched;
    lf_plan_return(w->run->plan, w->planned);
    free_waiting(w);
    advance(s);
}

/* Puts the task back after its delay, counted from now; false when memory ran out. */
static bool retry(run *r, lf_planned *p)
{
    event_base_update_cache_time(r->sched->base);
    double delay = delay_after(attributes_of(r, p->step), p->attempt++);
    if (delay <= 0) {
        lf_plan_return(r->plan, p);
        return true;
    }
    waiting *w = calloc(1, sizeof *w);
    if (w == NULL)
        return false;
    w->run = r;
    w->planned = p;
    w->timer = event_new(r->sched->base, -1, 0, on_retry, w);
    struct timeval after = {(time_t)delay, (suseconds_t)((delay - floor(delay)) * 1e6)};
    if (w->timer == NULL || event_add(w->timer, &after) != 0) {
        if (w->timer != NULL)
            event_free(w->timer);
        free(w);
        return false;
    }
    w->next = r->waiting;
    w->before = &r->waiting;
    if (w->next != NULL)
        w->next->before = &w->next;
    r->waiting = w;
    return true;
}

/* Gives a join's inputs back to the plan, for the task will be taken again. */
static void return_inputs(lf_planned *p, lf_task *t)
{
    if (t->join != NULL && p->inputs == NULL) {
        p->inputs = t->join->numbers;
        t->join->numbers = NULL;
    }
}

/* The task failed: it is tried again, or has failed for good. */
static void end_failed(run *r, lf_planned *p, lf_task *t)
{
    if (t->attempt < attributes_of(r, t->step)->retry_times) {
        return_inputs(p, t);
        lf_task_release_inputs(t);
        t->outcome = LF_RETRYING;
        t->planned = p; /* until the attempt is stored, and told */
        r->retrying++;
        return;
    }
    lf_task_release_inputs(t);
    r->failed = true;
    lf_plan_fail(r->plan, p);
}

static bool park(run *r, lf_planned *p)
{
    if (r->n_parked == r->parked_room) {
        uint32_t room = r->parked_room ? r->parked_room * 2 : 64;
        lf_planned **parked = realloc(r->parked, room * sizeof *parked);
        if (parked == NULL)
            return false;
        r->parked = parked;
        r->parked_room = room;
    }
    r->parked[r->n_parked++] = p;
    return true;
}

static void end_task(run *r, lf_task *t)
{
    lf_planned *p = t->planned;
    lf_decision decision = {t->width, t->choice, t};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    t->planned = NULL;
    t->prefix = (lf_slice){NULL, 0};
    r->steps[t->step].running--;
    if (t->outcome == LF_UNSTARTED) {
        r->steps[t->step].counts.started -= t->attempt == 0;
        return_inputs(p, t);
        if (!r->replaying)
            lf_plan_return(r->plan, p);
        else if (!park(r, p)) {
            lf_fail_memory(&err);
            break_run(r, &err);
        }
        return;
    }
    if (t->outcome == LF_BROKE) {
        end_failed(r, p, t);
        return;
    }
    r->steps[t->step].reused += t->origin_run != 0;
    bool keep = is_before_join(r, t);
    int rc = lf_plan_finish(r->plan, p, &decision);
    if (rc == LUAFLOW_OK && keep && !lf_recent_add(&r->recent, t))
        rc = LUAFLOW_ENOMEM;
    if (rc == LUAFLOW_OK)
        return;
    lf_fail(&err, rc, rc == LUAFLOW_EUSAGE ? "a run has at most 4,294,967,295 tasks" : "out of memory");
    break_run(r, &err);
}

static void learn(step_state *st, const lf_batch *b, uint32_t n_run)
{
    double mean = (double)b->elapsed_us / n_run;
    st->mean_us = st->mean_us == 0 ? mean : st->mean_us * 0.75 + mean * 0.25;
    if (st->mean_us < 0.01)
        st->mean_us = 0.01;
    double fitting = BATCH_US / st->mean_us;
    uint32_t next = st->batch * 2 < BATCH_TASKS ? st->batch * 2 : BATCH_TASKS;
    st->batch = fitting < 1 ? 1 : fitting < next ? (uint32_t)fitting : next;
}

/* Ends the tasks of a batch that a runner is done with, and sends it on. */
static void end_batch(lf_sched *s, run *r, lf_batch *b)
{
    uint32_t n_run = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (i + 1 == b->vacant)
            continue;
        n_run += b->tasks[i].outcome != LF_UNSTARTED;
        end_task(r, &b->tasks[i]);
    }
    if (n_run > 0 && !b->replays && b->vacant == 0)
        learn(&r->steps[b->tasks[0].step], b, n_run);
    if (b->error.code != LUAFLOW_OK)
        break_run(r, &b->error);
    halt_if(r);
    if (n_run == 0) {
        lf_batch_free(b);
        return;
    }
    r->pending += b->n;
    b->letter.kind = LF_LETTER_BATCH;
    lf_queue_push(&s->to_writer, &b->letter.node);
}

static void on_sealed(lf_sched *s, lf_batch *b)
{
    run *r = find_run(s, b->facts);
    r->out_batches--;
    r->slots -= slots_of(r, b->tasks[0].step);
    end_batch(s, r, b);
}

/* The task that takes long is still with the runner, and its slots with it. */
static void on_divided(void *payload, lf_batch *b)
{
    lf_sched *s = payload;
    end_batch(s, find_run(s, b->facts), b);
}

static int event_of(const lf_task *t)
{
    switch (t->outcome) {
    case LF_BROKE: return LUAFLOW_TASK_FAILED;
    case LF_RETRYING: return LUAFLOW_TASK_RETRYING;
    default: return t->origin_run != 0 ? LUAFLOW_TASK_REUSED : LUAFLOW_TASK_FINISHED;
    }
}

static void tell_end(run *r, const lf_task *t)
{
    lf_task_record record;
    bool failed = t->outcome != LF_SUCCEEDED;
    if (!r->facts->listened || (!t->told && !failed) ||
        !lf_task_record_get(lf_task_record_bytes(t), &record))
        return;
    lf_bytes text = {0};
    lf_bytes_put(&text, record.message.data, record.message.size);
    lf_bytes_put_u8(&text, 0);
    size_t traceback_at = text.size;
    lf_bytes_put(&text, record.traceback.data, record.traceback.size);
    size_t reason_at = text.size + 1;
    if (t->origin_run != 0) {
        lf_bytes_put_u8(&text, 0);
        lf_replay_reason(t, &text);
    }
    lf_bytes input = {0};
    if (failed && t->split != NULL)
        lf_list_put(&input, &t->split->list, t->split_index);
    const char *message = lf_bytes_cstr(&text);
    luaflow_event event = {.type = event_of(t)};
    if (t->outcome == LF_RETRYING)
        event.delay = delay_after(attributes_of(r, t->step), t->attempt);
    if ((failed || record.flags & LF_TASK_CAUGHT) && message != NULL) {
        event.message = message;
        event.traceback = message + traceback_at;
    }
    if (t->origin_run != 0 && message != NULL)
        event.reason = message + reason_at;
    if (input.size <= INPUT_SHOWN) {
        event.input = input.data;
        event.input_size = input.size;
    }
    lf_task_tell(t, record.place, lf_graph_step(r->graph, t->step)->name, event);
    lf_bytes_fini(&input);
    lf_bytes_fini(&text);
}

static void on_committed(lf_sched *s, lf_batch *b)
{
    run *r = find_run(s, b->facts);
    r->pending -= b->n;
    bool kept = b->error.code == LUAFLOW_OK;
    for (uint32_t i = 0; i < b->n; i++) {
        lf_task *t = &b->tasks[i];
        if (t->outcome == LF_UNSTARTED)
            continue; /* it has run in another batch since, or will */
        lf_recent_remove(&r->recent, t->number);
        r->retrying -= t->outcome == LF_RETRYING;
        if (!kept)
            continue;
        luaflow_counts *counts = &r->steps[t->step].counts;
        if (t->outcome != LF_RETRYING)
            *(t->outcome == LF_SUCCEEDED ? &counts->done : &counts->failed) += 1;
        counts->reused += t->origin_run != 0;
        tell_end(r, t);
        if (t->outcome == LF_RETRYING && !is_halted(r) && !retry(r, t->planned))
            lf_fail_memory(&b->error);
    }
    if (b->error.code != LUAFLOW_OK)
        break_run(r, &b->error);
    lf_batch_free(b);
}

/* ---- progress and ends ---- */

static void tell_progress(run *r, uint64_t now_us, bool last)
{
    if (!r->facts->listened || r->facts->progress_after == 0)
        return;
    for (uint32_t i = 0; i < r->facts->n_steps; i++) {
        step_state *st = &r->steps[i];
        uint64_t sum = st->counts.started + st->counts.done + st->counts.failed;
        if (st->counts.started <= r->facts->progress_after || sum == st->told_sum ||
            (!last && now_us - st->told_us < PROGRESS_US))
            continue;
        uint32_t running = st->running < r->max_workers ? st->running : r->max_workers;
        luaflow_event event = {.type = LUAFLOW_PROGRESS, .run = r->facts->run,
                               .step = lf_graph_step(r->graph, i)->name, .counts = st->counts,
                               .time = (double)now_us / 1e6};
        event.counts.started = st->counts.done + st->counts.failed + running;
        lf_events_post(r->facts->events, lf_event_new(&event, r->facts->owner));
        st->told_us = now_us;
        st->told_sum = sum;
    }
}

static luaflow_counts sum_counts(const run *r)
{
    luaflow_counts sum = {0, 0, 0, 0};
    for (uint32_t i = 0; i < r->facts->n_steps; i++) {
        const luaflow_counts *c = &r->steps[i].counts;
        sum.started += c->started;
        sum.done += c->done;
        sum.failed += c->failed;
        sum.reused += c->reused;
    }
    return sum;
}

static int status_of(const run *r)
{
    if (r->failed || r->problem.code != LUAFLOW_OK)
        return LUAFLOW_FAILED;
    return lf_plan_done(r->plan) ? LUAFLOW_DONE : LUAFLOW_INTERRUPTED;
}

/* Told when the last state is stored, or could not be. */
static void finish_run(lf_sched *s, run *r, luaflow_error *problem)
{
    if (problem != NULL && problem->code != LUAFLOW_OK)
        break_run(r, problem);
    uint64_t now = lf_now_us();
    tell_progress(r, now, true);
    luaflow_event event = {.type = LUAFLOW_RUN_FINISHED, .run = r->facts->run,
                           .time = (double)now / 1e6, .status = status_of(r),
                           .counts = sum_counts(r)};
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
    run **at = &s->runs;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    free_run(r);
}

static bool has_ended(const run *r)
{
    return r->out_batches == 0 && (!r->replaying || r->problem.code != LUAFLOW_OK) &&
           (is_halted(r) || (r->retrying == 0 && r->waiting == NULL && lf_plan_ready(r->plan, NULL, NULL) == LF_NONE));
}

/* Sends the last state after the last tasks, so that one commit makes both durable. */
static void end_if(lf_sched *s, run *r)
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
static void send_state(lf_sched *s, run *r)
{
    uint64_t started = sum_counts(r).started;
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
    for (run *r = s->runs; r != NULL; r = r->next) {
        tell_progress(r, now, false);
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
    s->runner.divide(s->runner.self, WATCH_MS * 1000 / 2, on_divided, s);
    advance(s);
    set_watch(s);
}

static void set_watch(lf_sched *s)
{
    struct timeval every = {0, WATCH_MS * 1000};
    uint32_t out = 0;
    for (const run *r = s->runs; r != NULL; r = r->next)
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

static void start_run(lf_sched *s, const lf_run_start *start)
{
    run *r = calloc(1, sizeof *r);
    luaflow_event started = {.type = LUAFLOW_RUN_STARTED, .run = start->facts->run,
                             .time = (double)lf_now_us() / 1e6};
    lf_events_post(start->facts->events, lf_event_new(&started, start->facts->owner));
    if (r != NULL) {
        r->sched = s;
        r->facts = start->facts;
        r->graph = start->graph;
        r->max_workers = start->max_workers;
        r->replaying = start->facts->replay != NULL;
        r->plan = lf_plan_new(start->graph, (lf_plan_hooks){hold_thing, drop_thing});
        r->steps = calloc(start->facts->n_steps, sizeof *r->steps);
        r->taken = malloc(BATCH_TASKS * sizeof(void *));
        r->last = lf_state_letter_new(start->facts);
        luaflow_event farewell = {.type = LUAFLOW_RUN_FINISHED, .run = start->facts->run};
        r->farewell = lf_event_new(&farewell, start->facts->owner);
    }
    if (r == NULL || r->plan == NULL || r->steps == NULL || r->taken == NULL || r->last == NULL ||
        r->farewell == NULL) {
        luaflow_event event = {.type = LUAFLOW_RUN_FINISHED, .run = start->facts->run,
                               .status = LUAFLOW_FAILED, .message = "out of memory",
                               .attempt = (uint32_t)-LUAFLOW_ENOMEM};
        lf_events_post(start->facts->events, lf_event_new(&event, start->facts->owner));
        if (r == NULL)
            lf_facts_free(start->facts);
        free_run(r);
        return;
    }
    for (uint32_t i = 0; i < start->facts->n_steps; i++)
        r->steps[i].batch = 1;
    r->next = s->runs;
    s->runs = r;
    if (s->widest < r->max_workers)
        s->widest = r->max_workers;
    s->runner.grow(s->runner.self, r->max_workers);
}

static void cancel_run(lf_sched *s, uint32_t number)
{
    for (run *r = s->runs; r != NULL; r = r->next)
        if (r->facts->run == number) {
            r->cancelled = true;
            halt_if(r);
        }
}

static void on_letter(lf_sched *s, lf_letter *l)
{
    switch (l->kind) {
    case LF_LETTER_SEALED:
        on_sealed(s, LF_OF(l, lf_batch, letter));
        break;
    case LF_LETTER_COMMITTED:
        on_committed(s, LF_OF(l, lf_batch, letter));
        break;
    case LF_LETTER_STATE: {
        lf_state_letter *state = LF_OF(l, lf_state_letter, letter);
        finish_run(s, find_run(s, state->facts), &state->error);
        lf_state_letter_free(state);
        break;
    }
    case LF_LETTER_START:
        start_run(s, &LF_OF(l, command, letter)->start);
        free(LF_OF(l, command, letter));
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

/* Starts what can be started and ends what is over. */
static void advance(lf_sched *s)
{
    for (run *r = s->runs, *next; r != NULL; r = next) {
        next = r->next;
        dispatch(s, r);
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
    advance(s);
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

int lf_sched_start(lf_sched *s, const lf_run_start *start, luaflow_error *err)
{
    command *c = calloc(1, sizeof *c);
    if (c == NULL) {
        lf_facts_free(start->facts);
        return lf_fail_memory(err);
    }
    c->letter.kind = LF_LETTER_START;
    c->start = *start;
    lf_mailbox_post(s->box, &c->letter.node);
    return LUAFLOW_OK;
}

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
