/* test_task.c -- the envelope: whoever holds a task keeps its batch, and the last holder
 * frees all of it. */
#include "clock.h"
#include "tasks.h"

#include <pthread.h>

/* ---- facts whose end can be seen ---- */

static int flows_dropped;

static void drop_flow(struct lf_flow *flow)
{
    (void)flow;
    flows_dropped++;
}

/* A run; `flows_dropped` is 1 when the last holder has let it go. */
static lf_facts *watched_facts(void)
{
    lf_facts *facts = lf_facts_new(2);
    CHECK(facts != NULL);
    flows_dropped = 0;
    facts->flow = (struct lf_flow *)&flows_dropped;
    facts->drop_flow = drop_flow;
    facts->params = lf_buf_copy("p", 1);
    facts->store = strdup("store");
    lf_bytes_put_string(&facts->tags, "t", 1);
    return facts;
}

/* A batch that alone holds such facts. */
static lf_batch *watched_batch(uint32_t n)
{
    lf_facts *facts = watched_facts();
    lf_batch *b = lf_batch_new(facts, n);
    CHECK(b != NULL);
    lf_facts_free(facts);
    return b;
}

TEST(new_facts_are_zero_with_room_for_every_step)
{
    lf_facts *facts = lf_facts_new(3);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_INT(facts->tally[i].started + facts->tally[i].done + facts->tally[i].failed, 0);
        CHECK_INT(atomic_load(&facts->begun[i]), 0);
    }
    CHECK_INT(facts->n_steps, 3);
    CHECK(!atomic_load(&facts->halted));
    lf_facts_free(facts); /* one that was given nothing */
    lf_facts_free(NULL);
}

TEST(the_last_holder_of_facts_frees_them_and_what_they_have)
{
    lf_facts *facts = watched_facts();
    CHECK(lf_facts_ref(facts) == facts);
    lf_facts_free(facts);
    CHECK_INT(flows_dropped, 0);
    lf_facts_free(facts);
    CHECK_INT(flows_dropped, 1);
}

TEST(a_batch_holds_its_facts_and_its_tasks_know_it)
{
    lf_batch *b = watched_batch(3);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(b->tasks[i].batch == b);
        CHECK_INT(b->tasks[i].outcome, LF_UNSTARTED);
    }
    CHECK_INT(flows_dropped, 0);
    lf_batch_free(b);
    CHECK_INT(flows_dropped, 1);
    lf_batch_free(NULL);
}

TEST(whoever_holds_a_task_keeps_its_batch)
{
    lf_batch *b = watched_batch(2);
    lf_task *t = lf_task_hold(&b->tasks[1]);
    lf_batch_free(b);
    CHECK_INT(flows_dropped, 0);
    t->number = 8; /* still there */
    lf_task_drop(t);
    CHECK_INT(flows_dropped, 1);
    CHECK(lf_task_hold(NULL) == NULL);
    lf_task_drop(NULL);
}

TEST(a_task_gives_up_its_parent_and_what_it_joins_but_keeps_what_it_left)
{
    lf_batch *parent = watched_batch(1);
    seal(&parent->tasks[0], LF_SUCCEEDED);
    lf_facts *facts = lf_facts_new(2);
    lf_batch *b = lf_batch_new(facts, 1);
    lf_facts_free(facts);
    lf_task *t = &b->tasks[0];
    t->parent = lf_task_hold(&parent->tasks[0]);
    t->join = calloc(1, sizeof *t->join);
    t->join->n = t->join->n_live = 1;
    t->join->numbers = calloc(1, sizeof *t->join->numbers);
    t->join->live = calloc(1, sizeof *t->join->live);
    t->join->live[0].task = lf_task_hold(&parent->tasks[0]);
    lf_batch_free(parent);
    CHECK_INT(flows_dropped, 0);
    seal(t, LF_SUCCEEDED); /* releases */
    CHECK_INT(flows_dropped, 1);
    CHECK(t->parent == NULL && t->join == NULL);
    lf_task_record record;
    CHECK(lf_task_record_get(lf_task_record_bytes(t), &record));
    CHECK_INT(lf_parents_count(record.parents), 1);
    lf_task_release_inputs(t); /* nothing is left to give up */
    lf_batch_free(b);
}

TEST(a_batch_that_was_never_run_gives_up_what_it_would_have_read)
{
    lf_batch *parent = watched_batch(1), *b = lf_batch_new(parent->facts, 1);
    b->tasks[0].parent = lf_task_hold(&parent->tasks[0]);
    lf_batch_free(parent);
    CHECK_INT(flows_dropped, 0);
    lf_batch_free(b);
    CHECK_INT(flows_dropped, 1);
}

TEST(a_base_stays_as_long_as_a_task_stands_on_it)
{
    lf_batch *base = watched_batch(1);
    lf_facts *facts = lf_facts_new(1);
    lf_batch *b = lf_batch_new(facts, 1);
    lf_facts_free(facts);
    b->tasks[0].base = lf_task_hold(&base->tasks[0]);
    lf_batch_free(base);
    lf_task_release_inputs(&b->tasks[0]);
    CHECK_INT(flows_dropped, 0);
    lf_batch_free(b);
    CHECK_INT(flows_dropped, 1);
}

