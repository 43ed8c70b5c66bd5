/* test_events.c -- what is told arrives whole and in order; when nobody listens, lines give
 * way first and what is about a whole run never does. */
#include "events.h"
#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

enum { PATIENCE = 20 }; /* seconds, for what ought to happen at once */

static bool is_readable(const lf_events *q)
{
    struct pollfd p = {lf_events_fd(q), POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

static void post(lf_events *q, int type, uint64_t task)
{
    luaflow_event told = {.type = type, .task = task};
    if (type == LUAFLOW_LINE) {
        told.text = "x";
        told.text_size = 1;
    }
    lf_events_post(q, lf_event_new(&told, NULL));
}

/* The task of the next event, which has this type. */
static uint64_t next(lf_events *q, int type)
{
    lf_event *e = lf_events_take(q);
    CHECK(e != NULL);
    CHECK_INT(e->told.type, type);
    uint64_t task = e->told.task;
    lf_event_free(e);
    return task;
}

TEST(an_event_is_a_copy_of_everything_it_points_to)
{
    char step[] = "train", path[] = "train[2]", text[] = "a\0b";
    char message[] = "no", traceback[] = "at";
    lf_ear owner;
    luaflow_event told = {.type = LUAFLOW_TASK_FAILED, .run = 7, .task = 9, .time = 1.5,
                          .step = step, .path = path, .attempt = 2, .worker = 3, .stream = 2, .text = text,
                          .text_size = 3, .message = message, .traceback = traceback, .delay = 4,
                          .counts = {1, 2, 3, 4}};
    lf_event *e = lf_event_new(&told, &owner);
    step[0] = path[0] = text[0] = message[0] = traceback[0] = '?';
    CHECK(e->owner == &owner);
    CHECK_INT(e->told.size, sizeof(luaflow_event));
    CHECK_INT(e->told.run, 7);
    CHECK_INT(e->told.task, 9);
    CHECK_STR(e->told.step, "train");
    CHECK_STR(e->told.path, "train[2]");
    CHECK_INT(e->told.text_size, 3);
    CHECK_MEM(e->told.text, "a\0b", 4); /* and ends with a NUL */
    CHECK_STR(e->told.message, "no");
    CHECK_STR(e->told.traceback, "at");
    CHECK_INT(e->told.counts.reused, 4);
    lf_event_free(e);
    lf_event_free(NULL);
}

TEST(what_an_event_does_not_have_stays_null_and_an_empty_line_is_not)
{
    lf_event *e = lf_event_new(&(luaflow_event){.type = LUAFLOW_LINE, .text = ""}, NULL);
    CHECK(e->told.step == NULL && e->told.path == NULL);
    CHECK(e->told.message == NULL && e->told.traceback == NULL);
    CHECK_STR(e->told.text, "");
    lf_event_free(e);
}

TEST(events_come_out_in_the_order_they_were_posted_whatever_they_are)
{
    static const int types[] = {LUAFLOW_RUN_STARTED,  LUAFLOW_LINE, LUAFLOW_TASK_STARTED,
                                LUAFLOW_LINE,         LUAFLOW_LINE, LUAFLOW_TASK_FINISHED,
                                LUAFLOW_RUN_FINISHED, LUAFLOW_RUN_STARTED, LUAFLOW_LINE};
    lf_events *q = lf_events_new(100, false);
    for (uint64_t i = 0; i < 9; i++)
        post(q, types[i], i);
    for (uint64_t i = 0; i < 9; i++)
        CHECK_INT(next(q, types[i]), i);
    CHECK(lf_events_take(q) == NULL);
    CHECK_INT(lf_events_lost(q), 0);
    lf_events_free(q);
    lf_events_free(NULL);
}

TEST(the_descriptor_is_readable_exactly_while_events_wait)
{
    lf_events *q = lf_events_new(2, false);
    CHECK(!is_readable(q));
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 3; i++)
            post(q, LUAFLOW_LINE, i); /* one more than it keeps */
        CHECK(is_readable(q));
        CHECK_INT(next(q, LUAFLOW_LINE), 1);
        CHECK(is_readable(q));
        CHECK_INT(next(q, LUAFLOW_LINE), 2);
        CHECK(!is_readable(q));
    }
    lf_events_free(q);
}

TEST(when_the_host_does_not_listen_the_oldest_lines_give_way_and_are_counted)
{
    lf_events *q = lf_events_new(4, false);
    post(q, LUAFLOW_TASK_STARTED, 0);
    for (uint64_t i = 1; i <= 6; i++)
        post(q, LUAFLOW_LINE, i);
    CHECK_INT(lf_events_lost(q), 3);
    post(q, LUAFLOW_TASK_FINISHED, 7);
    CHECK_INT(lf_events_lost(q), 4);
    CHECK_INT(next(q, LUAFLOW_TASK_STARTED), 0);
    CHECK_INT(next(q, LUAFLOW_LINE), 5);
    CHECK_INT(next(q, LUAFLOW_LINE), 6);
    CHECK_INT(next(q, LUAFLOW_TASK_FINISHED), 7);
    lf_events_free(q);
}

