/* test_plan.c -- runs of small graphs, in every order a seed can think of. */
#include "plan.h"
#include "record.h"
#include "unit.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEEDS = 200, MAX_TASKS = 4096, MAX_WORDS = 64 };

/* ---- things: what tasks leave to their children, with the number of who left it ---- */

typedef struct thing {
    unsigned holders;
    uint32_t number;
} thing;

static unsigned things_alive, most_things;

static thing *new_thing(uint32_t number)
{
    thing *t = malloc(sizeof *t);
    CHECK(t != NULL);
    *t = (thing){.holders = 1, .number = number};
    if (++things_alive > most_things)
        most_things = things_alive;
    return t;
}

static void hold_thing(void *payload) { ((thing *)payload)->holders++; }

static void drop_thing(void *payload)
{
    thing *t = payload;
    CHECK(t->holders > 0);
    if (--t->holders == 0) {
        things_alive--;
        free(t);
    }
}

static const lf_plan_hooks hooks = {hold_thing, drop_thing};

/* ---- a world: a graph in a few words, and a run of it ---- */

typedef struct world {
    lf_graph *graph;
    lf_plan *plan;
} world;

static void no_problem(void *payload, const char *where, const char *sentence)
{
    (void)payload;
    (void)where;
    fail_msg("the graph is not sound: %s", sentence);
}

static size_t split_words(char *text, char **words)
{
    size_t n = 0;
    for (char *w = strtok(text, " "); w != NULL; w = strtok(NULL, " ")) {
        CHECK(n < MAX_WORDS);
        words[n++] = w;
    }
    return n;
}

/* One step: "join j: a b", "a: *b", "s ? k1=a k2=b", "finish". */
static void add_step(lf_graph *g, char *text)
{
    char *words[MAX_WORDS];
    const char *next[MAX_WORDS];
    lf_slice keys[MAX_WORDS];
    size_t n = split_words(text, words), at = 0;
    if (n == 0)
        return;
    lf_step_spec spec = {.kind = LF_LAST, .has_function = true, .next = next};
    if (strcmp(words[0], "join") == 0) {
        spec.is_join = true;
        at++;
    }
    spec.name = words[at];
    char *colon = strchr(words[at++], ':');
    if (colon != NULL)
        *colon = 0;
    bool is_switch = at < n && strcmp(words[at], "?") == 0;
    at += is_switch;
    for (; at < n; at++, spec.n_next++) {
        char *target = words[at];
        if (is_switch) {
            char *equals = strchr(target, '=');
            keys[spec.n_next] = lf_slice_of(target, (size_t)(equals - target));
            *equals = 0;
            next[spec.n_next] = equals + 1;
        } else if (*target == '*') {
            spec.kind = LF_FOREACH;
            next[spec.n_next] = target + 1;
        } else {
            spec.kind = spec.n_next > 0 ? LF_BRANCH : LF_LINEAR;
            next[spec.n_next] = target;
        }
    }
    if (is_switch) {
        spec.kind = LF_SWITCH;
        spec.case_keys = keys;
        spec.case_texts = (const char *const *)words + (n - spec.n_next);
    }
    if (is_switch || spec.kind == LF_FOREACH)
        spec.over = "it";
    CHECK_INT(lf_graph_add(g, &spec), LUAFLOW_OK);
}

static lf_graph *graph_of(const char *text)
{
    lf_graph *g = lf_graph_new();
    CHECK(g != NULL);
    char *copy = strdup(text), *rest = copy;
    for (char *one; (one = strsep(&rest, ";")) != NULL;)
        add_step(g, one);
    free(copy);
    CHECK_INT(lf_graph_seal(g, no_problem, NULL), LUAFLOW_OK);
    return g;
}

static world plan_of(const char *text)
{
    CHECK_INT(things_alive, 0);
    most_things = 0;
    world w = {.graph = graph_of(text)};
    w.plan = lf_plan_new(w.graph, hooks);
    CHECK(w.plan != NULL);
    return w;
}

static void done_with(world *w)
{
    lf_plan_free(w->plan);
    lf_graph_free(w->graph);
    CHECK_INT(things_alive, 0);
}

