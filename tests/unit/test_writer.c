/* test_writer.c -- what comes home is stored, what is stored is a prefix of what was posted,
 * and what waits together is stored together. */
#include "collision.h"
#include "tasks.h"
#include "writer.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE = 20 }; /* seconds, for what ought to happen at once */

/* ---- a world: a store, its writer, and a run ---- */

typedef struct world {
    lf_store *store;
    lf_staged *staged;
    lf_mailbox *home;
    lf_writer *writer;
    lf_facts *facts;
    lf_queue arrived; /* letters that came home and were not looked at yet */
} world;

static void open_writer(world *w)
{
    CHECK_INT(lf_writer_open(w->store, w->home, &w->writer, NULL), LUAFLOW_OK);
}

/* The queue in `w` points into itself. */
static void make_world(world *w)
{
    *w = (world){.store = new_store(), .staged = lf_staged_new(), .home = lf_mailbox_new()};
    lf_queue_init(&w->arrived);
    w->facts = new_run(w->store, 3);
    open_writer(w);
}

static void close_writer(world *w)
{
    lf_writer_close(w->writer);
    w->writer = NULL;
}

static void drop_world(world *w)
{
    close_writer(w);
    lf_facts_free(w->facts);
    lf_mailbox_free(w->home);
    CHECK_INT(lf_staged_bytes(w->staged), 0);
    lf_staged_free(w->staged);
    drop_store(w->store);
}

/* ---- letters ---- */

/* Tasks first, first + 1, … of `step`, to be sealed. */
static lf_batch *batch_of(lf_facts *facts, uint32_t step, uint32_t first, uint32_t n)
{
    lf_batch *b = lf_batch_new(facts, n);
    b->letter.kind = LF_LETTER_BATCH;
    for (uint32_t i = 0; i < n; i++) {
        b->tasks[i].number = first + i;
        b->tasks[i].step = step;
    }
    return b;
}

static lf_batch *sealed_batch(lf_facts *facts, uint32_t step, uint32_t first, uint32_t n)
{
    lf_batch *b = batch_of(facts, step, first, n);
    for (uint32_t i = 0; i < n; i++)
        seal(&b->tasks[i], LF_SUCCEEDED);
    return b;
}

static void post(world *w, lf_letter *l)
{
    lf_queue letters;
    lf_queue_init(&letters);
    lf_queue_push(&letters, &l->node);
    lf_writer_post(w->writer, &letters);
}

/* Waits until something came home, if nothing did yet. */
static lf_letter *next_letter(world *w)
{
    if (lf_queue_empty(&w->arrived))
        CHECK(lf_mailbox_wait(w->home, PATIENCE, &w->arrived));
    return LF_OF(lf_queue_pop(&w->arrived), lf_letter, node);
}

static lf_batch *next_batch(world *w)
{
    lf_letter *l = next_letter(w);
    CHECK_INT(l->kind, LF_LETTER_COMMITTED);
    return LF_OF(l, lf_batch, letter);
}

static void check_stored(lf_batch *b)
{
    if (b->error.code != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&b->error));
    lf_batch_free(b);
}

static lf_state_letter *state_of(lf_facts *facts, bool final, int status)
{
    lf_state_letter *l = lf_state_letter_new(facts);
    l->final = final;
    l->status = status;
    return l;
}

static lf_state_letter *next_state(world *w)
{
    lf_letter *l = next_letter(w);
    CHECK_INT(l->kind, LF_LETTER_STATE);
    return LF_OF(l, lf_state_letter, letter);
}

/* A log's letter with one line. */
static lf_letter *log_letter(lf_facts *facts, uint32_t task, uint32_t sequence, const char *line)
{
    lf_log_letter *l = calloc(1, sizeof *l);
    l->letter.kind = LF_LETTER_LOG;
    l->facts = lf_facts_ref(facts);
    l->task = task;
    l->sequence = sequence;
    lf_log_entry_put(&l->entries, 1, 1, text(line));
    return &l->letter;
}

/* ---- a writer that is held up ---- */

/* A transaction that lasts until it is let go. */
typedef struct hold {
    pthread_t thread;
    lf_writer *writer;
    sem_t held, go;
} hold;

static int wait_inside(void *payload, lf_write *txn, luaflow_error *err)
{
    (void)txn, (void)err;
    hold *h = payload;
    sem_post(&h->held);
    sem_wait(&h->go);
    return LUAFLOW_OK;
}

