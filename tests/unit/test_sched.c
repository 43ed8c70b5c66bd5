/* test_sched.c -- whole runs with a runner made by hand: what the scheduler starts, in which
 * order and how much at once, and how a run ends. */
#include "flow.h"
#include "sched.h"
#include "tasks.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 20 }; /* seconds, for what ought to happen at once */

/* What a task says it took: so long that each travels alone, or so short that many travel
 * together. */
enum { LONG_US = 10000, SHORT_US = 1 };

/* ---- a world: everything but workers ---- */

typedef struct world {
    lf_store *store;
    lf_staged *staged;
    lf_mailbox *box, *home; /* the writer's home is `box`, or one whose letters we deliver */
    lf_queue arrived;       /* of those */
    lf_writer *writer;
    lf_sched *sched;
    lf_events *events;
    /* the runner, under the lock: the scheduler starts, the test takes */
    pthread_mutex_t lock;
    pthread_cond_t more;
    lf_queue waiting;
    uint32_t out, most_out;
    uint32_t running[8], most_running[8]; /* by step */
    uint32_t workers;
    lf_log_letter *printed;
    lf_batch *divided;
} world;

static void start(void *self, lf_batch *b)
{
    world *w = self;
    uint32_t step = b->tasks[0].step;
    pthread_mutex_lock(&w->lock);
    lf_queue_push(&w->waiting, &b->letter.node);
    if (++w->out > w->most_out)
        w->most_out = w->out;
    w->running[step] += b->n;
    if (w->running[step] > w->most_running[step])
        w->most_running[step] = w->running[step];
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

/* Hands over the batch that the test has put aside for that. */
static void divide(void *self, uint64_t longer_us, void (*take)(void *payload, lf_batch *batch),
                   void *payload)
{
    (void)longer_us;
    world *w = self;
    pthread_mutex_lock(&w->lock);
    lf_batch *b = w->divided;
    w->divided = NULL;
    pthread_mutex_unlock(&w->lock);
    if (b != NULL)
        take(payload, b);
}

static void grow(void *self, uint32_t workers)
{
    world *w = self;
    pthread_mutex_lock(&w->lock);
    if (w->workers < workers)
        w->workers = workers;
    pthread_mutex_unlock(&w->lock);
}

static void logs(void *self, uint64_t before_us, void (*take)(void *payload, lf_log_letter *letter),
                 void *payload)
{
    (void)before_us;
    world *w = self;
    pthread_mutex_lock(&w->lock);
    lf_log_letter *l = w->printed;
    w->printed = NULL;
    pthread_mutex_unlock(&w->lock);
    if (l != NULL)
        take(payload, l);
}

static void make(world *w, bool deliver_by_hand)
{
    *w = (world){.store = new_store(), .staged = lf_staged_new(), .box = lf_mailbox_new(),
                 .events = lf_events_new(100000, false)};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    lf_queue_init(&w->waiting);
    lf_queue_init(&w->arrived);
    w->home = deliver_by_hand ? lf_mailbox_new() : w->box;
    CHECK_INT(lf_writer_open(w->store, w->home, &w->writer, NULL), LUAFLOW_OK);
    lf_runner runner = {w, start, divide, grow, logs};
    CHECK_INT(lf_sched_open(w->box, runner, w->writer, w->staged, &w->sched, NULL), LUAFLOW_OK);
}

static void make_world(world *w) { make(w, false); }

static void drop_world(world *w)
{
    CHECK(lf_queue_empty(&w->waiting));
    lf_sched_close(w->sched);
    lf_writer_close(w->writer);
    if (w->home != w->box)
        lf_mailbox_free(w->home);
    lf_mailbox_free(w->box);
    lf_events_free(w->events);
    lf_staged_free(w->staged);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    drop_store(w->store);
}

/* ---- runs ---- */

typedef struct run {
    lf_ear ear;
    lf_facts *facts;
    const lf_graph *graph;
    uint32_t max_workers; /* to be set before the start, or 1 */
    bool keep_going;
    uint32_t progress_after;
    /* what was told of it */
    bool finished;
    luaflow_event end;
    char problem[256];
    uint32_t heard[LUAFLOW_RUN_FINISHED + 1];
    luaflow_counts progress;
} run;

static void drop_flow(struct lf_flow *flow) { lf_flow_free(flow); }

static void start_run(world *w, run *r, const char *steps)
{
    char source[1000];
    lf_flow *flow = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int size = snprintf(source, sizeof source, "return { name = 'F', steps = { %s } }", steps);
    if (lf_flow_load_string(source, (size_t)size, "f.lua", NULL, &flow, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    r->graph = lf_flow_graph(flow);
    r->facts = lf_facts_new(lf_graph_size(r->graph));
    r->facts->flow = flow;
    r->facts->drop_flow = drop_flow;
    r->facts->events = w->events;
    r->facts->owner = &r->ear;
    r->facts->listened = true;
    r->facts->progress_after = r->progress_after;
    store_run(w->store, r->facts);
    r->facts->keep_going = r->keep_going;
    lf_run_start how = {lf_facts_ref(r->facts), r->graph, r->max_workers ? r->max_workers : 1};
    lf_sched_run *planned = NULL;
    CHECK_INT(lf_sched_run_new(&how, &planned, NULL), LUAFLOW_OK);
    lf_sched_start(w->sched, planned);
}

static void drop_run(run *r) { lf_facts_free(r->facts); }

/* Hears all there is to hear. */
static void listen(world *w)
{
    for (lf_event *e; (e = lf_events_take(w->events)) != NULL;) {
        run *r = LF_OF(e->owner, run, ear);
        CHECK(!r->finished);
        CHECK_INT(e->told.run, r->facts->run);
        r->heard[e->told.type]++;
        if (e->told.type == LUAFLOW_PROGRESS)
            r->progress = e->told.counts;
        if (e->told.type == LUAFLOW_RUN_FINISHED) {
            r->finished = true;
            r->end = e->told;
            if (e->told.message != NULL)
                snprintf(r->problem, sizeof r->problem, "%s", e->told.message);
        }
        lf_event_free(e);
    }
}

static void check_ends(world *w, run *r, int status)
{
    for (listen(w); !r->finished; listen(w))
        CHECK(lf_events_wait(w->events, PATIENCE));
    CHECK_INT(r->end.status, status);
}

/* ---- the runner's hand ---- */

/* The next batch that was started, or NULL when none is in so many seconds. */
static lf_batch *take_within(world *w, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&w->lock);
    int rc = 0;
    while (lf_queue_empty(&w->waiting) && rc == 0)
        rc = pthread_cond_timedwait(&w->more, &w->lock, &until);
    lf_node *n = lf_queue_pop(&w->waiting);
    pthread_mutex_unlock(&w->lock);
    return n == NULL ? NULL : LF_OF(LF_OF(n, lf_letter, node), lf_batch, letter);
}

/* Takes the next batch, which has these tasks: "a[1] a[2]". */
static lf_batch *take(world *w, const char *paths)
{
    lf_batch *b = take_within(w, PATIENCE);
    lf_bytes at = {0}, got = {0};
    if (b == NULL)
        fail_msg("%s was not started", paths);
    const lf_graph *graph = lf_flow_graph(b->facts->flow);
    for (uint32_t i = 0; i < b->n; i++) {
        lf_bytes_clear(&at);
        lf_task_place(&b->tasks[i], &at);
        lf_bytes_printf(&got, "%s", i > 0 ? " " : "");
        lf_path_format(&got, lf_graph_step(graph, b->tasks[i].step)->name,
                       lf_slice_of(at.data, at.size));
    }
    CHECK_STR(lf_bytes_cstr(&got), paths);
    lf_bytes_fini(&at);
    lf_bytes_fini(&got);
    return b;
}

/* Gives a batch back as it is. */
static void give_back(world *w, lf_batch *b, uint64_t task_us)
{
    pthread_mutex_lock(&w->lock);
    w->out--;
    w->running[b->tasks[0].step] -= b->n;
    pthread_mutex_unlock(&w->lock);
    b->elapsed_us = task_us * b->n;
    b->letter.kind = LF_LETTER_SEALED;
    lf_mailbox_post(w->box, &b->letter.node);
}

static void end(world *w, lf_batch *b, lf_outcome outcome, uint64_t task_us)
{
    for (uint32_t i = 0; i < b->n; i++)
        seal(&b->tasks[i], outcome);
    give_back(w, b, task_us);
}

static void succeed(world *w, lf_batch *b) { end(w, b, LF_SUCCEEDED, LONG_US); }
static void succeed_soon(world *w, lf_batch *b) { end(w, b, LF_SUCCEEDED, SHORT_US); }
static void break_down(world *w, lf_batch *b) { end(w, b, LF_BROKE, LONG_US); }

/* The foreach task goes over 1 to `width`: fewer than 128, or more than 255. */
static void split(world *w, lf_batch *b, uint32_t width)
{
    uint8_t small = (uint8_t)width, large[] = {0xcd, (uint8_t)(width >> 8), (uint8_t)width};
    lf_buf *number = width < 128 ? lf_buf_copy(&small, 1) : lf_buf_copy(large, 3);
    b->tasks[0].opened = lf_split_new(number, NULL);
    CHECK(b->tasks[0].opened != NULL);
    b->tasks[0].width = width;
    succeed(w, b);
}

/* Runs whatever is started until the run has ended. */
static void run_the_rest(world *w, run *r, uint64_t task_us)
{
    for (listen(w); !r->finished; listen(w)) {
        lf_batch *b = take_within(w, 0.01);
        if (b != NULL)
            end(w, b, LF_SUCCEEDED, task_us);
    }
    CHECK_INT(r->end.status, LUAFLOW_DONE);
}

/* ---- reading it back ---- */

static int stored_status(world *w, const run *r)
{
    lf_run_state state;
    lf_view *v = view_of(w->store);
    CHECK_INT(lf_view_run(v, r->facts->run, NULL, &state, NULL), LUAFLOW_OK);
    lf_view_end(v);
    return state.status;
}

static size_t stored_tasks(world *w, const run *r, bool failed)
{
    uint32_t numbers[1000];
    size_t n = 0;
    lf_view *v = view_of(w->store);
    int rc = lf_view_tasks(v, r->facts->run, LF_ANY, failed, 0, numbers, 1000, &n, NULL);
    lf_view_end(v);
    CHECK_INT(rc, LUAFLOW_OK);
    return n;
}

#define FOREACH "start = { next = 'a', foreach = 'xs', function(self) end }, "
#define JOIN "join = function(self, inputs) end"
static const char each[] = FOREACH "a = { next = 'join' }, " JOIN;
static const char both[] = "start = { next = { 'a', 'b' } }, a = { next = 'join' }, "
                           "b = { next = 'join' }, " JOIN;

/* ---- order ---- */

TEST(steps_run_one_after_the_other_and_the_end_is_told_when_all_is_stored)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = { next = 'a' }, a = { next = 'b' }, b = function(self) end");
    succeed(&w, take(&w, "start"));
    lf_batch *b = take(&w, "a");
    CHECK_INT(b->tasks[0].number, 2);
    CHECK_INT(b->tasks[0].parent->number, 1);
    succeed(&w, b);
    succeed(&w, take(&w, "b"));
    check_ends(&w, &r, LUAFLOW_DONE);
    CHECK_INT(stored_status(&w, &r), LUAFLOW_DONE);
    CHECK_INT(stored_tasks(&w, &r, false), 3);
    CHECK_INT(r.end.counts.started, 3);
    CHECK_INT(r.end.counts.done, 3);
    CHECK_INT(r.end.counts.failed, 0);
    CHECK_STR(r.problem, "");
    drop_run(&r);
    drop_world(&w);
}

TEST(a_runner_is_told_how_many_workers_a_run_may_have)
{
    world w;
    run r = {.max_workers = 7};
    make_world(&w);
    start_run(&w, &r, "start = function(self) end");
    succeed(&w, take(&w, "start"));
    check_ends(&w, &r, LUAFLOW_DONE);
    pthread_mutex_lock(&w.lock);
    CHECK_INT(w.workers, 7);
    pthread_mutex_unlock(&w.lock);
    drop_run(&r);
    drop_world(&w);
}

TEST(an_element_is_worked_on_to_its_end_before_the_next_is_begun)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, FOREACH "a = { next = 'b' }, b = { next = 'join' }, " JOIN);
    split(&w, take(&w, "start"), 2);
    succeed(&w, take(&w, "a[1]"));
    succeed(&w, take(&w, "b[1]"));
    succeed(&w, take(&w, "a[2]"));
    succeed(&w, take(&w, "b[2]"));
    succeed(&w, take(&w, "join"));
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(the_branches_run_at_once_and_the_join_waits_for_both)
{
    world w;
    run r = {.max_workers = 2};
    make_world(&w);
    start_run(&w, &r, both);
    succeed(&w, take(&w, "start"));
    lf_batch *one = take_within(&w, PATIENCE), *other = take_within(&w, PATIENCE);
    CHECK(one != NULL && other != NULL);
    CHECK(one->tasks[0].step != other->tasks[0].step);
    succeed(&w, other);
    succeed(&w, one);
    succeed(&w, take(&w, "join"));
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_switch_goes_where_the_task_chose_and_a_loop_counts_its_turns)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = { next = { again = 'start', enough = 'last' }, switch = 'x' }, "
                      "last = function(self) end");
    lf_batch *b = take(&w, "start");
    b->tasks[0].choice = lf_graph_find(r.graph, "start");
    succeed(&w, b);
    b = take(&w, "start#2");
    b->tasks[0].choice = lf_graph_find(r.graph, "last");
    succeed(&w, b);
    succeed(&w, take(&w, "last"));
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_child_knows_its_element_and_the_join_is_outside_again)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, FOREACH "a = { next = 'b', foreach = 'ys' }, b = { next = 'inner' }, "
                              "inner = { next = 'join', function(self, inputs) end }, " JOIN);
    lf_batch *b = take(&w, "start");
    split(&w, b, 2);
    b = take(&w, "a[1]");
    const lf_split *outer = b->tasks[0].split;
    CHECK_INT(outer->list.size, 2);
    CHECK_INT(b->tasks[0].split_index, 1);
    split(&w, b, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        char path[16];
        snprintf(path, sizeof path, "b[1][%u]", i);
        b = take(&w, path);
        CHECK_INT(b->tasks[0].split->list.size, 3);
        CHECK_INT(b->tasks[0].split_index, i);
        succeed(&w, b);
    }
    b = take(&w, "inner[1]");
    CHECK(b->tasks[0].split == outer);
    CHECK_INT(b->tasks[0].split_index, 1);
    CHECK(b->tasks[0].parent == NULL);
    succeed(&w, b);
    b = take(&w, "a[2]");
    CHECK_INT(b->tasks[0].split_index, 2);
    split(&w, b, 0);
    succeed(&w, take(&w, "inner[2]"));
    b = take(&w, "join");
    CHECK(b->tasks[0].split == NULL);
    succeed(&w, b);
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

