/* test_queue.c -- an intrusive list keeps its order, whatever is done to it. */
#include "queue.h"
#include "unit.h"

typedef struct letter {
    int number;
    lf_node node;
} letter;

static letter letters[6] = {{.number = 0}, {.number = 1}, {.number = 2},
                            {.number = 3}, {.number = 4}, {.number = 5}};

static void push(lf_queue *q, int number) { lf_queue_push(q, &letters[number].node); }

/* The number of the first letter, or -1 when there is none. */
static int pop(lf_queue *q)
{
    lf_node *n = lf_queue_pop(q);
    return n != NULL ? LF_OF(n, letter, node)->number : -1;
}

TEST(a_new_queue_is_empty_and_gives_nothing)
{
    lf_queue q;
    lf_queue_init(&q);
    CHECK(lf_queue_empty(&q));
    CHECK_INT(pop(&q), -1);
    CHECK_INT(pop(&q), -1);
}

TEST(first_in_is_first_out)
{
    lf_queue q;
    lf_queue_init(&q);
    push(&q, 0);
    push(&q, 1);
    CHECK_INT(pop(&q), 0);
    push(&q, 2);
    CHECK_INT(pop(&q), 1);
    CHECK_INT(pop(&q), 2);
    CHECK(lf_queue_empty(&q));
}

TEST(a_queue_that_ran_empty_can_be_filled_again)
{
    lf_queue q;
    lf_queue_init(&q);
    push(&q, 0);
    CHECK_INT(pop(&q), 0);
    push(&q, 1);
    push(&q, 2);
    CHECK_INT(pop(&q), 1);
    CHECK_INT(pop(&q), 2);
}

TEST(what_is_pushed_to_the_front_comes_out_next)
{
    lf_queue q;
    lf_queue_init(&q);
    push(&q, 0);
    lf_queue_push_front(&q, &letters[1].node);
    CHECK_INT(pop(&q), 1);
    CHECK_INT(pop(&q), 0);
}

TEST(a_push_to_the_front_of_an_empty_queue_keeps_its_end_right)
{
    lf_queue q;
    lf_queue_init(&q);
    lf_queue_push_front(&q, &letters[0].node);
    push(&q, 1);
    CHECK_INT(pop(&q), 0);
    CHECK_INT(pop(&q), 1);
    CHECK(lf_queue_empty(&q));
}

TEST(joining_appends_the_other_queue_and_empties_it)
{
    lf_queue a, b;
    lf_queue_init(&a);
    lf_queue_init(&b);
    push(&a, 0);
    push(&b, 1);
    push(&b, 2);
    lf_queue_join(&a, &b);
    CHECK(lf_queue_empty(&b));
    push(&a, 3);
    push(&b, 4);
    for (int wanted = 0; wanted <= 3; wanted++)
        CHECK_INT(pop(&a), wanted);
    CHECK_INT(pop(&b), 4);
    CHECK(lf_queue_empty(&a));
}

TEST(joining_an_empty_queue_changes_nothing)
{
    lf_queue a, b;
    lf_queue_init(&a);
    lf_queue_init(&b);
    lf_queue_join(&a, &b);
    CHECK(lf_queue_empty(&a));
    push(&a, 0);
    lf_queue_join(&a, &b);
    push(&a, 1);
    CHECK_INT(pop(&a), 0);
    CHECK_INT(pop(&a), 1);
}

TEST(a_node_taken_out_points_nowhere)
{
    lf_queue q;
    lf_queue_init(&q);
    push(&q, 0);
    push(&q, 1);
    lf_node *n = lf_queue_pop(&q);
    CHECK(n == &letters[0].node);
    CHECK(n->next == NULL);
}
