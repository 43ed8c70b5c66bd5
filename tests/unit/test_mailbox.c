/* test_mailbox.c -- letters arrive in order and none is lost; the reader is woken when it
 * should be and not when it should not. */
#include "mailbox.h"
#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

enum { PATIENCE = 20 }; /* seconds, for what ought to happen at once */

typedef struct letter {
    lf_node node;
    int poster, number;
} letter;

static letter *letter_at(lf_node *n) { return LF_OF(n, letter, node); }

static bool is_readable(const lf_mailbox *box)
{
    struct pollfd p = {lf_mailbox_fd(box), POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

TEST(an_empty_box_is_quiet_and_gives_nothing)
{
    lf_mailbox *box = lf_mailbox_new();
    lf_queue out;
    lf_queue_init(&out);
    CHECK(!is_readable(box));
    lf_mailbox_take(box, &out);
    CHECK(lf_queue_empty(&out));
    lf_mailbox_free(box);
    lf_mailbox_free(NULL);
}

TEST(letters_come_out_in_the_order_they_were_posted)
{
    lf_mailbox *box = lf_mailbox_new();
    letter letters[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    for (int i = 0; i < 3; i++)
        lf_mailbox_post(box, &letters[i].node);
    lf_queue out;
    lf_queue_init(&out);
    lf_mailbox_take(box, &out);
    for (int i = 0; i < 3; i++)
        CHECK_INT(letter_at(lf_queue_pop(&out))->number, i);
    CHECK(lf_queue_empty(&out));
    lf_mailbox_free(box);
}

TEST(taking_appends_to_what_the_reader_has)
{
    lf_mailbox *box = lf_mailbox_new();
    letter older = {.number = 0}, newer = {.number = 1};
    lf_queue out;
    lf_queue_init(&out);
    lf_queue_push(&out, &older.node);
    lf_mailbox_post(box, &newer.node);
    lf_mailbox_take(box, &out);
    CHECK_INT(letter_at(lf_queue_pop(&out))->number, 0);
    CHECK_INT(letter_at(lf_queue_pop(&out))->number, 1);
    lf_mailbox_free(box);
}

TEST(the_descriptor_is_readable_exactly_while_letters_wait)
{
    lf_mailbox *box = lf_mailbox_new();
    letter letters[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    lf_queue out;
    lf_queue_init(&out);

    lf_mailbox_post(box, &letters[0].node);
    CHECK(is_readable(box));
    lf_mailbox_post(box, &letters[1].node);
    CHECK(is_readable(box));
    lf_mailbox_take(box, &out);
    CHECK(!is_readable(box));
    lf_mailbox_post(box, &letters[2].node);
    CHECK(is_readable(box));
    lf_mailbox_take(box, &out);
    CHECK(!is_readable(box));
    lf_mailbox_free(box);
}

TEST(a_queue_of_letters_is_posted_whole_and_left_empty)
{
    lf_mailbox *box = lf_mailbox_new();
    letter letters[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    lf_queue some, out;
    lf_queue_init(&some);
    lf_queue_init(&out);
    lf_mailbox_post(box, &letters[0].node);
    lf_queue_push(&some, &letters[1].node);
    lf_queue_push(&some, &letters[2].node);
    lf_mailbox_post_all(box, &some);
    CHECK(lf_queue_empty(&some));
    lf_mailbox_take(box, &out);
    for (int i = 0; i < 3; i++)
        CHECK_INT(letter_at(lf_queue_pop(&out))->number, i);
    lf_mailbox_free(box);
}

TEST(posting_a_queue_wakes_only_when_there_is_something_in_it)
{
    lf_mailbox *box = lf_mailbox_new();
    letter one = {.number = 0};
    lf_queue some;
    lf_queue_init(&some);
    lf_mailbox_post_all(box, &some);
    CHECK(!is_readable(box));
    lf_queue_push(&some, &one.node);
    lf_mailbox_post_all(box, &some);
    CHECK(is_readable(box));
    lf_mailbox_free(box);
}

TEST(waiting_does_not_wait_for_letters_that_are_there)
{
    lf_mailbox *box = lf_mailbox_new();
    letter one = {.number = 7};
    lf_queue out;
    lf_queue_init(&out);
    lf_mailbox_post(box, &one.node);
    CHECK(lf_mailbox_wait(box, -1, &out));
    CHECK_INT(letter_at(lf_queue_pop(&out))->number, 7);
    CHECK(!is_readable(box));
    lf_mailbox_free(box);
}

TEST(waiting_ends_when_the_time_is_over)
{
    lf_mailbox *box = lf_mailbox_new();
    lf_queue out;
    lf_queue_init(&out);
    double began = now();
    CHECK(!lf_mailbox_wait(box, 0.05, &out));
    CHECK(now() - began >= 0.049);
    CHECK(!lf_mailbox_wait(box, 0, &out));
    CHECK(lf_queue_empty(&out));
    lf_mailbox_free(box);
}

static void hear_alarm(int number) { (void)number; }

TEST(waiting_ends_when_a_signal_handler_ran)
{
    lf_mailbox *box = lf_mailbox_new();
    lf_queue out;
    lf_queue_init(&out);
    struct sigaction action = {.sa_handler = hear_alarm}, before;
    CHECK_INT(sigaction(SIGALRM, &action, &before), 0);
    /* Again and again, in case the first one comes before the wait. */
    struct itimerval soon = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    CHECK_INT(setitimer(ITIMER_REAL, &soon, NULL), 0);
    CHECK(!lf_mailbox_wait(box, -1, &out));
    CHECK_INT(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK_INT(sigaction(SIGALRM, &before, NULL), 0);
    lf_mailbox_free(box);
}

/* ---- with posters on other threads ---- */

enum { POSTERS = 4, LETTERS = 5000 };

typedef struct poster {
    pthread_t thread;
    lf_mailbox *box;
    letter letters[LETTERS];
} poster;

/* Posts now one letter, now a queue of three. */
static void *post_letters(void *payload)
{
    poster *p = payload;
    for (int i = 0; i < LETTERS;) {
        if (i % 5 != 0 || i + 3 > LETTERS) {
            lf_mailbox_post(p->box, &p->letters[i++].node);
            continue;
        }
        lf_queue some;
        lf_queue_init(&some);
        for (int end = i + 3; i < end; i++)
            lf_queue_push(&some, &p->letters[i].node);
        lf_mailbox_post_all(p->box, &some);
    }
    return NULL;
}

TEST(four_posters_lose_no_letter_and_each_keeps_its_order)
{
    lf_mailbox *box = lf_mailbox_new();
    poster *posters = calloc(POSTERS, sizeof *posters);
    CHECK(posters != NULL);
    for (int i = 0; i < POSTERS; i++) {
        posters[i].box = box;
        for (int k = 0; k < LETTERS; k++)
            posters[i].letters[k] = (letter){.poster = i, .number = k};
    }
    for (int i = 0; i < POSTERS; i++)
        CHECK_INT(pthread_create(&posters[i].thread, NULL, post_letters, &posters[i]), 0);

    int taken = 0, next[POSTERS] = {0};
    while (taken < POSTERS * LETTERS) {
        lf_queue out;
        lf_queue_init(&out);
        CHECK(lf_mailbox_wait(box, PATIENCE, &out));
        for (lf_node *n; (n = lf_queue_pop(&out)) != NULL; taken++) {
            const letter *l = letter_at(n);
            CHECK_INT(l->number, next[l->poster]);
            next[l->poster]++;
        }
    }
    for (int i = 0; i < POSTERS; i++)
        CHECK_INT(pthread_join(posters[i].thread, NULL), 0);
    lf_queue rest;
    lf_queue_init(&rest);
    lf_mailbox_take(box, &rest);
    CHECK(lf_queue_empty(&rest));
    CHECK(!is_readable(box));
    lf_mailbox_free(box);
    free(posters);
}

enum { ROUNDS = 2000 };

typedef struct pair {
    lf_mailbox *there, *back;
} pair;

/* Waits for a letter in `box`, also past a wake-up whose letter was taken before. */
static lf_node *wait_for_one(lf_mailbox *box)
{
    lf_queue out;
    lf_queue_init(&out);
    while (lf_queue_empty(&out))
        if (!lf_mailbox_wait(box, PATIENCE, &out))
            return NULL;
    return lf_queue_pop(&out);
}

static void *send_back(void *payload)
{
    pair *boxes = payload;
    for (int i = 0; i < ROUNDS; i++) {
        lf_node *n = wait_for_one(boxes->there);
        if (n == NULL)
            return NULL;
        lf_mailbox_post(boxes->back, n);
    }
    return payload;
}

TEST(a_letter_sent_to_and_fro_always_wakes_who_waits)
{
    pair boxes = {lf_mailbox_new(), lf_mailbox_new()};
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, send_back, &boxes), 0);
    letter one = {.number = 0};
    for (int i = 0; i < ROUNDS; i++) {
        lf_mailbox_post(boxes.there, &one.node);
        CHECK(wait_for_one(boxes.back) == &one.node);
    }
    void *all_came;
    CHECK_INT(pthread_join(thread, &all_came), 0);
    CHECK(all_came != NULL);
    lf_mailbox_free(boxes.there);
    lf_mailbox_free(boxes.back);
}
