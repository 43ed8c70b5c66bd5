/* graph_nesting.c -- whether splits and joins stand like brackets. Every step has the
 * stack of the splits that are open around it, each with the arm it is in: the arms
 * differ, so that branches which meet before their join are seen; a join takes the
 * topmost split away, whatever the arm; a switch leaves the stack alone. Where two
 * stacks clash the likelier one is taken and the step remembered as a guess, so that
 * what follows from it is not told as well. */
#include "graph_inside.h"

lf_place lf_unknown;

static const char *split_word(const lf_check *c, uint32_t v)
{
    return c->nodes[v].step.kind == LF_FOREACH ? "foreach" : "branch";
}

static uint32_t depth_of(const lf_place *p) { return p == NULL ? 0 : p->depth; }

/* The stack that arrives over edge `e`. */
static lf_place *stack_after(lf_check *c, uint32_t e)
{
    uint32_t from = c->edges[e].from;
    if (c->vague[from])
        return &lf_unknown;
    return is_split(&c->nodes[from]) ? &c->places[e] : c->stack[from];
}

/* How two stacks part: below `common` one goes on with `a`, the other with `b` (of
 * which one may be NULL: it ends there). */
typedef struct parting {
    lf_place *common, *a, *b;
} parting;

static parting part(lf_place *a, lf_place *b)
{
    parting p = {NULL, NULL, NULL};
    for (; depth_of(a) > depth_of(b); a = a->up)
        p.a = a;
    for (; depth_of(b) > depth_of(a); b = b->up)
        p.b = b;
    for (; a != b; a = a->up, b = b->up) {
        p.a = a;
        p.b = b;
    }
    p.common = a;
    return p;
}

/* Nothing more is told of the splits that are open in `p` and not in `outer`. */
static void settle(lf_check *c, const lf_place *p, const lf_place *outer)
{
    for (; depth_of(p) > depth_of(outer); p = p->up)
        c->settled[p->split] = true;
}

static const char *arm_name(const lf_check *c, const lf_place *p)
{
    const lf_step *split = &c->nodes[p->split].step;
    return name_of(c, split->next[p->arm]);
}

/* Step `v`, no join, is reached over e1 and e2 with different stacks. */
static void tell_meeting(lf_check *c, uint32_t v, uint32_t e1, uint32_t e2)
{
    parting p = part(stack_after(c, e1), stack_after(c, e2));
    const char *name = name_of(c, v);
    if (p.a != NULL && p.b != NULL && p.a->split == p.b->split) {
        bool in_order = p.a->arm < p.b->arm;
        lf_bytes_printf(&c->text, "step '%s' is reached by two branches of '%s', '%s' and '%s', "
                        "but is not their join; ", name, name_of(c, p.a->split),
                        arm_name(c, in_order ? p.a : p.b), arm_name(c, in_order ? p.b : p.a));
        if (c->nodes[v].step.has_function)
            LF_TELL(c, v, "did its function forget the second parameter? write function(self, "
                    "inputs)");
        else
            LF_TELL(c, v, "give it a function with two parameters, function(self, inputs)");
    } else if (p.a != NULL && p.b != NULL) {
        LF_TELL(c, v, "step '%s' is reached from inside the %s of '%s' and from inside the %s of "
                "'%s'; join each of them before", name, split_word(c, p.a->split),
                name_of(c, p.a->split), split_word(c, p.b->split), name_of(c, p.b->split));
    } else {
        const lf_place *in = p.a != NULL ? p.a : p.b;
        uint32_t inner = p.a != NULL ? e1 : e2, outer = p.a != NULL ? e2 : e1;
        LF_TELL(c, v, "step '%s' is reached from inside the %s of '%s' (by '%s') and from outside "
                "it (by '%s'); join the %s before '%s'", name, split_word(c, in->split),
                name_of(c, in->split), name_of(c, c->edges[inner].from),
                name_of(c, c->edges[outer].from), split_word(c, in->split), name);
    }
}

/* Join `v` is reached over e1 and e2, which have different splits open. */
static void tell_joining(lf_check *c, uint32_t v, uint32_t e1, uint32_t e2)
{
    const lf_place *a = stack_after(c, e1), *b = stack_after(c, e2);
    const char *name = name_of(c, v);
    if (depth_of(a) == depth_of(b)) {
        LF_TELL(c, v, "step '%s' joins the %s of '%s' and the %s of '%s' at once; a join closes "
                "one: join each in a step of its own", name, split_word(c, a->split),
                name_of(c, a->split), split_word(c, b->split), name_of(c, b->split));
        return;
    }
    bool swapped = depth_of(a) < depth_of(b);
    uint32_t deep = swapped ? b->split : a->split;
    LF_TELL(c, v, "step '%s' joins branches of different depth: '%s' comes from inside the %s of "
            "'%s', '%s' does not; join the %s in a step of its own first", name,
            name_of(c, c->edges[swapped ? e2 : e1].from), split_word(c, deep), name_of(c, deep),
            name_of(c, c->edges[swapped ? e1 : e2].from), split_word(c, deep));
}