TEST(without_lines_the_oldest_events_of_tasks_give_way)
{
    lf_events *q = lf_events_new(3, false);
    for (uint64_t i = 0; i < 5; i++)
        post(q, LUAFLOW_TASK_STARTED, i);
    CHECK_INT(lf_events_lost(q), 2);
    for (uint64_t i = 2; i < 5; i++)
        CHECK_INT(next(q, LUAFLOW_TASK_STARTED), i);
    CHECK(lf_events_take(q) == NULL);
    lf_events_free(q);
}

TEST(the_start_of_a_run_does_not_keep_the_events_behind_it_from_giving_way)
{
    lf_events *q = lf_events_new(3, false);
    post(q, LUAFLOW_RUN_STARTED, 100);
    for (uint64_t i = 0; i < 5; i++)
        post(q, LUAFLOW_TASK_STARTED, i);
    CHECK_INT(lf_events_lost(q), 3);
    CHECK_INT(next(q, LUAFLOW_RUN_STARTED), 100);
    CHECK_INT(next(q, LUAFLOW_TASK_STARTED), 3);
    CHECK_INT(next(q, LUAFLOW_TASK_STARTED), 4);
    CHECK(lf_events_take(q) == NULL);
    lf_events_free(q);
}

TEST(what_is_about_a_whole_run_is_never_dropped)
{
    lf_events *q = lf_events_new(2, false);
    for (uint64_t i = 0; i < 5; i++)
        post(q, i % 2 ? LUAFLOW_RUN_FINISHED : LUAFLOW_RUN_STARTED, i);
    CHECK_INT(lf_events_lost(q), 0);
    for (uint64_t i = 0; i < 5; i++)
        CHECK_INT(next(q, i % 2 ? LUAFLOW_RUN_FINISHED : LUAFLOW_RUN_STARTED), i);
    lf_events_free(q);
}

static void remember(void *payload, int level, const char *sentence)
{
    CHECK_INT(level, LUAFLOW_LOG_WARNING);
    strncat(payload, strstr(sentence, "run "), 6);
}

TEST(the_host_is_told_once_of_each_run_that_events_of_it_are_dropped)
{
    char said[100] = "";
    lf_host host = {.on_log = remember, .log_payload = said};
    lf_ear ears[2] = {{false}, {false}};
    lf_events *q = lf_events_new(2, false);
    lf_events_report(q, &host);
    for (int i = 0; i < 9; i++) {
        luaflow_event told = {.type = LUAFLOW_TASK_STARTED, .run = (uint64_t)(i >= 4) + 1};
        lf_events_post(q, lf_event_new(&told, &ears[i >= 4]));
        CHECK_STR(said, i < 2 ? "" : i < 6 ? "run 1 " : "run 1 run 2 ");
    }
    CHECK_INT(lf_events_lost(q), 7);
    lf_events_free(q);
}

TEST(an_event_there_was_no_memory_for_counts_as_lost)
{
    lf_events *q = lf_events_new(2, false);
    lf_events_post(q, NULL);
    CHECK_INT(lf_events_lost(q), 1);
    CHECK(!is_readable(q));
    lf_events_free(q);
}

TEST(waiting_ends_when_the_time_is_over_or_at_once_when_something_is_there)
{
    lf_events *q = lf_events_new(2, false);
    CHECK(!lf_events_wait(q, 0));
    CHECK(!lf_events_wait(q, 0.01));
    post(q, LUAFLOW_LINE, 1);
    CHECK(lf_events_wait(q, 0));
    CHECK(lf_events_wait(q, -1));
    lf_events_free(q);
}

static void on_alarm(int signal_number) { (void)signal_number; }

TEST(a_signal_handler_ends_the_waiting)
{
    lf_events *q = lf_events_new(2, false);
    struct sigaction act = {.sa_handler = on_alarm}, old;
    sigaction(SIGALRM, &act, &old);
    struct itimerval often = {{0, 20000}, {0, 20000}}; /* the first may come too early */
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    CHECK(!lf_events_wait(q, -1));
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    lf_events_free(q);
}

TEST(a_queue_frees_what_nobody_took)
{
    lf_events *q = lf_events_new(10, false);
    post(q, LUAFLOW_LINE, 1);
    post(q, LUAFLOW_TASK_STARTED, 2);
    lf_events_free(q);
}

/* ---- from many threads ---- */

