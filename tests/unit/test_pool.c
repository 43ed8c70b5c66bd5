/* test_pool.c -- batches of real steps, run by real threads: what comes home, in which order,
 * and what comes back unstarted. */
#include "pool.h"
#include "tasks.h"

#include <unistd.h>

enum { PATIENCE = 20 }; /* seconds, for what ought to happen at once */

/* ---- a world: a pool and a run of a flow with one step ---- */

typedef struct world {
    lf_store *store;
    lf_staged *staged;
    lf_mailbox *home;
    lf_events *events;
    lf_pool *pool;
    lf_runner runner;
    lf_facts *facts;
    lf_queue arrived;
    uint32_t next; /* task */
} world;

static void drop_flow(struct lf_flow *flow) { lf_flow_free(flow); }

/* A run whose `start` does this. */
static lf_facts *facts_of(world *w, const char *body)
{
    char source[1000];
    lf_flow *flow = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int size = snprintf(source, sizeof source,
                        "return { name = 'F', steps = { start = function(self) %s end } }", body);
    if (lf_flow_load_string(source, (size_t)size, "f.lua", NULL, &flow, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    lf_facts *facts = lf_facts_new(1);
    lf_bytes params = {0};
    CHECK_INT(lf_flow_params(flow, NULL, 0, &params, NULL), LUAFLOW_OK);
    facts->params = lf_buf_copy(params.data, params.size);
    lf_bytes_fini(&params);
    facts->run = 1;
    facts->flow = flow;
    facts->drop_flow = drop_flow;
    facts->store = strdup(place);
    facts->max_num_splits = 1000;
    facts->events = w->events;
    return facts;
}

static void open_pool(world *w, lf_flow *warm, uint32_t workers)
{
    static const lf_host host = {.executable = NULL};
    CHECK_INT(lf_pool_open(&(lf_pool_needs){w->store, w->staged, w->home, &host, warm}, &w->pool, NULL), LUAFLOW_OK);
    w->runner = lf_pool_runner(w->pool);
    w->runner.grow(w->runner.self, workers);
}

static void close_pool(world *w)
{
    lf_pool_close(w->pool);
    w->pool = NULL;
}

static void make_world(world *w, const char *body, uint32_t workers)
{
    *w = (world){.store = new_store(), .staged = lf_staged_new(), .home = lf_mailbox_new(),
                 .events = lf_events_new(10000, false), .next = 1};
    lf_queue_init(&w->arrived);
    w->facts = facts_of(w, body);
    open_pool(w, NULL, workers);
}

static void drop_world(world *w)
{
    close_pool(w);
    lf_facts_free(w->facts);
    CHECK(lf_queue_empty(&w->arrived));
    CHECK(!lf_mailbox_wait(w->home, 0, &w->arrived));
    lf_mailbox_free(w->home);
    lf_events_free(w->events);
    lf_staged_free(w->staged);
    drop_store(w->store);
}

/* Hands `n` tasks of a run to the pool, numbered on. */
static lf_batch *start_of(world *w, lf_facts *facts, uint32_t n)
{
    lf_batch *b = lf_batch_new(facts, n);
    for (uint32_t i = 0; i < n; i++) {
        b->tasks[i].number = w->next++;
        b->tasks[i].turn = 1;
    }
    w->runner.start(w->runner.self, b);
    return b;
}

static lf_batch *start(world *w, uint32_t n) { return start_of(w, w->facts, n); }

/* The next batch that comes home. */
static lf_batch *take(world *w)
{
    if (lf_queue_empty(&w->arrived))
        CHECK(lf_mailbox_wait(w->home, PATIENCE, &w->arrived));
    lf_letter *l = LF_OF(lf_queue_pop(&w->arrived), lf_letter, node);
    CHECK_INT(l->kind, LF_LETTER_SEALED);
    return LF_OF(l, lf_batch, letter);
}

static lf_task_record record_of(const lf_task *t)
{
    lf_task_record record;
    CHECK(lf_task_record_get(lf_task_record_bytes(t), &record));
    return record;
}

/* The artifact n of a task that succeeded: a small whole number. */
static int n_of(const lf_task *t)
{
    lf_task_record record = record_of(t);
    lf_ref ref;
    if (t->outcome != LF_SUCCEEDED)
        fail_msg("%.*s", (int)record.message.size, (const char *)record.message.data);
    CHECK(lf_output_find(&record, text("n"), &ref));
    CHECK_INT(ref.bytes.size, 1);
    return ref.bytes.data[0];
}

static bool is_there(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", place, name);
    return access(path, F_OK) == 0;
}

static void touch(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", place, name);
    fclose(fopen(path, "w"));
}

static void wait_for(const char *name)
{
    for (int i = 0; i < PATIENCE * 1000 && !is_there(name); i++)
        usleep(1000);
    CHECK(is_there(name));
}

/* Lua that makes a file beside the store, that waits for one, and that is busy. */
#define HERE "local current = require('luaflow').current; local dir = current.store .. '/'; "
#define SPIN(seconds) "local t = os.clock(); repeat until os.clock() - t > " seconds "; "
#define TOUCH(name) "io.open(dir .. " name ", 'w'):close(); "
#define WAIT(name)                                                                  \
    "local over = os.time() + 20; "                                                 \
    "repeat local f = io.open(dir .. " name "); assert(os.time() < over) until f; "

/* ---- running ---- */

TEST(the_tasks_of_a_batch_run_one_after_the_other_and_come_home_sealed)
{
    world w;
    make_world(&w, "string.n = (string.n or 0) + 1; self.n = string.n", 1);
    lf_batch *b = start(&w, 5);
    CHECK(take(&w) == b);
    CHECK_INT(b->error.code, LUAFLOW_OK);
    CHECK(b->elapsed_us > 0);
    for (uint32_t i = 0; i < b->n && b->tasks[i].outcome != LF_UNSTARTED; i++) {
        CHECK_INT(n_of(&b->tasks[i]), i + 1);
        CHECK_INT(b->tasks[i].worker, 1);
        CHECK_INT(record_of(&b->tasks[i]).worker, 1);
    }
    lf_batch_free(b);
    drop_world(&w);
}

TEST(a_step_that_fails_is_the_tasks_failure_and_the_next_one_runs)
{
    world w;
    make_world(&w, HERE "if current.task_id == 1 then error('oh no') end; self.n = 1", 1);
    w.facts->keep_going = true;
    lf_batch *b = start(&w, 1);
    CHECK(take(&w) == b);
    CHECK_INT(b->error.code, LUAFLOW_OK);
    CHECK_INT(b->tasks[0].outcome, LF_BROKE);
    lf_task_record record = record_of(&b->tasks[0]);
    CHECK_INT(record.flags, LF_TASK_FAILED);
    CHECK(memmem(record.message.data, record.message.size, "oh no", 5) != NULL);
    lf_batch_free(b);
    b = start(&w, 1);
    CHECK(take(&w) == b);
    CHECK_INT(n_of(&b->tasks[0]), 1);
    lf_batch_free(b);
    drop_world(&w);
}

TEST(after_a_step_that_failed_for_good_no_other_is_started)
{
    world w;
    make_world(&w, HERE "error('oh no')", 1);
    lf_batch *b = start(&w, 2); /* of which the first always runs */
    CHECK(take(&w) == b);
    CHECK_INT(b->tasks[0].outcome, LF_BROKE);
    CHECK_INT(b->tasks[1].outcome, LF_UNSTARTED);
    CHECK(atomic_load(&w.facts->halted));
    lf_batch_free(b);
    drop_world(&w);
}

static void put_aside(void *payload, lf_batch *b)
{
    lf_batch **aside = payload;
    CHECK(*aside == NULL);
    *aside = b;
}

TEST(a_task_that_takes_long_goes_on_in_a_batch_of_its_own)
{
    world w;
    make_world(&w, HERE "print('begin', current.task_id); self.n = current.task_id; "
                        "if current.task_id == 1 then os.execute('sleep 0.5') end; print('end')", 1);
    lf_runner runner = lf_pool_runner(w.pool);
    lf_batch *b = start(&w, 3), *around = NULL;
    for (int i = 0; i < 2000 && around == NULL; i++) {
        usleep(5000);
        runner.divide(runner.self, 20000, put_aside, &around);
    }
    CHECK(around == b);
    CHECK_INT(b->vacant, 1);
    CHECK_INT(b->tasks[1].outcome, LF_UNSTARTED);
    CHECK_INT(b->tasks[2].outcome, LF_UNSTARTED);
    around = NULL;
    runner.divide(runner.self, 0, put_aside, &around);
    CHECK(around == NULL); /* what is alone stays so */
    lf_batch *apart = take(&w);
    CHECK(apart != b);
    CHECK_INT(apart->n, 1);
    CHECK_INT(apart->tasks[0].number, 1);
    CHECK_INT(apart->tasks[0].outcome, LF_SUCCEEDED);
    CHECK_INT(n_of(&apart->tasks[0]), 1);
    CHECK(apart->elapsed_us > 300000);
    CHECK(apart->tasks[0].log_size > 0);
    lf_batch_free(apart);
    lf_batch_free(b);
    drop_world(&w);
}

TEST(one_worker_runs_batches_in_the_order_they_were_started)
{
    world w;
    make_world(&w, "string.n = (string.n or 0) + 1; self.n = string.n", 1);
    lf_batch *batches[50];
    for (int i = 0; i < 50; i++)
        batches[i] = start(&w, 1);
    for (int i = 0; i < 50; i++) {
        lf_batch *b = take(&w);
        CHECK(b == batches[i]);
        CHECK_INT(n_of(&b->tasks[0]), i + 1);
        lf_batch_free(b);
    }
    drop_world(&w);
}

TEST(as_many_batches_run_at_once_as_there_are_workers)
{
    world w; /* each waits for all the others to have begun */
    make_world(&w, HERE TOUCH("current.task_id") WAIT("1") WAIT("2") WAIT("3") WAIT("4")
               "self.n = 1", 4);
    for (int i = 0; i < 4; i++)
        start(&w, 1);
    uint32_t workers = 0;
    for (int i = 0; i < 4; i++) {
        lf_batch *b = take(&w);
        CHECK_INT(n_of(&b->tasks[0]), 1);
        workers |= 1u << b->tasks[0].worker;
        lf_batch_free(b);
    }
    CHECK_INT(workers, 0x1e); /* 1 to 4 */
    drop_world(&w);
}

TEST(a_batch_does_not_wait_behind_a_long_task_while_a_worker_is_idle)
{
    world w;
    make_world(&w, HERE "if current.task_id == 1 then " TOUCH("'begun'") WAIT("'go'") "end; "
               "self.n = 1", 2);
    lf_batch *held = start(&w, 1);
    wait_for("begun");
    for (int i = 0; i < 10; i++) {
        lf_batch *b = start(&w, 1);
        CHECK(take(&w) == b);
        CHECK_INT(n_of(&b->tasks[0]), 1);
        lf_batch_free(b);
    }
    touch("go");
    CHECK(take(&w) == held);
    lf_batch_free(held);
    drop_world(&w);
}

/* ---- states ---- */

TEST(a_worker_keeps_its_states_for_a_few_flows)
{
    static const char count[] = "string.n = (string.n or 0) + 1; self.n = string.n";
    enum { FLOWS = 5, ROUNDS = 3 }; /* one more than it keeps */
    world w;
    make_world(&w, count, 1);
    lf_facts *facts[FLOWS] = {w.facts};
    for (int i = 1; i < FLOWS; i++)
        facts[i] = facts_of(&w, count);
    for (int round = 1; round <= ROUNDS; round++)
        for (int i = 0; i < FLOWS - 1; i++) {
            start_of(&w, facts[i], 1);
            lf_batch *b = take(&w);
            CHECK_INT(n_of(&b->tasks[0]), round);
            lf_batch_free(b);
        }
    static const int order[] = {FLOWS - 1, 0}; /* the new one costs the oldest its state */
    for (int i = 0; i < 2; i++) {
        start_of(&w, facts[order[i]], 1);
        lf_batch *b = take(&w);
        CHECK_INT(n_of(&b->tasks[0]), 1);
        lf_batch_free(b);
    }
    start_of(&w, facts[FLOWS - 2], 1);
    lf_batch *b = take(&w);
    CHECK_INT(n_of(&b->tasks[0]), ROUNDS + 1);
    lf_batch_free(b);
    for (int i = 1; i < FLOWS; i++)
        lf_facts_free(facts[i]);
    drop_world(&w);
}

TEST(a_pool_may_be_warmed_with_a_flow_and_works_like_any_other)
{
    world w;
    make_world(&w, "self.n = 1", 1);
    close_pool(&w);
    open_pool(&w, w.facts->flow, 1);
    lf_batch *b = start(&w, 1);
    CHECK(take(&w) == b);
    CHECK_INT(n_of(&b->tasks[0]), 1);
    CHECK_INT(b->tasks[0].worker, 1);
    lf_batch_free(b);
    close_pool(&w);
    open_pool(&w, w.facts->flow, 1); /* and closed while it warms up */
    drop_world(&w);
}

/* ---- what comes back ---- */

TEST(a_batch_that_lasts_too_long_comes_back_in_part)
{
    world w;
    make_world(&w, SPIN("0.02") "self.n = 1", 1);
    lf_batch *b = start(&w, 4);
    CHECK(take(&w) == b);
    CHECK_INT(b->error.code, LUAFLOW_OK);
    CHECK_INT(n_of(&b->tasks[0]), 1);
    for (int i = 1; i < 4; i++)
        CHECK_INT(b->tasks[i].outcome, LF_UNSTARTED);
    CHECK(b->elapsed_us > 5000);
    lf_batch_free(b);
    drop_world(&w);
}

TEST(of_a_halted_run_everything_comes_back)
{
    world w;
    make_world(&w, "self.n = 1", 1);
    w.facts->listened = true;
    atomic_store(&w.facts->halted, true);
    lf_batch *b = start(&w, 3);
    CHECK(take(&w) == b);
    CHECK_INT(b->error.code, LUAFLOW_OK);
    for (int i = 0; i < 3; i++)
        CHECK_INT(b->tasks[i].outcome, LF_UNSTARTED);
    CHECK(lf_events_take(w.events) == NULL);
    lf_batch_free(b);
    drop_world(&w);
}

TEST(a_run_that_is_halted_while_a_batch_runs_gets_the_rest_of_it_back)
{
    world w;
    make_world(&w, HERE TOUCH("'begun'") WAIT("'go'") "self.n = 1", 1);
    lf_batch *b = start(&w, 3);
    wait_for("begun");
    atomic_store(&w.facts->halted, true);
    touch("go");
    CHECK(take(&w) == b);
    CHECK_INT(n_of(&b->tasks[0]), 1);
    CHECK_INT(b->tasks[1].outcome, LF_UNSTARTED);
    CHECK_INT(b->tasks[2].outcome, LF_UNSTARTED);
    lf_batch_free(b);
    drop_world(&w);
}

TEST(closing_waits_for_steps_that_run_and_gives_back_what_waits)
{
    world w;
    make_world(&w, HERE TOUCH("'begun'") SPIN("0.05") "self.n = 1", 1);
    lf_batch *running = start(&w, 1);
    wait_for("begun");
    lf_batch *waiting[2] = {start(&w, 2), start(&w, 1)};
    close_pool(&w);
    CHECK(take(&w) == running);
    CHECK_INT(n_of(&running->tasks[0]), 1);
    lf_batch_free(running);
    for (int i = 0; i < 2; i++) {
        CHECK(take(&w) == waiting[i]);
        CHECK_INT(waiting[i]->tasks[0].outcome, LF_UNSTARTED);
        lf_batch_free(waiting[i]);
    }
    drop_world(&w);
}

TEST(a_pool_that_never_worked_closes)
{
    world w;
    make_world(&w, "self.n = 1", 4);
    drop_world(&w);
    lf_pool_close(NULL);
}

/* ---- what is told ---- */

TEST(the_start_of_a_task_is_told_up_to_the_bound)
{
    world w;
    make_world(&w, "print('hello')", 1);
    w.facts->listened = true;
    w.facts->progress_after = 2;
    for (int i = 1; i <= 4; i++) {
        start(&w, 1);
        lf_batch *b = take(&w);
        CHECK(b->tasks[0].told == (i <= 2));
        lf_event *e = lf_events_take(w.events);
        if (i <= 2) {
            CHECK_INT(e->told.type, LUAFLOW_TASK_STARTED);
            CHECK_INT(e->told.task, i);
            CHECK_INT(e->told.worker, 1);
            CHECK_STR(e->told.path, "start");
            lf_event_free(e);
            e = lf_events_take(w.events);
        }
        CHECK_INT(e->told.type, LUAFLOW_LINE);
        CHECK_STR(e->told.text, "hello");
        lf_event_free(e);
        CHECK(lf_events_take(w.events) == NULL);
        lf_batch_free(b);
    }
    CHECK_INT(atomic_load(&w.facts->begun[0]), 4);
    drop_world(&w);
}

static void keep_letter(void *payload, lf_log_letter *l)
{
    lf_log_letter **kept = payload;
    CHECK(*kept == NULL);
    *kept = l;
}

TEST(what_a_long_task_printed_can_be_had_while_it_runs)
{
    world w;
    make_world(&w, HERE "print('working'); " TOUCH("'begun'") WAIT("'go'") "print('done')", 2);
    lf_batch *b = start(&w, 1);
    wait_for("begun");
    lf_log_letter *l = NULL;
    w.runner.logs(w.runner.self, 0, keep_letter, &l); /* of tasks that began before the epoch */
    CHECK(l == NULL);
    w.runner.logs(w.runner.self, UINT64_MAX, keep_letter, &l);
    CHECK(l != NULL);
    CHECK_INT(l->task, 1);
    CHECK(memmem(l->entries.data, l->entries.size, "working\n", 8) != NULL);
    lf_log_letter_free(l);
    touch("go");
    CHECK(take(&w) == b);
    CHECK_INT(b->tasks[0].log_sequence, 1);
    lf_slice rest = {b->arena.data + b->tasks[0].log_at, b->tasks[0].log_size};
    CHECK(memmem(rest.data, rest.size, "working", 7) == NULL);
    CHECK(memmem(rest.data, rest.size, "done\n", 5) != NULL);
    lf_batch_free(b);
    drop_world(&w);
}
