/* Flows are written here as in "start: a b; a: j; b: j; join j: finish; finish": a step
 * and its targets; with * a foreach, with ? a switch (its cases are 1, 2, …), with & a
 * branch however many targets it has, with ! a step whose transition is known to be wrong,
 * with ~ one that may be a join or not. */
#include "graph.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 16 };

static lf_slice key_of(size_t i)
{
    static const char keys[] = "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20";
    return lf_slice_of(keys + i, 1);
}

static void add_step(lf_graph *g, char *text, const char *where)
{
    lf_step_spec spec = {.where = where, .has_function = true, .over = "x"};
    const char *next[WORDS], *texts[WORDS];
    lf_slice keys[WORDS];
    char *targets = strchr(text, ':'), *rest;
    bool branch = false;
    if (targets != NULL)
        *targets++ = '\0';
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (strcmp(word, "join") == 0 && spec.name == NULL && *rest != '\0')
            spec.is_join = true;
        else
            spec.name = word;
    }
    char *mark = (char *)spec.name + strlen(spec.name) - 1;
    spec.kind = targets == NULL ? LF_LAST : LF_LINEAR;
    if (*mark == '*') spec.kind = LF_FOREACH;
    if (*mark == '?') spec.kind = LF_SWITCH;
    if (*mark == '&') branch = true;
    if (*mark == '!') spec.broken = true;
    if (*mark == '~') spec.doubtful = true;
    if (strchr("*?&!~", *mark) != NULL)
        *mark = '\0';
    for (char *word = targets ? strtok_r(targets, " ", &rest) : NULL; word;
         word = strtok_r(NULL, " ", &rest)) {
        texts[spec.n_next] = "'k'";
        keys[spec.n_next] = key_of(spec.n_next);
        next[spec.n_next++] = word;
    }
    if (branch || (spec.kind == LF_LINEAR && spec.n_next > 1))
        spec.kind = LF_BRANCH;
    spec.next = next;
    spec.case_keys = spec.kind == LF_SWITCH ? keys : NULL;
    spec.case_texts = spec.kind == LF_SWITCH ? texts : NULL;
    assert_int_equal(lf_graph_add(g, &spec), LUAFLOW_OK);
}

static lf_graph *build(const char *flow)
{
    lf_graph *g = lf_graph_new();
    char *text = strdup(flow), *rest;
    int line = 0;
    for (char *step = strtok_r(text, ";", &rest); step; step = strtok_r(NULL, ";", &rest)) {
        char where[32];
        snprintf(where, sizeof where, "f.lua:%d", ++line);
        add_step(g, step, where);
    }
    free(text);
    return g;
}

static void note(void *payload, const char *where, const char *sentence)
{
    lf_bytes_printf(payload, "%s: %s\n", where == NULL ? "f.lua" : where, sentence);
}

/* Everything that is told of a flow. */
static const char *told(const char *flow)
{
    static lf_bytes text;
    lf_bytes_fini(&text);
    lf_graph *g = build(flow);
    int rc = lf_graph_seal(g, note, &text);
    const char *all = lf_bytes_cstr(&text);
    assert_int_equal(rc, *all == '\0' ? LUAFLOW_OK : LUAFLOW_EFLOW);
    lf_graph_free(g);
    if (getenv("SHOW") != NULL)
        fprintf(stderr, "%s\n%s\n", flow, all);
    return all;
}

static lf_graph *sealed(const char *flow)
{
    lf_bytes text = {0};
    lf_graph *g = build(flow);
    int rc = lf_graph_seal(g, note, &text);
    if (rc != LUAFLOW_OK)
        fail_msg("%s", lf_bytes_cstr(&text));
    lf_bytes_fini(&text);
    return g;
}

/* The names in topological order. */
static const char *order(const char *flow)
{
    static lf_bytes text;
    lf_bytes_clear(&text);
    lf_graph *g = sealed(flow);
    for (uint32_t i = 0; i < lf_graph_size(g); i++)
        lf_bytes_printf(&text, "%s%s", i == 0 ? "" : " ", lf_graph_step(g, i)->name);
    lf_graph_free(g);
    return lf_bytes_cstr(&text);
}

static const lf_step *step(const lf_graph *g, const char *name)
{
    uint32_t number = lf_graph_find(g, name);
    assert_int_not_equal(number, LF_NONE);
    return lf_graph_step(g, number);
}