static void *call_and_wait(void *payload)
{
    hold *h = payload;
    lf_writer_call(h->writer, wait_inside, h, NULL);
    return NULL;
}

static void hold_up(world *w, hold *h)
{
    h->writer = w->writer;
    sem_init(&h->held, 0, 0);
    sem_init(&h->go, 0, 0);
    CHECK_INT(pthread_create(&h->thread, NULL, call_and_wait, h), 0);
    sem_wait(&h->held);
}

static void let_go(hold *h)
{
    sem_post(&h->go);
    pthread_join(h->thread, NULL);
    sem_destroy(&h->held);
    sem_destroy(&h->go);
}

/* ---- reading it back ---- */

static size_t count_tasks(world *w, uint32_t step, bool failed)
{
    uint32_t numbers[4096];
    size_t n = 0;
    lf_view *v = view_of(w->store);
    int rc = lf_view_tasks(v, w->facts->run, step, failed, 0, numbers, 4096, &n, NULL);
    lf_view_end(v);
    CHECK_INT(rc, LUAFLOW_OK);
    return n;
}

static bool has_task(world *w, uint32_t number)
{
    lf_task_record record;
    lf_view *v = view_of(w->store);
    int rc = lf_view_task(v, w->facts->run, number, &record, NULL);
    lf_view_end(v);
    CHECK(rc == LUAFLOW_OK || rc == LUAFLOW_ENOTFOUND);
    return rc == LUAFLOW_OK;
}

typedef struct stored_state {
    lf_run_state state;
    luaflow_counts steps[3];
    char problem[200];
} stored_state;

static stored_state read_state(world *w)
{
    stored_state s;
    lf_view *v = view_of(w->store);
    CHECK_INT(lf_view_run(v, w->facts->run, NULL, &s.state, NULL), LUAFLOW_OK);
    lf_reader r = lf_reader_of(s.state.counts.data, s.state.counts.size);
    for (int i = 0; i < 3; i++)
        s.steps[i] = lf_counts_next(&r);
    snprintf(s.problem, sizeof s.problem, "%.*s", (int)s.state.problem.size,
             (const char *)s.state.problem.data);
    lf_view_end(v);
    return s;
}

static bool gather_log(void *payload, uint32_t task, uint32_t attempt, const lf_log_piece *piece)
{
    (void)task, (void)attempt;
    lf_reader r = lf_reader_of(piece->entries.data, piece->entries.size);
    uint64_t time;
    uint8_t stream;
    lf_slice words;
    while (lf_log_entry_next(&r, &time, &stream, &words))
        lf_bytes_put(payload, words.data, words.size);
    return true;
}

static void check_log(world *w, uint32_t task, const char *wanted)
{
    lf_bytes got = {0};
    lf_view *v = view_of(w->store);
    CHECK_INT(lf_view_log(v, w->facts->run, task, gather_log, &got, NULL), LUAFLOW_OK);
    lf_view_end(v);
    CHECK_STR(lf_bytes_cstr(&got), wanted);
    lf_bytes_fini(&got);
}

/* The artifact x of a task, as whoever reads the store finds it. */
static lf_buf *read_x(world *w, uint32_t task, uint8_t *salt)
{
    lf_task_record record;
    lf_ref ref;
    lf_buf *buf = NULL;
    lf_view *v = view_of(w->store);
    CHECK_INT(lf_view_task(v, w->facts->run, task, &record, NULL), LUAFLOW_OK);
    CHECK(lf_output_find(&record, text("x"), &ref));
    CHECK_INT(lf_view_blob(v, &ref, &buf, NULL), LUAFLOW_OK);
    lf_view_end(v);
    *salt = ref.salt;
    return buf;
}

/* ---- batches ---- */

