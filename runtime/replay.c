/* replay.c -- what a resumed run takes over from its origin. */
#include "replay.h"
#include "description.h"
#include "inputs.h"
#include "replay_table.h"

#include <stdlib.h>

/* A set: open addressing, at most half full. No member is 0. */
typedef struct hashes {
    uint64_t *slots;
    size_t n, room;
} hashes;

struct lf_replay {
    const lf_graph *graph;
    uint32_t origin, named;  /* the step to run again, or LF_NONE */
    uint32_t n_old;
    uint32_t *to_new;        /* a step of the origin's graph as it is numbered now, or LF_NONE */
    lf_replay_table tasks;   /* what became of each */
    hashes empties;          /* of foreaches that found an empty list and run again */
    bool *is_after;          /* by step: whether it comes after the one to run again */
    uint32_t *n_taken;       /* by step: how many tasks are taken over */
};

static uint64_t hash_of(uint32_t step, lf_slice place) { return lf_hash(step, place.data, place.size); }

/* ---- whether the graph still fits ---- */

static const char *const kinds[] = {[LF_LAST] = "last", [LF_LINEAR] = "linear", [LF_BRANCH] = "branch",
                                    [LF_FOREACH] = "foreach", [LF_SWITCH] = "switch"};

static int misfit(const lf_description *d, uint32_t old, luaflow_error *err, const char *what)
{
    lf_slice name = lf_description_name(d, old);
    return lf_fail(err, LUAFLOW_EUSAGE,
                   "step %.*s was done and would be reused, but %s; resume from that step (luaflow "
                   "resume FLOW %.*s), or run the flow anew",
                   (int)name.size, (const char *)name.data, what, (int)name.size,
                   (const char *)name.data);
}

static bool is_text(lf_slice text, const char *expected)
{
    return expected != NULL && lf_slice_equal(text, lf_slice_of(expected, strlen(expected)));
}

/* Whether `name` is among the targets; looked for from where it is most likely. */
static bool has_target(const lf_list *next, uint64_t likely, const char *name)
{
    for (uint64_t i = 0; i < next->size; i++)
        if (is_text(lf_description_target(next, (likely + i) % next->size), name))
            return true;
    return false;
}

/* The arms of a branch may have changed places: they are matched by name. */
static int check_targets(const lf_replay *r, const lf_description *d, uint32_t old, luaflow_error *err)
{
    const lf_step *now = lf_graph_step(r->graph, r->to_new[old]);
    lf_list next;
    int rc = lf_description_next(d, old, &next, err);
    if (rc != LUAFLOW_OK)
        return rc;
    bool same = next.size == now->n_next;
    for (uint32_t i = 0; same && i < now->n_next; i++)
        same = has_target(&next, i, lf_graph_step(r->graph, now->next[i])->name);
    lf_list_fini(&next);
    return same ? LUAFLOW_OK : misfit(d, old, err, "it now has other successors");
}

/* Whether what follows a step of which tasks are taken over is what followed it then. The
 * targets of a switch are looked at task by task. */
static int check_step(const lf_replay *r, const lf_description *d, uint32_t old, luaflow_error *err)
{
    static const uint8_t yes = 0xc3;
    const lf_step *now = lf_graph_step(r->graph, r->to_new[old]);
    lf_slice join = lf_description_field(d, old, "join");
    bool was_join = join.size == 1 && join.data[0] == yes;
    if (!is_text(lf_description_text(d, old, "kind"), kinds[now->kind]))
        return misfit(d, old, err, "it now has other successors");
    if (was_join != now->is_join)
        return misfit(d, old, err, was_join ? "it is no join any more" : "it has become a join");
    if (now->kind == LF_FOREACH && !is_text(lf_description_text(d, old, "foreach"), now->over))
        return misfit(d, old, err, "its foreach goes over something else");
    return now->kind == LF_SWITCH ? LUAFLOW_OK : check_targets(r, d, old, err);
}

