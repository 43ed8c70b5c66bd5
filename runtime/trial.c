/* trial.c -- the envelope of a task made anew from what the store remembers of it. */
#include "trial.h"
#include "description.h"
#include "inputs.h"
#include "replay.h"

#include <stdlib.h>

typedef struct trial {
    lf_store *store;
    lf_view *view;
    lf_facts *facts;
    const lf_graph *graph;
    lf_description before; /* what the steps were */
    lf_bytes *place;
    lf_batch *batch;
    lf_task *task;
} trial;

static int damaged(const trial *t, luaflow_error *err)
{
    return lf_fail(err, LUAFLOW_ESTORE, "a record of run %u is damaged; run luaflow verify", t->facts->run);
}

/* The step of a record, as it is numbered now; LF_NONE when the flow has none of that name. */
static uint32_t step_now(const trial *t, const lf_task_record *record)
{
    lf_slice name = lf_description_name(&t->before, record->step);
    for (uint32_t i = 0; i < lf_graph_size(t->graph); i++) {
        const char *now = lf_graph_step(t->graph, i)->name;
        if (lf_slice_equal(name, lf_slice_of(now, strlen(now))))
            return i;
    }
    return LF_NONE;
}

/* The index of a task's place in the foreach of this depth, counted from the outside; 0 when there
 * are not so many. */
static uint32_t index_at(lf_slice place, uint32_t skip)
{
    lf_reader r = lf_reader_of(place.data, place.size);
    while (r.at < r.end) {
        uint64_t v = lf_read_varint(&r);
        if (!(v & 1) && skip-- == 0)
            return (uint32_t)(v >> 1);
    }
    return 0;
}

/* In how many foreaches a task at this place stands. */
static uint32_t depth_of(lf_slice place)
{
    uint32_t depth = 0;
    lf_reader r = lf_reader_of(place.data, place.size);
    while (r.at < r.end)
        depth += !(lf_read_varint(&r) & 1);
    return depth;
}

/* ---- climbing from a task to those it came from ---- */

/* Puts its first parent in the place of task `*number`, whose record is `of`; 0 when it has none. */
static int first_parent(const trial *t, const lf_task_record *of, uint32_t *number, luaflow_error *err)
{
    uint32_t n;
    int rc = lf_view_parents(t->view, t->facts->run, *number, of, &n, err);
    *number = 0;
    if (rc != LUAFLOW_OK || n == 0)
        return rc;
    uint32_t *all = malloc(n * sizeof *all);
    if (all == NULL)
        return lf_fail_memory(err);
    lf_parents_get(of->parents, all);
    *number = all[0];
    free(all);
    return LUAFLOW_OK;
}

/* Climbs from `*record` to the nearest task before it for which `wanted` holds. */
static int climb(const trial *t, lf_task_record *record, uint32_t *number,
                 bool (*wanted)(const trial *t, const lf_task_record *record, uint32_t what),
                 uint32_t what, luaflow_error *err)
{
    do {
        uint32_t below = *number;
        int rc = first_parent(t, record, number, err);
        if (rc != LUAFLOW_OK)
            return rc;
        if (*number == 0 || *number >= below) /* parents have lower numbers */
            return damaged(t, err);
        rc = lf_view_task(t->view, t->facts->run, *number, record, err);
        if (rc != LUAFLOW_OK)
            return rc;
    } while (!wanted(t, record, what));
    return LUAFLOW_OK;
}

static bool opens_level(const trial *t, const lf_task_record *record, uint32_t depth)
{
    uint32_t step = step_now(t, record);
    return step != LF_NONE && lf_graph_step(t->graph, step)->kind == LF_FOREACH &&
           depth_of(record->place) == depth;
}

static bool is_joined_by(const trial *t, const lf_task_record *record, uint32_t join)
{
    uint32_t step = step_now(t, record);
    return step != LF_NONE && lf_graph_step(t->graph, step)->join == join;
}

/* ---- the foreaches around it ---- */

/* The foreaches around a task at `place`, the innermost of which `*record`, task `number`,
 * stands in: `*out` is counted for the caller, NULL when there are none. */
static int make_splits(const trial *t, lf_slice place, lf_task_record record, uint32_t number,
                       lf_split **out, luaflow_error *err)
{
    lf_split *inner = NULL, *outermost = NULL;
    int rc = LUAFLOW_OK;
    for (uint32_t depth = depth_of(place); rc == LUAFLOW_OK && depth-- > 0;) {
        lf_buf *bytes = NULL;
        lf_split *split = NULL;
        rc = climb(t, &record, &number, opens_level, depth, err);
        if (rc == LUAFLOW_OK)
            rc = lf_inputs_list(t->view, t->facts->run, &record,
                                lf_graph_step(t->graph, step_now(t, &record))->over,
                                lf_buf_slice(t->facts->params), &bytes, err);
        if (rc == LUAFLOW_OK && (split = lf_split_new(bytes, err)) == NULL)
            rc = err->code;
        if (rc != LUAFLOW_OK)
            break;
        split->step = step_now(t, &record);
        if (index_at(place, depth) == 0 || index_at(place, depth) > split->list.size)
            rc = damaged(t, err);
        if (outermost != NULL) {
            outermost->up = split;
            outermost->up_index = index_at(place, depth);
        } else {
            inner = split;
        }
        outermost = split;
    }
    if (rc != LUAFLOW_OK) {
        lf_split_free(inner);
        return rc;
    }
    *out = inner;
    return LUAFLOW_OK;
}

