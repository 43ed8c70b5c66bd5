/* sched_start.c -- of the scheduler: what is ready, made into batches for the runner. */
#include "replay.h"
#include "sched_inside.h"

#include <stdlib.h>

/* A step whose tasks are shorter than this has its next batches waiting with the runner. */
enum { SHORT_US = 2000 };

/* So much may wait for the writer before no further task is started. */
enum { MAX_UNCOMMITTED = 65536 };
static const uint64_t max_staged = 512u << 20;

static bool may_start(void *payload, uint32_t step)
{
    const lf_sched_run *r = payload;
    uint32_t limit = lf_sched_attributes(r, step)->max_parallel;
    return limit == 0 || r->steps[step].running < limit;
}

uint32_t lf_sched_slots(const lf_sched_run *r, uint32_t step)
{
    uint32_t cpu = lf_sched_attributes(r, step)->cpu;
    return cpu == 0 ? 1 : cpu < r->max_workers ? cpu : r->max_workers;
}

static uint32_t batch_size(const lf_sched_run *r, uint32_t step)
{
    const lf_step_state *st = &r->steps[step];
    const lf_attributes *attributes = lf_sched_attributes(r, step);
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
static bool give_inputs(lf_sched_run *r, lf_planned *p, lf_task *t)
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

static bool fill_task(lf_sched_run *r, lf_planned *p, lf_task *t)
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
static bool start_batch(lf_sched *s, lf_sched_run *r, uint32_t step, uint32_t most)
{
    size_t n = lf_plan_take(r->plan, step, most, r->taken);
    lf_batch *b = n > 0 ? lf_batch_new(r->facts, (uint32_t)n) : NULL;
    bool ok = b != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = fill_task(r, r->taken[i], &b->tasks[i]);
    if (!ok) {
        luaflow_error err = LUAFLOW_ERROR_INIT;
        lf_fail_memory(&err);
        lf_sched_break(r, &err);
        lf_batch_free(b);
        return false;
    }
    r->steps[step].running += (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        r->steps[step].counts.started += b->tasks[i].attempt == 0;
    r->out_batches++;
    b->replays = r->replaying;
    r->slots += lf_sched_slots(r, step);
    s->runner.start(s->runner.self, b);
    return true;
}

static bool is_writer_full(const lf_sched *s, const lf_sched_run *r)
{
    return r->pending > MAX_UNCOMMITTED ||
           (r->pending > 0 && lf_staged_bytes(s->staged) > max_staged);
}

static bool is_full(const lf_sched *s, const lf_sched_run *r, uint32_t step)
{
    if (is_writer_full(s, r))
        return true;
    uint32_t slots = lf_sched_slots(r, step);
    bool alone = s->runs == r && r->next == NULL && r->max_workers == s->widest && slots == 1 &&
                 !lf_attributes_isolate(lf_sched_attributes(r, step));
    double mean = r->steps[step].mean_us;
    uint32_t ahead = alone && mean > 0 && mean < SHORT_US ? r->max_workers : 0;
    return (uint64_t)r->slots + slots > (uint64_t)r->max_workers + ahead;
}

/* Whether tasks of the step are still to be taken over. */
static bool may_replay(void *payload, uint32_t step)
{
    const lf_sched_run *r = payload;
    return r->steps[step].reused < lf_replay_count(r->facts->replay, step);
}

/* Takes over from the origin what is ready; what was met that is to run comes back when there
 * is no more. */
static void replay(lf_sched *s, lf_sched_run *r)
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

void lf_sched_dispatch(lf_sched *s, lf_sched_run *r)
{
    if (r->replaying && !r->ending)
        replay(s, r);
    while (!lf_sched_is_halted(r) && !r->ending && !r->replaying) {
        uint32_t step = lf_plan_ready(r->plan, may_start, r);
        if (step == LF_NONE || is_full(s, r, step) || !start_batch(s, r, step, batch_size(r, step)))
            return;
    }
}