static int check_choice(const lf_replay *r, const lf_description *d, const lf_task_record *task,
                        luaflow_error *err)
{
    const lf_step *now = lf_graph_step(r->graph, r->to_new[task->step]);
    uint32_t choice = task->choice < r->n_old ? r->to_new[task->choice] : LF_NONE;
    for (uint32_t i = 0; i < now->n_next; i++)
        if (now->next[i] == choice)
            return LUAFLOW_OK;
    return misfit(d, task->step, err, "the step that its switch chose is none of its cases now");
}

/* ---- reading the origin ---- */

/* Which tasks of the origin are taken over, by number. */
typedef struct scan {
    lf_replay *replay;
    lf_view *view;
    lf_description before; /* what its steps were */
    uint8_t *bits;
    size_t n_bytes;
    bool *checked;         /* by step of the origin: that it fits */
    uint32_t *parents;
    uint32_t parents_room;
} scan;

static bool is_taken(const scan *s, uint32_t number)
{
    return number / 8 < s->n_bytes && s->bits[number / 8] >> number % 8 & 1;
}

static bool take(scan *s, uint32_t number)
{
    if (number / 8 >= s->n_bytes) {
        size_t n = (size_t)number / 4 + 64;
        uint8_t *bits = realloc(s->bits, n);
        if (bits == NULL)
            return false;
        memset(bits + s->n_bytes, 0, n - s->n_bytes);
        s->bits = bits;
        s->n_bytes = n;
    }
    s->bits[number / 8] |= (uint8_t)(1 << number % 8);
    return true;
}

/* Whether all that the task came from is taken over. Parents have lower numbers. */
static int look_at_parents(scan *s, uint32_t number, const lf_task_record *task, bool *all,
                           luaflow_error *err)
{
    uint32_t n;
    int rc = lf_view_parents(s->view, s->replay->origin, number, task, &n, err);
    *all = true;
    if (rc != LUAFLOW_OK)
        return rc;
    if (n > s->parents_room) {
        free(s->parents);
        s->parents_room = 0;
        if ((s->parents = malloc(n * sizeof *s->parents)) == NULL)
            return lf_fail_memory(err);
        s->parents_room = n;
    }
    lf_parents_get(task->parents, s->parents);
    for (uint32_t i = 0; *all && i < n; i++)
        *all = is_taken(s, s->parents[i]);
    return LUAFLOW_OK;
}

/* ---- empty lists ----
 * A join over an empty list has no inputs, so its record names no parent; but it comes after the
 * foreach that found the list empty. That stands in the same place, turns aside, and in one place
 * one thing happens after another: so where such a foreach runs again, all joins after it that
 * close it and have no parents do so too. */

/* A place without the turn of the task itself. */
static lf_slice without_turn(lf_slice place)
{
    lf_reader r = lf_reader_of(place.data, place.size);
    size_t last = 0;
    uint64_t part = 0;
    while (lf_reader_left(&r) > 0) {
        last = place.size - lf_reader_left(&r);
        part = lf_read_varint(&r);
    }
    return part & 1 ? lf_slice_of(place.data, last) : place;
}

/* Of a foreach that `join` closes (LF_NONE: nobody knows any more which does) and that runs again. */
static uint64_t empty_hash(uint32_t join, lf_slice place)
{
    place = without_turn(place);
    return lf_hash((uint64_t)1 << 32 | join, place.data, place.size);
}

static uint64_t *slot_of(const hashes *h, uint64_t hash)
{
    size_t at = hash & (h->room - 1);
    while (h->slots[at] != 0 && h->slots[at] != hash)
        at = (at + 1) & (h->room - 1);
    return &h->slots[at];
}

static bool has_hash(const hashes *h, uint64_t hash) { return h->n > 0 && *slot_of(h, hash | 1) != 0; }

static bool add_hash(hashes *h, uint64_t hash)
{
    if (h->n * 2 >= h->room) {
        hashes grown = {.room = h->room ? h->room * 2 : 16};
        if ((grown.slots = calloc(grown.room, sizeof *grown.slots)) == NULL)
            return false;
        for (size_t i = 0; i < h->room; i++)
            if (h->slots[i] != 0)
                *slot_of(&grown, h->slots[i]) = h->slots[i];
        free(h->slots);
        h->slots = grown.slots;
        h->room = grown.room;
    }
    uint64_t *slot = slot_of(h, hash | 1);
    h->n += *slot == 0;
    *slot = hash | 1;
    return true;
}