TEST(a_batch_that_came_home_can_be_read_in_the_store)
{
    world w;
    make_world(&w);
    lf_batch *b = batch_of(w.facts, 1, 4, 3);
    seal(&b->tasks[0], LF_SUCCEEDED);
    seal(&b->tasks[1], LF_BROKE);
    b->tasks[2].index = 6;
    seal(&b->tasks[2], LF_SUCCEEDED);
    post(&w, &b->letter);
    CHECK(next_batch(&w) == b);
    check_stored(b);
    lf_task_record record;
    lf_view *v = view_of(w.store);
    CHECK_INT(lf_view_task(v, w.facts->run, 5, &record, NULL), LUAFLOW_OK);
    CHECK_INT(record.flags, LF_TASK_FAILED);
    CHECK(is_text(record.message, "it broke"));
    CHECK_INT(lf_view_task(v, w.facts->run, 6, &record, NULL), LUAFLOW_OK);
    CHECK_INT(record.flags, 0);
    CHECK_INT(record.place.size, 1);
    lf_view_end(v);
    CHECK_INT(count_tasks(&w, 1, false), 3);
    CHECK_INT(count_tasks(&w, 1, true), 1);
    CHECK_INT(count_tasks(&w, 0, false), 0);
    drop_world(&w);
}

TEST(tasks_given_back_unstarted_are_not_stored)
{
    world w;
    make_world(&w);
    lf_batch *b = batch_of(w.facts, 0, 1, 3);
    seal(&b->tasks[0], LF_SUCCEEDED);
    post(&w, &b->letter);
    check_stored(next_batch(&w));
    CHECK(has_task(&w, 1));
    CHECK(!has_task(&w, 2) && !has_task(&w, 3));
    CHECK_INT(count_tasks(&w, LF_ANY, false), 1);
    CHECK_INT(read_state(&w).steps[0].done, 1);
    drop_world(&w);
}

TEST(the_tasks_of_a_batch_may_stand_in_any_order)
{
    world w;
    make_world(&w);
    static const uint32_t numbers[] = {7, 3, 9, 1};
    lf_batch *b = batch_of(w.facts, 0, 1, 4);
    for (int i = 0; i < 4; i++) {
        b->tasks[i].number = numbers[i];
        seal(&b->tasks[i], LF_SUCCEEDED);
    }
    post(&w, &b->letter);
    check_stored(next_batch(&w));
    uint32_t got[8];
    size_t n;
    lf_view *v = view_of(w.store);
    CHECK_INT(lf_view_tasks(v, w.facts->run, 0, false, 0, got, 8, &n, NULL), LUAFLOW_OK);
    lf_view_end(v);
    CHECK_INT(n, 4);
    CHECK_MEM(got, ((uint32_t[]){1, 3, 7, 9}), sizeof(uint32_t[4]));
    drop_world(&w);
}

enum { MANY = 300 };

typedef struct watcher {
    pthread_t thread;
    lf_store *store;
    uint32_t run;
    const char *wrong;
} watcher;

/* Looks again and again until all are there. */
static void *watch_prefix(void *payload)
{
    watcher *a = payload;
    static uint32_t numbers[MANY];
    for (size_t n = 0; n < MANY && a->wrong == NULL;) {
        lf_view *v = NULL;
        if (lf_view_begin(a->store, &v, NULL) != LUAFLOW_OK ||
            lf_view_tasks(v, a->run, LF_ANY, false, 0, numbers, MANY, &n, NULL) != LUAFLOW_OK)
            a->wrong = "the store cannot be read";
        lf_view_end(v);
        for (size_t i = 0; i < n; i++)
            if (numbers[i] != i + 1)
                a->wrong = "a later task is stored before an earlier one";
    }
    return NULL;
}

TEST(what_is_stored_is_always_a_prefix_of_what_was_posted)
{
    world w;
    make_world(&w);
    watcher a = {.store = w.store, .run = w.facts->run};
    CHECK_INT(pthread_create(&a.thread, NULL, watch_prefix, &a), 0);
    for (uint32_t i = 1, n; i <= MANY; i += n) {
        lf_queue letters;
        lf_queue_init(&letters);
        n = MANY + 1 - i < i % 7 + 1 ? MANY + 1 - i : i % 7 + 1;
        for (uint32_t k = 0; k < n; k++)
            lf_queue_push(&letters, &sealed_batch(w.facts, i % 3, i + k, 1)->letter.node);
        lf_writer_post(w.writer, &letters);
        CHECK(lf_queue_empty(&letters));
    }
    for (uint32_t i = 1; i <= MANY; i++) {
        lf_batch *b = next_batch(&w);
        CHECK_INT(b->tasks[0].number, i); /* and home they come in that order too */
        check_stored(b);
    }
    pthread_join(a.thread, NULL);
    if (a.wrong != NULL)
        fail_msg("%s", a.wrong);
    drop_world(&w);
}

