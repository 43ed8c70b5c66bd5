/* test_log.c -- what a task prints is kept as it was written and told line by line; of a
 * long one it can be read while it runs. */
#include "log.h"
#include "clock.h"
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- a world: one task of a run that everybody listens to ---- */

typedef struct world {
    lf_events *events;
    lf_batch *batch;
    lf_task *task;
    lf_log *log;
} world;

static world new_world(void)
{
    world w = {.events = lf_events_new(100000, false), .log = lf_log_new()};
    lf_facts *facts = lf_facts_new(1);
    facts->run = 7;
    facts->events = w.events;
    facts->listened = true;
    w.batch = lf_batch_new(facts, 1);
    lf_facts_free(facts);
    w.task = &w.batch->tasks[0];
    w.task->number = 5;
    w.task->index = 3;
    w.task->attempt = 1;
    return w;
}

static world begun_world(void)
{
    world w = new_world();
    lf_log_begin(w.log, w.task, "train");
    return w;
}

static void drop_world(world *w)
{
    lf_log_free(w->log);
    lf_batch_free(w->batch);
    lf_events_free(w->events);
}

static void print(world *w, int stream, const char *s)
{
    lf_log_write(w->log, stream, s, strlen(s));
}

static void check_line(world *w, int stream, const char *line)
{
    lf_event *e = lf_events_take(w->events);
    CHECK(e != NULL);
    CHECK_INT(e->told.type, LUAFLOW_LINE);
    CHECK_INT(e->told.stream, stream);
    CHECK_STR(e->told.text, line);
    CHECK_INT(e->told.text_size, strlen(line));
    lf_event_free(e);
}

static void check_quiet(world *w) { CHECK(lf_events_take(w->events) == NULL); }

static lf_slice log_of(const lf_task *t)
{
    return lf_slice_of(t->batch->arena.data + t->log_at, t->log_size);
}

/* Reads the next entry, which is this. */
static void check_entry(lf_reader *r, int stream, const char *words)
{
    uint64_t time;
    uint8_t got;
    lf_slice entry;
    CHECK(lf_log_entry_next(r, &time, &got, &entry));
    CHECK_INT(got, stream);
    CHECK_INT(entry.size, strlen(words));
    CHECK_MEM(entry.data, words, entry.size);
}

static void check_end(lf_reader *r)
{
    CHECK_INT(lf_reader_left(r), 0);
    CHECK(!r->bad);
}

static const uint64_t ever = UINT64_MAX; /* before then everything began */

/* ---- lines ---- */

TEST(a_line_is_told_at_once_without_its_end_and_kept_with_it)
{
    world w = begun_world();
    print(&w, 1, "one\ntwo\n");
    check_line(&w, 1, "one");
    check_line(&w, 1, "two");
    print(&w, 2, "\n");
    check_line(&w, 2, "");
    lf_log_end(w.log, w.task);
    check_quiet(&w);
    lf_reader r = lf_reader_of(log_of(w.task).data, w.task->log_size);
    check_entry(&r, 1, "one\n");
    check_entry(&r, 1, "two\n");
    check_entry(&r, 2, "\n");
    check_end(&r);
    CHECK_INT(w.task->log_sequence, 0);
    drop_world(&w);
}

TEST(a_line_knows_its_run_its_task_and_its_time)
{
    world w = begun_world();
    double before = (double)lf_now_us() / 1e6;
    print(&w, 1, "x\n");
    lf_event *e = lf_events_take(w.events);
    CHECK_INT(e->told.run, 7);
    CHECK_INT(e->told.task, 5);
    CHECK_INT(e->told.attempt, 1);
    CHECK_STR(e->told.step, "train");
    CHECK_STR(e->told.path, "train[3]");
    CHECK(e->told.time >= before);
    lf_event_free(e);
    lf_log_end(w.log, w.task);
    drop_world(&w);
}

TEST(a_line_may_come_in_pieces_and_the_streams_do_not_mix)
{
    world w = begun_world();
    print(&w, 1, "he");
    print(&w, 2, "oh ");
    print(&w, 1, "llo\nwor");
    check_line(&w, 1, "hello");
    check_quiet(&w);
    print(&w, 2, "no\n");
    check_line(&w, 2, "oh no");
    print(&w, 1, "ld\n");
    check_line(&w, 1, "world");
    lf_log_end(w.log, w.task);
    check_quiet(&w);
    drop_world(&w);
}