static uint32_t step_of(const world *w, const char *name)
{
    uint32_t step = lf_graph_find(w->graph, name);
    CHECK(step != LF_NONE);
    return step;
}

static const char *name_of(const world *w, const lf_planned *t)
{
    return lf_graph_step(w->graph, t->step)->name;
}

/* "eval[2]#3"; the caller frees. */
static char *path_of(const world *w, const lf_planned *t)
{
    lf_bytes place = {0}, path = {0};
    lf_bytes_put(&place, t->prefix.data, t->prefix.size);
    if (t->index > 0)
        lf_place_put_index(&place, t->index);
    if (t->turn >= 2)
        lf_place_put_turn(&place, t->turn);
    lf_path_format(&path, name_of(w, t), lf_slice_of(place.data, place.size));
    lf_bytes_fini(&place);
    char *text = lf_bytes_cstr(&path);
    CHECK(text != NULL);
    return text;
}

/* The next task of the step called `name`, or NULL. */
static lf_planned *take(world *w, const char *name)
{
    lf_planned *t = NULL;
    lf_plan_take(w->plan, step_of(w, name), 1, &t);
    return t;
}

static lf_planned *take_last(world *w)
{
    uint32_t step = lf_plan_ready(w->plan, NULL, NULL);
    CHECK(step != LF_NONE);
    lf_planned *t = NULL;
    CHECK_INT(lf_plan_take(w->plan, step, 1, &t), 1);
    return t;
}

static void finish(world *w, lf_planned *t, uint64_t width, const char *choice)
{
    thing *left = new_thing(t->number);
    lf_decision d = {.width = width, .thing = left};
    if (choice != NULL)
        d.choice = step_of(w, choice);
    CHECK_INT(lf_plan_finish(w->plan, t, &d), LUAFLOW_OK);
    drop_thing(left);
}

/* Takes the next task of `name` and finishes it. */
static void pass(world *w, const char *name)
{
    lf_planned *t = take(w, name);
    CHECK(t != NULL);
    finish(w, t, 0, NULL);
}

static void check_path(const world *w, const lf_planned *t, const char *wanted)
{
    CHECK(t != NULL);
    char *path = path_of(w, t);
    CHECK_STR(path, wanted);
    free(path);
}

/* ---- stories: whole runs in random order, told in sorted lines ---- */

typedef struct story {
    world w;
    const char *answers;
    uint64_t random;
    char *paths[MAX_TASKS];   /* by number; NULL: not taken yet */
    lf_planned *running[MAX_TASKS];
    size_t n_running;
    char *lines[MAX_TASKS];
    size_t n_lines;
    bool finished;
} story;

static uint32_t chance(story *s, uint32_t n)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)(s->random >> 20) % n;
}

/* The word after "key=" in the answers: a width, the target of a switch, or "!" to
 * fail. False when there is none. */
static bool find_answer(const story *s, const char *key, char *out)
{
    size_t n = strlen(key);
    for (const char *at = s->answers; (at = strstr(at, key)) != NULL; at += n)
        if ((at == s->answers || at[-1] == ' ') && at[n] == '=') {
            sscanf(at + n + 1, "%31s", out);
            return true;
        }
    return false;
}

/* By path, else by step. */
static void answer(const story *s, const char *path, const char *step, char *out)
{
    *out = 0;
    if (!find_answer(s, path, out))
        find_answer(s, step, out);
}

static void tell(story *s, const lf_planned *t, const char *path, bool failed)
{
    lf_bytes line = {0};
    lf_bytes_printf(&line, "%s%s", path, failed ? " failed" : "");
    if (t->parent != 0)
        lf_bytes_printf(&line, " < %s", s->paths[t->parent]);
    for (uint32_t i = 0; i < t->n_inputs; i++)
        lf_bytes_printf(&line, "%s%s", i == 0 ? " <- " : " ", s->paths[t->inputs[i]]);
    CHECK(lf_bytes_cstr(&line) != NULL);
    s->lines[s->n_lines++] = (char *)line.data;
}