#define FINE(flow) CHECK_STR(told(flow), "")

/* ---- what is a flow ---- */

TEST(one_step_is_a_flow) { FINE("start"); }
TEST(a_line_is_a_flow) { FINE("start: a; a: finish; finish"); }
TEST(a_branch_and_its_join) { FINE("start: a b; a: j; b: j; join j: finish; finish"); }
TEST(a_foreach_and_its_join) { FINE("start*: a; a: j; join j"); }
TEST(the_cases_of_a_switch_may_meet) { FINE("start?: a b; a: finish; b: finish; finish"); }
TEST(two_cases_may_go_to_one_step) { FINE("start?: a a; a"); }
TEST(a_case_may_be_the_join_around_it)
{
    FINE("start: a b; a?: x j; x: j; b: j; join j");
    FINE("start*: a; a?: a j; join j");
}
TEST(splits_nest)
{
    FINE("start: a b; a*: x; x: aj; join aj: j; b: c d; c: bj; d: bj; join bj: j; join j");
    FINE("start*: a; a*: b; b*: c; c: j1; join j1: j2; join j2: j3; join j3");
}
TEST(a_join_may_split_again)
{
    FINE("start: a b; a: j; b: j; join j: c d; c: k; d: k; join k*: e; e: l; join l");
}
TEST(a_step_may_loop_on_itself) { FINE("start: work; work?: work finish; finish"); }
TEST(a_loop_may_hold_several_steps) { FINE("start: a; a: b; b?: a finish; finish"); }
TEST(a_loop_may_go_back_to_start) { FINE("start: b; b?: start finish; finish"); }
TEST(a_loop_may_hold_a_foreach) { FINE("start: s; s*: w; w: j; join j?: s finish; finish"); }
TEST(a_loop_may_be_inside_a_foreach) { FINE("start*: w; w?: w v; v: j; join j"); }
TEST(loops_nest_and_cross)
{
    FINE("start: a; a: b; b?: b a c; c?: a b finish; finish");
    FINE("start?: a b; a?: b finish; b?: a finish; finish");
}

/* ---- what is not ---- */

TEST(a_flow_needs_a_start)
{
    CHECK_STR(told("strat: finish; finish"),
              "f.lua: the flow has no step 'start', which is the first to run; add it, or rename "
              "'strat'\n");
    CHECK_STR(told("a: b; c: b; b"),
              "f.lua: the flow has no step 'start', which is the first to run; add it\n");
    CHECK_STR(told(""),
              "f.lua: the flow has no step 'start', which is the first to run; add it\n");
}

TEST(an_unknown_target_is_told_with_the_nearest_step_and_nothing_that_follows)
{
    CHECK_STR(told("start: fnish; finish"),
              "f.lua:1: step 'start' goes to 'fnish', which this flow does not have; the nearest "
              "step is 'finish'\n");
    CHECK_STR(told("start: a b; a: jion; b: jion; join join: finish; finish"),
              "f.lua:2: step 'a' goes to 'jion', which this flow does not have; the nearest step "
              "is 'join'\n"
              "f.lua:3: step 'b' goes to 'jion', which this flow does not have; the nearest step "
              "is 'join'\n");
    CHECK_STR(told("start?: a nowhere; a"),
              "f.lua:1: step 'start' goes to 'nowhere' in the case 'k', which this flow does not "
              "have; the nearest step is 'start'\n");
    CHECK_STR(told("start: nowhere"),
              "f.lua:1: step 'start' goes to 'nowhere', which this flow does not have; the nearest "
              "step is 'start'\n");
}

TEST(a_step_that_an_unknown_target_may_mean_is_told_without_those_behind_it)
{
    CHECK_STR(told("start: elsewhere_x; s1: finish; finish"),
              "f.lua:1: step 'start' goes to 'elsewhere_x', which this flow does not have; the "
              "nearest step is 'start'\n"
              "f.lua:2: step 's1' is never reached: no step goes to it, unless 'elsewhere_x' means "
              "it; name it in the `next` of another step, or remove it\n");
    CHECK_STR(told("start: a b; a: faraway; b: elsewhere; s: j; join j: finish; finish"),
              "f.lua:2: step 'a' goes to 'faraway', which this flow does not have; the nearest "
              "step is 'a'\n"
              "f.lua:3: step 'b' goes to 'elsewhere', which this flow does not have; the nearest "
              "step is 'start'\n"
              "f.lua:4: step 's' is never reached: no step goes to it, unless one of the unknown "
              "targets means it; name it in the `next` of another step, or remove it\n");
}