/* ---- how much at once ---- */

TEST(never_more_batches_run_than_a_run_may_have_workers)
{
    world w;
    run r = {.max_workers = 3};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 40);
    lf_batch *held = take(&w, "a[1]"); /* longer than all the others */
    for (int i = 0; i < 30; i++) {
        usleep(2000); /* until all are started that may be */
        succeed(&w, take_within(&w, PATIENCE));
    }
    succeed(&w, held);
    run_the_rest(&w, &r, LONG_US);
    CHECK_INT(w.most_out, 3);
    CHECK_INT(w.most_running[lf_graph_find(r.graph, "a")], 3);
    CHECK_INT(r.end.counts.done, 42);
    drop_run(&r);
    drop_world(&w);
}

TEST(short_tasks_travel_together_and_as_many_batches_again_wait_for_a_worker)
{
    world w;
    run r = {.max_workers = 2};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 900);
    lf_batch *held = take(&w, "a[1]");
    succeed_soon(&w, take(&w, "a[2]"));
    succeed_soon(&w, take(&w, "a[3] a[4]"));
    succeed(&w, held);
    for (listen(&w); !r.finished; listen(&w)) {
        usleep(2000); /* until all are started that may be */
        lf_batch *b = take_within(&w, 0.01);
        if (b != NULL)
            succeed_soon(&w, b);
    }
    CHECK_INT(r.end.status, LUAFLOW_DONE);
    CHECK_INT(w.most_out, 4);
    CHECK(w.most_running[1] > 50);
    CHECK(w.most_running[1] <= 4 * 256);
    CHECK_INT(stored_tasks(&w, &r, false), 902);
    drop_run(&r);
    drop_world(&w);
}