TEST(an_unfinished_line_is_told_when_the_task_ends_and_kept_as_it_was_written)
{
    world w = begun_world();
    print(&w, 2, "err");
    print(&w, 1, "out");
    check_quiet(&w);
    lf_log_end(w.log, w.task);
    check_line(&w, 1, "out");
    check_line(&w, 2, "err");
    lf_reader r = lf_reader_of(log_of(w.task).data, w.task->log_size);
    check_entry(&r, 1, "out");
    check_entry(&r, 2, "err");
    check_end(&r);
    drop_world(&w);
}

TEST(lines_may_hold_any_bytes)
{
    world w = begun_world();
    lf_log_write(w.log, 1, "a\0\xff\n", 4);
    lf_event *e = lf_events_take(w.events);
    CHECK_INT(e->told.text_size, 3);
    CHECK_MEM(e->told.text, "a\0\xff", 4);
    lf_event_free(e);
    lf_log_end(w.log, w.task);
    drop_world(&w);
}

TEST(a_line_without_end_is_told_in_parts_of_which_nothing_is_lost)
{
    world w = begun_world();
    size_t wanted = 0, told = 0;
    for (int i = 0; i < 300; i++, wanted += 1000) {
        char piece[1000];
        memset(piece, 'a' + i % 26, sizeof piece);
        lf_log_write(w.log, 1, piece, sizeof piece);
    }
    lf_event *e = lf_events_take(w.events);
    CHECK(e != NULL); /* before the task has ended */
    lf_log_end(w.log, w.task);
    int parts = 0;
    for (; e != NULL; e = lf_events_take(w.events), parts++) {
        CHECK(e->told.text_size <= 70000);
        told += e->told.text_size;
        lf_event_free(e);
    }
    CHECK(parts > 3);
    CHECK_INT(told, wanted);
    drop_world(&w);
}

TEST(who_prints_nothing_has_no_log)
{
    world w = begun_world();
    lf_log_write(w.log, 1, "", 0);
    lf_log_end(w.log, w.task);
    CHECK_INT(w.task->log_size, 0);
    check_quiet(&w);
    drop_world(&w);
}

TEST(nothing_is_kept_outside_a_task)
{
    world w = new_world();
    print(&w, 1, "before\n");
    lf_log_begin(w.log, w.task, "train");
    print(&w, 1, "heard\n");
    lf_log_end(w.log, w.task);
    print(&w, 1, "after\n");
    check_line(&w, 1, "heard");
    check_quiet(&w);
    lf_reader r = lf_reader_of(log_of(w.task).data, w.task->log_size);
    check_entry(&r, 1, "heard\n");
    check_end(&r);
    drop_world(&w);
}

TEST(what_nobody_listens_to_is_kept_all_the_same)
{
    world w = begun_world();
    w.batch->facts->listened = false;
    print(&w, 1, "x\n");
    check_quiet(&w);
    lf_log_end(w.log, w.task);
    lf_reader r = lf_reader_of(log_of(w.task).data, w.task->log_size);
    check_entry(&r, 1, "x\n");
    drop_world(&w);
}

/* ---- while it runs ---- */

TEST(what_gathered_can_be_collected_and_the_rest_comes_with_the_task)
{
    world w = begun_world();
    print(&w, 1, "one\ntw");
    lf_log_letter *l = lf_log_collect(w.log, ever);
    CHECK(l != NULL);
    CHECK_INT(l->letter.kind, LF_LETTER_LOG);
    CHECK(l->facts == w.batch->facts);
    CHECK_INT(l->task, 5);
    CHECK_INT(l->attempt, 1);
    CHECK_INT(l->sequence, 0);
    lf_reader r = lf_reader_of(l->entries.data, l->entries.size);
    check_entry(&r, 1, "one\n");
    check_end(&r);
    lf_log_letter_free(l);

    CHECK(lf_log_collect(w.log, ever) == NULL); /* half a line is nothing yet */
    print(&w, 1, "o\n");
    l = lf_log_collect(w.log, ever);
    CHECK_INT(l->sequence, 1);
    lf_log_letter_free(l);

    print(&w, 1, "three");
    lf_log_end(w.log, w.task);
    CHECK_INT(w.task->log_sequence, 2);
    r = lf_reader_of(log_of(w.task).data, w.task->log_size);
    check_entry(&r, 1, "three");
    check_end(&r);
    CHECK(lf_log_collect(w.log, ever) == NULL);
    lf_log_letter_free(NULL);
    drop_world(&w);
}