TEST(what_waited_together_is_stored_in_one_transaction)
{
    world w;
    make_world(&w);
    hold h;
    hold_up(&w, &h);
    for (uint32_t i = 1; i <= MANY; i++)
        post(&w, &sealed_batch(w.facts, 0, i, 1)->letter);
    CHECK_INT(count_tasks(&w, LF_ANY, false), 0);
    let_go(&h);
    CHECK(lf_mailbox_wait(w.home, PATIENCE, &w.arrived)); /* once */
    for (uint32_t i = 1; i <= MANY; i++) {
        CHECK(!lf_queue_empty(&w.arrived));
        check_stored(next_batch(&w));
    }
    CHECK_INT(count_tasks(&w, LF_ANY, false), MANY);
    drop_world(&w);
}

/* ---- blobs ---- */

TEST(an_artifact_is_read_from_memory_until_it_is_committed_and_from_the_store_afterwards)
{
    world w;
    make_world(&w);
    hold h;
    lf_blob *blob = new_blob(w.staged, text("a value that is not so small"));
    lf_batch *b = batch_of(w.facts, 0, 1, 1);
    seal_with(&b->tasks[0], LF_SUCCEEDED, lf_blob_ref(blob), 28, true);
    hold_up(&w, &h);
    post(&w, &b->letter);
    lf_buf *bytes = lf_blob_bytes(blob);
    CHECK(is_text(lf_buf_slice(bytes), "a value that is not so small"));
    lf_buf_free(bytes);
    CHECK_INT(lf_staged_bytes(w.staged), 28);
    let_go(&h);
    check_stored(next_batch(&w));
    CHECK(lf_blob_bytes(blob) == NULL);
    CHECK_INT(lf_staged_bytes(w.staged), 0);
    uint8_t salt;
    bytes = read_x(&w, 1, &salt);
    CHECK(is_text(lf_buf_slice(bytes), "a value that is not so small"));
    CHECK_INT(salt, 0);
    lf_buf_free(bytes);
    lf_blob_free(blob);
    drop_world(&w);
}

TEST(an_artifact_that_is_passed_on_is_left_to_whoever_made_it)
{
    world w;
    make_world(&w);
    lf_blob *blob = new_blob(w.staged, text("somebody else's"));
    lf_batch *b = batch_of(w.facts, 0, 2, 1);
    seal_with(&b->tasks[0], LF_SUCCEEDED, lf_blob_ref(blob), 15, false);
    post(&w, &b->letter);
    check_stored(next_batch(&w));
    lf_buf *bytes = lf_blob_bytes(blob);
    CHECK(bytes != NULL);
    lf_buf_free(bytes);
    lf_ref ref = {.kind = LF_REF_KEY, .key = *lf_blob_key(blob), .size = 15};
    lf_view *v = view_of(w.store);
    CHECK_INT(lf_view_blob(v, &ref, &bytes, NULL), LUAFLOW_ESTORE);
    lf_view_end(v);
    lf_blob_free(blob);
    drop_world(&w);
}

TEST(values_whose_keys_collide_are_found_by_the_salts_in_their_records)
{
    world w;
    make_world(&w);
    enum { N = 3 };
    lf_slice values[N];
    lf_blob *blobs[N];
    lf_batch *b = batch_of(w.facts, 0, 1, N);
    for (uint32_t i = 0; i < N; i++) {
        values[i] = colliding(512, i);
        blobs[i] = new_blob(w.staged, values[i]);
        seal_with(&b->tasks[i], LF_SUCCEEDED, lf_blob_ref(blobs[i]), 512, true);
    }
    lf_batch *heirs = batch_of(w.facts, 1, N + 1, N); /* they only pass them on */
    for (uint32_t i = 0; i < N; i++)
        seal_with(&heirs->tasks[i], LF_SUCCEEDED, blobs[i], 512, false);
    post(&w, &b->letter);
    post(&w, &heirs->letter);
    check_stored(next_batch(&w));
    check_stored(next_batch(&w));
    for (uint32_t i = 0; i < 2 * N; i++) {
        uint8_t salt;
        lf_buf *bytes = read_x(&w, i + 1, &salt);
        CHECK_INT(salt, i % N);
        CHECK(lf_slice_equal(lf_buf_slice(bytes), values[i % N]));
        lf_buf_free(bytes);
    }
    for (uint32_t i = 0; i < N; i++)
        free((void *)values[i].data);
    drop_world(&w);
}