TEST(the_last_short_tasks_are_shared_out_among_the_workers)
{
    world w;
    run r = {.max_workers = 4};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 60);
    for (listen(&w); !r.finished; listen(&w)) {
        lf_batch *b = take_within(&w, 0.01);
        if (b == NULL)
            continue;
        CHECK(b->n <= 60 / 4 + 1);
        succeed_soon(&w, b);
    }
    drop_run(&r);
    drop_world(&w);
}

TEST(never_more_tasks_of_a_step_run_than_its_max_parallel)
{
    static const uint64_t took[] = {LONG_US, SHORT_US};
    for (int i = 0; i < 2; i++) {
        world w;
        run r = {.max_workers = 4};
        make_world(&w);
        start_run(&w, &r, FOREACH "a = { next = 'b', max_parallel = 3 }, "
                                  "b = { next = 'join' }, " JOIN);
        split(&w, take(&w, "start"), 30);
        run_the_rest(&w, &r, took[i]);
        CHECK_INT(w.most_running[lf_graph_find(r.graph, "a")], 3);
        CHECK_INT(r.end.counts.done, 62);
        drop_run(&r);
        drop_world(&w);
    }
}

TEST(a_step_that_uses_several_processors_keeps_as_many_workers_free)
{
    world w;
    run r = {.max_workers = 3};
    make_world(&w);
    start_run(&w, &r, FOREACH "a = { next = 'join', resources = { cpu = 2 } }, " JOIN);
    split(&w, take(&w, "start"), 3);
    lf_batch *first = take(&w, "a[1]");
    CHECK(take_within(&w, 0.05) == NULL); /* two and two are more than three */
    succeed(&w, first);
    succeed(&w, take(&w, "a[2]"));
    run_the_rest(&w, &r, LONG_US);
    CHECK_INT(w.most_out, 1);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_step_that_wants_more_processors_than_there_are_runs_alone)
{
    world w;
    run r = {.max_workers = 2};
    make_world(&w);
    start_run(&w, &r, "start = { next = { 'a', 'b' } }, a = { next = 'join' }, "
                      "b = { next = 'join', resources = { cpu = 64 } }, " JOIN);
    succeed(&w, take(&w, "start"));
    lf_batch *a = take(&w, "a");
    CHECK(take_within(&w, 0.05) == NULL);
    succeed(&w, a);
    run_the_rest(&w, &r, LONG_US);
    CHECK_INT(w.most_out, 1);
    drop_run(&r);
    drop_world(&w);
}