/* The stack `v` most likely has, when two that arrive there differ. */
static lf_place *reconcile(lf_check *c, uint32_t v, lf_place *a, lf_place *b)
{
    parting p = part(a, b);
    lf_place *outer = p.common;
    if (c->nodes[v].step.is_join && (p.a == NULL || p.b == NULL) && outer != NULL)
        outer = outer->up;
    settle(c, a, outer);
    settle(c, b, outer);
    return outer;
}

static void tell_straight(lf_check *c, uint32_t v, uint32_t from)
{
    LF_TELL(c, from, "step '%s' goes straight to its join '%s'; at least one step stands between a "
            "%s and its join; write function(self) if '%s' is no join", name_of(c, from),
            name_of(c, v), split_word(c, from), name_of(c, v));
}

/* Goes on as if `v` were no join: only one branch arrives there, with `top` open, and
 * what is behind it closes the split. Told already where it is reached straight. */
static void drop_join(lf_check *c, uint32_t v, const lf_place *top, bool straight)
{
    c->nodes[v].step.is_join = false;
    if (!straight)
        LF_TELL(c, v, "step '%s' is a join (its function takes `inputs`) that is reached by one "
                "branch of '%s' only, '%s'; write function(self) if it is no join", name_of(c, v),
                name_of(c, top->split), arm_name(c, top));
}

/* Counts, from the last step back, the splits that the joins behind each step close. */
static void count_closes(lf_check *c)
{
    for (uint32_t i = c->n_order; i-- > 0;) {
        uint32_t v = c->order[i];
        const lf_node *step = &c->nodes[v];
        c->closes[v] = step->step.kind == LF_LAST && !step->broken ? 0 : LF_NONE;
        for LF_EACH_OUT(c, v, k) {
            const lf_edge *e = &c->edges[c->out[k]];
            if (e->closes_loop || c->nodes[e->to].doubtful || c->closes[e->to] == LF_NONE)
                continue;
            uint32_t n = c->closes[e->to] + c->nodes[e->to].step.is_join;
            c->closes[v] = is_split(step) && n > 0 ? n - 1 : n;
            break;
        }
    }
}

/* Whether join `v`, where everything arrives on one way with `top` open, most likely
 * takes its `inputs` by mistake: it closes what is closed behind it as well. */
static bool is_superfluous(const lf_check *c, uint32_t v, const lf_place *top, bool straight)
{
    return (straight || c->nodes[top->split].step.kind == LF_BRANCH) && c->closes[v] != LF_NONE &&
           c->closes[v] >= top->depth;
}

/* Gives join `v`, at which everything arrives with `top` open, its place. */
static void close_split(lf_check *c, uint32_t v, lf_place *top)
{
    if (top == NULL) {
        uint32_t guess = c->repair[v];
        if (guess != LF_NONE && !c->forgiven[guess])
            c->forgiven[guess] = true;
        else
            LF_TELL(c, v, "step '%s' is a join (its function takes `inputs`) that closes nothing: "
                    "no branch or foreach is open there; write function(self)", name_of(c, v));
        return;
    }
    lf_step *split = &c->nodes[top->split].step;
    if (split->join == LF_NONE) {
        split->join = v;
    } else if (!c->settled[top->split]) {
        c->settled[top->split] = true;
        LF_TELL(c, top->split, "the %s of step '%s' is joined by two steps, '%s' and '%s'; let all "
                "of it go to one", split_word(c, top->split), split->name, name_of(c, split->join),
                name_of(c, v));
    }
    c->stack[v] = top->up;
}

static bool agree(const lf_node *v, const lf_place *a, const lf_place *b)
{
    if (a == b)
        return true;
    return v->step.is_join && a != NULL && b != NULL && a->split == b->split;
}

/* Two stacks come to `v` over e1 and e2 that should be one. Joins are not blamed for
 * stacks of which one follows from a guess and the other does not. */
static void tell_clash(lf_check *c, uint32_t v, uint32_t e1, uint32_t e2)
{
    if (!c->nodes[v].step.is_join)
        tell_meeting(c, v, e1, e2);
    else if (c->repair[c->edges[e1].from] == c->repair[c->edges[e2].from])
        tell_joining(c, v, e1, e2);
}