TEST(an_unknown_target_hides_no_step_that_is_never_reached)
{
    CHECK_STR(told("start: a b; a: nowhere; b: j; join j: finish; island: finish; finish"),
              "f.lua:2: step 'a' goes to 'nowhere', which this flow does not have; the nearest "
              "step is 'start'\n"
              "f.lua:5: step 'island' is never reached: no step goes to it, unless 'nowhere' means "
              "it; name it in the `next` of another step, or remove it\n");
    CHECK_STR(told("start: fnish; island: a; a: finish; finish"),
              "f.lua:1: step 'start' goes to 'fnish', which this flow does not have; the nearest "
              "step is 'finish'\n"
              "f.lua:2: step 'island' is never reached: no step goes to it (nor is 'a', behind it); "
              "name it in the `next` of another step, or remove it\n");
    CHECK_STR(told("start: finish; a: nowhere; finish"),
              "f.lua:2: step 'a' goes to 'nowhere', which this flow does not have; the nearest "
              "step is 'start'\n"
              "f.lua:2: step 'a' is never reached: no step goes to it; name it in the `next` of "
              "another step, or remove it\n");
}

TEST(an_unreachable_step_is_told_with_those_behind_it)
{
    CHECK_STR(told("start: finish; a: b; b: c; c: finish; finish"),
              "f.lua:2: step 'a' is never reached: no step goes to it (nor are 'b' and 'c', behind "
              "it); name it in the `next` of another step, or remove it\n");
    CHECK_STR(told("start; a?: a b; b: a"),
              "f.lua:2: step 'a' is never reached: only steps that are never reached go to it (nor "
              "is 'b', behind it); name it in the `next` of another step, or remove it\n");
}

TEST(a_flow_has_one_last_step)
{
    CHECK_STR(told("start?: a b; a; b"),
              "f.lua:2: steps 'a' and 'b' have no `next`, and a flow has one last step; give the "
              "others a `next`\n");
    CHECK_STR(told("start: a; a; finish"),
              "f.lua:3: step 'finish' is never reached: no step goes to it; name it in the `next` "
              "of another step, or remove it\n"
              "f.lua:2: steps 'a' and 'finish' have no `next`, and a flow has one last step; give "
              "the others a `next`\n");
    CHECK_STR(told("start: a; a?: start a"),
              "f.lua: the flow has no last step: every step has a `next`; the last, 'finish' by "
              "convention, has none\n");
}

TEST(what_splits_must_be_joined)
{
    CHECK_STR(told("start*: a; a: finish; finish"),
              "f.lua:1: the foreach of step 'start' is not joined: it is still open in 'finish', "
              "the last step; close it in a step that takes inputs, function(self, inputs)\n");
    CHECK_STR(told("start*: a; a*: b; b: j; join j"),
              "f.lua:1: the foreach of step 'start' is not joined: it is still open in 'j', "
              "the last step; close it in a step that takes inputs, function(self, inputs)\n");
    CHECK_STR(told("start: s1; s1*: s5; s5; join j: finish; finish"),
              "f.lua:4: step 'j' is never reached: no step goes to it (nor is 'finish', behind "
              "it); name it in the `next` of another step, or remove it\n"
              "f.lua:5: steps 'finish' and 's5' have no `next`, and a flow has one last step; give "
              "the others a `next`\n"
              "f.lua:2: the foreach of step 's1' is not joined: it is still open in 's5', which has "
              "no `next`; lead it to a step that takes inputs, function(self, inputs)\n");
    CHECK_STR(told("start: a b; a: j; b: finish; join j: finish; finish"),
              "f.lua:5: step 'finish' is reached from inside the branch of 'start' (by 'b') and "
              "from outside it (by 'j'); join the branch before 'finish'\n");
    CHECK_STR(told("start: a b; a: j; b; join j: finish; finish"),
              "f.lua:3: steps 'b' and 'finish' have no `next`, and a flow has one last step; give "
              "the others a `next`\n");
    CHECK_STR(told("start?: a b; a*: x; b*: y; x: finish; y: finish; finish"),
              "f.lua:6: step 'finish' is reached from inside the foreach of 'a' and from inside "
              "the foreach of 'b'; join each of them before\n");
}

