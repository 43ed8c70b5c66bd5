/* task.c -- the envelope of a task, and the batch it travels in. */
#include "task.h"
#include "clock.h"
#include "staged.h"

#include <stdlib.h>

lf_facts *lf_facts_new(uint32_t n_steps)
{
    lf_facts *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    atomic_init(&f->refs, 1);
    f->n_steps = n_steps;
    f->tally = calloc(n_steps, sizeof *f->tally);
    f->begun = calloc(n_steps, sizeof *f->begun);
    if (f->tally == NULL || f->begun == NULL) {
        lf_facts_free(f);
        return NULL;
    }
    return f;
}

lf_facts *lf_facts_ref(lf_facts *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void lf_facts_free(lf_facts *f)
{
    if (f == NULL || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (f->flow != NULL)
        f->drop_flow(f->flow);
    lf_buf_free(f->params);
    lf_bytes_fini(&f->tags);
    free(f->store);
    free(f->tally);
    if (f->replay != NULL)
        f->drop_replay(f->replay);
    luaflow_error_clear(&f->lost);
    free(f->begun);
    free(f);
}

lf_split *lf_split_new(lf_buf *bytes, luaflow_error *err)
{
    lf_split *s = calloc(1, sizeof *s);
    if (s == NULL) {
        lf_buf_free(bytes);
        lf_fail_memory(err);
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->bytes = bytes;
    if (lf_list_init(&s->list, lf_buf_slice(bytes), err) != LUAFLOW_OK) {
        lf_buf_free(bytes);
        free(s);
        return NULL;
    }
    return s;
}

lf_split *lf_split_ref(lf_split *s)
{
    if (s != NULL)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void lf_split_free(lf_split *s)
{
    while (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        lf_split *up = s->up;
        lf_list_fini(&s->list);
        lf_buf_free(s->bytes);
        free(s);
        s = up;
    }
}

lf_batch *lf_batch_new(lf_facts *facts, uint32_t n)
{
    lf_batch *b = calloc(1, sizeof *b + n * sizeof b->tasks[0]);
    if (b == NULL)
        return NULL;
    atomic_init(&b->refs, 1);
    b->facts = lf_facts_ref(facts);
    b->n = n;
    for (uint32_t i = 0; i < n; i++)
        b->tasks[i].batch = b;
    return b;
}

static void free_join(lf_join *j)
{
    if (j == NULL)
        return;
    for (uint32_t i = 0; i < j->n_live; i++)
        lf_task_drop(j->live[i].task);
    free(j->live);
    free(j->numbers);
    free(j);
}

void lf_task_release_inputs(lf_task *t)
{
    lf_task *parent = t->parent;
    lf_join *join = t->join;
    t->parent = NULL;
    t->join = NULL;
    lf_task_drop(parent);
    free_join(join);
}

/* Frees one batch whose last owner is gone, but for its tasks' bases. */
static void free_batch(lf_batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        lf_task *t = &b->tasks[i];
        lf_task_release_inputs(t);
        lf_task_drop(t->base); /* a base has none itself: this goes no deeper */
        lf_split_free(t->split);
        lf_split_free(t->opened);
    }
    for (uint32_t i = 0; i < b->n_held; i++)
        lf_blob_free(b->held[i].blob);
    free(b->held);
    lf_bytes_fini(&b->arena);
    luaflow_error_clear(&b->error);
    lf_facts_free(b->facts);
    free(b);
}

void lf_batch_free(lf_batch *b)
{
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        free_batch(b);
}

lf_task *lf_task_hold(lf_task *t)
{
    if (t != NULL)
        atomic_fetch_add_explicit(&t->batch->refs, 1, memory_order_relaxed);
    return t;
}

void lf_task_drop(lf_task *t)
{
    if (t != NULL)
        lf_batch_free(t->batch);
}

bool lf_batch_hold(lf_batch *b, struct lf_blob *blob, size_t salt_at, bool own)
{
    if (b->n_held == b->held_room) {
        uint32_t room = b->held_room ? b->held_room * 2 : 8;
        lf_held *held = realloc(b->held, room * sizeof *held);
        if (held == NULL) {
            lf_blob_free(blob);
            return false;
        }
        b->held = held;
        b->held_room = room;
    }
    b->held[b->n_held++] = (lf_held){blob, salt_at, own};
    return true;
}

void lf_task_place(const lf_task *t, lf_bytes *out)
{
    lf_bytes_put(out, t->prefix.data, t->prefix.size);
    if (t->index > 0)
        lf_place_put_index(out, t->index);
    if (t->turn > 1)
        lf_place_put_turn(out, t->turn);
}

void lf_task_tell(const lf_task *t, lf_slice place, const char *step, luaflow_event event)
{
    lf_facts *facts = t->batch->facts;
    if (!facts->listened)
        return;
    lf_bytes path = {0};
    lf_path_format(&path, step, place);
    event.run = facts->run;
    event.task = t->number;
    event.step = step;
    event.path = lf_bytes_cstr(&path);
    event.attempt = t->attempt;
    event.worker = t->worker;
    event.pid = t->pid;
    if (event.time == 0)
        event.time = (double)lf_now_us() / 1e6;
    lf_events_post(facts->events, event.path == NULL ? NULL : lf_event_new(&event, facts->owner));
    lf_bytes_fini(&path);
}