TEST(isolated_tasks_travel_alone_however_short)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, FOREACH "a = { next = 'join', timeout = 5 }, " JOIN);
    split(&w, take(&w, "start"), 4);
    succeed_soon(&w, take(&w, "a[1]"));
    succeed_soon(&w, take(&w, "a[2]"));
    succeed_soon(&w, take(&w, "a[3]"));
    CHECK_INT(w.most_out, 1);
    run_the_rest(&w, &r, LONG_US);
    drop_run(&r);
    drop_world(&w);
}

/* ---- tasks that are tried again ---- */

static void check_attempt(world *w, const run *r, uint32_t task, uint32_t attempt)
{
    lf_view *v = view_of(w->store);
    lf_task_record record;
    CHECK_INT(lf_view_attempt(v, r->facts->run, task, attempt, &record, NULL), LUAFLOW_OK);
    CHECK_INT(record.attempt, attempt);
    CHECK(is_text(record.message, "it broke"));
    lf_view_end(v);
}

TEST(a_task_that_fails_is_tried_again_and_every_attempt_is_kept)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, FOREACH "a = { next = 'join', retry = 2 }, " JOIN);
    split(&w, take(&w, "start"), 1);
    break_down(&w, take(&w, "a[1]"));
    lf_batch *b = take(&w, "a[1]");
    CHECK_INT(b->tasks[0].attempt, 1);
    CHECK_INT(b->tasks[0].number, 2);
    CHECK_INT(b->tasks[0].parent->number, 1);
    break_down(&w, b);
    b = take(&w, "a[1]");
    CHECK_INT(b->tasks[0].attempt, 2);
    succeed(&w, b);
    run_the_rest(&w, &r, LONG_US);
    CHECK_INT(r.heard[LUAFLOW_TASK_RETRYING], 2);
    CHECK_INT(r.heard[LUAFLOW_TASK_FAILED], 0);
    CHECK_INT(r.end.counts.done, 3);
    CHECK_INT(r.end.counts.started, 3);
    CHECK_INT(r.end.counts.failed, 0);
    check_attempt(&w, &r, 2, 0);
    check_attempt(&w, &r, 2, 1);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_delay_of_nothing_stays_one_however_it_grows)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = { retry = { times = 3, backoff = 1e300 } }");
    for (uint32_t i = 0; i < 3; i++) {
        lf_batch *b = take(&w, "start");
        CHECK_INT(b->tasks[0].attempt, i);
        break_down(&w, b);
    }
    succeed(&w, take(&w, "start"));
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_task_without_attempts_left_fails_the_run)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = { next = 'a' }, a = { next = 'b', retry = 1 }, b = {}");
    succeed(&w, take(&w, "start"));
    break_down(&w, take(&w, "a"));
    break_down(&w, take(&w, "a"));
    check_ends(&w, &r, LUAFLOW_FAILED);
    CHECK_INT(r.heard[LUAFLOW_TASK_RETRYING], 1);
    CHECK_INT(r.heard[LUAFLOW_TASK_FAILED], 1);
    CHECK_INT(stored_tasks(&w, &r, true), 1);
    CHECK_INT(r.end.counts.failed, 1);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_join_that_is_tried_again_has_its_inputs)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = { next = 'a', foreach = 'n' }, a = { next = 'join' }, "
                      "join = { retry = 1, function(self, inputs) end }");
    split(&w, take(&w, "start"), 2);
    succeed(&w, take(&w, "a[1]"));
    succeed(&w, take(&w, "a[2]"));
    break_down(&w, take(&w, "join"));
    lf_batch *b = take(&w, "join");
    CHECK_INT(b->tasks[0].join->n, 2);
    CHECK_MEM(b->tasks[0].join->numbers, ((uint32_t[]){2, 3}), sizeof(uint32_t[2]));
    succeed(&w, b);
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_waiting_task_holds_no_worker)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, FOREACH "a = { next = 'join', retry = { times = 1, delay = 0.05 } }, " JOIN);
    split(&w, take(&w, "start"), 3);
    break_down(&w, take(&w, "a[1]"));
    succeed(&w, take(&w, "a[2]"));
    lf_batch *b = take(&w, "a[3]");
    usleep(100000); /* the delay is over, but the worker is not free */
    succeed(&w, b);
    b = take(&w, "a[1]");
    CHECK_INT(b->tasks[0].attempt, 1);
    succeed(&w, b);
    run_the_rest(&w, &r, LONG_US);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_cancelled_run_does_not_wait_for_attempts_to_come)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = { next = 'a', retry = { times = 9, delay = 1000, backoff = 2 } }, a = {}");
    break_down(&w, take(&w, "start"));
    CHECK(take_within(&w, 0.02) == NULL);
    lf_sched_cancel(w.sched, r.facts->run);
    check_ends(&w, &r, LUAFLOW_INTERRUPTED);
    CHECK_INT(r.end.counts.failed, 0);
    CHECK_INT(stored_tasks(&w, &r, false), 0);
    check_attempt(&w, &r, 1, 0);
    drop_run(&r);
    drop_world(&w);
}

