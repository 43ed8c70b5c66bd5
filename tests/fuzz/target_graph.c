/* target_graph.c -- any graph is refused in words, or sealed; and a plan of a sealed one comes to
 * its end, whatever its steps decide. */
#include "fuzz.h"
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_STEPS = 40, MOST_NEXT = 5, MOST_TASKS = 300, NAME = 8 };

static char names[MOST_STEPS + 1][NAME];

static void name_all(void)
{
    strcpy(names[0], "start");
    for (unsigned char i = 1; i <= MOST_STEPS; i++) /* one more than there are steps: an unknown target */
        snprintf(names[i], NAME, "s%u", i);
}

static void add_step(lf_graph *g, lf_reader *in, uint8_t number, uint8_t n_steps, bool *is_broken)
{
    static const char key_bytes[] = "\x01\x02\x03\x04\x05";
    static const char *const texts[] = {"1", "2", "3", "4", "5"};
    lf_slice keys[MOST_NEXT];
    const char *next[MOST_NEXT];
    uint8_t how = lf_read_u8(in), marks = lf_read_u8(in);
    lf_step_spec spec = {
        .name = names[number],
        .where = marks & 1 ? "flow.lua:1" : NULL,
        .kind = (lf_kind)(how % 5),
        .is_join = how & 0x40,
        .has_function = how & 0x40 || marks & 2,
        .n_next = how % 5 == LF_LAST ? 0 : how % 5 == LF_LINEAR || how % 5 == LF_FOREACH ? 1 : marks >> 5,
        .next = next,
        .case_keys = keys,
        .case_texts = texts,
        .over = "list",
        .broken = (marks & 0x1c) == 0x1c && how & 0x80,
        .doubtful = (marks & 0x1c) == 0x18 && how & 0x80,
        .attributes.retry_times = marks & 1,
    };
    if (spec.n_next > MOST_NEXT)
        spec.n_next = MOST_NEXT;
    if (spec.broken && marks & 1)
        spec.n_next = 0;
    for (size_t i = 0; i < spec.n_next; i++) {
        uint8_t target = lf_read_u8(in);
        next[i] = names[target < 0xf8 ? target % n_steps : MOST_STEPS];
        keys[i] = lf_slice_of(key_bytes + i, 1);
    }
    *is_broken = *is_broken || spec.broken || spec.doubtful;
    MUST(lf_graph_add(g, &spec) == LUAFLOW_OK);
}

static void hear(void *payload, const char *where, const char *sentence)
{
    (void)where;
    MUST(strlen(sentence) > 10);
    ++*(unsigned *)payload;
}

static void check_step(const lf_graph *g, uint32_t number)
{
    uint32_t n = lf_graph_size(g);
    const lf_step *s = lf_graph_step(g, number);
    MUST(lf_graph_find(g, s->name) == number);
    MUST((s->n_next == 0) == (s->kind == LF_LAST));
    for (uint32_t i = 0; i < s->n_next; i++)
        MUST(s->next[i] < n && (s->next[i] > number || s->in_loop));
    bool opens = s->kind == LF_BRANCH || s->kind == LF_FOREACH;
    MUST(opens ? s->join > number && s->join < n && lf_graph_step(g, s->join)->is_join : s->join == LF_NONE);
    MUST(!s->in_loop || s->loop_slot < lf_graph_loop_slots(g));
}

/* Runs the graph, the bytes deciding; not for ever, since a loop may be one. */
static void run(const lf_graph *g, lf_reader *in)
{
    lf_plan *p = lf_plan_new(g, (lf_plan_hooks){0});
    MUST(p != NULL);
    uint32_t step;
    bool has_failed = false;
    for (int tasks = 0; tasks < MOST_TASKS && (step = lf_plan_ready(p, NULL, NULL)) != LF_NONE; tasks++) {
        const lf_step *s = lf_graph_step(g, step);
        lf_planned *task;
        MUST(lf_plan_take(p, step, 1, &task) == 1 && task->step == step);
        uint8_t how = lf_read_u8(in);
        lf_decision decision = {.width = how % 4, .choice = s->n_next > 0 ? s->next[how % s->n_next] : 0};
        if (how == 0xff && lf_reader_left(in) > 0) {
            has_failed = true;
            lf_plan_fail(p, task);
        } else {
            MUST(lf_plan_finish(p, task, &decision) == LUAFLOW_OK);
        }
        MUST(lf_plan_running(p) == 0);
    }
    if (lf_plan_ready(p, NULL, NULL) == LF_NONE)
        MUST(lf_plan_done(p) != has_failed);
    lf_plan_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (*names[0] == '\0')
        name_all();
    lf_reader in = lf_reader_of(data, size);
    uint8_t n_steps = lf_read_u8(&in) % MOST_STEPS + 1;
    lf_graph *g = lf_graph_new();
    MUST(g != NULL);
    bool is_broken = false;
    unsigned problems = 0;
    for (uint8_t i = 0; i < n_steps; i++)
        add_step(g, &in, i, n_steps, &is_broken);
    int rc = lf_graph_seal(g, hear, &problems);
    MUST(rc == LUAFLOW_OK ? problems == 0 && !is_broken : rc == LUAFLOW_EFLOW && (problems > 0 || is_broken));
    if (rc == LUAFLOW_OK) {
        MUST(lf_graph_size(g) == n_steps && lf_graph_find(g, "start") == 0);
        for (uint32_t i = 0; i < n_steps; i++)
            check_step(g, i);
        run(g, &in);
    }
    lf_graph_free(g);
    return 0;
}
