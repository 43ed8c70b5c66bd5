/* graph_check.c -- what makes steps a flow, but for the nesting: each step alone, its
 * targets, and whether every one lies on a way from the first to the last. A check that
 * fails repairs what it can for those after it, so that one mistake is told once. */
#include "graph_inside.h"

#include <stdlib.h>

enum { NAMES_SHOWN = 6 }; /* of a list of steps in a message */

void *lf_check_memory(lf_check *c, size_t n, size_t size)
{
    void *memory = lf_arena_keep(&c->memory, n, size);
    if (memory == NULL)
        c->failed = true;
    return memory;
}

void lf_check_told(lf_check *c, uint32_t v)
{
    const char *sentence = lf_bytes_cstr(&c->text);
    if (sentence == NULL) {
        c->failed = true;
        return;
    }
    c->wrong = true;
    c->tell(c->payload, v == LF_NONE ? NULL : c->nodes[v].step.where, sentence);
    lf_bytes_clear(&c->text);
}

/* Writes 'a', 'b' and 'c', or the first few of them and how many more. */
static void list_names(lf_check *c, const uint32_t *list, uint32_t n)
{
    uint32_t shown = n <= NAMES_SHOWN ? n : NAMES_SHOWN - 1;
    for (uint32_t i = 0; i < shown; i++)
        lf_bytes_printf(&c->text, "%s'%s'", i == 0 ? "" : i + 1 == n ? " and " : ", ",
                        name_of(c, list[i]));
    if (shown < n)
        lf_bytes_printf(&c->text, " and %u more", n - shown);
}

/* ---- targets ---- */

static int compare_nodes(const void *a, const void *b)
{
    return strcmp(((const lf_node *)a)->step.name, ((const lf_node *)b)->step.name);
}

static uint32_t find_node(const lf_check *c, const char *name)
{
    lf_node key = {.step.name = name};
    lf_node *v = c->n == 0 ? NULL : bsearch(&key, c->nodes, c->n, sizeof key, compare_nodes);
    return v == NULL ? LF_NONE : (uint32_t)(v - c->nodes);
}

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* How many letters to put in, take out, replace or swap with their neighbour; of very
 * long names the beginning counts. Gives up at `limit`. */