/* ---- logs ---- */

TEST(a_log_is_stored_piece_by_piece_and_its_end_with_the_task)
{
    world w;
    make_world(&w);
    post(&w, log_letter(w.facts, 1, 0, "one\n"));
    post(&w, log_letter(w.facts, 1, 1, "two\n"));
    lf_batch *b = sealed_batch(w.facts, 0, 1, 2);
    lf_task *t = &b->tasks[0];
    t->log_at = b->arena.size;
    lf_log_entry_put(&b->arena, 1, 2, text("three"));
    t->log_size = b->arena.size - t->log_at;
    t->log_sequence = 2;
    post(&w, &b->letter);
    check_stored(next_batch(&w));
    check_log(&w, 1, "one\ntwo\nthree");
    check_log(&w, 2, "");
    drop_world(&w);
}

/* ---- states ---- */

TEST(a_state_says_how_far_the_run_is)
{
    world w;
    make_world(&w);
    lf_state_letter *l = state_of(w.facts, false, 0);
    l->started = calloc(3, sizeof *l->started);
    l->started[0] = 1;
    l->started[1] = 10;
    post(&w, &l->letter);
    lf_batch *b = batch_of(w.facts, 1, 1, 3);
    seal(&b->tasks[0], LF_SUCCEEDED);
    seal(&b->tasks[1], LF_SUCCEEDED);
    seal(&b->tasks[2], LF_BROKE);
    post(&w, &b->letter);
    check_stored(next_batch(&w)); /* the state came not home */
    stored_state s = read_state(&w);
    CHECK_INT(s.state.status, LUAFLOW_RUNNING);
    CHECK_INT(s.state.finished_us, 0);
    CHECK_INT(s.steps[0].started, 1);
    CHECK_INT(s.steps[1].started, 10);
    CHECK_INT(s.steps[1].done, 2);
    CHECK_INT(s.steps[1].failed, 1);
    CHECK_INT(s.state.total.started, 11);
    CHECK_INT(s.state.total.done, 2);
    drop_world(&w);
}

TEST(the_last_state_comes_home_when_it_is_stored)
{
    world w;
    make_world(&w);
    lf_state_letter *early = state_of(w.facts, false, 0);
    lf_state_letter *last = state_of(w.facts, true, LUAFLOW_FAILED);
    early->started = calloc(3, sizeof *early->started);
    early->started[2] = 5; /* they never ended */
    last->problem = strdup("it was not meant to be");
    post(&w, &early->letter);
    post(&w, &sealed_batch(w.facts, 0, 1, 2)->letter);
    post(&w, &last->letter);
    check_stored(next_batch(&w));
    CHECK(next_state(&w) == last);
    CHECK_INT(last->error.code, LUAFLOW_OK);
    lf_state_letter_free(last);
    lf_state_letter_free(NULL);
    stored_state s = read_state(&w);
    CHECK_INT(s.state.status, LUAFLOW_FAILED);
    CHECK(s.state.finished_us > 0);
    CHECK_STR(s.problem, "it was not meant to be");
    CHECK_INT(s.steps[0].started, 2);
    CHECK_INT(s.steps[0].done, 2);
    CHECK_INT(s.steps[2].started, 0);
    drop_world(&w);
}

TEST(two_runs_are_counted_apart)
{
    world w;
    make_world(&w);
    lf_facts *first = w.facts, *second = new_run(w.store, 3);
    hold h;
    hold_up(&w, &h); /* into one transaction */
    post(&w, &sealed_batch(first, 0, 1, 2)->letter);
    post(&w, &sealed_batch(second, 1, 1, 3)->letter);
    let_go(&h);
    check_stored(next_batch(&w));
    check_stored(next_batch(&w));
    CHECK_INT(read_state(&w).state.total.done, 2);
    w.facts = second;
    CHECK_INT(read_state(&w).state.total.done, 3);
    CHECK_INT(read_state(&w).steps[1].done, 3);
    lf_facts_free(first);
    drop_world(&w);
}

/* ---- calls ---- */

static int put_tags(void *payload, lf_write *txn, luaflow_error *err)
{
    const world *w = payload;
    return lf_write_tags(txn, w->facts->run, 1, lf_slice_of("\1t", 2), err);
}

static int put_tags_and_fail(void *payload, lf_write *txn, luaflow_error *err)
{
    put_tags(payload, txn, NULL);
    return lf_fail(err, LUAFLOW_EUSAGE, "not like this");
}

