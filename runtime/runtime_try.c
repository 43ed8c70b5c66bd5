/* runtime_try.c -- luaflow_try: one step, run alone by a worker of its own, with nothing behind it
 * that would store what it left. */
#include "inputs.h"
#include "replay.h"
#include "runtime.h"
#include "trial.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum { EVENT_QUEUE = 1024 };

typedef struct attempt {
    luaflow *rt;
    lf_facts *facts;
    lf_staged *staged;
    lf_mailbox *home;
    lf_pool *pool;
    lf_bytes place;
    lf_batch *batch;
    luaflow_event_fn on_event;
    void *payload;
} attempt;

static void drop_flow(struct lf_flow *flow) { lf_flow_free(flow); }

/* What the run was, as far as its tasks see it. */
static int make_facts(attempt *a, lf_flow *flow, uint32_t run, luaflow_error *err)
{
    lf_facts *facts = a->facts = lf_facts_new(lf_graph_size(lf_flow_graph(flow)));
    if (facts == NULL)
        return lf_fail_memory(err);
    facts->flow = lf_flow_ref(flow);
    facts->drop_flow = drop_flow;
    facts->run = run;
    facts->max_num_splits = UINT32_MAX;
    facts->listened = true;
    facts->store = strdup(lf_store_dir(a->rt->store));
    facts->events = lf_events_new(EVENT_QUEUE, true);
    if (facts->store == NULL || facts->events == NULL)
        return lf_fail_memory(err);
    lf_run_record record;
    lf_view *v;
    int rc = lf_view_begin(a->rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = lf_view_run(v, run, &record, NULL, err);
    const char *name = lf_flow_name(flow);
    if (rc == LUAFLOW_OK && !lf_slice_equal(record.flow, lf_slice_of(name, strlen(name))))
        rc = lf_fail(err, LUAFLOW_EUSAGE, "run %u is one of flow %.*s, and this is flow %s", run,
                     (int)record.flow.size, (const char *)record.flow.data, name);
    if (rc == LUAFLOW_OK)
        rc = lf_view_blob(v, &record.params, &facts->params, err);
    if (rc == LUAFLOW_OK) {
        facts->seed = record.seed;
        facts->origin = record.origin;
        facts->n_tags = record.n_tags;
        lf_bytes_put(&facts->tags, record.tags.data, record.tags.size);
        if (facts->tags.failed)
            rc = lf_fail_memory(err);
    }
    lf_view_end(v);
    return rc;
}

static void hear(const attempt *a)
{
    for (lf_event *e; (e = lf_events_take(a->facts->events)) != NULL; lf_event_free(e))
        if (a->on_event != NULL)
            a->on_event(a->payload, &e->told);
}

/* Tells what is printed until the batch comes back. */
static void follow(attempt *a)
{
    struct pollfd waiting[] = {{.fd = lf_mailbox_fd(a->home), .events = POLLIN},
                               {.fd = lf_events_fd(a->facts->events), .events = POLLIN}};
    lf_queue letters;
    lf_queue_init(&letters);
    while (lf_queue_empty(&letters)) {
        while (poll(waiting, 2, -1) < 0 && errno == EINTR) {
        }
        hear(a);
        lf_mailbox_take(a->home, &letters);
    }
    hear(a);
}

/* ---- what it left ---- */

typedef struct left {
    lf_slice name;
    lf_buf *value; /* counted */
} left;

static int by_name(const void *a, const void *b)
{
    return lf_slice_compare(((const left *)a)->name, ((const left *)b)->name);
}

static void free_left(left *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lf_buf_free(list[i].value);
    free(list);
}

/* Loads all that the task would pass on; the names are borrowed from it. */
static int load_left(const attempt *a, lf_task *t, left **out, size_t *n, luaflow_error *err)
{
    lf_task child = {.parent = t};
    lf_walk w = lf_inputs_walk(&child);
    lf_slice name;
    lf_found found;
    left *list = NULL;
    int rc = LUAFLOW_OK;
    *n = 0;
    while (rc == LUAFLOW_OK && t->outcome == LF_SUCCEEDED && lf_inputs_next(&w, &name, &found)) {
        left *grown = realloc(list, (*n + 1) * sizeof *list);
        if (grown == NULL) {
            rc = lf_fail_memory(err);
            break;
        }
        list = grown;
        list[*n].name = name;
        rc = lf_inputs_load(a->rt->store, &found, &list[*n].value, err);
        *n += rc == LUAFLOW_OK;
    }
    if (rc != LUAFLOW_OK) {
        free_left(list, *n);
        return rc;
    }
    if (*n > 0)
        qsort(list, *n, sizeof *list, by_name);
    *out = list;
    return LUAFLOW_OK;
}

static luaflow_trial *result_block(const lf_graph *graph, const lf_task *t, const lf_task_record *record,
                                   lf_slice path, lf_slice input, const left *list, size_t n)
{
    const lf_step *step = lf_graph_step(graph, t->step);
    lf_slice name = lf_slice_of(step->name, strlen(step->name));
    const char *chosen = step->kind == LF_SWITCH && t->outcome == LF_SUCCEEDED
                             ? lf_graph_step(graph, t->choice)->name : NULL;
    lf_slice choice = lf_slice_of(chosen, chosen == NULL ? 0 : strlen(chosen));
    size_t size = name.size + path.size + record->message.size + record->traceback.size + input.size +
                  choice.size + 6;
    for (size_t i = 0; i < n; i++)
        size += list[i].name.size + list[i].value->size + 2;
    luaflow_trial *r = calloc(1, sizeof *r + n * sizeof(luaflow_left) + size);
    if (r == NULL)
        return NULL;
    luaflow_left *artifacts = (void *)(r + 1);
    char *at = (void *)(artifacts + n);
    r->step = lf_runtime_keep(&at, name);
    r->path = lf_runtime_keep(&at, path);
    r->task = t->number;
    r->failed = t->outcome == LF_BROKE;
    if (r->failed) {
        r->message = lf_runtime_keep(&at, record->message);
        r->traceback = lf_runtime_keep(&at, record->traceback);
        r->input = input.size == 0 ? NULL : lf_runtime_keep(&at, input);
        r->input_size = input.size;
    } else {
        r->choice = chosen == NULL ? NULL : lf_runtime_keep(&at, choice);
        r->is_foreach = step->kind == LF_FOREACH;
        r->width = t->width;
    }
    for (size_t i = 0; i < n; i++) {
        artifacts[i].name = lf_runtime_keep(&at, list[i].name);
        artifacts[i].value = lf_runtime_keep(&at, lf_buf_slice(list[i].value));
        artifacts[i].size = list[i].value->size;
    }
    r->artifacts = artifacts;
    r->n_artifacts = n;
    return r;
}

static int tell(const attempt *a, luaflow_trial **out, luaflow_error *err)
{
    lf_task *t = &a->batch->tasks[0];
    const lf_graph *graph = lf_flow_graph(a->facts->flow);
    lf_task_record record;
    if (t->outcome == LF_UNSTARTED)
        return lf_fail_text(err, a->batch->error.code, luaflow_error_text(&a->batch->error));
    if (!lf_task_record_get(lf_task_record_bytes(t), &record))
        return lf_fail(err, LUAFLOW_ESTORE, "a record in memory is damaged");
    lf_bytes path = {0}, input = {0};
    left *list = NULL;
    size_t n = 0;
    lf_path_format(&path, lf_graph_step(graph, t->step)->name, record.place);
    if (t->outcome == LF_BROKE && t->split != NULL)
        lf_list_put(&input, &t->split->list, t->split_index);
    bool failed = path.failed || input.failed;
    if (input.size > LF_INPUT_SHOWN)
        input.size = 0;
    int rc = failed ? lf_fail_memory(err) : load_left(a, t, &list, &n, err);
    if (rc == LUAFLOW_OK) {
        *out = result_block(graph, t, &record, lf_slice_of(path.data, path.size),
                            lf_slice_of(input.data, input.size), list, n);
        free_left(list, n);
        if (*out == NULL)
            rc = lf_fail_memory(err);
    }
    lf_bytes_fini(&input);
    lf_bytes_fini(&path);
    return rc;
}

static void fini(attempt *a)
{
    lf_pool_close(a->pool);
    lf_batch_free(a->batch);
    lf_events *events = a->facts == NULL ? NULL : a->facts->events;
    lf_facts_free(a->facts);
    lf_events_free(events);
    lf_staged_free(a->staged);
    lf_mailbox_free(a->home);
    lf_bytes_fini(&a->place);
}

int luaflow_try(luaflow *rt, luaflow_flow *flow, const char *step, uint64_t wide_run, uint64_t wide_task,
                luaflow_event_fn on_event, void *payload, luaflow_trial **out, luaflow_error *err)
{
    attempt a = {.rt = rt, .on_event = on_event, .payload = payload};
    lf_flow *loaded = lf_runtime_flow(flow);
    uint32_t run, task = 0;
    int rc = lf_runtime_number(wide_run, "run", &run, err);
    if (rc == LUAFLOW_OK && wide_task != 0)
        rc = lf_runtime_number(wide_task, "task", &task, err);
    if (rc != LUAFLOW_OK)
        return rc;
    a.staged = lf_staged_new();
    a.home = lf_mailbox_new();
    rc = a.staged == NULL || a.home == NULL ? lf_fail_memory(err) : make_facts(&a, loaded, run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_trial_new(rt->store, a.facts, lf_flow_graph(loaded), step, task, &a.place, &a.batch, err);
    if (rc == LUAFLOW_OK)
        rc = lf_pool_open(&(lf_pool_needs){rt->store, a.staged, a.home, &rt->host, NULL}, &a.pool, err);
    if (rc == LUAFLOW_OK) {
        lf_runner runner = lf_pool_runner(a.pool);
        runner.grow(runner.self, 1);
        runner.start(runner.self, a.batch);
        follow(&a);
        rc = tell(&a, out, err);
    }
    fini(&a);
    return rc;
}