TEST(a_task_whose_log_was_collected_to_the_end_brings_nothing_more)
{
    world w = begun_world();
    print(&w, 1, "all\n");
    lf_log_letter_free(lf_log_collect(w.log, ever));
    lf_log_end(w.log, w.task);
    CHECK_INT(w.task->log_size, 0);
    drop_world(&w);
}

TEST(only_of_a_task_that_prints_for_long_enough_something_is_collected)
{
    world w = begun_world();
    CHECK(lf_log_collect(w.log, ever) == NULL);
    uint64_t before = lf_now_us();
    print(&w, 1, "x\n");
    CHECK(lf_log_collect(w.log, before) == NULL);
    lf_log_letter *l = lf_log_collect(w.log, ever);
    CHECK(l != NULL);
    lf_log_letter_free(l);
    lf_log_end(w.log, w.task);
    drop_world(&w);
}

TEST(the_next_task_begins_its_own_log)
{
    world w = begun_world();
    print(&w, 1, "x\n");
    lf_log_letter_free(lf_log_collect(w.log, ever));
    print(&w, 1, "y\n");
    lf_log_end(w.log, w.task);
    world other = new_world();
    other.task->number = 6;
    lf_log_begin(w.log, other.task, "test");
    print(&w, 1, "z\n");
    lf_log_letter *l = lf_log_collect(w.log, ever);
    CHECK_INT(l->task, 6);
    CHECK_INT(l->sequence, 0);
    CHECK(l->facts == other.batch->facts);
    lf_log_letter_free(l);
    lf_log_end(w.log, other.task);
    drop_world(&w);
    drop_world(&other);
}

TEST(a_letter_outlives_the_task_and_the_log)
{
    world w = begun_world();
    print(&w, 1, "x\n");
    lf_log_letter *l = lf_log_collect(w.log, ever);
    lf_log_end(w.log, w.task);
    drop_world(&w);
    CHECK_INT(l->facts->run, 7);
    lf_log_letter_free(l);
}

TEST(a_log_that_never_ended_is_freed_whole)
{
    world w = begun_world();
    print(&w, 1, "x\nhalf");
    drop_world(&w);
    lf_log_free(NULL);
}

enum { TASKS = 50, LINES = 100 };

static void *work(void *payload)
{
    world *w = payload;
    for (uint32_t i = 0; i < TASKS; i++) {
        w->task->number = i + 1;
        lf_log_begin(w->log, w->task, "train");
        for (int k = 0; k < LINES; k++)
            print(w, 1, "x\n");
        lf_log_end(w->log, w->task);
    }
    return NULL;
}

TEST(collecting_while_the_worker_prints_takes_no_line_twice_and_loses_none)
{
    world w = new_world();
    pthread_t worker;
    size_t size = 0;
    uint32_t task = 0, sequence = 0;
    w.batch->facts->listened = false;
    CHECK_INT(pthread_create(&worker, NULL, work, &w), 0);
    for (int i = 0; i < 2000; i++) {
        lf_log_letter *l = lf_log_collect(w.log, ever);
        if (l == NULL)
            continue;
        CHECK(l->task >= task);
        CHECK_INT(l->sequence, l->task == task ? sequence + 1 : 0);
        task = l->task;
        sequence = l->sequence;
        size += l->entries.size;
        lf_log_letter_free(l);
    }
    pthread_join(worker, NULL);
    size += w.batch->arena.size;
    lf_bytes one = {0};
    lf_log_entry_put(&one, lf_now_us(), 1, lf_slice_of("x\n", 2));
    CHECK_INT(size, TASKS * LINES * one.size);
    lf_bytes_fini(&one);
    drop_world(&w);
}
