/* plan.c -- which tasks may run next.
 * Pure: no threads, no files, no Lua, no clock. Lives on the owner thread.
 *
 * In every slot of a frame there is one thing at a time: a task, or what followed it,
 * or the frame that it opened. So a slot ends exactly once, by reaching the join or by
 * being lost to a failure, and a frame is over when all its slots have ended: then it
 * becomes the join, in the slot of the frame around, or, with a slot lost, loses that.
 *
 * Turns count the runs of a step in one place, and a branch adds nothing to a place. So
 * the counters belong to an element of a foreach (or to the whole run), and the branches
 * within it share them. These run different steps, hence never count the same thing, and
 * a place is the same in whatever order they end. There is a counter for every step, in
 * graphs with loops alone: lf_step.in_loop does not tell of a loop around a branch. */
#include "plan.h"
#include "plan_inside.h"
#include "queue.h"
#include "record.h"

#include <assert.h>
#include <stdlib.h>

enum { CHUNK = 64 };

typedef struct frame {
    uint32_t step;         /* the branch or foreach that opened it */
    uint32_t from;         /* the number of that task */
    uint64_t size;         /* how many children */
    void *thing;           /* what lf_plan_finish was given for them (counted) */
    struct frame *up;      /* the frame around, or NULL */
    uint32_t slot;         /* where in `up` it stands */
    bool is_branch;
    uint64_t next;         /* of a foreach: how many children were made */
    uint64_t got, lost;    /* how many slots reached the join, how many never will */
    uint32_t *inputs;      /* by slot: the number of the task that reached the join */
    uint32_t *turns;       /* the counters of who opened it, on their way to the join; NULL
                              when a branch around has them */
    struct frame *home;    /* of a branch: the outermost of those with the same counters */
    struct frame *below;   /* in its step's stack of foreaches with children to make */
    struct frame **before, *after; /* among all frames */
    size_t prefix_size;
    uint8_t prefix[];      /* the place of all around its children */
} frame;

typedef struct task {
    lf_planned seen;       /* what the others see of it */
    bool live;
    uint32_t slot;
    frame *frame;          /* NULL outside every split */
    uint32_t *turns;       /* counters by step; NULL without loops, and in a branch */
    lf_node node;          /* among the ready ones of its step */
    struct task *next;     /* among the free ones, or those given back */
} task;

typedef struct chunk {
    struct chunk *next;
    task tasks[CHUNK];
} chunk;

/* What is ready of one step. */
typedef struct ready {
    uint64_t count;        /* the sum of the three below */
    task *returned, *last_returned; /* in the order of their numbers */
    lf_queue fresh;        /* never taken */
    frame *open;           /* foreaches with children to make, the newest first */
} ready;

struct lf_plan {
    const lf_graph *graph;
    lf_plan_hooks hooks;
    uint32_t n_steps;
    bool has_loops;
    ready *steps;
    uint32_t *rank, *by_rank; /* of a step, and the step of a rank: see plan_inside.h */
    uint64_t *bits;        /* by rank: is any ready? */
    uint64_t *bits_of_bits;/* by word of `bits`: is any bit set? */
    chunk *chunks;
    task *free;
    size_t n_free;
    frame *frames;
    uint64_t promised;     /* tasks there are or must be, as far as one knows */
    uint32_t last_number;
    uint64_t running;
    bool done;
    lf_bytes scratch;
};

/* ---- the highest rank with something ready ---- */

static uint64_t bit_of(uint32_t n) { return (uint64_t)1 << n % 64; }

static size_t words_for(size_t bits) { return (bits + 63) / 64; }

static void mark(lf_plan *p, uint32_t rank)
{
    p->bits[rank / 64] |= bit_of(rank);
    p->bits_of_bits[rank / 64 / 64] |= bit_of(rank / 64);
}