/* What a task was given is what its parent, or the opener of what it joins, left. */
static void check_things(const story *s, const lf_planned *t)
{
    const thing *left = t->thing, *opener = t->opener;
    CHECK((left == NULL) == (t->parent == 0));
    CHECK(left == NULL || left->number == t->parent);
    const lf_step *step = lf_graph_step(s->w.graph, t->step);
    CHECK((opener != NULL) == step->is_join);
    CHECK(t->parent == 0 || !step->is_join);
    if (opener == NULL)
        return;
    char *path = s->paths[opener->number];
    uint32_t by = step_of(&s->w, strndupa(path, strcspn(path, "[#")));
    CHECK_INT(lf_graph_step(s->w.graph, by)->join, t->step);
}

static void start_some(story *s)
{
    lf_plan *p = s->w.plan;
    uint32_t step = lf_plan_ready(p, NULL, NULL);
    while (step != LF_NONE && step > 0 && chance(s, 3) == 0) /* not always the last one */
        for (step--; step > 0 && lf_plan_ready_count(p, step) == 0; step--) {
        }
    if (step == LF_NONE)
        return;
    uint64_t could = lf_plan_ready_count(p, step);
    size_t max = 1 + chance(s, 4);
    size_t n = lf_plan_take(p, step, max, s->running + s->n_running);
    CHECK_INT(n, could < max ? could : max);
    CHECK_INT(lf_plan_ready_count(p, step), could - n);
    for (size_t i = 0; i < n; i++) {
        lf_planned *t = s->running[s->n_running++];
        CHECK(t->number > 0 && t->number < MAX_TASKS);
        char *path = path_of(&s->w, t);
        CHECK(s->paths[t->number] == NULL || strcmp(path, s->paths[t->number]) == 0);
        free(s->paths[t->number]);
        s->paths[t->number] = path;
        check_things(s, t);
    }
}

static void end_one(story *s)
{
    if (s->n_running == 0)
        return;
    size_t i = chance(s, (uint32_t)s->n_running);
    lf_planned *t = s->running[i];
    s->running[i] = s->running[--s->n_running];
    if (chance(s, 5) == 0) {
        lf_plan_return(s->w.plan, t);
        return;
    }
    char said[32];
    const char *path = s->paths[t->number];
    answer(s, path, name_of(&s->w, t), said);
    bool failed = strcmp(said, "!") == 0;
    tell(s, t, path, failed);
    if (failed) {
        lf_plan_fail(s->w.plan, t);
        return;
    }
    lf_kind kind = lf_graph_step(s->w.graph, t->step)->kind;
    s->finished |= kind == LF_LAST;
    finish(&s->w, t, kind == LF_FOREACH ? strtoul(said, NULL, 10) : 0,
           kind == LF_SWITCH ? said : NULL);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Runs the graph to its end, once, and gives the lines. The caller frees. */
static char *run_story(const char *graph, const char *answers, unsigned seed)
{
    story *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->w = plan_of(graph);
    s->answers = answers;
    s->random = 0x9e3779b97f4a7c15 * seed;
    uint32_t eager = 1 + chance(s, 9); /* from one task at a time to all at once */
    while (lf_plan_ready(s->w.plan, NULL, NULL) != LF_NONE || s->n_running > 0) {
        if (chance(s, 10) < eager)
            start_some(s);
        else
            end_one(s);
        CHECK_INT(lf_plan_running(s->w.plan), s->n_running);
        CHECK(lf_plan_done(s->w.plan) == s->finished);
    }
    qsort(s->lines, s->n_lines, sizeof *s->lines, by_text);
    lf_bytes text = {0};
    for (size_t i = 0; i < s->n_lines; i++) {
        lf_bytes_printf(&text, "%s\n", s->lines[i]);
        free(s->lines[i]);
    }
    for (size_t i = 0; i < MAX_TASKS; i++)
        free(s->paths[i]);
    done_with(&s->w);
    free(s);
    CHECK(lf_bytes_cstr(&text) != NULL);
    return (char *)text.data;
}

static void check_story(const char *graph, const char *answers, const char *wanted)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        char *got = run_story(graph, answers, seed);
        if (strcmp(got, wanted) != 0)
            fail_msg("seed %u went\n%sand not\n%s", seed, got, wanted);
        free(got);
    }
}

/* ---- shapes ---- */