/* ---- what it reads ---- */

/* Of a task with one parent: a stand-in for that. */
static int give_parent(trial *t, const lf_task_record *record, uint32_t number, luaflow_error *err)
{
    uint32_t run = t->facts->run;
    lf_task_record parent;
    int rc = first_parent(t, record, &number, err);
    if (rc != LUAFLOW_OK || number == 0)
        return rc;
    if ((rc = lf_view_task(t->view, run, number, &parent, err)) != LUAFLOW_OK)
        return rc;
    bool was_reused = parent.flags & LF_TASK_REUSED;
    lf_batch *b = lf_batch_new(t->facts, 1);
    if (b == NULL)
        return lf_fail_memory(err);
    b->tasks[0].number = number;
    b->tasks[0].origin_run = was_reused ? parent.origin_run : run;
    b->tasks[0].origin_task = was_reused ? parent.origin_task : number;
    t->task->parent = &b->tasks[0]; /* which owns the batch */
    lf_task *last = NULL;
    rc = lf_replay_parent(t->store, t->task, &last, err);
    lf_task_drop(last);
    return rc;
}

static int give_inputs(trial *t, lf_task_record record, uint32_t number, luaflow_error *err)
{
    lf_join *join = calloc(1, sizeof *join);
    if (join == NULL)
        return lf_fail_memory(err);
    t->task->join = join;
    uint32_t n;
    int rc = lf_view_parents(t->view, t->facts->run, number, &record, &n, err);
    if (rc != LUAFLOW_OK)
        return rc;
    join->n = n;
    join->numbers = malloc(((size_t)n + 1) * sizeof *join->numbers);
    if (join->numbers == NULL)
        return lf_fail_memory(err);
    lf_parents_get(record.parents, join->numbers);
    if (join->n == 0)
        return lf_fail(err, LUAFLOW_EUSAGE,
                       "task %u of run %u joined an empty foreach; try a task that had inputs", number,
                       t->facts->run);
    rc = climb(t, &record, &number, is_joined_by, t->task->step, err);
    join->step = rc == LUAFLOW_OK ? step_now(t, &record) : 0;
    return rc;
}

/* ---- the task ---- */

static int find_number(const trial *t, const char *step, uint32_t *number, luaflow_error *err)
{
    uint32_t run = t->facts->run, before;
    size_t n = 0;
    if (*number != 0)
        return LUAFLOW_OK;
    before = lf_description_find(&t->before, lf_slice_of(step, strlen(step)));
    if (before != LF_ANY) {
        int rc = lf_view_tasks(t->view, run, before, false, 0, number, 1, &n, err);
        if (rc != LUAFLOW_OK)
            return rc;
    }
    return n == 1 ? LUAFLOW_OK
                  : lf_fail(err, LUAFLOW_ENOTFOUND, "no task of step %s has ended in run %u; choose a run "
                            "in which one has", step, run);
}

static int fill(trial *t, const char *step, uint32_t number, luaflow_error *err)
{
    lf_task_record record;
    int rc = find_number(t, step, &number, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_task(t->view, t->facts->run, number, &record, err);
    if (rc != LUAFLOW_OK)
        return rc;
    uint32_t now = lf_graph_find(t->graph, step);
    if (step_now(t, &record) != now) {
        lf_slice name = lf_description_name(&t->before, record.step);
        return lf_fail(err, LUAFLOW_EUSAGE, "task %u of run %u is of step %.*s, not %s", number,
                       t->facts->run, (int)name.size, (const char *)name.data, step);
    }
    lf_bytes_put(t->place, record.place.data, record.place.size);
    if (t->place->failed)
        return lf_fail_memory(err);
    t->task->number = number;
    t->task->step = now;
    t->task->prefix = lf_slice_of(t->place->data, t->place->size);
    t->task->split_index = index_at(record.place, depth_of(record.place) - 1);
    rc = make_splits(t, record.place, record, number, &t->task->split, err);
    if (rc != LUAFLOW_OK)
        return rc;
    return lf_graph_step(t->graph, now)->is_join ? give_inputs(t, record, number, err)
                                                 : give_parent(t, &record, number, err);
}

int lf_trial_new(lf_store *s, lf_facts *facts, const lf_graph *graph, const char *step,
                 uint32_t number, lf_bytes *place, lf_batch **out, luaflow_error *err)
{
    trial t = {.store = s, .facts = facts, .graph = graph, .place = place};
    lf_run_record run;
    if (lf_graph_find(graph, step) == LF_NONE)
        return lf_fail(err, LUAFLOW_EUSAGE, "the flow has no step '%s'", step);
    if ((t.batch = lf_batch_new(facts, 1)) == NULL)
        return lf_fail_memory(err);
    t.task = &t.batch->tasks[0];
    int rc = lf_view_begin(s, &t.view, err);
    if (rc == LUAFLOW_OK) {
        rc = lf_view_run(t.view, facts->run, &run, NULL, err);
        if (rc == LUAFLOW_OK)
            rc = lf_description_read(t.view, &run, &t.before, err);
        if (rc == LUAFLOW_OK) {
            rc = fill(&t, step, number, err);
            lf_description_fini(&t.before);
        }
        lf_view_end(t.view);
    }
    if (rc != LUAFLOW_OK) {
        lf_batch_free(t.batch);
        return rc;
    }
    *out = t.batch;
    return LUAFLOW_OK;
}