static void unmark(lf_plan *p, uint32_t rank)
{
    p->bits[rank / 64] &= ~bit_of(rank);
    if (p->bits[rank / 64] == 0)
        p->bits_of_bits[rank / 64 / 64] &= ~bit_of(rank / 64);
}

static uint32_t last_in(uint64_t word) { return 63 - (uint32_t)__builtin_clzll(word); }

/* The last bit set below `end`, or LF_NONE. */
static uint32_t last_bit(const uint64_t *words, uint32_t end)
{
    uint32_t w = end / 64;
    uint64_t word = end % 64 == 0 ? 0 : words[w] & (bit_of(end) - 1);
    while (word == 0) {
        if (w == 0)
            return LF_NONE;
        word = words[--w];
    }
    return w * 64 + last_in(word);
}

/* The highest rank below `end` of which something is ready, or LF_NONE. */
static uint32_t last_ready(const lf_plan *p, uint32_t end)
{
    uint32_t w = end / 64;
    uint64_t word = end % 64 == 0 ? 0 : p->bits[w] & (bit_of(end) - 1);
    if (word == 0) {
        w = last_bit(p->bits_of_bits, w);
        if (w == LF_NONE)
            return LF_NONE;
        word = p->bits[w];
    }
    return w * 64 + last_in(word);
}

static void add_ready(lf_plan *p, uint32_t step, uint64_t n)
{
    if (n > 0)
        mark(p, p->rank[step]);
    p->steps[step].count += n;
}

static void remove_ready(lf_plan *p, uint32_t step, uint64_t n)
{
    p->steps[step].count -= n;
    if (p->steps[step].count == 0)
        unmark(p, p->rank[step]);
}

/* ---- tasks ---- */

static void *hold(lf_plan *p, void *thing)
{
    if (thing != NULL)
        p->hooks.hold(thing);
    return thing;
}

static void drop(lf_plan *p, void *thing)
{
    if (thing != NULL)
        p->hooks.drop(thing);
}

/* Sees to it that `n` tasks can be made without asking for memory. */
static bool reserve(lf_plan *p, size_t n)
{
    while (p->n_free < n) {
        chunk *c = calloc(1, sizeof *c);
        if (c == NULL)
            return false;
        c->next = p->chunks;
        p->chunks = c;
        for (size_t i = CHUNK; i-- > 0;) {
            c->tasks[i].next = p->free;
            p->free = &c->tasks[i];
        }
        p->n_free += CHUNK;
    }
    return true;
}

/* Task numbers are 32 bits wide. */
static bool promise(lf_plan *p, uint64_t n)
{
    if (n > UINT32_MAX - p->promised)
        return false;
    p->promised += n;
    return true;
}

/* Fills `out` with the counters of a new place: NULL without loops. */
static bool new_turns(const lf_plan *p, uint32_t **out)
{
    *out = p->has_loops ? calloc(p->n_steps, sizeof **out) : NULL;
    return *out != NULL || !p->has_loops;
}

static uint32_t next_turn(const lf_plan *p, const task *t)
{
    if (!p->has_loops)
        return 1;
    bool in_branch = t->frame != NULL && t->frame->is_branch;
    uint32_t *turns = in_branch ? t->frame->home->turns : t->turns;
    return ++turns[t->seen.step];
}

/* Makes a reserved task. Takes `turns`. */
static task *make(lf_plan *p, uint32_t step, frame *f, uint32_t slot, uint32_t *turns)
{
    task *t = p->free;
    p->free = t->next;
    p->n_free--;
    *t = (task){.live = true, .slot = slot, .frame = f, .turns = turns};
    t->seen.step = step;
    t->seen.turn = next_turn(p, t);
    if (f != NULL) {
        t->seen.index = f->is_branch ? 0 : slot + 1;
        t->seen.prefix = lf_slice_of(f->prefix, f->prefix_size);
    }
    return t;
}