TEST(a_line_runs_step_by_step)
{
    check_story("start: a; a: b; b: finish; finish", "",
                "a < start\nb < a\nfinish < b\nstart\n");
}

TEST(a_flow_of_one_step_is_done_after_it)
{
    check_story("start", "", "start\n");
}

TEST(a_join_waits_for_its_slowest_branch)
{
    world w = plan_of("start: a b; a: j; b: j; join j: finish; finish");
    pass(&w, "start");
    pass(&w, "b");
    CHECK(take(&w, "j") == NULL);
    pass(&w, "a");
    check_path(&w, take(&w, "j"), "j");
    done_with(&w);
}

TEST(a_join_sees_branches_in_declared_order)
{
    check_story("start: c a b; a: j; b: d; c: j; d: j; join j: finish; finish", "",
                "a < start\nb < start\nc < start\nd < b\nfinish < j\nj <- c a d\nstart\n");
}

TEST(a_join_sees_elements_in_index_order)
{
    check_story("start: *a; a: b; b: j; join j: finish; finish", "start=3",
                "a[1] < start\na[2] < start\na[3] < start\n"
                "b[1] < a[1]\nb[2] < a[2]\nb[3] < a[3]\n"
                "finish < j\nj <- b[1] b[2] b[3]\nstart\n");
}

TEST(an_empty_foreach_goes_straight_to_its_join)
{
    check_story("start: *a; a: j; join j: finish; finish", "start=0",
                "finish < j\nj\nstart\n");
}

TEST(empty_foreaches_nest)
{
    check_story("start: *a; a: *b; b: k; join k: j; join j", "start=2 a=0",
                "a[1] < start\na[2] < start\nj <- k[1] k[2]\nk[1]\nk[2]\nstart\n");
}

TEST(foreach_in_branch_in_foreach)
{
    check_story("start: *s; s: a b; a: *w; w: v; v: k; join k: j; b: j; join j: i; join i: finish;"
                "finish",
                "start=2 a[1]=2 a[2]=1",
                "a[1] < s[1]\na[2] < s[2]\nb[1] < s[1]\nb[2] < s[2]\nfinish < i\ni <- j[1] j[2]\n"
                "j[1] <- k[1] b[1]\nj[2] <- k[2] b[2]\n"
                "k[1] <- v[1][1] v[1][2]\nk[2] <- v[2][1]\n"
                "s[1] < start\ns[2] < start\nstart\n"
                "v[1][1] < w[1][1]\nv[1][2] < w[1][2]\nv[2][1] < w[2][1]\n"
                "w[1][1] < a[1]\nw[1][2] < a[1]\nw[2][1] < a[2]\n");
}

TEST(branches_nest_in_branches)
{
    check_story("start: a b; a: c d; c: k; d: k; join k: j; b: j; join j", "",
                "a < start\nb < start\nc < a\nd < a\nj <- k b\nk <- c d\nstart\n");
}

TEST(a_switch_takes_one_way_and_the_ways_meet)
{
    const char *graph = "start ? one=a two=b; a: c; b: c; c";
    check_story(graph, "start=a", "a < start\nc < a\nstart\n");
    check_story(graph, "start=b", "b < start\nc < b\nstart\n");
}

TEST(a_switch_may_choose_the_join)
{
    check_story("start: *s; s ? far=a near=j; a: j; join j", "start=3 s=j s[2]=a",
                "a[2] < s[2]\nj <- s[1] a[2] s[3]\ns[1] < start\ns[2] < start\ns[3] < start\n"
                "start\n");
}

TEST(a_join_may_open_a_foreach)
{
    check_story("start: a b; a: j; b: j; join j: *c; c: k; join k", "j=2",
                "a < start\nb < start\nc[1] < j\nc[2] < j\nj <- a b\nk <- c[1] c[2]\nstart\n");
}

TEST(a_join_may_branch)
{
    check_story("start: *a; a: j; join j: b c; b: k; c: k; join k", "start=2",
                "a[1] < start\na[2] < start\nb < j\nc < j\nj <- a[1] a[2]\nk <- b c\nstart\n");
}