TEST(a_split_is_joined_by_one_step)
{
    CHECK_STR(told("start: a b; a: j; b: k; join j: finish; join k: finish; finish"),
              "f.lua:1: the branch of step 'start' is joined by two steps, 'j' and 'k'; let all of "
              "it go to one\n");
}

TEST(a_join_closes_something)
{
    CHECK_STR(told("start: j; join j"),
              "f.lua:2: step 'j' is a join (its function takes `inputs`) that closes nothing: no "
              "branch or foreach is open there; write function(self)\n");
    CHECK_STR(told("join start: a; a"),
              "f.lua:1: step 'start' is a join (its function takes `inputs`) that closes nothing: "
              "no branch or foreach is open there; write function(self)\n");
}

TEST(a_forgotten_inputs_is_suspected_where_branches_meet)
{
    CHECK_STR(told("start: a b; a: m; b: m; m: finish; finish"),
              "f.lua:4: step 'm' is reached by two branches of 'start', 'a' and 'b', but is not "
              "their join; did its function forget the second parameter? write function(self, "
              "inputs)\n");
    CHECK_STR(told("start: a b c; a: m; b: m; c: m; m"),
              "f.lua:5: step 'm' is reached by two branches of 'start', 'a' and 'b', but is not "
              "their join; did its function forget the second parameter? write function(self, "
              "inputs)\n");
    CHECK_STR(told("start: a b; a*: x; x: m; b: m; m"),
              "f.lua:5: step 'm' is reached by two branches of 'start', 'a' and 'b', but is not "
              "their join; did its function forget the second parameter? write function(self, "
              "inputs)\n");
}

TEST(a_step_shared_by_branches_that_join_later_is_told)
{
    CHECK_STR(told("start: a b; a: m; b: m; m: j; join j"),
              "f.lua:4: step 'm' is reached by two branches of 'start', 'a' and 'b', but is not "
              "their join; did its function forget the second parameter? write function(self, "
              "inputs)\n");
}

TEST(a_join_is_not_blamed_for_a_meeting_before_it)
{
    CHECK_STR(told("start: a b c; a: m; b: m; c: j; m: j; join j: finish; finish"),
              "f.lua:5: step 'm' is reached by two branches of 'start', 'a' and 'b', but is not "
              "their join; did its function forget the second parameter? write function(self, "
              "inputs)\n");
}

TEST(a_join_closes_branches_of_one_depth)
{
    CHECK_STR(told("start: a b; a*: x; x: j; b: j; join j: finish; finish"),
              "f.lua:5: step 'j' joins branches of different depth: 'x' comes from inside the "
              "foreach of 'a', 'b' does not; join the foreach in a step of its own first\n");
    CHECK_STR(told("start?: a b; a*: x; x: j; b: j; join j: finish; finish"),
              "f.lua:5: step 'j' joins branches of different depth: 'x' comes from inside the "
              "foreach of 'a', 'b' does not; join the foreach in a step of its own first\n");
}

TEST(a_join_closes_one_split)
{
    CHECK_STR(told("start: a b; a*: x; x: j; b*: y; y: j; join j: finish; finish"),
              "f.lua:6: step 'j' joins the foreach of 'a' and the foreach of 'b' at once; a join "
              "closes one: join each in a step of its own\n");
}

TEST(a_cycle_needs_a_switch)
{
    CHECK_STR(told("start: a; a: b; b: a; finish"),
              "f.lua:4: step 'finish' is never reached: no step goes to it; name it in the `next` "
              "of another step, or remove it\n"
              "f.lua:2: step 'a' is in a cycle that no switch closes, 'a' → 'b' → 'a'; let a "
              "switch decide when to leave it, or remove the way back\n");
    CHECK_STR(told("start: a b; a: a; b: j; join j"),
              "f.lua:2: step 'a' is in a cycle that no switch closes, 'a' → 'a'; let a switch "
              "decide when to leave it, or remove the way back\n");
    CHECK_STR(told("start?: start f a; a: b; b: c; c: d; d: e; e: g; g: h; h: i; i: a; f"),
              "f.lua:2: step 'a' is in a cycle that no switch closes, 'a' → 'b' → 'c' → 'd' → 'e' "
              "→ 'g' → … → 'i' → 'a'; let a switch decide when to leave it, or remove the way "
              "back\n");
}