/* Whatever was moved out of `t` is NULL there. */
static void unmake(lf_plan *p, task *t)
{
    drop(p, t->seen.thing);
    drop(p, t->seen.opener);
    free(t->seen.inputs);
    free(t->turns);
    t->live = false;
    t->next = p->free;
    p->free = t;
    p->n_free++;
}

static void push(lf_plan *p, task *t)
{
    lf_queue_push(&p->steps[t->seen.step].fresh, &t->node);
    add_ready(p, t->seen.step, 1);
}

/* ---- frames ---- */

/* What the paths of the children of `t` begin with. */
static lf_slice prefix_for(lf_plan *p, const task *t, bool is_branch)
{
    lf_bytes *place = &p->scratch;
    lf_bytes_clear(place);
    lf_bytes_put(place, t->seen.prefix.data, t->seen.prefix.size);
    if (t->seen.index > 0)
        lf_place_put_index(place, t->seen.index);
    if (t->seen.turn >= 2 && !is_branch)
        lf_place_put_turn(place, t->seen.turn);
    return lf_slice_of(place->data, place->size);
}

/* The frame that `t` opens, without its thing and its counters, or NULL. */
static frame *new_frame(lf_plan *p, const task *t, bool is_branch, uint64_t size)
{
    lf_slice prefix = prefix_for(p, t, is_branch);
    frame *f = p->scratch.failed ? NULL : calloc(1, sizeof *f + prefix.size);
    if (f == NULL)
        return NULL;
    if (size > 0 && (f->inputs = calloc(size, sizeof *f->inputs)) == NULL) {
        free(f);
        return NULL;
    }
    f->step = t->seen.step;
    f->size = size;
    f->from = t->seen.number;
    f->up = t->frame;
    f->slot = t->slot;
    f->is_branch = is_branch;
    f->home = f->up != NULL && f->up->is_branch ? f->up->home : f;
    f->prefix_size = prefix.size;
    if (prefix.size > 0)
        memcpy(f->prefix, prefix.data, prefix.size);
    f->before = &p->frames;
    f->after = p->frames;
    if (f->after != NULL)
        f->after->before = &f->after;
    p->frames = f;
    return f;
}

static void free_frame(lf_plan *p, frame *f)
{
    *f->before = f->after;
    if (f->after != NULL)
        f->after->before = f->before;
    drop(p, f->thing);
    free(f->inputs);
    free(f->turns);
    free(f);
}

/* All slots of `f` reached the join: it becomes ready in the place of `f`. Somebody who
 * was unmade just now leaves room for it. */
static void join(lf_plan *p, frame *f)
{
    uint32_t step = lf_graph_step(p->graph, f->step)->join;
    task *t = make(p, step, f->up, f->slot, f->turns);
    t->seen.inputs = f->inputs;
    t->seen.n_inputs = (uint32_t)f->size;
    t->seen.opener = f->thing;
    f->turns = NULL;
    f->inputs = NULL;
    f->thing = NULL;
    free_frame(p, f);
    push(p, t);
}

/* A slot of `f` may have been the last to end. */
static void settle(lf_plan *p, frame *f)
{
    while (f != NULL && f->got + f->lost == f->size) {
        if (f->lost == 0) {
            join(p, f);
            return;
        }
        frame *up = f->up;
        free_frame(p, f);
        f = up;
        if (f != NULL)
            f->lost++;
    }
}

static void lose(lf_plan *p, task *t)
{
    frame *f = t->frame;
    unmake(p, t);
    if (f != NULL) {
        f->lost++;
        settle(p, f);
    }
}

static void arrive(lf_plan *p, task *t)
{
    frame *f = t->frame;
    f->inputs[t->slot] = t->seen.number;
    f->got++;
    unmake(p, t);
    settle(p, f);
}