TEST(a_join_may_close_for_another_join)
{
    check_story("start: *a; a: *b; b: k; join k: j; join j", "start=2 a=1",
                "a[1] < start\na[2] < start\nb[1][1] < a[1]\nb[2][1] < a[2]\nj <- k[1] k[2]\n"
                "k[1] <- b[1][1]\nk[2] <- b[2][1]\nstart\n");
}

/* ---- loops ---- */

TEST(a_step_may_loop_on_itself)
{
    check_story("start: train; train ? more=train good=finish; finish",
                "train=train train#2=train train#3=finish",
                "finish < train#3\nstart\ntrain < start\ntrain#2 < train\ntrain#3 < train#2\n");
}

TEST(a_loop_may_go_over_three_steps)
{
    check_story("start: a; a: b; b: c; c ? more=a good=finish; finish", "c=a c#3=finish",
                "a < start\na#2 < c\na#3 < c#2\nb < a\nb#2 < a#2\nb#3 < a#3\n"
                "c < b\nc#2 < b#2\nc#3 < b#3\nfinish < c#3\nstart\n");
}

TEST(each_element_counts_its_own_turns)
{
    check_story("start: *work; work ? more=work good=j; join j",
                "start=3 work=j work[1]=work work[3]=work work[3]#2=work",
                "j <- work[1]#2 work[2] work[3]#3\nstart\nwork[1] < start\nwork[1]#2 < work[1]\n"
                "work[2] < start\nwork[3] < start\nwork[3]#2 < work[3]\nwork[3]#3 < work[3]#2\n");
}

TEST(elements_opened_in_a_later_turn_say_so)
{
    check_story("start: s; s: *work; work: j; join j ? more=s good=finish; finish",
                "s=2 j=s j#2=finish",
                "finish < j#2\nj <- work[1] work[2]\nj#2 <- work#2[1] work#2[2]\ns < start\n"
                "s#2 < j\nstart\nwork#2[1] < s#2\nwork#2[2] < s#2\nwork[1] < s\nwork[2] < s\n");
}

TEST(a_branch_in_a_loop_counts_its_turns)
{
    check_story("start: s; s: a b; a: j; b: j; join j ? more=s good=finish; finish",
                "j=s j#2=finish",
                "a < s\na#2 < s#2\nb < s\nb#2 < s#2\nfinish < j#2\nj <- a b\nj#2 <- a#2 b#2\n"
                "s < start\ns#2 < j\nstart\n");
}

TEST(a_loop_in_a_branch_in_a_loop_goes_on_counting)
{
    /* were the count to start anew in every branch, the outer and the inner second turn of
     * `a` would share a path */
    check_story("start: s; s: a b; a ? more=a good=j; b: j; join j ? more=s good=finish; finish",
                "a=a a#2=j a#4=j j=s j#2=finish",
                "a < s\na#2 < a\na#3 < s#2\na#4 < a#3\nb < s\nb#2 < s#2\nfinish < j#2\n"
                "j <- a#2 b\nj#2 <- a#4 b#2\ns < start\ns#2 < j\nstart\n");
}

TEST(branches_within_branches_share_the_count_of_their_element)
{
    check_story("start: *s; s: a b; a: c d; c ? more=c good=k; d: k; join k: j; b: j;"
                "join j ? more=s good=i; join i",
                "start=2 c=k c[2]=c s[2]=s j=i j[2]=s",
                "a[1] < s[1]\na[2] < s[2]\na[2]#2 < s[2]#2\nb[1] < s[1]\nb[2] < s[2]\n"
                "b[2]#2 < s[2]#2\nc[1] < a[1]\nc[2] < a[2]\nc[2]#2 < c[2]\nc[2]#3 < a[2]#2\n"
                "d[1] < a[1]\nd[2] < a[2]\nd[2]#2 < a[2]#2\ni <- j[1] j[2]#2\n"
                "j[1] <- k[1] b[1]\nj[2] <- k[2] b[2]\nj[2]#2 <- k[2]#2 b[2]#2\n"
                "k[1] <- c[1] d[1]\nk[2] <- c[2]#2 d[2]\nk[2]#2 <- c[2]#3 d[2]#2\n"
                "s[1] < start\ns[2] < start\ns[2]#2 < j[2]\nstart\n");
}