static size_t distance(const char *a, const char *b, size_t limit)
{
    enum { LONGEST = 128 };
    size_t rows[3][LONGEST + 1];
    size_t n = strnlen(a, LONGEST), m = strnlen(b, LONGEST);
    if ((n > m ? n - m : m - n) >= limit)
        return limit;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        size_t best = row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t d = above[j - 1] + (a[i - 1] != b[j - 1]);
            d = min_size(d, 1 + min_size(above[j], row[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d = min_size(d, higher[j - 2] + 1);
            row[j] = d;
            best = min_size(best, d);
        }
        if (best >= limit)
            return limit;
    }
    return min_size(rows[n % 3][m], limit);
}

/* The step whose name is most like `name`; *far is how unlike. */
static uint32_t nearest_node(const lf_check *c, const char *name, size_t *far)
{
    uint32_t best = 0;
    *far = SIZE_MAX;
    for (uint32_t v = 0; v < c->n; v++) {
        size_t d = distance(name, name_of(c, v), *far);
        if (d < *far) {
            *far = d;
            best = v;
        }
    }
    return best;
}

static bool has_target(const lf_node *v, uint32_t before, uint32_t target)
{
    for (uint32_t i = 0; i < before; i++)
        if (v->step.next[i] == target)
            return true;
    return false;
}

/* Tells of a target that is not there, and returns the step that was surely meant, or
 * LF_NONE: to go on with it finds the other mistakes without inventing new ones. */
static uint32_t tell_unknown(lf_check *c, uint32_t v, uint32_t i)
{
    const lf_node *from = &c->nodes[v];
    const char *name = from->names[i];
    size_t far;
    uint32_t near = nearest_node(c, name, &far);
    lf_bytes_printf(&c->text, "step '%s' goes to '%s'", from->step.name, name);
    if (from->texts != NULL)
        lf_bytes_printf(&c->text, " in the case %s", from->texts[i]);
    LF_TELL(c, v, ", which this flow does not have; the nearest step is '%s'", name_of(c, near));
    bool sure = far * 3 <= strlen(name);
    return sure && !(is_split(from) && has_target(from, i, near)) ? near : LF_NONE;
}

/* The position of target `i` of step `v`; LF_NONE, which is told, when there is none or
 * when a branch has it twice. `last_from` is by step: who named it last. */
static uint32_t find_target(lf_check *c, uint32_t v, uint32_t i, uint32_t *last_from)
{
    const lf_node *from = &c->nodes[v];
    uint32_t to = find_node(c, from->names[i]);
    if (to == LF_NONE) {
        to = tell_unknown(c, v, i);
        c->loose[v] = c->loose[v] || to == LF_NONE;
    } else if (from->step.kind == LF_BRANCH && last_from[to] == v) {
        LF_TELL(c, v, "step '%s' branches to '%s' twice; a branch names different steps",
                from->step.name, from->names[i]);
        return LF_NONE;
    }
    if (to != LF_NONE)
        last_from[to] = v;
    return to;
}

/* Fills `next` with positions. */
static void find_targets(lf_check *c)
{
    uint32_t *last_from = c->seen;
    for (uint32_t v = 0; v < c->n; v++)
        last_from[v] = LF_NONE;
    for (uint32_t v = 0; v < c->n; v++) {
        lf_step *from = &c->nodes[v].step;
        uint32_t *next = lf_check_memory(c, from->n_next, sizeof *next);
        if (next == NULL)
            return;
        from->next = next;
        uint32_t found = 0;
        for (uint32_t i = 0; i < from->n_next; i++) {
            next[i] = find_target(c, v, i, last_from);
            found += next[i] != LF_NONE;
        }
        if (from->kind == LF_BRANCH && found < 2 && !c->loose[v])
            c->vague[v] = true; /* perhaps no branch was meant */
    }
}

/* What can be seen of one step alone. */
static void check_step(lf_check *c, uint32_t v)
{
    const lf_node *s = &c->nodes[v];
    const char *name = s->step.name;
    uint32_t n = s->step.n_next;
    bool fine = true;
    c->wrong = c->wrong || s->broken || s->doubtful;
    c->vague[v] = s->broken || s->doubtful;
    c->loose[v] = s->broken;
    if (s->broken)
        return;
    switch (s->step.kind) {
    case LF_LAST:
    case LF_LINEAR: break;
    case LF_BRANCH:
        if ((fine = n >= 2))
            break;
        if (n == 0)
            LF_TELL(c, v, "step '%s' has an empty `next`; name its successor, or leave `next` out "
                    "if it is the last step", name);
        else
            LF_TELL(c, v, "step '%s' branches to one step only; write next = \"%s\", or name two "
                    "or more different steps", name, s->names[0]);
        break;
    case LF_FOREACH:
        if (!(fine = n == 1))
            LF_TELL(c, v, "step '%s' has foreach = \"%s\" but %s; a foreach needs the one step to "
                    "run for each element, as in next = \"work\"", name, s->step.over,
                    n == 0 ? "no `next`" : "several steps in `next`");
        break;
    case LF_SWITCH:
        if (!(fine = n > 0))
            LF_TELL(c, v, "step '%s' has switch = \"%s\" but no target; write next = { key = "
                    "\"step\", … } with a step for every value", name, s->step.over);
        break;
    }
    if (!fine)
        c->loose[v] = c->vague[v] = true;
}

/* ---- the checks of the whole ---- */

/* Which step the walk begins at: `start`, or if there is none (which is told) the only
 * one that nobody goes to. */
static void find_root(lf_check *c)
{
    c->root = find_node(c, "start");
    if (c->root != LF_NONE)
        return;
    lf_bytes_printf(&c->text, "the flow has no step 'start', which is the first to run; add it");
    size_t far;
    uint32_t near = c->n == 0 ? LF_NONE : nearest_node(c, "start", &far);
    if (near != LF_NONE && far <= 2)
        lf_bytes_printf(&c->text, ", or rename '%s'", name_of(c, near));
    lf_check_told(c, LF_NONE);
    for (uint32_t v = 0; v < c->n; v++) {
        if (c->in_first[v] != c->in_first[v + 1])
            continue;
        if (c->root != LF_NONE) {
            c->root = LF_NONE;
            return;
        }
        c->root = v;
    }
}

static void check_last(lf_check *c)
{
    bool loose = false;
    c->n_last = 0;
    for (uint32_t v = 0; v < c->n; v++) {
        loose = loose || c->loose[v];
        if (c->nodes[v].step.kind == LF_LAST && !c->nodes[v].broken)
            c->pending[c->n_last++] = v;
    }
    if (c->n_last == 0 && !loose && c->n > 0)
        LF_TELL(c, LF_NONE, "the flow has no last step: every step has a `next`; the last, "
                "'finish' by convention, has none");
    if (c->n_last < 2)
        return;
    lf_bytes_printf(&c->text, "steps ");
    list_names(c, c->pending, c->n_last);
    LF_TELL(c, c->pending[0], " have no `next`, and a flow has one last step; give the others a "
            "`next`");
}

/* Puts `head` and the steps behind it that are not seen yet into c->path; returns how
 * many they are. */
static uint32_t mark_behind(lf_check *c, uint32_t head)
{
    uint32_t n = 0;
    c->seen[head] = true;
    c->path[n++] = head;
    for (uint32_t done = 0; done < n; done++)
        for LF_EACH_OUT(c, c->path[done], i) {
            uint32_t to = c->edges[c->out[i]].to;
            if (!c->seen[to]) {
                c->seen[to] = true;
                c->path[n++] = to;
            }
        }
    return n;
}

static bool has_entry(const lf_check *c, uint32_t v)
{
    for LF_EACH_IN(c, v, i)
        if (c->edges[c->in[i]].from != v)
            return true;
    return false;
}

/* How the unknown targets of what is reached are called in a message: by their name if
 * they have but one. NULL when there are none, or all were guessed. */
static const char *unknown_targets(const lf_check *c)
{
    const char *name = NULL;
    for (uint32_t v = 0; v < c->n; v++) {
        const lf_node *from = &c->nodes[v];
        for (uint32_t i = 0; c->reached[v] && c->loose[v] && i < from->step.n_next; i++) {
            if (from->step.next[i] != LF_NONE || find_node(c, from->names[i]) != LF_NONE)
                continue;
            if (name != NULL && strcmp(name, from->names[i]) != 0)
                return "";
            name = from->names[i];
        }
    }
    return name;
}

/* Tells of the steps that nobody goes to, each with those behind it. What the walk left
 * last is behind none that it left before, unless both are in one circle. Where a target
 * is not known the step may be the one meant: then those behind it are not missed yet. */
static void check_reached(lf_check *c)
{
    const char *unknown = unknown_targets(c);
    for (uint32_t v = 0; v < c->n; v++) {
        c->seen[v] = c->reached[v];
        if (c->nodes[v].broken && c->nodes[v].step.n_next == 0)
            return; /* it may well be the one that goes there */
    }
    for (uint32_t i = c->n_finished; i-- > 0;) {
        uint32_t v = c->finished[i];
        if (c->seen[v])
            continue;
        uint32_t n = mark_behind(c, v);
        lf_bytes_printf(&c->text, "step '%s' is never reached: %s", name_of(c, v),
                        has_entry(c, v) ? "only steps that are never reached go to it"
                                        : "no step goes to it");
        if (unknown != NULL) {
            bool one = *unknown != '\0';
            lf_bytes_printf(&c->text, ", unless %s%s%s means it", one ? "'" : "",
                            one ? unknown : "one of the unknown targets", one ? "'" : "");
        } else if (n > 1) {
            lf_bytes_printf(&c->text, n > 2 ? " (nor are " : " (nor is ");
            list_names(c, c->path + 1, n - 1);
            lf_bytes_printf(&c->text, ", behind it)");
        }
        LF_TELL(c, v, "; name it in the `next` of another step, or remove it");
    }
}

/* Writes the circle that begins somewhere behind `v` in its component. */
static void write_circle(lf_check *c, uint32_t v)
{
    for (uint32_t w = 0; w < c->n; w++)
        c->seen[w] = LF_NONE;
    uint32_t n = 0;
    while (c->seen[v] == LF_NONE) {
        c->seen[v] = n;
        c->path[n++] = v;
        uint32_t component = c->component[v];
        for LF_EACH_OUT(c, v, i) {
            uint32_t to = c->to[c->out[i]];
            if (to != LF_NONE && c->component[to] == component) {
                v = to;
                break;
            }
        }
    }
    uint32_t first = c->seen[v];
    for (uint32_t i = first; i < n; i++) {
        if (i - first == NAMES_SHOWN && n - i > 1) {
            lf_bytes_printf(&c->text, "… → ");
            i = n - 1;
        }
        lf_bytes_printf(&c->text, "'%s' → ", name_of(c, c->path[i]));
    }
    lf_bytes_printf(&c->text, "'%s'", name_of(c, v));
}

/* Every cycle needs a switch: without the edges that leave one, nothing is circular. */
static void check_cycles(lf_check *c)
{
    for (uint32_t e = 0; e < c->n_edges; e++) {
        bool decides = c->nodes[c->edges[e].from].step.kind == LF_SWITCH;
        c->to[e] = decides ? LF_NONE : c->edges[e].to;
    }
    lf_walk_components(c);
    for (uint32_t i = 0; i < c->n_order; i++) {
        uint32_t v = c->order[i], group = c->component[v];
        if (group == LF_NONE)
            continue;
        bool known = c->circular[group];
        c->circular[group] = c->circular[v] = true;
        if (known)
            continue;
        lf_bytes_printf(&c->text, "step '%s' is in a cycle that no switch closes, ", name_of(c, v));
        write_circle(c, v);
        LF_TELL(c, v, "; let a switch decide when to leave it, or remove the way back");
    }
}

/* Marks in c->seen the steps from which a way leads to a last step, or to where it is
 * not known. False when there is neither, which is told. */
static bool mark_ending(lf_check *c)
{
    uint32_t n = 0;
    for (uint32_t v = 0; v < c->n; v++) {
        c->seen[v] = c->nodes[v].step.kind == LF_LAST || c->loose[v];
        if (c->seen[v])
            c->path[n++] = v;
    }
    for (uint32_t done = 0; done < n; done++)
        for LF_EACH_IN(c, c->path[done], i) {
            uint32_t from = c->edges[c->in[i]].from;
            if (!c->seen[from]) {
                c->seen[from] = true;
                c->path[n++] = from;
            }
        }
    return n > 0;
}

/* From every step a way leads to the last one. Where none does, all ways end in circles
 * that no edge leaves: those are told, at their first switch. */
static void check_ends(lf_check *c)
{
    bool *ends = lf_check_memory(c, c->n, sizeof *ends);
    bool *done = lf_check_memory(c, c->n, sizeof *done); /* by component: left, or told */
    if (c->failed || !mark_ending(c))
        return;
    for (uint32_t v = 0; v < c->n; v++)
        ends[v] = c->seen[v];
    for (uint32_t e = 0; e < c->n_edges; e++)
        c->to[e] = c->edges[e].to;
    lf_walk_components(c);
    for (uint32_t e = 0; e < c->n_edges; e++) {
        uint32_t from = c->component[c->edges[e].from];
        if (from != LF_NONE && from != c->component[c->edges[e].to])
            done[from] = true;
    }
    for (uint32_t v = 0; v < c->n; v++)
        if (c->component[v] != LF_NONE && c->circular[v])
            done[c->component[v]] = true;
    for (uint32_t i = 0; i < c->n_order; i++) {
        uint32_t v = c->order[i], group = c->component[v];
        if (group == LF_NONE || ends[v] || done[group] || c->nodes[v].step.kind != LF_SWITCH)
            continue;
        done[group] = true;
        LF_TELL(c, v, "step '%s' loops for ever: every case of its switch leads back, and none to "
                "the last step; add a case that leads out of the loop", name_of(c, v));
    }
}

/* ---- in one go ---- */

/* The arrays by step. */
static void prepare(lf_check *c)
{
    uint32_t **const numbers[] = {&c->order, &c->finished, &c->component, &c->seen, &c->low,
                                  &c->path, &c->at, &c->pending, &c->closes, &c->repair};
    bool **const flags[] = {&c->reached, &c->loose, &c->vague, &c->circular, &c->settled,
                            &c->forgiven};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = lf_check_memory(c, c->n, sizeof **numbers[i]);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        *flags[i] = lf_check_memory(c, c->n, sizeof **flags[i]);
    c->stack = lf_check_memory(c, c->n, sizeof *c->stack);
}

void lf_check_all(lf_check *c)
{
    prepare(c);
    if (c->failed)
        return;
    if (c->n > 0)
        qsort(c->nodes, c->n, sizeof *c->nodes, compare_nodes);
    for (uint32_t v = 0; v < c->n; v++)
        check_step(c, v);
    find_targets(c);
    if (c->failed || !lf_walk_edges(c))
        return;
    find_root(c);
    if (c->root != LF_NONE) {
        lf_walk_depth_first(c);
        lf_walk_order(c);
        check_reached(c);
    }
    check_last(c);
    check_cycles(c);
    lf_check_nesting(c);
    check_ends(c);
}