/* The next child of the newest foreach over `step`, or NULL: there is none, or no memory. */
static task *next_child(lf_plan *p, uint32_t step)
{
    frame *f = p->steps[step].open;
    uint32_t *turns;
    if (f == NULL || !reserve(p, 1) || !new_turns(p, &turns))
        return NULL;
    task *t = make(p, step, f, (uint32_t)f->next, turns);
    t->seen.parent = f->from;
    t->seen.thing = hold(p, f->thing);
    if (++f->next == f->size)
        p->steps[step].open = f->below;
    return t;
}

/* ---- what follows a task; where it cannot, `t` is as it was ---- */

static int go_on(lf_plan *p, task *t, uint32_t target, void *thing)
{
    if (lf_graph_step(p->graph, target)->is_join) {
        assert(t->frame != NULL);
        assert(lf_graph_step(p->graph, t->frame->step)->join == target);
        arrive(p, t);
        return LUAFLOW_OK;
    }
    if (!promise(p, 1))
        return LUAFLOW_EUSAGE;
    uint32_t parent = t->seen.number, *turns = t->turns;
    frame *f = t->frame;
    uint32_t slot = t->slot;
    hold(p, thing);
    t->turns = NULL;
    unmake(p, t);
    task *child = make(p, target, f, slot, turns);
    child->seen.parent = parent;
    child->seen.thing = thing;
    push(p, child);
    return LUAFLOW_OK;
}

static void start_branches(lf_plan *p, frame *f, const lf_step *s)
{
    for (uint32_t i = 0; i < s->n_next; i++) {
        task *t = make(p, s->next[i], f, i, NULL);
        t->seen.parent = f->from;
        t->seen.thing = hold(p, f->thing);
        push(p, t);
    }
}

static void start_elements(lf_plan *p, frame *f, uint32_t step)
{
    f->below = p->steps[step].open;
    p->steps[step].open = f;
    add_ready(p, step, f->size);
}

static int split(lf_plan *p, task *t, uint64_t size, void *thing)
{
    const lf_step *s = lf_graph_step(p->graph, t->seen.step);
    bool is_branch = s->kind == LF_BRANCH;
    if (size >= UINT32_MAX || !promise(p, size + 1))
        return LUAFLOW_EUSAGE;
    if (is_branch && !reserve(p, s->n_next))
        return LUAFLOW_ENOMEM;
    frame *f = new_frame(p, t, is_branch, size);
    if (f == NULL)
        return LUAFLOW_ENOMEM;
    f->thing = hold(p, thing);
    f->turns = t->turns;
    t->turns = NULL;
    unmake(p, t);
    if (is_branch)
        start_branches(p, f, s);
    else if (size > 0)
        start_elements(p, f, s->next[0]);
    settle(p, f);
    return LUAFLOW_OK;
}

static int follow(lf_plan *p, task *t, const lf_decision *d)
{
    const lf_step *s = lf_graph_step(p->graph, t->seen.step);
    switch (s->kind) {
    case LF_LINEAR: return go_on(p, t, s->next[0], d->thing);
    case LF_SWITCH: return go_on(p, t, d->choice, d->thing);
    case LF_BRANCH: return split(p, t, s->n_next, d->thing);
    case LF_FOREACH: return split(p, t, d->width, d->thing);
    case LF_LAST: break;
    }
    p->done = true;
    unmake(p, t);
    return LUAFLOW_OK;
}

/* ---- what the header promises ---- */