TEST(a_foreach_in_a_branch_in_a_loop_starts_counting_anew)
{
    check_story("start: s; s: a b; a: *w; w ? more=w good=k; join k: j; b: j;"
                "join j ? more=s good=finish; finish",
                "a=1 w=k w[1]=w w#2[1]=w j=s j#2=finish",
                "a < s\na#2 < s#2\nb < s\nb#2 < s#2\nfinish < j#2\nj <- k b\nj#2 <- k#2 b#2\n"
                "k <- w[1]#2\nk#2 <- w#2[1]#2\ns < start\ns#2 < j\nstart\n"
                "w#2[1] < a#2\nw#2[1]#2 < w#2[1]\nw[1] < a\nw[1]#2 < w[1]\n");
}

/* ---- frames ---- */

TEST(the_first_task_stands_in_no_place)
{
    world w = plan_of("start");
    lf_planned *t = take(&w, "start");
    CHECK(t->number == 1 && t->parent == 0 && t->index == 0 && t->turn == 1 && t->inputs == NULL);
    done_with(&w);
}

TEST(whoever_takes_a_join_may_keep_its_inputs)
{
    world w = plan_of("start: *a; a: j; join j");
    finish(&w, take(&w, "start"), 2, NULL);
    pass(&w, "a");
    pass(&w, "a");
    lf_planned *j = take(&w, "j");
    CHECK_INT(j->n_inputs, 2);
    uint32_t *inputs = j->inputs;
    j->inputs = NULL;
    finish(&w, j, 0, NULL);
    CHECK(inputs[0] == 2 && inputs[1] == 3);
    free(inputs);
    done_with(&w);
}

/* ---- what is taken first ---- */

TEST(the_last_step_is_ready_first)
{
    world w = plan_of("start: *a; a: b; b: j; join j");
    finish(&w, take(&w, "start"), 3, NULL);
    for (int i = 1; i <= 3; i++) {
        lf_planned *a = take_last(&w);
        CHECK_STR(name_of(&w, a), "a");
        finish(&w, a, 0, NULL);
        lf_planned *b = take_last(&w);
        CHECK_STR(name_of(&w, b), "b");
        CHECK_INT(b->index, i);
        finish(&w, b, 0, NULL);
    }
    CHECK_STR(name_of(&w, take_last(&w)), "j");
    CHECK(lf_plan_ready(w.plan, NULL, NULL) == LF_NONE);
    done_with(&w);
}

static bool not_this(void *payload, uint32_t step) { return step != *(uint32_t *)payload; }

TEST(a_step_that_is_not_allowed_is_passed_over)
{
    world w = plan_of("start: a b; a: j; b: j; join j");
    pass(&w, "start");
    uint32_t a = step_of(&w, "a"), b = step_of(&w, "b");
    CHECK_INT(lf_plan_ready(w.plan, NULL, NULL), a);
    CHECK_INT(lf_plan_ready(w.plan, not_this, &a), b);
    pass(&w, "b");
    CHECK(lf_plan_ready(w.plan, not_this, &a) == LF_NONE);
    done_with(&w);
}

TEST(of_two_arms_the_first_in_the_graph_goes_on_to_its_end_first)
{
    world w = plan_of("start: b a; a: a2; b: b2; a2: j; b2: j; join j");
    pass(&w, "start");
    CHECK_INT(lf_plan_ready(w.plan, NULL, NULL), step_of(&w, "a"));
    pass(&w, "a");
    CHECK_INT(lf_plan_ready(w.plan, NULL, NULL), step_of(&w, "a2"));
    pass(&w, "a2");
    CHECK_INT(lf_plan_ready(w.plan, NULL, NULL), step_of(&w, "b"));
    done_with(&w);
}

TEST(the_newest_foreach_is_worked_on_first)
{
    world w = plan_of("start: *a; a: *b; b: k; join k: j; join j");
    finish(&w, take(&w, "start"), 2, NULL);
    finish(&w, take(&w, "a"), 2, NULL);
    check_path(&w, take(&w, "b"), "b[1][1]");
    finish(&w, take(&w, "a"), 2, NULL);
    CHECK_INT(lf_plan_ready_count(w.plan, step_of(&w, "b")), 3);
    lf_planned *t[4];
    CHECK_INT(lf_plan_take(w.plan, step_of(&w, "b"), 4, t), 3);
    check_path(&w, t[0], "b[2][1]");
    check_path(&w, t[1], "b[2][2]");
    check_path(&w, t[2], "b[1][2]");
    done_with(&w);
}