static uint32_t count_tags(world *w)
{
    lf_run_record record;
    lf_view *v = view_of(w->store);
    CHECK_INT(lf_view_run(v, w->facts->run, &record, NULL, NULL), LUAFLOW_OK);
    uint32_t n = record.n_tags;
    lf_view_end(v);
    return n;
}

TEST(what_was_called_is_stored_when_the_call_returns)
{
    world w;
    make_world(&w);
    CHECK_INT(lf_writer_call(w.writer, put_tags, &w, NULL), LUAFLOW_OK);
    CHECK_INT(count_tags(&w), 1);
    drop_world(&w);
}

/* One who calls, and what is stored when the call is answered. */
typedef struct caller {
    world *w;
    pthread_t thread;
    atomic_int id; /* of the thread, once it has one */
    size_t n_tasks;
} caller;

static int look_around(void *payload, lf_write *txn, luaflow_error *err)
{
    caller *c = payload;
    uint32_t numbers[MANY];
    return lf_view_tasks(lf_write_view(txn), c->w->facts->run, LF_ANY, false, 0, numbers, MANY, &c->n_tasks, err);
}

static void *call_once(void *payload)
{
    caller *c = payload;
    atomic_store(&c->id, gettid());
    return lf_writer_call(c->w->writer, look_around, c, NULL) == LUAFLOW_OK ? NULL : "the call failed";
}

/* Until the thread sleeps: it has nothing to sleep for but the answer. */
static void wait_until_called(const caller *c)
{
    char name[64], state = '?';
    for (int i = 0; i < PATIENCE * 1000 && state != 'S'; i++) {
        usleep(1000);
        snprintf(name, sizeof name, "/proc/self/task/%d/stat", atomic_load(&c->id));
        FILE *f = fopen(name, "r");
        if (f != NULL && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
            state = '?';
        if (f != NULL)
            fclose(f);
    }
    CHECK_INT(state, 'S');
}

TEST(a_call_does_not_wait_behind_letters_that_were_there_before)
{
    world w;
    make_world(&w);
    hold h;
    hold_up(&w, &h);
    for (uint32_t i = 1; i <= MANY; i++)
        post(&w, &sealed_batch(w.facts, 0, i, 1)->letter);
    caller c = {.w = &w, .n_tasks = 99};
    CHECK_INT(pthread_create(&c.thread, NULL, call_once, &c), 0);
    wait_until_called(&c);
    let_go(&h);
    void *wrong;
    CHECK_INT(pthread_join(c.thread, &wrong), 0);
    CHECK(wrong == NULL);
    CHECK_INT(c.n_tasks, 0);
    for (uint32_t i = 1; i <= MANY; i++)
        check_stored(next_batch(&w));
    drop_world(&w);
}

static void *call_without_end(void *payload)
{
    caller *c = payload;
    while (c->n_tasks < MANY)
        if (lf_writer_call(c->w->writer, look_around, c, NULL) != LUAFLOW_OK)
            return "a call failed";
    return NULL;
}

TEST(letters_are_written_however_many_call)
{
    enum { CALLERS = 3 };
    world w;
    make_world(&w);
    caller callers[CALLERS];
    void *wrong;
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.w = &w};
        CHECK_INT(pthread_create(&callers[i].thread, NULL, call_without_end, &callers[i]), 0);
    }
    for (uint32_t i = 1; i <= MANY; i++)
        post(&w, &sealed_batch(w.facts, 0, i, 1)->letter);
    for (uint32_t i = 1; i <= MANY; i++)
        check_stored(next_batch(&w));
    for (int i = 0; i < CALLERS; i++) {
        CHECK_INT(pthread_join(callers[i].thread, &wrong), 0);
        CHECK(wrong == NULL);
    }
    drop_world(&w);
}

TEST(a_call_that_fails_says_why_and_leaves_nothing)
{
    world w;
    make_world(&w);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    post(&w, &sealed_batch(w.facts, 0, 1, 1)->letter);
    CHECK_INT(lf_writer_call(w.writer, put_tags_and_fail, &w, &err), LUAFLOW_EUSAGE);
    CHECK_STR(luaflow_error_text(&err), "not like this");
    luaflow_error_clear(&err);
    CHECK_INT(count_tags(&w), 0);
    check_stored(next_batch(&w));
    CHECK_INT(count_tags(&w), 0);
    drop_world(&w);
}