TEST(a_loop_stays_at_one_nesting)
{
    CHECK_STR(told("start: s; s*: w; w?: s j; join j"),
              "f.lua:3: step 'w' goes back to 's', which is outside the foreach of 's'; a loop "
              "stays at one nesting: join it before going back\n");
    CHECK_STR(told("start*: w; w: j; join j?: w finish; finish"),
              "f.lua:3: step 'j' goes back to 'w', which is inside the foreach of 'start'; a loop "
              "stays at one nesting: go back to a step before it\n");
    CHECK_STR(told("start*: w; w: j; join j: k; k?: j finish; finish"),
              "f.lua:4: step 'k' goes back to the join 'j'; a loop goes back to a step that is no "
              "join\n");
}

TEST(a_loop_has_a_way_out)
{
    CHECK_STR(told("start?: a finish; a: b; b?: a b; finish"),
              "f.lua:3: step 'b' loops for ever: every case of its switch leads back, and none to "
              "the last step; add a case that leads out of the loop\n");
    CHECK_STR(told("start: w v; w?: w w; v: j; join j"),
              "f.lua:2: step 'w' loops for ever: every case of its switch leads back, and none to "
              "the last step; add a case that leads out of the loop\n");
}


TEST(a_split_and_its_join_have_a_step_between)
{
    CHECK_STR(told("start*: j; join j"),
              "f.lua:1: step 'start' goes straight to its join 'j'; at least one step stands "
              "between a foreach and its join; write function(self) if 'j' is no join\n");
    CHECK_STR(told("start: a j; a: j; join j"),
              "f.lua:1: step 'start' goes straight to its join 'j'; at least one step stands "
              "between a branch and its join; write function(self) if 'j' is no join\n");
}

TEST(a_superfluous_inputs_is_told_alone)
{
    CHECK_STR(told("start: s1; s1: s2 s3 s5; join s2: s6; s3: s6; s5: s6; join s6: finish; finish"),
              "f.lua:2: step 's1' goes straight to its join 's2'; at least one step stands between "
              "a branch and its join; write function(self) if 's2' is no join\n");
    CHECK_STR(told("start*: s2; join s2: s7; join s7: finish; finish"),
              "f.lua:1: step 'start' goes straight to its join 's2'; at least one step stands "
              "between a foreach and its join; write function(self) if 's2' is no join\n");
    CHECK_STR(told("start: a b; a: c; join c*: d; d: e; join e: j; b: j; join j"),
              "f.lua:3: step 'c' is a join (its function takes `inputs`) that is reached by one "
              "branch of 'start' only, 'a'; write function(self) if it is no join\n");
    CHECK_STR(told("start*: w; join w?: w v; v: j; join j"),
              "f.lua:1: step 'start' goes straight to its join 'w'; at least one step stands "
              "between a foreach and its join; write function(self) if 'w' is no join\n");
    CHECK_STR(told("start: a b; join a: j; join b: j; join j: k; join k"),
              "f.lua:1: step 'start' goes straight to its join 'a'; at least one step stands "
              "between a branch and its join; write function(self) if 'a' is no join\n"
              "f.lua:1: step 'start' goes straight to its join 'b'; at least one step stands "
              "between a branch and its join; write function(self) if 'b' is no join\n"
              "f.lua:5: step 'k' is a join (its function takes `inputs`) that closes nothing: no "
              "branch or foreach is open there; write function(self)\n");
}

TEST(a_join_that_lacks_a_step_before_it_is_told_alone)
{
    CHECK_STR(told("start*: o; o*: i; join i: j; join j: k; k"),
              "f.lua:2: step 'o' goes straight to its join 'i'; at least one step stands between a "
              "foreach and its join; write function(self) if 'i' is no join\n");
    CHECK_STR(told("start*: j; join j*: a; a: k; join k: finish; finish"),
              "f.lua:1: step 'start' goes straight to its join 'j'; at least one step stands "
              "between a foreach and its join; write function(self) if 'j' is no join\n");
}

