/* sched_end.c -- of the scheduler: what comes back from the runner and from the writer. */
#include "sched_inside.h"

#include <math.h>
#include <stdlib.h>

/* A retry waits at most so many seconds. */
enum { LONGEST_DELAY = 1000000000 };

static bool is_before_join(const lf_sched_run *r, const lf_task *t)
{
    const lf_step *step = lf_graph_step(r->graph, t->step);
    uint32_t next = step->kind == LF_LINEAR ? step->next[0] : step->kind == LF_SWITCH ? t->choice : LF_NONE;
    return next != LF_NONE && lf_graph_step(r->graph, next)->is_join;
}

double lf_sched_delay(const lf_attributes *a, uint32_t attempt)
{
    if (a->retry_delay == 0)
        return 0; /* times a backoff that has grown without bound, too */
    double backoff = a->retry_backoff == 0 ? 1 : a->retry_backoff;
    double delay = a->retry_delay * pow(backoff, attempt);
    return delay < LONGEST_DELAY ? delay : LONGEST_DELAY;
}

static void free_waiting(lf_waiting *w)
{
    *w->before = w->next;
    if (w->next != NULL)
        w->next->before = w->before;
    event_free(w->timer);
    free(w);
}

void lf_sched_stop_waiting(lf_sched_run *r)
{
    while (r->waiting != NULL)
        free_waiting(r->waiting);
}

static void on_retry(evutil_socket_t fd, short what, void *payload)
{
    (void)fd, (void)what;
    lf_waiting *w = payload;
    lf_sched *s = w->run->sched;
    lf_plan_return(w->run->plan, w->planned);
    free_waiting(w);
    lf_sched_advance(s);
}

/* Puts the task back after its delay, counted from now; false when memory ran out. */
static bool retry(lf_sched_run *r, lf_planned *p)
{
    event_base_update_cache_time(r->sched->base);
    double delay = lf_sched_delay(lf_sched_attributes(r, p->step), p->attempt++);
    if (delay <= 0) {
        lf_plan_return(r->plan, p);
        return true;
    }
    lf_waiting *w = calloc(1, sizeof *w);
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
static void end_failed(lf_sched_run *r, lf_planned *p, lf_task *t)
{
    if (t->attempt < lf_sched_attributes(r, t->step)->retry_times) {
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

static bool park(lf_sched_run *r, lf_planned *p)
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

static void end_task(lf_sched_run *r, lf_task *t)
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
            lf_sched_break(r, &err);
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
    lf_sched_break(r, &err);
}

static void learn(lf_step_state *st, const lf_batch *b, uint32_t n_run)
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
static void end_batch(lf_sched *s, lf_sched_run *r, lf_batch *b)
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
        lf_sched_break(r, &b->error);
    lf_sched_halt_if(r);
    if (n_run == 0) {
        lf_batch_free(b);
        return;
    }
    r->pending += b->n;
    b->letter.kind = LF_LETTER_BATCH;
    lf_queue_push(&s->to_writer, &b->letter.node);
}

void lf_sched_sealed(lf_sched *s, lf_batch *b)
{
    lf_sched_run *r = lf_sched_find_run(s, b->facts);
    r->out_batches--;
    r->slots -= lf_sched_slots(r, b->tasks[0].step);
    end_batch(s, r, b);
}

void lf_sched_divided(void *payload, lf_batch *b)
{
    lf_sched *s = payload;
    end_batch(s, lf_sched_find_run(s, b->facts), b);
}

void lf_sched_committed(lf_sched *s, lf_batch *b)
{
    lf_sched_run *r = lf_sched_find_run(s, b->facts);
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
        lf_sched_tell_end(r, t);
        if (t->outcome == LF_RETRYING && !lf_sched_is_halted(r) && !retry(r, t->planned))
            lf_fail_memory(&b->error);
    }
    if (b->error.code != LUAFLOW_OK)
        lf_sched_break(r, &b->error);
    lf_batch_free(b);
}