TEST(ready_steps_are_found_among_thousands)
{
    enum { WIDTH = 9000 };
    lf_graph *g = lf_graph_new();
    static char names[WIDTH][8];
    static const char *next[WIDTH];
    const char *join = "z";
    for (size_t i = 0; i < WIDTH; i++) {
        snprintf(names[i], sizeof names[i], "a%05zu", i);
        next[i] = names[i];
        CHECK_INT(lf_graph_add(g, &(lf_step_spec){.name = names[i], .kind = LF_LINEAR,
                                                  .next = &join, .n_next = 1}), LUAFLOW_OK);
    }
    CHECK_INT(lf_graph_add(g, &(lf_step_spec){.name = "start", .kind = LF_BRANCH, .next = next,
                                              .n_next = WIDTH}), LUAFLOW_OK);
    CHECK_INT(lf_graph_add(g, &(lf_step_spec){.name = "z", .is_join = true}), LUAFLOW_OK);
    CHECK_INT(lf_graph_seal(g, no_problem, NULL), LUAFLOW_OK);
    world w = {g, lf_plan_new(g, hooks)};
    pass(&w, "start");
    for (size_t i = 0; i < WIDTH; i++) {
        lf_planned *t = take_last(&w);
        CHECK_STR(name_of(&w, t), names[i]);
        finish(&w, t, 0, NULL);
    }
    lf_planned *z = take_last(&w);
    CHECK_INT(z->n_inputs, WIDTH);
    CHECK(z->inputs[0] == 2 && z->inputs[WIDTH - 1] == WIDTH + 1);
    done_with(&w);
}

TEST(tasks_put_back_are_the_next_in_their_order)
{
    world w = plan_of("start: *a; a: j; join j");
    finish(&w, take(&w, "start"), 9, NULL);
    lf_planned *t[5];
    CHECK_INT(lf_plan_take(w.plan, step_of(&w, "a"), 5, t), 5);
    const int orders[3][4] = {{1, 2, 3, 4}, {4, 3, 2, 1}, {2, 4, 1, 3}};
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < 4; i++)
            lf_plan_return(w.plan, t[orders[k][i]]);
        CHECK_INT(lf_plan_running(w.plan), 1);
        CHECK_INT(lf_plan_ready_count(w.plan, step_of(&w, "a")), 8);
        CHECK_INT(lf_plan_take(w.plan, step_of(&w, "a"), 4, t + 1), 4);
        for (uint32_t i = 0; i < 5; i++)
            CHECK(t[i]->number == i + 2 && t[i]->index == i + 1);
    }
    CHECK_INT(take(&w, "a")->index, 6);
    done_with(&w);
}

/* ---- failures ---- */

TEST(nothing_follows_a_failed_task)
{
    check_story("start: a; a: finish; finish", "a=!", "a failed < start\nstart\n");
}

TEST(a_join_does_not_wait_for_a_failed_input_but_never_runs)
{
    check_story("start: *a; a: b; b: j; join j: finish; finish", "start=3 a[2]=!",
                "a[1] < start\na[2] failed < start\na[3] < start\nb[1] < a[1]\nb[3] < a[3]\n"
                "start\n");
}

TEST(what_does_not_depend_on_a_failure_can_run)
{
    check_story("start: *a; a: b c; b: *w; c: k; w: i; join i: k; join k: d; d: j; join j",
                "start=2 b=2 w[1][2]=!",
                "a[1] < start\na[2] < start\nb[1] < a[1]\nb[2] < a[2]\nc[1] < a[1]\nc[2] < a[2]\n"
                "d[2] < k[2]\ni[2] <- w[2][1] w[2][2]\nk[2] <- i[2] c[2]\nstart\n"
                "w[1][1] < b[1]\nw[1][2] failed < b[1]\nw[2][1] < b[2]\nw[2][2] < b[2]\n");
}