TEST(a_call_that_cannot_be_committed_fails_and_the_next_one_does_not)
{
    world w;
    make_world(&w);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    set_disk_full(true);
    int rc = lf_writer_call(w.writer, put_tags, &w, &err);
    set_disk_full(false);
    CHECK_INT(rc, LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&err), place) != NULL);
    luaflow_error_clear(&err);
    CHECK_INT(count_tags(&w), 0);
    CHECK_INT(lf_writer_call(w.writer, put_tags, &w, NULL), LUAFLOW_OK);
    CHECK_INT(count_tags(&w), 1);
    drop_world(&w);
}

static void *call_often(void *payload)
{
    world *w = payload;
    for (int i = 0; i < 20; i++)
        if (lf_writer_call(w->writer, put_tags, w, NULL) != LUAFLOW_OK)
            return "a call failed";
    return NULL;
}

TEST(many_threads_may_call_at_once)
{
    world w;
    make_world(&w);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, call_often, &w), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        CHECK(wrong == NULL);
    }
    drop_world(&w);
}

/* ---- what cannot be stored ---- */

/* A batch that the full disk does not take comes home saying so. */
static void fail_batch(world *w, lf_batch *b)
{
    set_disk_full(true);
    post(w, &b->letter);
    lf_batch *home = next_batch(w);
    set_disk_full(false);
    CHECK(home == b);
    CHECK_INT(b->error.code, LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&b->error), place) != NULL);
}

TEST(a_batch_that_cannot_be_stored_comes_home_with_the_reason_and_its_artifacts_stay)
{
    world w;
    make_world(&w);
    lf_blob *blob = new_blob(w.staged, text("precious"));
    lf_batch *b = batch_of(w.facts, 0, 1, 1);
    seal_with(&b->tasks[0], LF_SUCCEEDED, lf_blob_ref(blob), 8, true);
    fail_batch(&w, b);
    CHECK(!has_task(&w, 1));
    lf_buf *bytes = lf_blob_bytes(blob);
    CHECK(is_text(lf_buf_slice(bytes), "precious"));
    lf_buf_free(bytes);
    lf_batch_free(b);
    lf_blob_free(blob);
    drop_world(&w);
}

TEST(after_a_batch_that_could_not_be_stored_no_later_one_of_its_run_is)
{
    world w;
    make_world(&w);
    lf_batch *b = sealed_batch(w.facts, 0, 1, 1);
    fail_batch(&w, b);
    lf_batch_free(b);
    post(&w, &sealed_batch(w.facts, 1, 2, 1)->letter); /* a child, sealed before anybody knew */
    post(&w, log_letter(w.facts, 3, 0, "late\n"));
    b = next_batch(&w);
    CHECK_INT(b->error.code, LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&b->error), place) != NULL);
    lf_batch_free(b);
    close_writer(&w);
    CHECK_INT(count_tasks(&w, LF_ANY, false), 0);
    check_log(&w, 3, "");
    drop_world(&w);
}

TEST(a_run_of_which_something_could_not_be_stored_is_not_done)
{
    world w;
    make_world(&w);
    lf_batch *b = sealed_batch(w.facts, 0, 1, 1);
    fail_batch(&w, b);
    lf_batch_free(b);
    post(&w, &state_of(w.facts, true, LUAFLOW_DONE)->letter); /* sent before anybody knew */
    lf_state_letter *last = next_state(&w);
    CHECK_INT(last->error.code, LUAFLOW_ESTORE);
    lf_state_letter_free(last);
    stored_state s = read_state(&w);
    CHECK_INT(s.state.status, LUAFLOW_FAILED);
    CHECK(strstr(s.problem, place) != NULL);
    CHECK_INT(s.state.total.done, 0);
    CHECK_INT(s.state.total.started, 0);
    drop_world(&w);
}