lf_plan *lf_plan_new(const lf_graph *g, lf_plan_hooks hooks)
{
    lf_plan *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->graph = g;
    p->hooks = hooks;
    p->n_steps = lf_graph_size(g);
    p->has_loops = lf_graph_loop_slots(g) > 0;
    p->steps = calloc(p->n_steps, sizeof *p->steps);
    p->rank = malloc(p->n_steps * sizeof *p->rank);
    p->by_rank = malloc(p->n_steps * sizeof *p->by_rank);
    p->bits = calloc(words_for(p->n_steps), sizeof *p->bits);
    p->bits_of_bits = calloc(words_for(words_for(p->n_steps)), sizeof *p->bits_of_bits);
    uint32_t *turns;
    if (p->steps == NULL || p->rank == NULL || p->by_rank == NULL || p->bits == NULL || p->bits_of_bits == NULL || !reserve(p, 1) ||
        !lf_plan_order(g, p->by_rank) || !new_turns(p, &turns)) {
        lf_plan_free(p);
        return NULL;
    }
    for (uint32_t i = 0; i < p->n_steps; i++)
        lf_queue_init(&p->steps[i].fresh);
    for (uint32_t i = 0; i < p->n_steps; i++)
        p->rank[p->by_rank[i]] = i;
    promise(p, 1);
    push(p, make(p, 0, NULL, 0, turns));
    return p;
}

void lf_plan_free(lf_plan *p)
{
    if (p == NULL)
        return;
    while (p->chunks != NULL) {
        chunk *c = p->chunks;
        p->chunks = c->next;
        for (size_t i = 0; i < CHUNK; i++)
            if (c->tasks[i].live)
                unmake(p, &c->tasks[i]);
        free(c);
    }
    while (p->frames != NULL)
        free_frame(p, p->frames);
    lf_bytes_fini(&p->scratch);
    free(p->steps);
    free(p->rank);
    free(p->by_rank);
    free(p->bits);
    free(p->bits_of_bits);
    free(p);
}

uint32_t lf_plan_ready(const lf_plan *p, bool (*allow)(void *payload, uint32_t step), void *payload)
{
    uint32_t rank = last_ready(p, p->n_steps);
    while (rank != LF_NONE && allow != NULL && !allow(payload, p->by_rank[rank]))
        rank = last_ready(p, rank);
    return rank == LF_NONE ? LF_NONE : p->by_rank[rank];
}

uint64_t lf_plan_ready_count(const lf_plan *p, uint32_t step) { return p->steps[step].count; }

static task *take_one(lf_plan *p, uint32_t step)
{
    ready *r = &p->steps[step];
    task *t = r->returned;
    if (t != NULL) {
        r->returned = t->next;
        return t;
    }
    lf_node *first = lf_queue_pop(&r->fresh);
    t = first != NULL ? LF_OF(first, task, node) : next_child(p, step);
    if (t != NULL)
        t->seen.number = ++p->last_number;
    return t;
}

size_t lf_plan_take(lf_plan *p, uint32_t step, size_t max, lf_planned **out)
{
    size_t n = 0;
    for (task *t; n < max && (t = take_one(p, step)) != NULL; n++)
        out[n] = &t->seen;
    if (n == 0)
        return 0;
    p->running += n;
    remove_ready(p, step, n);
    return n;
}

void lf_plan_return(lf_plan *p, lf_planned *seen)
{
    task *t = LF_OF(seen, task, seen);
    ready *r = &p->steps[seen->step];
    task **at = &r->returned;
    /* a batch that comes back from its first to its last, or the other way, is not scanned */
    if (r->returned != NULL && r->last_returned->seen.number < seen->number)
        at = &r->last_returned->next;
    while (*at != NULL && (*at)->seen.number < seen->number)
        at = &(*at)->next;
    t->next = *at;
    *at = t;
    if (t->next == NULL)
        r->last_returned = t;
    p->running--;
    add_ready(p, seen->step, 1);
}

int lf_plan_finish(lf_plan *p, lf_planned *seen, const lf_decision *decision)
{
    task *t = LF_OF(seen, task, seen);
    p->running--;
    int rc = follow(p, t, decision);
    if (rc != LUAFLOW_OK)
        lose(p, t);
    return rc;
}

void lf_plan_fail(lf_plan *p, lf_planned *seen)
{
    p->running--;
    lose(p, LF_OF(seen, task, seen));
}

bool lf_plan_done(const lf_plan *p) { return p->done; }

uint64_t lf_plan_running(const lf_plan *p) { return p->running; }