/* ---- ends that are not happy ---- */

/* Until workers see that they should start nothing more. */
static void wait_for_halt(const run *r)
{
    for (int i = 0; i < PATIENCE * 1000 && !atomic_load(&r->facts->halted); i++)
        usleep(1000);
    CHECK(atomic_load(&r->facts->halted));
}

TEST(a_failing_task_stops_the_run_and_those_that_run_are_kept)
{
    world w;
    run r = {.max_workers = 2};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 5);
    lf_batch *first = take(&w, "a[1]"), *second = take(&w, "a[2]");
    CHECK(!atomic_load(&r.facts->halted));
    break_down(&w, first);
    wait_for_halt(&r);
    succeed(&w, second);
    check_ends(&w, &r, LUAFLOW_FAILED);
    CHECK_INT(r.heard[LUAFLOW_TASK_FAILED], 1);
    CHECK_INT(stored_tasks(&w, &r, false), 3);
    CHECK_INT(stored_tasks(&w, &r, true), 1);
    CHECK_INT(stored_status(&w, &r), LUAFLOW_FAILED);
    CHECK_INT(r.end.counts.done, 2);
    CHECK_INT(r.end.counts.failed, 1);
    CHECK_STR(r.problem, ""); /* a task's failure is not the run's own */
    drop_run(&r);
    drop_world(&w);
}

TEST(who_keeps_going_runs_all_that_does_not_need_the_failed_task)
{
    world w;
    run r = {.keep_going = true};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 3);
    succeed(&w, take(&w, "a[1]"));
    break_down(&w, take(&w, "a[2]"));
    succeed(&w, take(&w, "a[3]"));
    check_ends(&w, &r, LUAFLOW_FAILED);
    CHECK(!atomic_load(&r.facts->halted));
    CHECK_INT(r.end.counts.done, 3);
    CHECK_INT(r.end.counts.failed, 1);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_cancelled_run_starts_nothing_more_and_keeps_what_runs)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 3);
    lf_batch *b = take(&w, "a[1]");
    lf_sched_cancel(w.sched, r.facts->run + 1); /* somebody else */
    lf_sched_cancel(w.sched, r.facts->run);
    succeed(&w, b);
    check_ends(&w, &r, LUAFLOW_INTERRUPTED);
    CHECK(atomic_load(&r.facts->halted));
    CHECK_INT(stored_tasks(&w, &r, false), 2);
    CHECK_INT(stored_status(&w, &r), LUAFLOW_INTERRUPTED);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_run_cancelled_while_its_last_task_runs_is_done)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = function(self) end");
    lf_batch *b = take(&w, "start");
    lf_sched_cancel(w.sched, r.facts->run);
    succeed(&w, b);
    check_ends(&w, &r, LUAFLOW_DONE);
    lf_sched_cancel(w.sched, r.facts->run); /* too late to matter */
    drop_run(&r);
    drop_world(&w);
}