/* The file may grow by so many bytes and no more. */
static void leave_room(uint64_t bytes)
{
    char path[96];
    struct stat about;
    struct rlimit limit;
    snprintf(path, sizeof path, "%s/data.mdb", place);
    CHECK_INT(stat(path, &about), 0);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = (uint64_t)about.st_size + bytes;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

TEST(a_run_whose_last_tasks_could_not_be_stored_with_its_state_has_failed)
{
    world w;
    make_world(&w);
    enum { LARGE = 4 << 20 };
    char *bytes = calloc(1, LARGE);
    lf_batch *b = batch_of(w.facts, 0, 1, 1);
    seal_with(&b->tasks[0], LF_SUCCEEDED, new_blob(w.staged, lf_slice_of(bytes, LARGE)), LARGE, true);
    signal(SIGXFSZ, SIG_IGN);
    leave_room(1 << 20);
    lf_queue letters;
    lf_queue_init(&letters);
    lf_state_letter *last = state_of(w.facts, true, LUAFLOW_DONE);
    lf_queue_push(&letters, &b->letter.node);
    lf_queue_push(&letters, &last->letter.node);
    lf_writer_post(w.writer, &letters);
    CHECK(next_batch(&w) == b);
    CHECK_INT(b->error.code, LUAFLOW_ESTORE);
    lf_batch_free(b);
    CHECK(next_state(&w) == last);
    CHECK_INT(last->error.code, LUAFLOW_ESTORE);
    lf_state_letter_free(last);
    set_disk_full(false);
    stored_state s = read_state(&w);
    CHECK_INT(s.state.status, LUAFLOW_FAILED);
    CHECK_INT(s.state.total.done, 0);
    CHECK(strstr(s.problem, place) != NULL);
    free(bytes);
    drop_world(&w);
}

TEST(a_log_that_could_not_be_stored_is_told_with_the_last_state)
{
    world w;
    make_world(&w);
    lf_facts *other = new_run(w.store, 3);
    set_disk_full(true);
    post(&w, log_letter(w.facts, 1, 0, "gone\n"));
    post(&w, &sealed_batch(other, 0, 1, 1)->letter);
    lf_batch_free(next_batch(&w)); /* so the log was tried before */
    lf_facts_free(other);
    set_disk_full(false);
    post(&w, &state_of(w.facts, true, LUAFLOW_DONE)->letter);
    lf_state_letter *last = next_state(&w);
    CHECK_INT(last->error.code, LUAFLOW_ESTORE);
    lf_state_letter_free(last);
    CHECK_INT(read_state(&w).state.status, LUAFLOW_FAILED);
    drop_world(&w);
}

TEST(another_run_goes_on_after_one_that_could_not_be_stored)
{
    world w;
    make_world(&w);
    lf_facts *lost = w.facts;
    lf_batch *b = sealed_batch(lost, 0, 1, 1);
    fail_batch(&w, b);
    lf_batch_free(b);
    w.facts = new_run(w.store, 3);
    post(&w, &sealed_batch(w.facts, 0, 1, 2)->letter);
    check_stored(next_batch(&w));
    CHECK_INT(read_state(&w).state.total.done, 2);
    lf_facts_free(lost);
    drop_world(&w);
}

/* In a child process the store refuses every transaction from the start. */
static int count_in_child(world *w)
{
    open_writer(w);
    post(w, &sealed_batch(w->facts, 0, 1, 2)->letter);
    lf_batch *b = next_batch(w);
    if (b->error.code != LUAFLOW_ESTORE)
        return 1;
    lf_batch_free(b);
    close_writer(w);
    return w->facts->total.done == 0 && w->facts->tally[0].done == 0 ? 0 : 2;
}

TEST(what_never_reached_a_transaction_is_not_counted)
{
    world w;
    make_world(&w);
    close_writer(&w);
    pid_t child = fork();
    if (child == 0)
        _exit(count_in_child(&w));
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    drop_world(&w);
}

/* ---- closing ---- */

TEST(closing_writes_what_waits)
{
    world w;
    make_world(&w);
    for (uint32_t i = 1; i <= MANY; i++)
        post(&w, &sealed_batch(w.facts, 0, i, 1)->letter);
    post(&w, &state_of(w.facts, true, LUAFLOW_DONE)->letter);
    close_writer(&w);
    CHECK_INT(count_tasks(&w, LF_ANY, false), MANY);
    CHECK_INT(read_state(&w).state.status, LUAFLOW_DONE);
    for (uint32_t i = 1; i <= MANY; i++)
        check_stored(next_batch(&w));
    lf_state_letter_free(next_state(&w));
    drop_world(&w);
}

TEST(a_writer_that_never_wrote_closes)
{
    world w;
    make_world(&w);
    close_writer(&w);
    lf_writer_close(NULL);
    drop_world(&w);
}
