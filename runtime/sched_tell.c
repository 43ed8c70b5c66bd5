/* sched_tell.c -- of the scheduler: what the world hears of its tasks. */
#include "replay.h"
#include "sched_inside.h"

enum { PROGRESS_US = 1000000 };

static int event_of(const lf_task *t)
{
    switch (t->outcome) {
    case LF_BROKE: return LUAFLOW_TASK_FAILED;
    case LF_RETRYING: return LUAFLOW_TASK_RETRYING;
    default: return t->origin_run != 0 ? LUAFLOW_TASK_REUSED : LUAFLOW_TASK_FINISHED;
    }
}

void lf_sched_tell_end(const lf_sched_run *r, const lf_task *t)
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
        event.delay = lf_sched_delay(lf_sched_attributes(r, t->step), t->attempt);
    if ((failed || record.flags & LF_TASK_CAUGHT) && message != NULL) {
        event.message = message;
        event.traceback = message + traceback_at;
    }
    if (t->origin_run != 0 && message != NULL)
        event.reason = message + reason_at;
    if (input.size <= LF_INPUT_SHOWN) {
        event.input = input.data;
        event.input_size = input.size;
    }
    lf_task_tell(t, record.place, lf_graph_step(r->graph, t->step)->name, event);
    lf_bytes_fini(&input);
    lf_bytes_fini(&text);
}

void lf_sched_tell_progress(lf_sched_run *r, uint64_t now_us, bool last)
{
    if (!r->facts->listened || r->facts->progress_after == 0)
        return;
    for (uint32_t i = 0; i < r->facts->n_steps; i++) {
        lf_step_state *st = &r->steps[i];
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

luaflow_counts lf_sched_counts(const lf_sched_run *r)
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