/* Finds the stack of `v` from what arrives over the edges that close no loop. */
static void enter_step(lf_check *c, uint32_t v)
{
    const lf_node *step = &c->nodes[v];
    uint32_t first = LF_NONE;
    bool clash = false, straight = false, one_way = true;
    lf_place *stack = &lf_unknown;
    for LF_EACH_IN(c, v, i) {
        uint32_t e = c->in[i], from = c->edges[e].from;
        if (c->edges[e].closes_loop || !c->reached[from])
            continue;
        lf_place *arrives = stack_after(c, e);
        if (arrives == &lf_unknown)
            continue;
        if (c->repair[v] == LF_NONE)
            c->repair[v] = c->repair[from];
        if (step->step.is_join && arrives == &c->places[e]) {
            straight = true;
            tell_straight(c, v, from);
        }
        one_way = one_way && (first == LF_NONE || arrives == stack);
        if (first == LF_NONE) {
            first = e;
            stack = arrives;
        } else if (!agree(step, stack_after(c, first), arrives)) {
            if (!clash)
                tell_clash(c, v, first, e);
            clash = true;
            stack = reconcile(c, v, stack, arrives);
        }
    }
    c->stack[v] = stack;
    if (clash)
        c->repair[v] = v;
    else if (!step->step.is_join || stack == &lf_unknown)
        return;
    else if (stack == NULL || !one_way || !is_superfluous(c, v, stack, straight))
        close_split(c, v, stack);
    else
        drop_join(c, v, stack, straight);
}

/* Nothing is open in the last step. Of several one may be no last step but have forgotten
 * its `next`. */
static void check_closed(lf_check *c, uint32_t v)
{
    for (const lf_place *p = c->stack[v]; p != NULL; p = p->up) {
        uint32_t split = p->split;
        if (c->settled[split] || (c->nodes[split].step.join != LF_NONE && c->n_last > 1))
            continue;
        c->settled[split] = true;
        LF_TELL(c, split, "the %s of step '%s' is not joined: it is still open in '%s', %s a step "
                "that takes inputs, function(self, inputs)", split_word(c, split),
                name_of(c, split), name_of(c, v),
                c->n_last > 1 ? "which has no `next`; lead it to" : "the last step; close it in");
    }
}

/* A loop comes back to the nesting it left. */
static void check_loop(lf_check *c, uint32_t e)
{
    uint32_t u = c->edges[e].from, v = c->edges[e].to;
    lf_place *arrives = stack_after(c, e), *stack = c->stack[v];
    if (arrives == &lf_unknown || stack == &lf_unknown || c->repair[u] != c->repair[v])
        return;
    if (c->nodes[v].step.is_join) {
        LF_TELL(c, u, "step '%s' goes back to the join '%s'; a loop goes back to a step that is no "
                "join", name_of(c, u), name_of(c, v));
        return;
    }
    if (arrives == stack)
        return;
    parting p = part(arrives, stack);
    const lf_place *between = p.a != NULL ? p.a : p.b;
    LF_TELL(c, u, "step '%s' goes back to '%s', which is %s the %s of '%s'; a loop stays at one "
            "nesting: %s", name_of(c, u), name_of(c, v),
            p.b == NULL ? "outside" : p.a == NULL ? "inside" : "in another part of",
            split_word(c, between->split), name_of(c, between->split),
            p.b == NULL ? "join it before going back" : "go back to a step before it");
}

void lf_check_nesting(lf_check *c)
{
    count_closes(c);
    for (uint32_t v = 0; v < c->n; v++)
        c->repair[v] = LF_NONE;
    for (uint32_t i = 0; i < c->n_order; i++) {
        uint32_t v = c->order[i];
        if (c->nodes[v].doubtful)
            c->stack[v] = &lf_unknown;
        else if (v != c->root)
            enter_step(c, v);
        else if (c->nodes[v].step.is_join)
            close_split(c, v, NULL);
        if (c->stack[v] == &lf_unknown)
            c->vague[v] = true;
        for LF_EACH_OUT(c, v, k) {
            lf_place *p = &c->places[c->out[k]];
            p->up = c->stack[v];
            p->depth = c->stack[v] == &lf_unknown ? 0 : depth_of(p->up) + 1;
        }
    }
    for (uint32_t i = 0; i < c->n_order; i++)
        if (c->nodes[c->order[i]].step.kind == LF_LAST && !c->vague[c->order[i]])
            check_closed(c, c->order[i]);
    for (uint32_t e = 0; e < c->n_edges; e++) {
        uint32_t u = c->edges[e].from;
        bool is_told = c->circular[u] && c->circular[c->edges[e].to] &&
                       c->nodes[u].step.kind != LF_SWITCH;
        if (c->edges[e].closes_loop && c->reached[u] && !is_told)
            check_loop(c, e);
    }
}