TEST(a_batch_holds_its_blobs_to_its_end)
{
    lf_staged *staged = lf_staged_new();
    lf_batch *b = watched_batch(1);
    for (size_t i = 0; i < 20; i++)
        CHECK(lf_batch_hold(b, i % 2 ? NULL : new_blob(staged, text("abc")), i, i % 4 == 0));
    CHECK_INT(b->n_held, 20);
    for (size_t i = 0; i < 20; i++) {
        CHECK_INT(b->held[i].salt_at, i);
        CHECK((b->held[i].blob == NULL) == (i % 2 == 1));
        CHECK(b->held[i].own == (i % 4 == 0));
    }
    CHECK_INT(lf_staged_bytes(staged), 30);
    lf_batch_free(b);
    CHECK_INT(lf_staged_bytes(staged), 0);
    lf_staged_free(staged);
}

static void *drop_all(void *payload)
{
    lf_batch *b = payload;
    for (uint32_t i = 0; i < b->n; i++)
        lf_task_drop(lf_task_hold(&b->tasks[i]));
    lf_batch_free(b);
    return NULL;
}

TEST(holders_in_many_threads_free_a_batch_once)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    lf_batch *b = watched_batch(200);
    for (int i = 0; i < THREADS; i++)
        lf_task_hold(&b->tasks[0]);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, drop_all, b), 0);
    lf_batch_free(b);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(flows_dropped, 1);
}

/* ---- splits ---- */

static lf_split *split_over(const void *bytes, size_t size, luaflow_error *err)
{
    return lf_split_new(lf_buf_copy(bytes, size), err);
}

TEST(a_split_knows_how_many_elements_its_list_has)
{
    lf_split *s = split_over("\x93\x01\x02\xa1z", 5, NULL); /* { 1, 2, "z" } */
    CHECK_INT(s->list.size, 3);
    lf_split_free(lf_split_ref(s));
    lf_split_free(s);
    s = split_over("\x07", 1, NULL);
    CHECK_INT(s->list.size, 7);
    lf_split_free(s);
    CHECK(lf_split_ref(NULL) == NULL);
    lf_split_free(NULL);
}

TEST(what_is_no_list_is_no_split)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK(split_over("\xa1z", 2, &err) == NULL);
    CHECK(err.code != LUAFLOW_OK);
    luaflow_error_clear(&err);
}

TEST(a_split_keeps_the_ones_around_it_however_deep)
{
    lf_split *s = NULL;
    for (int i = 0; i < 100000; i++) { /* a stack would not do */
        lf_split *inner = split_over("\x01", 1, NULL);
        inner->up = s;
        s = inner;
    }
    lf_split *outer = lf_split_ref(s->up);
    lf_split_free(s);
    CHECK_INT(outer->list.size, 1);
    lf_split_free(outer);
}

/* ---- who a task is ---- */

static void check_path(const lf_task *t, const char *path)
{
    lf_bytes at = {0}, words = {0};
    lf_task_place(t, &at);
    lf_path_format(&words, "a", lf_slice_of(at.data, at.size));
    CHECK_STR(lf_bytes_cstr(&words), path);
    lf_bytes_fini(&at);
    lf_bytes_fini(&words);
}

TEST(a_place_is_the_prefix_then_the_element_then_the_turn)
{
    lf_batch *b = watched_batch(1);
    lf_task *t = &b->tasks[0];
    lf_bytes around = {0};
    lf_place_put_index(&around, 4);
    t->turn = 1;
    check_path(t, "a");
    t->index = 2;
    check_path(t, "a[2]");
    t->turn = 3;
    check_path(t, "a[2]#3");
    t->prefix = lf_slice_of(around.data, around.size);
    check_path(t, "a[4][2]#3");
    t->index = 0;
    check_path(t, "a[4]#3");
    lf_bytes_fini(&around);
    lf_batch_free(b);
}

TEST(an_event_about_a_task_says_which)
{
    lf_batch *b = watched_batch(1);
    lf_task *t = &b->tasks[0];
    lf_bytes at = {0};
    lf_ear owner;
    b->facts->events = lf_events_new(10, false);
    b->facts->run = 3;
    b->facts->owner = &owner;
    t->number = 9;
    t->attempt = 1;
    t->worker = 2;
    lf_place_put_index(&at, 5);
    lf_slice where = lf_slice_of(at.data, at.size);
    lf_task_tell(t, where, "a", (luaflow_event){.type = LUAFLOW_TASK_STARTED});
    CHECK(lf_events_take(b->facts->events) == NULL); /* nobody listens */
    b->facts->listened = true;
    lf_task_tell(t, where, "a", (luaflow_event){.type = LUAFLOW_TASK_STARTED});
    lf_task_tell(t, where, "a",
                 (luaflow_event){.type = LUAFLOW_TASK_FAILED, .time = 1.5, .message = "no"});
    lf_event *e = lf_events_take(b->facts->events);
    CHECK(e->owner == &owner);
    CHECK_INT(e->told.type, LUAFLOW_TASK_STARTED);
    CHECK_INT(e->told.run, 3);
    CHECK_INT(e->told.task, 9);
    CHECK_INT(e->told.attempt, 1);
    CHECK_INT(e->told.worker, 2);
    CHECK_STR(e->told.step, "a");
    CHECK_STR(e->told.path, "a[5]");
    CHECK(e->told.time > 1e9);
    lf_event_free(e);
    e = lf_events_take(b->facts->events);
    CHECK(e->told.time > 1.49 && e->told.time < 1.51);
    CHECK_STR(e->told.message, "no");
    lf_event_free(e);
    lf_events_free(b->facts->events);
    lf_bytes_fini(&at);
    lf_batch_free(b);
}

TEST(the_clock_does_not_stand_still)
{
    uint64_t before = lf_now_us();
    CHECK(before > 1500000000000000u);
    while (lf_now_us() == before) {
    }
}