enum { POSTERS = 4, EACH = 2000 };

typedef struct poster {
    pthread_t thread;
    lf_events *q;
    uint64_t number;
} poster;

static void *post_many(void *payload)
{
    const poster *p = payload;
    for (uint64_t i = 0; i < EACH; i++)
        post(p->q, i % 3 ? LUAFLOW_LINE : LUAFLOW_TASK_STARTED, p->number * EACH + i);
    return NULL;
}

static void start_posters(poster *posters, lf_events *q)
{
    for (uint64_t i = 0; i < POSTERS; i++) {
        posters[i] = (poster){.q = q, .number = i};
        CHECK_INT(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
}

TEST(events_of_many_threads_all_arrive_each_threads_in_order)
{
    lf_events *q = lf_events_new(POSTERS * EACH, false);
    poster posters[POSTERS];
    uint64_t wanted[POSTERS] = {0};
    start_posters(posters, q);
    for (int n = 0; n < POSTERS * EACH; n++) {
        CHECK(lf_events_wait(q, PATIENCE));
        lf_event *e = lf_events_take(q);
        CHECK(e != NULL);
        CHECK_INT(e->told.task % EACH, wanted[e->told.task / EACH]++);
        lf_event_free(e);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    CHECK(!is_readable(q));
    CHECK_INT(lf_events_lost(q), 0);
    lf_events_free(q);
}

TEST(what_was_delivered_is_freed_by_those_who_post_or_by_the_host_in_the_end)
{
    lf_events *q = lf_events_new(100, false);
    for (uint64_t i = 0; i < 60; i++) { /* that all are freed, the sanitizers see */
        post(q, LUAFLOW_LINE, i);
        post(q, LUAFLOW_TASK_STARTED, i);
        lf_events_done(q, lf_events_take(q));
        if (i == 30)
            lf_events_tidy(q);
    }
    CHECK_INT(next(q, LUAFLOW_LINE), 30);
    lf_events_free(q);
}

TEST(what_is_taken_counts_no_longer_and_gives_way_to_nothing)
{
    lf_events *q = lf_events_new(2, false);
    for (uint64_t i = 0; i < 2; i++)
        post(q, LUAFLOW_LINE, i);
    CHECK_INT(next(q, LUAFLOW_LINE), 0);
    for (uint64_t i = 2; i < 5; i++)
        post(q, LUAFLOW_LINE, i);
    CHECK_INT(lf_events_lost(q), 1);
    CHECK_INT(next(q, LUAFLOW_LINE), 1);
    CHECK(is_readable(q));
    CHECK_INT(next(q, LUAFLOW_LINE), 3);
    lf_event *last = lf_events_take_within(q, 0);
    CHECK(last != NULL && !is_readable(q));
    lf_event_free(last);
    CHECK(lf_events_take_within(q, 0) == NULL);
    lf_events_free(q);
}

TEST(what_arrived_and_what_was_lost_is_all_there_was)
{
    lf_events *q = lf_events_new(16, false);
    poster posters[POSTERS];
    start_posters(posters, q);
    uint64_t taken = 0;
    for (int i = 0; i < POSTERS; i++) {
        for (lf_event *e; (e = lf_events_take(q)) != NULL; taken++)
            lf_event_free(e);
        pthread_join(posters[i].thread, NULL);
    }
    uint64_t rest = 0;
    for (lf_event *e; (e = lf_events_take(q)) != NULL; rest++)
        lf_event_free(e);
    CHECK(rest <= 16);
    CHECK_INT(taken + rest + lf_events_lost(q), POSTERS * EACH);
    lf_events_free(q);
}

static void *post_lines(void *q)
{
    for (uint64_t i = 0; i < 1000; i++)
        post(q, LUAFLOW_LINE, i);
    return NULL;
}

TEST(in_a_queue_that_waits_nothing_is_lost_and_runs_begin_and_end_all_the_same)
{
    lf_events *q = lf_events_new(4, true);
    pthread_t other;
    CHECK_INT(pthread_create(&other, NULL, post_lines, q), 0);
    for (uint64_t i = 0; i < 1000; i++) {
        CHECK(lf_events_wait(q, PATIENCE));
        CHECK_INT(next(q, LUAFLOW_LINE), i);
    }
    pthread_join(other, NULL);
    for (uint64_t i = 0; i < 4; i++)
        post(q, LUAFLOW_LINE, i);
    post(q, LUAFLOW_RUN_FINISHED, 9); /* does not wait for room */
    for (uint64_t i = 0; i < 4; i++)
        CHECK_INT(next(q, LUAFLOW_LINE), i);
    CHECK_INT(next(q, LUAFLOW_RUN_FINISHED), 9);
    CHECK_INT(lf_events_lost(q), 0);
    lf_events_free(q);
}