TEST(a_branch_names_two_or_more_different_steps)
{
    CHECK_STR(told("start&: a; a"),
              "f.lua:1: step 'start' branches to one step only; write next = \"a\", or name two "
              "or more different steps\n");
    CHECK_STR(told("start: a a; a: finish; finish"),
              "f.lua:1: step 'start' branches to 'a' twice; a branch names different steps\n");
    CHECK_STR(told("start: a b a; a: j; b: j; join j"),
              "f.lua:1: step 'start' branches to 'a' twice; a branch names different steps\n");
    CHECK_STR(told("start&:; finish"),
              "f.lua:1: step 'start' has an empty `next`; name its successor, or leave `next` out "
              "if it is the last step\n"
              "f.lua:2: step 'finish' is never reached: no step goes to it; name it in the `next` "
              "of another step, or remove it\n");
}

TEST(a_foreach_names_one_step)
{
    CHECK_STR(told("start*:; finish"),
              "f.lua:1: step 'start' has foreach = \"x\" but no `next`; a foreach needs the one "
              "step to run for each element, as in next = \"work\"\n"
              "f.lua:2: step 'finish' is never reached: no step goes to it; name it in the `next` "
              "of another step, or remove it\n");
    CHECK_STR(told("start*: a b; a: j; b: j; join j"),
              "f.lua:1: step 'start' has foreach = \"x\" but several steps in `next`; a foreach "
              "needs the one step to run for each element, as in next = \"work\"\n");
}

TEST(a_switch_names_a_step)
{
    CHECK_STR(told("start?:"),
              "f.lua:1: step 'start' has switch = \"x\" but no target; write next = { key = "
              "\"step\", … } with a step for every value\n");
}

TEST(a_broken_step_fails_the_flow_without_a_word)
{
    lf_bytes text = {0};
    lf_graph *g = build("start!: a b; a: j; b: j; join j: finish; finish");
    CHECK_INT(lf_graph_seal(g, note, &text), LUAFLOW_EFLOW);
    CHECK_INT(text.size, 0);
    lf_graph_free(g);
    g = build("start!:; a: b; b: a; finish");
    CHECK_INT(lf_graph_seal(g, note, &text), LUAFLOW_EFLOW);
    CHECK_INT(text.size, 0);
    lf_graph_free(g);
    lf_bytes_fini(&text);
}

TEST(a_step_that_may_be_a_join_fails_the_flow_but_hides_no_other_problem)
{
    lf_bytes text = {0};
    lf_graph *g = build("start: a b; a: j; b: j; j~: finish; lonely: finish; finish");
    CHECK_INT(lf_graph_seal(g, note, &text), LUAFLOW_EFLOW);
    CHECK_STR(lf_bytes_cstr(&text), "f.lua:5: step 'lonely' is never reached: no step goes to it; "
                                    "name it in the `next` of another step, or remove it\n");
    lf_graph_free(g);
    lf_bytes_fini(&text);
}

TEST(all_problems_are_told_in_one_go)
{
    CHECK_STR(told("start: nowhere; lonely: finish; f*: x; x: finish; finish"),
              "f.lua:1: step 'start' goes to 'nowhere', which this flow does not have; the "
              "nearest step is 'lonely'\n"
              "f.lua:2: step 'lonely' is never reached: no step goes to it, unless 'nowhere' means "
              "it; name it in the `next` of another step, or remove it\n"
              "f.lua:3: step 'f' is never reached: no step goes to it, unless 'nowhere' means it; "
              "name it in the `next` of another step, or remove it\n");
    CHECK_STR(told("start: s1; finish; s1: s1; s2?: s1 finish"),
              "f.lua:4: step 's2' is never reached: no step goes to it (nor is 'finish', behind "
              "it); name it in the `next` of another step, or remove it\n"
              "f.lua:3: step 's1' is in a cycle that no switch closes, 's1' → 's1'; let a switch "
              "decide when to leave it, or remove the way back\n");
    CHECK_STR(told("start*: a; a: m; m: s; s: b c; b: t; c: t; t: finsh; finish"),
              "f.lua:7: step 't' goes to 'finsh', which this flow does not have; the nearest step "
              "is 'finish'\n"
              "f.lua:7: step 't' is reached by two branches of 's', 'b' and 'c', but is not their "
              "join; did its function forget the second parameter? write function(self, inputs)\n"
              "f.lua:1: the foreach of step 'start' is not joined: it is still open in 'finish', "
              "the last step; close it in a step that takes inputs, function(self, inputs)\n");
}