TEST(when_the_store_fails_the_run_ends_with_the_problem)
{
    world w;
    run r = {.max_workers = 2}, after = {0};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 5);
    lf_batch *first = take(&w, "a[1]"), *second = take(&w, "a[2]");
    for (int i = 0; i < PATIENCE * 1000 && stored_tasks(&w, &r, false) == 0; i++)
        usleep(1000);
    set_disk_full(true);
    succeed(&w, first);
    lf_batch *third = take(&w, "a[3]"); /* nobody knows yet */
    wait_for_halt(&r);
    set_disk_full(false);
    give_back(&w, third, 0);
    succeed(&w, second);
    check_ends(&w, &r, LUAFLOW_FAILED);
    CHECK(strstr(r.problem, place) != NULL);
    CHECK_INT(r.end.attempt, -LUAFLOW_ESTORE);
    CHECK_INT(stored_status(&w, &r), LUAFLOW_FAILED);
    CHECK_INT(stored_tasks(&w, &r, false), 1);
    drop_run(&r);
    start_run(&w, &after, "start = function(self) end"); /* the next run is none the worse */
    run_the_rest(&w, &after, LONG_US);
    drop_run(&after);
    drop_world(&w);
}

TEST(when_not_even_the_last_state_can_be_stored_the_run_still_ends)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = function(self) end");
    lf_batch *b = take(&w, "start");
    set_disk_full(true);
    succeed(&w, b);
    check_ends(&w, &r, LUAFLOW_FAILED);
    set_disk_full(false);
    CHECK(strstr(r.problem, place) != NULL);
    CHECK_INT(stored_status(&w, &r), LUAFLOW_RUNNING);
    CHECK_INT(r.end.counts.done, 0);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_runner_that_cannot_run_tasks_ends_the_run_with_its_problem)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, each);
    lf_batch *b = take(&w, "start");
    lf_fail(&b->error, LUAFLOW_ENOMEM, "no worker today");
    give_back(&w, b, 0);
    check_ends(&w, &r, LUAFLOW_FAILED);
    CHECK_STR(r.problem, "no worker today");
    CHECK_INT(r.end.attempt, -LUAFLOW_ENOMEM);
    CHECK_INT(r.end.counts.started, 0);
    drop_run(&r);
    drop_world(&w);
}

/* ---- tasks given back ---- */

TEST(tasks_that_come_back_unstarted_are_started_again_under_their_numbers)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 4);
    succeed_soon(&w, take(&w, "a[1]"));
    lf_batch *b = take(&w, "a[2] a[3]"), *last = take(&w, "a[4]");
    uint32_t number = b->tasks[1].number;
    seal(&b->tasks[0], LF_SUCCEEDED);
    give_back(&w, b, SHORT_US);
    b = take(&w, "a[3]");
    CHECK_INT(b->tasks[0].number, number);
    CHECK_INT(b->tasks[0].parent->number, 1);
    give_back(&w, b, 0);
    b = take(&w, "a[3]"); /* as often as need be */
    CHECK_INT(b->tasks[0].number, number);
    succeed(&w, b);
    succeed(&w, last);
    succeed(&w, take(&w, "join"));
    check_ends(&w, &r, LUAFLOW_DONE);
    CHECK_INT(r.end.counts.started, 6);
    CHECK_INT(r.end.counts.done, 6);
    CHECK_INT(stored_tasks(&w, &r, false), 6);
    drop_run(&r);
    drop_world(&w);
}

TEST(what_is_taken_from_around_a_long_task_is_stored_and_started_again)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 5);
    succeed_soon(&w, take(&w, "a[1]"));
    lf_batch *b = take(&w, "a[2] a[3]"), *last = take(&w, "a[4] a[5]"), *apart = lf_batch_new(r.facts, 1);
    apart->tasks[0] = b->tasks[0]; /* which takes long */
    apart->tasks[0].batch = apart;
    b->tasks[0].parent = NULL;
    b->tasks[0].split = NULL;
    b->vacant = 1;
    pthread_mutex_lock(&w.lock);
    w.divided = b;
    pthread_mutex_unlock(&w.lock);
    succeed_soon(&w, last);
    b = take(&w, "a[3]");
    CHECK_INT(b->tasks[0].parent->number, 1);
    succeed_soon(&w, b);
    succeed(&w, apart);
    succeed(&w, take(&w, "join"));
    check_ends(&w, &r, LUAFLOW_DONE);
    CHECK_INT(r.end.counts.done, 7);
    CHECK_INT(stored_tasks(&w, &r, false), 7);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_join_that_comes_back_unstarted_has_its_inputs_the_next_time_too)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 2);
    succeed(&w, take(&w, "a[1]"));
    succeed(&w, take(&w, "a[2]"));
    give_back(&w, take(&w, "join"), 0);
    lf_batch *b = take(&w, "join");
    CHECK_INT(b->tasks[0].join->n, 2);
    CHECK_MEM(b->tasks[0].join->numbers, ((uint32_t[]){2, 3}), sizeof(uint32_t[2]));
    succeed(&w, b);
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(what_a_halted_run_gets_back_is_not_started_again)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, each);
    lf_batch *b = take(&w, "start");
    lf_sched_cancel(w.sched, r.facts->run);
    give_back(&w, b, 0);
    check_ends(&w, &r, LUAFLOW_INTERRUPTED);
    CHECK_INT(r.end.counts.started, 0);
    CHECK_INT(stored_tasks(&w, &r, false), 0);
    drop_run(&r);
    drop_world(&w);
}