static bool is_after_empty(const lf_replay *r, const lf_task_record *task)
{
    return task->parents.size == 0 && (has_hash(&r->empties, empty_hash(r->to_new[task->step], task->place)) ||
                                       has_hash(&r->empties, empty_hash(LF_NONE, task->place)));
}

/* Remembers a task that succeeded and runs again, if it found an empty list. False when out of
 * memory. */
static bool note_empty(scan *s, const lf_task_record *task)
{
    lf_replay *r = s->replay;
    uint32_t step = r->to_new[task->step];
    if (task->width > 0 || !is_text(lf_description_text(&s->before, task->step, "kind"), kinds[LF_FOREACH]))
        return true;
    uint64_t hash = empty_hash(step == LF_NONE ? LF_NONE : lf_graph_step(r->graph, step)->join, task->place);
    return add_hash(&r->empties, hash);
}

/* ---- its tasks ---- */

static lf_fate fate_of(const lf_replay *r, const lf_task_record *task, bool all)
{
    uint32_t step = r->to_new[task->step];
    if (task->flags & LF_TASK_FAILED)
        return LF_FATE_FAILED;
    if (!all || step == LF_NONE || r->is_after[step] || is_after_empty(r, task))
        return LF_FATE_AFTER;
    return step == r->named ? LF_FATE_NAMED : LF_FATE_TAKEN;
}

static int add_task(scan *s, uint32_t number, luaflow_error *err)
{
    lf_replay *r = s->replay;
    lf_task_record task;
    bool all = false;
    int rc = lf_view_task(s->view, r->origin, number, &task, err);
    if (rc == LUAFLOW_OK)
        rc = look_at_parents(s, number, &task, &all, err);
    if (rc != LUAFLOW_OK || task.step >= r->n_old)
        return rc;
    uint32_t step = r->to_new[task.step];
    lf_fate became = fate_of(r, &task, all);
    if ((became == LF_FATE_NAMED || became == LF_FATE_AFTER) && !note_empty(s, &task))
        return lf_fail_memory(err);
    if (step == LF_NONE)
        return LUAFLOW_OK;
    if (became == LF_FATE_TAKEN && !s->checked[task.step]) {
        rc = check_step(r, &s->before, task.step, err);
        s->checked[task.step] = true;
    }
    if (rc == LUAFLOW_OK && became == LF_FATE_TAKEN && lf_graph_step(r->graph, step)->kind == LF_SWITCH)
        rc = check_choice(r, &s->before, &task, err);
    if (rc != LUAFLOW_OK)
        return rc;
    r->n_taken[step] += became == LF_FATE_TAKEN;
    if (!lf_replay_table_add(&r->tasks, (lf_replay_entry){hash_of(step, task.place), number, became}) || (became == LF_FATE_TAKEN && !take(s, number)))
        return lf_fail_memory(err);
    return LUAFLOW_OK;
}

static int add_tasks(scan *s, luaflow_error *err)
{
    enum { PAGE = 4096 };
    uint32_t *page = malloc(PAGE * sizeof *page), after = 0;
    size_t n = PAGE;
    int rc = page == NULL ? lf_fail_memory(err) : LUAFLOW_OK;
    while (rc == LUAFLOW_OK && n == PAGE) {
        rc = lf_view_tasks(s->view, s->replay->origin, LF_ANY, false, after, page, PAGE, &n, err);
        for (size_t i = 0; rc == LUAFLOW_OK && i < n; i++)
            rc = add_task(s, after = page[i], err);
    }
    free(page);
    return rc;
}

/* The step called `name` now, or LF_NONE. */
static uint32_t find_step(const lf_graph *g, lf_slice name)
{
    char text[129]; /* names have at most 128 bytes */
    if (name.size >= sizeof text)
        return LF_NONE;
    memcpy(text, name.data, name.size);
    text[name.size] = 0;
    return lf_graph_find(g, text);
}