/* ---- what a sealed graph knows ---- */

TEST(steps_are_in_topological_order_and_then_by_name)
{
    CHECK_STR(order("start: b a c; c: j; a: j; b: j; join j: finish; finish"),
              "start a b c j finish");
    CHECK_STR(order("start: z b; z: a; a: j; b: c; c: j; join j"), "start b c z a j");
    CHECK_STR(order("start: z; z?: m finish; m: a; a?: z m; finish"), "start z finish m a");
    CHECK_STR(order("finish; start: finish"), "start finish");
}

TEST(targets_keep_their_declared_order)
{
    lf_graph *g = sealed("start: b a; a: j; b: j; join j");
    const lf_step *start = step(g, "start");
    CHECK_INT(start->n_next, 2);
    CHECK_STR(lf_graph_step(g, start->next[0])->name, "b");
    CHECK_STR(lf_graph_step(g, start->next[1])->name, "a");
    lf_graph_free(g);
}

TEST(a_split_knows_its_join)
{
    lf_graph *g = sealed("start: a b; a*: x; x: aj; join aj: j; b: j; join j: c; c");
    CHECK_INT(step(g, "start")->join, lf_graph_find(g, "j"));
    CHECK_INT(step(g, "a")->join, lf_graph_find(g, "aj"));
    CHECK_INT(step(g, "b")->join, LF_NONE);
    CHECK(step(g, "j")->is_join && !step(g, "c")->is_join);
    lf_graph_free(g);
}

TEST(a_switch_finds_the_step_of_a_key)
{
    lf_graph *g = sealed("start?: b a b; a: b; b");
    const lf_step *start = step(g, "start");
    CHECK_INT(lf_step_case(start, key_of(0)), lf_graph_find(g, "b"));
    CHECK_INT(lf_step_case(start, key_of(1)), lf_graph_find(g, "a"));
    CHECK_INT(lf_step_case(start, key_of(2)), lf_graph_find(g, "b"));
    CHECK_INT(lf_step_case(start, key_of(3)), LF_NONE);
    CHECK_INT(lf_step_case(step(g, "a"), key_of(0)), LF_NONE);
    lf_graph_free(g);
}

TEST(steps_are_found_by_name)
{
    lf_graph *g = sealed("start: b; b: a; a");
    CHECK_INT(lf_graph_find(g, "start"), 0);
    CHECK_INT(lf_graph_find(g, "b"), 1);
    CHECK_INT(lf_graph_find(g, "a"), 2);
    CHECK_INT(lf_graph_find(g, "c"), LF_NONE);
    CHECK_INT(lf_graph_find(g, ""), LF_NONE);
    lf_graph_free(g);
}

TEST(steps_that_may_run_again_in_one_place_have_a_slot)
{
    lf_graph *g = sealed("start: s; s*: w; w?: w v; v: j; join j?: s finish; finish");
    CHECK(!step(g, "start")->in_loop && !step(g, "finish")->in_loop);
    CHECK(step(g, "s")->in_loop && step(g, "j")->in_loop && step(g, "w")->in_loop);
    CHECK(!step(g, "v")->in_loop); /* once in each element of each turn */
    CHECK_INT(lf_graph_loop_slots(g), 3);
    bool slots[3] = {false};
    slots[step(g, "s")->loop_slot] = slots[step(g, "j")->loop_slot] = true;
    slots[step(g, "w")->loop_slot] = true;
    CHECK(slots[0] && slots[1] && slots[2]);
    lf_graph_free(g);
}