/* ---- joins and commits, delivered by hand ---- */

/* Delivers the next letter that the writer sent home. */
static void deliver(world *w)
{
    if (lf_queue_empty(&w->arrived))
        CHECK(lf_mailbox_wait(w->home, PATIENCE, &w->arrived));
    lf_mailbox_post(w->box, lf_queue_pop(&w->arrived));
}

static void check_live(const lf_batch *b, const char *slots)
{
    const lf_join *join = b->tasks[0].join;
    char got[64] = "";
    for (uint32_t i = 0; i < join->n_live; i++) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%u ", join->live[i].slot);
        CHECK_INT(join->live[i].task->number, join->numbers[join->live[i].slot]);
    }
    CHECK_STR(got, slots);
}

TEST(a_join_gets_its_inputs_in_order_and_those_not_committed_yet_alive)
{
    world w;
    run r = {.max_workers = 3};
    make(&w, true);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 3);
    lf_batch *a[3] = {take(&w, "a[1]"), take(&w, "a[2]"), take(&w, "a[3]")};
    succeed(&w, a[2]);
    succeed(&w, a[0]);
    succeed(&w, a[1]);
    lf_batch *b = take(&w, "join");
    const lf_join *join = b->tasks[0].join;
    CHECK_INT(join->n, 3);
    CHECK_MEM(join->numbers, ((uint32_t[]){2, 3, 4}), sizeof(uint32_t[3]));
    CHECK_INT(join->step, lf_graph_find(r.graph, "start"));
    check_live(b, "0 1 2 ");
    succeed(&w, b);
    for (int i = 0; i < 6; i++) /* start, three of a, join, the state */
        deliver(&w);
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(what_is_committed_is_read_from_the_store_and_not_kept_alive)
{
    world w;
    run r = {.max_workers = 3};
    make(&w, true);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 3);
    lf_batch *a[3] = {take(&w, "a[1]"), take(&w, "a[2]"), take(&w, "a[3]")};
    succeed(&w, a[1]);
    deliver(&w); /* start */
    deliver(&w); /* a[2] */
    succeed(&w, a[2]);
    succeed(&w, a[0]);
    lf_batch *b = take(&w, "join");
    CHECK_INT(b->tasks[0].join->n, 3);
    check_live(b, "0 2 ");
    succeed(&w, b);
    for (int i = 0; i < 4; i++)
        deliver(&w);
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_task_is_tried_again_once_its_failure_is_stored)
{
    world w;
    run r = {0};
    make(&w, true);
    start_run(&w, &r, "start = { next = 'a', foreach = 'n' }, a = { next = 'join', retry = 1 }, " JOIN);
    split(&w, take(&w, "start"), 1);
    break_down(&w, take(&w, "a[1]"));
    deliver(&w); /* start */
    CHECK(take_within(&w, 0.05) == NULL);
    deliver(&w);
    succeed(&w, take(&w, "a[1]"));
    lf_batch *b = take(&w, "join");
    check_live(b, "0 ");
    succeed(&w, b);
    for (int i = 0; i < 3; i++) /* the second attempt, the join, and the state */
        deliver(&w);
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

TEST(the_commit_of_a_batch_is_not_one_of_what_it_gave_back)
{
    world w;
    run r = {0};
    make(&w, true);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 3);
    succeed_soon(&w, take(&w, "a[1]"));
    lf_batch *b = take(&w, "a[2] a[3]");
    seal(&b->tasks[0], LF_SUCCEEDED);
    give_back(&w, b, SHORT_US);
    succeed(&w, take(&w, "a[3]"));
    b = take(&w, "join");
    check_live(b, "0 1 2 ");
    for (int i = 0; i < 3; i++) /* start, a[1], and the batch that a[3] was first in */
        deliver(&w);
    give_back(&w, b, 0);
    b = take(&w, "join");
    check_live(b, "2 ");
    succeed(&w, b);
    for (int i = 0; i < 3; i++)
        deliver(&w);
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

/* ---- what is told and shown meanwhile ---- */

TEST(past_the_bound_single_tasks_give_way_to_progress)
{
    world w;
    run r = {.progress_after = 2};
    make_world(&w);
    start_run(&w, &r, each);
    lf_batch *b = take(&w, "start");
    b->tasks[0].told = true; /* as a worker decides */
    split(&w, b, 6);
    for (int i = 1; i <= 6; i++) {
        char path[16];
        snprintf(path, sizeof path, "a[%d]", i);
        b = take(&w, path);
        b->tasks[0].told = i <= 2;
        succeed(&w, b);
    }
    b = take(&w, "join");
    b->tasks[0].told = true;
    succeed(&w, b);
    check_ends(&w, &r, LUAFLOW_DONE);
    CHECK_INT(r.heard[LUAFLOW_TASK_FINISHED], 4);
    CHECK(r.heard[LUAFLOW_PROGRESS] >= 1);
    CHECK_INT(r.progress.done, 6); /* of a, the last one to be heard before the end */
    CHECK_INT(r.progress.failed, 0);
    drop_run(&r);
    drop_world(&w);
}

TEST(a_failure_is_told_even_past_the_bound)
{
    world w;
    run r = {.progress_after = 1, .keep_going = true};
    make_world(&w);
    start_run(&w, &r, each);
    split(&w, take(&w, "start"), 2);
    succeed(&w, take(&w, "a[1]"));
    break_down(&w, take(&w, "a[2]"));
    check_ends(&w, &r, LUAFLOW_FAILED);
    CHECK_INT(r.heard[LUAFLOW_TASK_FAILED], 1);
    CHECK_INT(r.heard[LUAFLOW_TASK_FINISHED], 0);
    CHECK_INT(r.progress.failed, 1);
    drop_run(&r);
    drop_world(&w);
}

TEST(without_listeners_only_the_end_is_told)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = { next = 'a' }, a = function(self) end");
    lf_batch *b = take(&w, "start");
    r.facts->listened = false; /* nobody looks before this batch is back */
    b->tasks[0].told = true;
    succeed(&w, b);
    succeed(&w, take(&w, "a"));
    check_ends(&w, &r, LUAFLOW_DONE);
    CHECK_INT(r.heard[LUAFLOW_TASK_FINISHED], 0);
    drop_run(&r);
    drop_world(&w);
}