/* Finds each step of the origin's graph among those of now. */
static int map_steps(scan *s, luaflow_error *err)
{
    lf_replay *r = s->replay;
    r->n_old = (uint32_t)s->before.steps.size;
    r->to_new = malloc(r->n_old * sizeof *r->to_new);
    s->checked = calloc(r->n_old, sizeof *s->checked);
    if (r->to_new == NULL || s->checked == NULL)
        return lf_fail_memory(err);
    for (uint32_t i = 0; i < r->n_old; i++)
        r->to_new[i] = find_step(r->graph, lf_description_name(&s->before, i));
    return LUAFLOW_OK;
}

static int read_origin(scan *s, luaflow_error *err)
{
    lf_run_record run;
    int rc = lf_view_run(s->view, s->replay->origin, &run, NULL, err);
    if (rc == LUAFLOW_OK)
        rc = lf_description_read(s->view, &run, &s->before, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = map_steps(s, err);
    if (rc == LUAFLOW_OK)
        rc = add_tasks(s, err);
    lf_description_fini(&s->before);
    return rc;
}

/* Marks what comes after the step that is to run again, whether or not a task of the origin took
 * that way. The edge that closes a loop leads back, to what came before in its first turn; what
 * comes in later turns is found by its parents. */
static void mark_after(lf_replay *r)
{
    for (uint32_t i = r->named; i < lf_graph_size(r->graph); i++) {
        const lf_step *step = lf_graph_step(r->graph, i);
        if (i != r->named && !r->is_after[i])
            continue;
        for (uint32_t k = 0; k < step->n_next; k++)
            r->is_after[step->next[k]] |= step->next[k] > i;
        if (step->join != LF_NONE)
            r->is_after[step->join] = true;
    }
}

int lf_replay_new(lf_store *store, const lf_graph *graph, uint32_t origin, const char *step,
                  lf_replay **out, luaflow_error *err)
{
    uint32_t named = step == NULL ? LF_NONE : lf_graph_find(graph, step);
    if (step != NULL && named == LF_NONE)
        return lf_fail(err, LUAFLOW_EUSAGE, "the flow has no step '%s' to resume from", step);
    lf_replay *r = calloc(1, sizeof *r);
    if (r == NULL)
        return lf_fail_memory(err);
    lf_replay_table_init(&r->tasks);
    r->graph = graph;
    r->origin = origin;
    r->named = named;
    scan s = {.replay = r};
    r->n_taken = calloc(lf_graph_size(graph), sizeof *r->n_taken);
    r->is_after = calloc(lf_graph_size(graph), sizeof *r->is_after);
    bool ok = r->n_taken != NULL && r->is_after != NULL;
    int rc = ok ? lf_view_begin(store, &s.view, err) : lf_fail_memory(err);
    if (rc == LUAFLOW_OK) {
        mark_after(r);
        rc = read_origin(&s, err);
        lf_view_end(s.view);
    }
    free(s.bits);
    free(s.checked);
    free(s.parents);
    if (rc != LUAFLOW_OK) {
        lf_replay_free(r);
        return rc;
    }
    *out = r;
    return LUAFLOW_OK;
}

uint32_t lf_replay_count(const lf_replay *r, uint32_t step) { return r->n_taken[step]; }

void lf_replay_free(lf_replay *r)
{
    if (r == NULL)
        return;
    free(r->to_new);
    free(r->n_taken);
    free(r->is_after);
    free(r->empties.slots);
    lf_replay_table_fini(&r->tasks);
    free(r);
}

/* ---- taking over ---- */

/* The record of the task of the origin that `t` is there, and its number: 0 when there is none
 * that is taken over. `*next` is where in the table it most likely is, and then where the next one
 * will be. */
static int find_record(lf_replay *r, lf_view *v, const lf_task *t, lf_slice place, size_t *next,
                       uint32_t *number, lf_task_record *task, luaflow_error *err)
{
    lf_replay_search search = {.hash = hash_of(t->step, place), .guess = *next};
    const lf_replay_entry *e;
    while ((e = lf_replay_table_next(&r->tasks, &search)) != NULL) {
        if (e->fate != LF_FATE_TAKEN)
            continue;
        int rc = lf_view_task(v, r->origin, e->number, task, err);
        if (rc != LUAFLOW_OK)
            return rc;
        if (lf_slice_equal(task->place, place) && r->to_new[task->step] == t->step) {
            *number = e->number;
            *next = (size_t)(e - r->tasks.list) + 1;
            return LUAFLOW_OK;
        }
    }
    return search.failed ? lf_fail_memory(err) : LUAFLOW_OK;
}

static int open_split(const lf_replay *r, lf_view *v, lf_task *t, const lf_task_record *task,
                      luaflow_error *err)
{
    lf_buf *bytes = NULL;
    int rc = lf_inputs_list(v, r->origin, task, lf_graph_step(r->graph, t->step)->over,
                            lf_buf_slice(t->batch->facts->params), &bytes, err);
    if (rc != LUAFLOW_OK)
        return rc;
    luaflow_error why = LUAFLOW_ERROR_INIT;
    lf_split *split = lf_split_new(bytes, &why);
    if (split == NULL || split->list.size != task->width) {
        bool no_memory = why.code == LUAFLOW_ENOMEM;
        luaflow_error_clear(&why);
        lf_split_free(split);
        return no_memory ? lf_fail_memory(err)
                         : lf_fail(err, LUAFLOW_ESTORE,
                                   "the list that step %s went over in run %u is damaged; run luaflow verify",
                                   lf_graph_step(r->graph, t->step)->name, r->origin);
    }
    split->step = t->step;
    split->up = lf_split_ref(t->split);
    split->up_index = t->split_index;
    t->opened = split;
    t->width = task->width;
    return LUAFLOW_OK;
}

/* What it was, under its number here; what it left is told there. */
static int seal(lf_task *t, const lf_replay *r, const lf_task_record *task, uint32_t number,
                luaflow_error *err)
{
    bool was_reused = task->flags & LF_TASK_REUSED;
    lf_bytes parents = {0}, *arena = &t->batch->arena;
    lf_task_record record = *task;
    record.flags = LF_TASK_REUSED | (task->flags & LF_TASK_CAUGHT);
    record.step = t->step;
    record.base = 0;
    record.n_outputs = 0;
    record.outputs = record.message = record.traceback = (lf_slice){NULL, 0};
    record.origin_run = was_reused ? task->origin_run : r->origin;
    record.origin_task = was_reused ? task->origin_task : number;
    if (lf_graph_step(r->graph, t->step)->kind == LF_SWITCH)
        record.choice = r->to_new[task->choice];
    if (t->join != NULL)
        lf_parents_put(&parents, t->join->numbers, t->join->n);
    else if (t->parent != NULL)
        lf_parents_put(&parents, &t->parent->number, 1);
    record.parents = lf_slice_of(parents.data, parents.size);
    t->record_at = arena->size;
    lf_task_record_put(arena, &record);
    t->record_size = arena->size - t->record_at;
    bool failed = parents.failed || arena->failed;
    lf_bytes_fini(&parents);
    if (failed)
        return lf_fail_memory(err);
    t->attempt = task->attempt;
    t->choice = record.choice;
    t->origin_run = record.origin_run;
    t->origin_task = record.origin_task;
    t->outcome = LF_SUCCEEDED;
    lf_task_release_inputs(t);
    return LUAFLOW_OK;
}

int lf_replay_task(lf_view *v, lf_task *t, size_t *next, bool *reused, luaflow_error *err)
{
    lf_replay *r = t->batch->facts->replay;
    lf_bytes place = {0};
    lf_task_record task;
    uint32_t number = 0;
    *reused = false;
    lf_task_place(t, &place);
    int rc = place.failed ? lf_fail_memory(err)
                          : find_record(r, v, t, lf_slice_of(place.data, place.size), next, &number, &task, err);
    if (rc == LUAFLOW_OK && number != 0) {
        if (lf_graph_step(r->graph, t->step)->kind == LF_FOREACH)
            rc = open_split(r, v, t, &task, err);
        if (rc == LUAFLOW_OK)
            rc = seal(t, r, &task, number, err);
        *reused = rc == LUAFLOW_OK;
    }
    lf_bytes_fini(&place);
    return rc;
}

void lf_replay_reason(const lf_task *t, lf_bytes *out)
{
    lf_replay *r = t->batch->facts->replay;
    if (t->origin_run != 0) {
        lf_bytes_printf(out, "it succeeded in run %u, as task %u", t->origin_run, t->origin_task);
        return;
    }
    lf_bytes place = {0};
    lf_task_place(t, &place);
    lf_replay_search search = {.hash = hash_of(t->step, lf_slice_of(place.data, place.size)),
                               .guess = t->number - 1};
    const lf_replay_entry *e = lf_replay_table_next(&r->tasks, &search);
    lf_bytes_fini(&place);
    out->failed = out->failed || search.failed;
    switch (e == NULL ? LF_FATE_NONE : e->fate) {
    case LF_FATE_FAILED: lf_bytes_printf(out, "it failed in run %u", r->origin); break;
    case LF_FATE_NAMED: lf_bytes_printf(out, "its step is to run again"); break;
    case LF_FATE_AFTER: lf_bytes_printf(out, "a task before it runs again"); break;
    default: lf_bytes_printf(out, "it did not finish in run %u", r->origin); break;
    }
}

/* ---- what a reused task left, for those who run after it ---- */

/* A task that holds what `task`, number `number` of run `run`, left. */
static lf_task *stand_in(lf_facts *facts, uint32_t run, uint32_t number, const lf_task_record *task)
{
    lf_batch *b = lf_batch_new(facts, 1);
    if (b == NULL)
        return NULL;
    lf_bytes_put(&b->arena, task->outputs.data, task->outputs.size);
    if (b->arena.failed) {
        lf_batch_free(b);
        return NULL;
    }
    lf_task *t = &b->tasks[0];
    t->outputs_size = task->outputs.size;
    t->outcome = LF_SUCCEEDED;
    t->origin_run = run;
    t->origin_task = number;
    return t;
}

static int make_parent(lf_view *v, const lf_task *parent, lf_task **out, luaflow_error *err)
{
    lf_facts *facts = parent->batch->facts;
    lf_task_record base, task = {.flags = LF_TASK_REUSED, .origin_run = parent->origin_run,
                                 .origin_task = parent->origin_task};
    uint32_t run;
    int rc = lf_view_resolve(v, &run, &task, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_task *made = stand_in(facts, run, parent->origin_task, &task);
    if (made == NULL)
        return lf_fail_memory(err);
    made->number = parent->number;
    made->step = parent->step;
    if (task.base != 0) {
        uint32_t of = task.flags & LF_TASK_FAR ? task.base_run : run;
        rc = lf_view_base(v, run, &task, &base, err);
        if (rc == LUAFLOW_OK && (made->base = stand_in(facts, of, task.base, &base)) == NULL)
            rc = lf_fail_memory(err);
    }
    if (rc != LUAFLOW_OK) {
        lf_task_drop(made);
        return rc;
    }
    *out = made;
    return LUAFLOW_OK;
}

int lf_replay_parent(lf_store *store, lf_task *t, lf_task **last, luaflow_error *err)
{
    lf_task *parent = t->parent;
    if (parent == NULL || parent->origin_run == 0)
        return LUAFLOW_OK;
    bool same = *last != NULL && (*last)->batch->facts == parent->batch->facts &&
                (*last)->number == parent->number;
    if (!same) {
        lf_view *v;
        int rc = lf_view_begin(store, &v, err);
        if (rc != LUAFLOW_OK)
            return rc;
        lf_task_drop(*last);
        *last = NULL;
        rc = make_parent(v, parent, last, err);
        lf_view_end(v);
        if (rc != LUAFLOW_OK)
            return rc;
    }
    t->parent = lf_task_hold(*last);
    lf_task_drop(parent);
    return LUAFLOW_OK;
}