TEST(a_sealed_graph_keeps_its_own_copy_of_everything)
{
    char name[] = "start", where[] = "f.lua:1", catch_name[] = "failure", env[] = "KEY";
    lf_env_var variable = {env, env};
    lf_step_spec spec = {
        .name = name, .where = where, .kind = LF_LAST, .has_function = true,
        .attributes = {.retry_times = 2, .timeout = 0.5, .isolate = true, .cpu = 3,
                       .catch_name = catch_name, .env = &variable, .n_env = 1},
    };
    lf_graph *g = lf_graph_new();
    CHECK_INT(lf_graph_add(g, &spec), LUAFLOW_OK);
    memset(name, 'x', 2), memset(where, 'x', 2), memset(catch_name, 'x', 2), memset(env, 'x', 2);
    CHECK_INT(lf_graph_seal(g, note, NULL), LUAFLOW_OK);
    const lf_step *s = lf_graph_step(g, 0);
    CHECK_STR(s->name, "start");
    CHECK_STR(s->where, "f.lua:1");
    CHECK(s->has_function && s->kind == LF_LAST && s->n_next == 0 && s->join == LF_NONE);
    CHECK_INT(s->attributes.retry_times, 2);
    CHECK_INT(s->attributes.cpu, 3);
    CHECK(s->attributes.timeout == 0.5 && s->attributes.isolate);
    CHECK_STR(s->attributes.catch_name, "failure");
    CHECK_INT(s->attributes.n_env, 1);
    CHECK_STR(s->attributes.env[0].name, "KEY");
    CHECK_STR(s->attributes.env[0].value, "KEY");
    lf_graph_free(g);
}

/* ---- large flows ---- */

static void add_numbered(lf_graph *g, lf_kind kind, const char *name, const char *next, bool join)
{
    lf_step_spec spec = {.name = name, .kind = kind, .is_join = join, .over = "x",
                         .n_next = next != NULL, .next = &next};
    assert_int_equal(lf_graph_add(g, &spec), LUAFLOW_OK);
}

TEST(a_chain_of_100000_steps_is_sealed_without_recursion)
{
    enum { LONG = 100000 };
    lf_graph *g = lf_graph_new();
    char name[16], next[16];
    for (int i = 0; i < LONG; i++) {
        snprintf(name, sizeof name, i == 0 ? "start" : "s%d", i);
        snprintf(next, sizeof next, "s%d", i + 1);
        bool last = i + 1 == LONG;
        add_numbered(g, last ? LF_LAST : LF_LINEAR, name, last ? NULL : next, false);
    }
    CHECK_INT(lf_graph_seal(g, note, NULL), LUAFLOW_OK);
    CHECK_INT(lf_graph_find(g, "s99999"), 99999);
    lf_graph_free(g);
}

TEST(foreaches_nest_5000_deep)
{
    enum { DEEP = 5000 };
    lf_graph *g = lf_graph_new();
    char name[16], next[16];
    for (int i = 0; i < DEEP; i++) {
        snprintf(name, sizeof name, i == 0 ? "start" : "s%d", i);
        snprintf(next, sizeof next, i + 1 < DEEP ? "s%d" : "w", i + 1);
        add_numbered(g, LF_FOREACH, name, next, false);
    }
    add_numbered(g, LF_LINEAR, "w", "j4999", false);
    for (int i = DEEP - 1; i >= 0; i--) {
        snprintf(name, sizeof name, "j%d", i);
        snprintf(next, sizeof next, "j%d", i - 1);
        add_numbered(g, i > 0 ? LF_LINEAR : LF_LAST, name, i > 0 ? next : NULL, true);
    }
    CHECK_INT(lf_graph_seal(g, note, NULL), LUAFLOW_OK);
    CHECK_INT(step(g, "s17")->join, lf_graph_find(g, "j17"));
    lf_graph_free(g);
}

TEST(a_branch_may_have_10000_arms)
{
    enum { WIDE = 10000 };
    static char names[WIDE][16];
    static const char *next[WIDE];
    lf_graph *g = lf_graph_new();
    for (int i = 0; i < WIDE; i++) {
        snprintf(names[i], sizeof names[i], "arm%d", i);
        next[i] = names[i];
        add_numbered(g, LF_LINEAR, names[i], "j", false);
    }
    add_numbered(g, LF_LAST, "j", NULL, true);
    lf_step_spec spec = {.name = "start", .kind = LF_BRANCH, .n_next = WIDE, .next = next};
    CHECK_INT(lf_graph_add(g, &spec), LUAFLOW_OK);
    CHECK_INT(lf_graph_seal(g, note, NULL), LUAFLOW_OK);
    CHECK_INT(step(g, "start")->join, lf_graph_find(g, "j"));
    CHECK_INT(step(g, "start")->next[7], lf_graph_find(g, "arm7"));
    lf_graph_free(g);
}