static bool tell_true(void *payload, uint32_t task, uint32_t attempt, const lf_log_piece *piece)
{
    (void)task, (void)attempt, (void)piece;
    *(bool *)payload = true;
    return false;
}

TEST(while_a_task_takes_long_its_output_and_the_counts_can_be_read)
{
    world w;
    run r = {0};
    make_world(&w);
    start_run(&w, &r, "start = function(self) end");
    lf_batch *b = take(&w, "start");
    lf_log_letter *l = calloc(1, sizeof *l);
    l->letter.kind = LF_LETTER_LOG;
    l->facts = lf_facts_ref(r.facts);
    l->task = 1;
    lf_log_entry_put(&l->entries, 1, 1, text("here I am\n"));
    pthread_mutex_lock(&w.lock);
    w.printed = l;
    pthread_mutex_unlock(&w.lock);
    bool printed = false;
    lf_run_state state = {.total.started = 0};
    for (int i = 0; i < PATIENCE * 100 && (!printed || state.total.started == 0); i++) {
        usleep(10000);
        lf_view *v = view_of(w.store);
        CHECK_INT(lf_view_log(v, r.facts->run, 1, tell_true, &printed, NULL), LUAFLOW_OK);
        CHECK_INT(lf_view_run(v, r.facts->run, NULL, &state, NULL), LUAFLOW_OK);
        lf_view_end(v);
    }
    CHECK(printed);
    CHECK_INT(state.total.started, 1);
    CHECK_INT(state.total.done, 0);
    CHECK_INT(state.status, LUAFLOW_RUNNING);
    succeed(&w, b);
    check_ends(&w, &r, LUAFLOW_DONE);
    drop_run(&r);
    drop_world(&w);
}

/* ---- several runs ---- */

static lf_batch *take_of(world *w, run *r)
{
    lf_batch *b = take_within(w, PATIENCE);
    CHECK(b != NULL);
    CHECK(b->facts == r->facts);
    return b;
}

TEST(a_run_goes_its_way_whatever_another_does)
{
    world w;
    run slow = {0}, fast = {.max_workers = 2};
    make_world(&w);
    start_run(&w, &slow, each);
    lf_batch *held = take_of(&w, &slow);
    start_run(&w, &fast, each);
    split(&w, take_of(&w, &fast), 20);
    run_the_rest(&w, &fast, SHORT_US);
    CHECK_INT(fast.end.counts.done, 22);
    CHECK(!slow.finished);
    split(&w, held, 2);
    run_the_rest(&w, &slow, LONG_US);
    CHECK_INT(slow.end.counts.done, 4);
    CHECK_INT(stored_tasks(&w, &slow, false), 4);
    CHECK_INT(stored_tasks(&w, &fast, false), 22);
    drop_run(&slow);
    drop_run(&fast);
    drop_world(&w);
}

TEST(cancelling_one_run_leaves_the_other_alone)
{
    world w;
    run one = {0}, other = {0};
    make_world(&w);
    start_run(&w, &one, each);
    lf_batch *b = take_of(&w, &one);
    start_run(&w, &other, each);
    lf_batch *c = take_of(&w, &other);
    lf_sched_cancel(w.sched, one.facts->run);
    split(&w, b, 3);
    check_ends(&w, &one, LUAFLOW_INTERRUPTED);
    split(&w, c, 3);
    run_the_rest(&w, &other, LONG_US);
    drop_run(&one);
    drop_run(&other);
    drop_world(&w);
}

TEST(a_scheduler_without_runs_closes)
{
    world w;
    make_world(&w);
    drop_world(&w);
    lf_sched_close(NULL);
}

TEST(the_library_has_a_version) { CHECK(strncmp(lf_sched_library(), "2.", 2) == 0); }