TEST(a_frame_with_a_failure_is_let_go_when_its_last_child_ends)
{
    world w = plan_of("start: *a; a: j; join j");
    finish(&w, take(&w, "start"), 3, NULL);
    lf_plan_fail(w.plan, take(&w, "a"));
    pass(&w, "a");
    CHECK_INT(things_alive, 1);
    lf_plan_fail(w.plan, take(&w, "a"));
    CHECK_INT(things_alive, 0);
    CHECK(lf_plan_ready(w.plan, NULL, NULL) == LF_NONE);
    CHECK(!lf_plan_done(w.plan));
    CHECK_INT(lf_plan_running(w.plan), 0);
    done_with(&w);
}

TEST(a_plan_may_be_freed_in_the_middle)
{
    for (int stop = 0; stop < 12; stop++) {
        world w = plan_of("start: *s; s: a b; a ? more=a good=j; b: j; join j: i; join i");
        for (int i = 0; i < stop; i++) {
            lf_planned *t = take_last(&w);
            if (i % 5 != 4) /* the others stay out */
                finish(&w, t, 3, t->turn == 1 ? "a" : "j");
        }
        done_with(&w);
    }
}

TEST(a_run_has_no_more_tasks_than_numbers)
{
    world w = plan_of("start: *a; a: *b; b: k; join k: j; join j");
    finish(&w, take(&w, "start"), 2, NULL);
    lf_decision d = {.width = UINT64_MAX};
    CHECK_INT(lf_plan_finish(w.plan, take(&w, "a"), &d), LUAFLOW_EUSAGE);
    d.width = UINT32_MAX - 3;
    CHECK_INT(lf_plan_finish(w.plan, take(&w, "a"), &d), LUAFLOW_EUSAGE);
    CHECK_INT(lf_plan_running(w.plan), 0);
    CHECK(lf_plan_ready(w.plan, NULL, NULL) == LF_NONE);
    CHECK_INT(things_alive, 0);
    done_with(&w);
}

/* ---- size ---- */

TEST(a_wide_foreach_costs_four_bytes_an_element_and_what_is_running)
{
    enum { WIDTH = 100000, AT_ONCE = 8 };
    world w = plan_of("start: *a; a: b; b: j; join j");
    uint32_t b = step_of(&w, "b");
    finish(&w, take(&w, "start"), WIDTH, NULL);
    lf_planned *t[AT_ONCE];
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, most = before;
    for (size_t done = 0; done < WIDTH; done += AT_ONCE) {
        CHECK_INT(lf_plan_take(w.plan, step_of(&w, "a"), AT_ONCE, t), AT_ONCE);
        for (size_t i = AT_ONCE; i-- > 0;)
            finish(&w, t[i], 0, NULL);
        CHECK_INT(lf_plan_take(w.plan, b, AT_ONCE, t), AT_ONCE);
        for (size_t i = 0; i < AT_ONCE; i++)
            finish(&w, t[i], 0, NULL);
        size_t now = mallinfo2().uordblks + mallinfo2().hblkhd;
        if (now > most)
            most = now;
    }
    CHECK(most - before < 64 * 1024);
    CHECK(most_things <= 2 + AT_ONCE);
    lf_planned *j = take(&w, "j");
    CHECK_INT(j->n_inputs, WIDTH);
    /* the numbers of a's and b's alternate in eights, and b's run backwards */
    for (uint32_t i = 0; i < WIDTH; i++) {
        uint32_t first = 2 + i / AT_ONCE * 2 * AT_ONCE + AT_ONCE;
        CHECK(j->inputs[i] == first + (AT_ONCE - 1 - i % AT_ONCE));
    }
    finish(&w, j, 0, NULL);
    CHECK(lf_plan_done(w.plan));
    done_with(&w);
}

TEST(a_million_elements_that_have_not_begun_are_free)
{
    world w = plan_of("start: *a; a: *b; b: k; join k: j; join j");
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    finish(&w, take(&w, "start"), 1000000, NULL);
    CHECK(mallinfo2().uordblks + mallinfo2().hblkhd - before < 4 * 1000000 + 64 * 1024);
    CHECK_INT(lf_plan_ready_count(w.plan, step_of(&w, "a")), 1000000);
    done_with(&w);
}
