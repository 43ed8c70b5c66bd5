/* graph.c -- the steps of a flow and how they follow each other.
 * Pure: no threads, no files, no Lua, no clock. One thread until sealed, any after.
 *
 * Sealing sorts the steps by name (so that everything below is the same for every
 * order of adding), finds the targets, walks the graph once in topological order
 * with the stack of open splits in hand, and numbers the steps. A check that fails
 * repairs what it can for the checks after it, so that one mistake is told once. */
#include "graph.h"

#include <assert.h>
#include <stdlib.h>

enum { NAMES_SHOWN = 6 }; /* of a list of steps in a message */

/* ---- memory that lives as long as its owner ---- */

typedef struct block {
    struct block *older;
    max_align_t data[];
} block;

typedef struct arena {
    block *newest;
} arena;

/* Zeroed memory for `n` things of `size` bytes, or NULL. */
static void *keep(arena *a, size_t n, size_t size)
{
    if (size != 0 && n > (SIZE_MAX - sizeof(block)) / size)
        return NULL;
    block *b = calloc(1, sizeof *b + n * size);
    if (b == NULL)
        return NULL;
    b->older = a->newest;
    a->newest = b;
    return b->data;
}

static void arena_fini(arena *a)
{
    while (a->newest != NULL) {
        block *b = a->newest;
        a->newest = b->older;
        free(b);
    }
}

/* ---- building ---- */

typedef struct node {
    lf_step step;       /* its `next` holds positions in `nodes` until it is numbered */
    const char **names; /* of the targets */
    const char **texts; /* of the cases, or NULL */
    bool broken;
    uint32_t number;
} node;

struct lf_graph {
    arena memory;
    node *nodes; /* until sealed */
    uint32_t n, room;
    lf_step *steps;    /* once sealed: in topological order */
    uint32_t *by_name; /* their numbers, sorted by name */
    uint32_t loop_slots;
};

lf_graph *lf_graph_new(void) { return calloc(1, sizeof(lf_graph)); }

void lf_graph_free(lf_graph *g)
{
    if (g == NULL)
        return;
    arena_fini(&g->memory);
    free(g->nodes);
    free(g);
}

/* Copies `text`, which may be NULL; false when out of memory. */
static bool copy_text(arena *a, const char *text, const char **to)
{
    *to = NULL;
    if (text == NULL)
        return true;
    size_t size = strlen(text) + 1;
    char *copy = keep(a, size, 1);
    if (copy != NULL)
        *to = memcpy(copy, text, size);
    return copy != NULL;
}

static bool copy_texts(arena *a, size_t n, const char *const *texts, const char ***to)
{
    *to = NULL;
    if (texts == NULL || n == 0)
        return true;
    *to = keep(a, n, sizeof **to);
    for (size_t i = 0; *to != NULL && i < n; i++)
        if (!copy_text(a, texts[i], &(*to)[i]))
            return false;
    return *to != NULL;
}

static bool copy_cases(arena *a, const lf_step_spec *spec, const lf_case **to)
{
    *to = NULL;
    if (spec->kind != LF_SWITCH || spec->case_keys == NULL || spec->n_next == 0)
        return true;
    lf_case *cases = keep(a, spec->n_next, sizeof *cases);
    for (size_t i = 0; cases != NULL && i < spec->n_next; i++) {
        lf_slice key = spec->case_keys[i];
        uint8_t *copy = keep(a, key.size, 1);
        if (copy == NULL)
            return false;
        if (key.size > 0)
            memcpy(copy, key.data, key.size);
        cases[i] = (lf_case){lf_slice_of(copy, key.size), LF_NONE};
    }
    *to = cases;
    return cases != NULL;
}

static bool copy_attributes(arena *a, const lf_attributes *from, lf_attributes *to)
{
    *to = *from;
    to->env = NULL;
    if (!copy_text(a, from->catch_name, &to->catch_name))
        return false;
    if (from->n_env == 0)
        return true;
    lf_env_var *env = keep(a, from->n_env, sizeof *env);
    for (size_t i = 0; env != NULL && i < from->n_env; i++)
        if (!copy_text(a, from->env[i].name, &env[i].name) ||
            !copy_text(a, from->env[i].value, &env[i].value))
            return false;
    to->env = env;
    return env != NULL;
}

static bool make_room(lf_graph *g)
{
    if (g->n < g->room)
        return true;
    if (g->room > LF_NONE / 4)
        return false;
    uint32_t room = g->room == 0 ? 16 : g->room * 2;
    node *nodes = realloc(g->nodes, room * sizeof *nodes);
    if (nodes == NULL)
        return false;
    g->nodes = nodes;
    g->room = room;
    return true;
}

int lf_graph_add(lf_graph *g, const lf_step_spec *spec)
{
    assert(g->steps == NULL && spec->name != NULL);
    if (spec->n_next >= LF_NONE || !make_room(g))
        return LUAFLOW_ENOMEM;
    node *v = &g->nodes[g->n];
    *v = (node){.broken = spec->broken, .number = LF_NONE};
    v->step.kind = spec->kind;
    v->step.is_join = spec->is_join;
    v->step.has_function = spec->has_function;
    v->step.n_next = (uint32_t)spec->n_next;
    v->step.join = LF_NONE;
    arena *a = &g->memory;
    if (!copy_text(a, spec->name, &v->step.name) || !copy_text(a, spec->where, &v->step.where) ||
        !copy_text(a, spec->over, &v->step.over) ||
        !copy_texts(a, spec->n_next, spec->next, &v->names) ||
        !copy_texts(a, spec->n_next, spec->case_texts, &v->texts) ||
        !copy_cases(a, spec, &v->step.cases) ||
        !copy_attributes(a, &spec->attributes, &v->step.attributes))
        return LUAFLOW_ENOMEM;
    g->n++;
    return LUAFLOW_OK;
}

/* ---- what the checks share ---- */

typedef struct edge {
    uint32_t from, to;
    bool closes_loop; /* goes back to a step the depth-first walk stands in */
} edge;

/* An open split with one of its arms: the stack of a step is a chain of them. There
 * is one for each edge that leaves a split, so equal stacks are the same pointer. */
typedef struct place {
    struct place *up; /* NULL: nothing open around it */
    uint32_t split, arm, depth;
} place;

static place unknown; /* the stack of a step that an earlier mistake made doubtful */

typedef struct check {
    lf_graph *g;
    node *nodes;
    uint32_t n, root;
    lf_problem_fn tell;
    void *payload;
    lf_bytes text; /* of the message being written */
    bool wrong, failed;

    edge *edges;
    uint32_t n_edges;
    uint32_t *out, *out_first; /* edges by `from`, then by the target's name */
    uint32_t *in, *in_first;   /* edges by `to` */

    bool *reached; /* from the root */
    bool *loose;   /* some of its targets are not known */
    bool *vague;   /* so wrong that what it opens or closes is not known */
    uint32_t *order, n_order;
    uint32_t *finished, n_finished; /* as the depth-first walk left them */
    place *places; /* by edge */
    place **stack; /* by step; a join's is the one after closing */
    bool *settled;  /* a split about whose join nothing more is told */
    uint32_t *repair; /* by step: the last one on the way whose stack is a guess */
    bool *forgiven;   /* by step: its guess has excused a join too many */

    uint32_t *to;         /* by edge: the targets that components() follows */
    uint32_t *component;  /* by step; LF_NONE: on no cycle */
    uint32_t *seen, *low; /* by step, for the walks */
    uint32_t *path, *at, *pending;
} check;

static void *scratch(check *c, arena *a, size_t n, size_t size)
{
    void *memory = keep(a, n, size);
    if (memory == NULL)
        c->failed = true;
    return memory;
}

/* Sends the message that was written into c->text; it is about step `v` or LF_NONE. */
static void told(check *c, uint32_t v)
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

#define TELL(c, v, ...) (lf_bytes_printf(&(c)->text, __VA_ARGS__), told((c), (v)))

static const char *name_of(const check *c, uint32_t v) { return c->nodes[v].step.name; }

static bool is_split(const node *v)
{
    return v->step.kind == LF_BRANCH || v->step.kind == LF_FOREACH;
}

static const char *split_word(const check *c, uint32_t v)
{
    return c->nodes[v].step.kind == LF_FOREACH ? "foreach" : "branch";
}

/* Writes 'a', 'b' and 'c', or the first few of them and how many more. */
static void list_names(check *c, const uint32_t *list, uint32_t n)
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
    return strcmp(((const node *)a)->step.name, ((const node *)b)->step.name);
}

static uint32_t find_node(const check *c, const char *name)
{
    node key = {.step.name = name};
    node *v = c->n == 0 ? NULL : bsearch(&key, c->nodes, c->n, sizeof key, compare_nodes);
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
static uint32_t nearest_node(const check *c, const char *name, size_t *far)
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

static bool has_target(const node *v, uint32_t before, uint32_t target)
{
    for (uint32_t i = 0; i < before; i++)
        if (v->step.next[i] == target)
            return true;
    return false;
}

/* Tells of a target that is not there, and returns the step that was surely meant, or
 * LF_NONE: to go on with it finds the other mistakes without inventing new ones. */
static uint32_t tell_unknown(check *c, uint32_t v, uint32_t i)
{
    const node *from = &c->nodes[v];
    const char *name = from->names[i];
    size_t far;
    uint32_t near = nearest_node(c, name, &far);
    lf_bytes_printf(&c->text, "step '%s' goes to '%s'", from->step.name, name);
    if (from->texts != NULL)
        lf_bytes_printf(&c->text, " in the case %s", from->texts[i]);
    TELL(c, v, ", which this flow does not have; the nearest step is '%s'", name_of(c, near));
    bool sure = far * 3 <= strlen(name);
    return sure && !(is_split(from) && has_target(from, i, near)) ? near : LF_NONE;
}

/* Fills `next` with positions. A target of a branch that stands there twice is told
 * once and goes nowhere the second time. `last_from` is by step: who named it last. */
static void find_targets(check *c, arena *a, uint32_t *last_from)
{
    for (uint32_t v = 0; v < c->n; v++)
        last_from[v] = LF_NONE;
    for (uint32_t v = 0; v < c->n && !c->failed; v++) {
        node *from = &c->nodes[v];
        uint32_t *next = scratch(c, a, from->step.n_next, sizeof *next);
        if (next == NULL)
            return;
        from->step.next = next;
        uint32_t different = 0;
        for (uint32_t i = 0; i < from->step.n_next; i++) {
            next[i] = find_node(c, from->names[i]);
            bool twice = false;
            if (next[i] == LF_NONE)
                next[i] = tell_unknown(c, v, i);
            else if (from->step.kind == LF_BRANCH && last_from[next[i]] == v)
                twice = true;
            if (twice) {
                TELL(c, v, "step '%s' branches to '%s' twice; a branch names different steps",
                     from->step.name, from->names[i]);
                next[i] = LF_NONE;
            } else if (next[i] == LF_NONE) {
                c->loose[v] = true;
            } else {
                last_from[next[i]] = v;
                different++;
            }
        }
        if (from->step.kind == LF_BRANCH && different < 2 && !c->loose[v])
            c->vague[v] = true; /* perhaps no branch was meant */
    }
}

/* What can be seen of one step alone. */
static void check_step(check *c, uint32_t v)
{
    const node *s = &c->nodes[v];
    const char *name = s->step.name;
    uint32_t n = s->step.n_next;
    bool fine = true;
    if (s->broken) {
        c->wrong = c->loose[v] = c->vague[v] = true;
        return;
    }
    switch (s->step.kind) {
    case LF_LAST:
    case LF_LINEAR: break;
    case LF_BRANCH:
        if ((fine = n >= 2))
            break;
        if (n == 0)
            TELL(c, v, "step '%s' has an empty `next`; name its successor, or leave `next` out "
                 "if it is the last step", name);
        else
            TELL(c, v, "step '%s' branches to one step only; write next = \"%s\", or name two or "
                 "more different steps", name, s->names[0]);
        break;
    case LF_FOREACH:
        if (!(fine = n == 1))
            TELL(c, v, "step '%s' has foreach = \"%s\" but %s; a foreach needs the one step to run "
                 "for each element, as in next = \"work\"", name, s->step.over,
                 n == 0 ? "no `next`" : "several steps in `next`");
        break;
    case LF_SWITCH:
        if (!(fine = n > 0))
            TELL(c, v, "step '%s' has switch = \"%s\" but no target; write next = { key = "
                 "\"step\", … } with a step for every value", name, s->step.over);
        break;
    }
    if (!fine)
        c->loose[v] = c->vague[v] = true;
}

/* Groups the edges by target, then, going through the targets by name, by origin. */
static bool sort_edges(check *c, arena *a)
{
    size_t total = 0;
    for (uint32_t v = 0; v < c->n; v++)
        total += c->nodes[v].step.n_next;
    if (total >= LF_NONE)
        c->failed = true;
    c->edges = scratch(c, a, total, sizeof *c->edges);
    c->places = scratch(c, a, total, sizeof *c->places);
    c->to = scratch(c, a, total, sizeof *c->to);
    c->out = scratch(c, a, total, sizeof *c->out);
    c->in = scratch(c, a, total, sizeof *c->in);
    c->out_first = scratch(c, a, (size_t)c->n + 2, sizeof *c->out_first);
    c->in_first = scratch(c, a, (size_t)c->n + 2, sizeof *c->in_first);
    if (c->failed)
        return false;
    /* Each `first` is counted two places up, so that filling in moves it into place. */
    for (uint32_t v = 0; v < c->n; v++)
        for (uint32_t i = 0; i < c->nodes[v].step.n_next; i++) {
            uint32_t to = c->nodes[v].step.next[i];
            if (to == LF_NONE)
                continue;
            c->places[c->n_edges] = (place){NULL, v, i, 0};
            c->edges[c->n_edges++] = (edge){v, to, false};
            c->out_first[v + 2]++;
            c->in_first[to + 2]++;
        }
    for (uint32_t v = 0; v <= c->n; v++) {
        c->out_first[v + 1] += c->out_first[v];
        c->in_first[v + 1] += c->in_first[v];
    }
    for (uint32_t e = 0; e < c->n_edges; e++)
        c->in[c->in_first[c->edges[e].to + 1]++] = e;
    for (uint32_t i = 0; i < c->n_edges; i++)
        c->out[c->out_first[c->edges[c->in[i]].from + 1]++] = c->in[i];
    return true;
}

#define EACH_OUT(c, v, i) (uint32_t i = (c)->out_first[v]; i < (c)->out_first[(v) + 1]; i++)
#define EACH_IN(c, v, i) (uint32_t i = (c)->in_first[v]; i < (c)->in_first[(v) + 1]; i++)

/* ---- walks ---- */

/* Walks on from `from` over steps not yet seen, appends them to c->finished as the walk
 * leaves them, and marks the edges that close a loop. */
static void walk_depth_first(check *c, uint32_t from)
{
    enum { NEW, OPEN, DONE };
    uint32_t depth = 0;
    if (c->seen[from] != NEW)
        return;
    c->path[depth++] = from;
    c->at[from] = c->out_first[from];
    c->seen[from] = OPEN;
    while (depth > 0) {
        uint32_t v = c->path[depth - 1];
        if (c->at[v] == c->out_first[v + 1]) {
            c->seen[v] = DONE;
            c->finished[c->n_finished++] = v;
            depth--;
            continue;
        }
        edge *e = &c->edges[c->out[c->at[v]++]];
        if (c->seen[e->to] == OPEN) {
            e->closes_loop = true;
        } else if (c->seen[e->to] == NEW) {
            c->seen[e->to] = OPEN;
            c->at[e->to] = c->out_first[e->to];
            c->path[depth++] = e->to;
        }
    }
}

/* First over what the root reaches, then over the rest. */
static void walk_all(check *c)
{
    for (uint32_t v = 0; v < c->n; v++)
        c->seen[v] = 0;
    walk_depth_first(c, c->root);
    for (uint32_t i = 0; i < c->n_finished; i++)
        c->reached[c->finished[i]] = true;
    for (uint32_t v = 0; v < c->n; v++)
        walk_depth_first(c, v);
}

static void heap_push(uint32_t *heap, uint32_t *n, uint32_t v)
{
    uint32_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > v; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = v;
}

static uint32_t heap_pop(uint32_t *heap, uint32_t *n)
{
    uint32_t top = heap[0], v = heap[--*n], i = 0;
    for (uint32_t child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= v)
            break;
        heap[i] = heap[child];
    }
    heap[i] = v;
    return top;
}

/* Puts the reached steps into topological order, ties broken by name. */
static void sort_steps(check *c)
{
    uint32_t *waits_for = c->low, *heap = c->pending, n = 0;
    for (uint32_t v = 0; v < c->n; v++)
        waits_for[v] = 0;
    for (uint32_t e = 0; e < c->n_edges; e++)
        if (c->reached[c->edges[e].from] && !c->edges[e].closes_loop)
            waits_for[c->edges[e].to]++;
    heap_push(heap, &n, c->root);
    while (n > 0) {
        uint32_t v = heap_pop(heap, &n);
        c->order[c->n_order++] = v;
        for EACH_OUT(c, v, i) {
            const edge *e = &c->edges[c->out[i]];
            if (!e->closes_loop && --waits_for[e->to] == 0)
                heap_push(heap, &n, e->to);
        }
    }
}

/* Groups the reached steps that lie on cycles of the edges as c->to has them
 * (LF_NONE: leave it out), into c->component. Tarjan's way, without recursion. */
static void find_components(check *c)
{
    uint32_t clock = 0, depth = 0, n_pending = 0;
    for (uint32_t v = 0; v < c->n; v++) {
        c->seen[v] = 0;
        c->component[v] = LF_NONE;
    }
    for (uint32_t r = 0; r < c->n_order; r++) {
        if (c->seen[c->order[r]] != 0)
            continue;
        uint32_t enter = c->order[r];
        for (;;) {
            if (enter != LF_NONE) {
                c->seen[enter] = c->low[enter] = ++clock;
                c->at[enter] = c->out_first[enter];
                c->path[depth++] = enter;
                c->pending[n_pending++] = enter;
                enter = LF_NONE;
            }
            uint32_t v = c->path[depth - 1];
            if (c->at[v] < c->out_first[v + 1]) {
                uint32_t to = c->to[c->out[c->at[v]++]];
                if (to == LF_NONE || c->seen[to] == LF_NONE)
                    continue;
                if (to == v)
                    c->component[v] = v; /* a cycle of its own */
                else if (c->seen[to] == 0)
                    enter = to;
                else if (c->seen[to] < c->low[v])
                    c->low[v] = c->seen[to];
                continue;
            }
            if (c->low[v] == c->seen[v]) {
                bool alone = c->pending[n_pending - 1] == v;
                uint32_t member;
                do {
                    member = c->pending[--n_pending];
                    c->seen[member] = LF_NONE; /* its component is complete */
                    if (!alone)
                        c->component[member] = v;
                } while (member != v);
            }
            if (--depth == 0)
                break;
            uint32_t parent = c->path[depth - 1];
            if (c->low[v] < c->low[parent])
                c->low[parent] = c->low[v];
        }
    }
}

/* ---- the checks of the whole ---- */

/* Which step the walk begins at: `start`, or if there is none (which is told) the only
 * one that nobody goes to. */
static void find_root(check *c)
{
    c->root = find_node(c, "start");
    if (c->root != LF_NONE)
        return;
    lf_bytes_printf(&c->text, "the flow has no step 'start', which is the first to run; add it");
    size_t far;
    uint32_t near = c->n == 0 ? LF_NONE : nearest_node(c, "start", &far);
    if (near != LF_NONE && far <= 2)
        lf_bytes_printf(&c->text, ", or rename '%s'", name_of(c, near));
    told(c, LF_NONE);
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

static void check_last(check *c)
{
    uint32_t n = 0, n_anywhere = 0;
    bool loose = false;
    for (uint32_t v = 0; v < c->n; v++) {
        bool last = c->nodes[v].step.kind == LF_LAST && !c->nodes[v].broken;
        loose = loose || c->loose[v];
        n_anywhere += last;
        if (last && (c->reached[v] || c->root == LF_NONE))
            c->pending[n++] = v;
    }
    if (n_anywhere == 0 && !loose && c->n > 0)
        TELL(c, LF_NONE, "the flow has no last step: every step has a `next`; the last, 'finish' "
             "by convention, has none");
    if (n < 2)
        return;
    lf_bytes_printf(&c->text, "steps ");
    list_names(c, c->pending, n);
    TELL(c, c->pending[0], " have no `next`, and a flow has one last step; give the others a "
         "`next`");
}

/* Puts `head` and the steps behind it that are not seen yet into c->path; returns how
 * many they are. */
static uint32_t mark_behind(check *c, uint32_t head)
{
    uint32_t n = 0;
    c->seen[head] = true;
    c->path[n++] = head;
    for (uint32_t done = 0; done < n; done++)
        for EACH_OUT(c, c->path[done], i) {
            uint32_t to = c->edges[c->out[i]].to;
            if (!c->seen[to]) {
                c->seen[to] = true;
                c->path[n++] = to;
            }
        }
    return n;
}

static bool has_entry(const check *c, uint32_t v)
{
    for EACH_IN(c, v, i)
        if (c->edges[c->in[i]].from != v)
            return true;
    return false;
}

/* Tells of the steps that nobody goes to, each with those behind it. What the walk left
 * last is behind none that it left before, unless both are in one circle. */
static void check_reached(check *c)
{
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
        if (n > 1) {
            lf_bytes_printf(&c->text, n > 2 ? " (nor are " : " (nor is ");
            list_names(c, c->path + 1, n - 1);
            lf_bytes_printf(&c->text, ", behind it)");
        }
        TELL(c, v, "; name it in the `next` of another step, or remove it");
    }
}

/* Writes the circle that begins somewhere behind `v` in its component. */
static void write_circle(check *c, uint32_t v)
{
    for (uint32_t w = 0; w < c->n; w++)
        c->seen[w] = LF_NONE;
    uint32_t n = 0;
    while (c->seen[v] == LF_NONE) {
        c->seen[v] = n;
        c->path[n++] = v;
        uint32_t component = c->component[v];
        for EACH_OUT(c, v, i) {
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

/* Every cycle needs a switch. Edges of a cycle without one are marked vague at their
 * steps' components by clearing c->to; they are told here and nowhere else. */
static void check_cycles(check *c, bool *circular)
{
    for (uint32_t e = 0; e < c->n_edges; e++) {
        bool free = c->nodes[c->edges[e].from].step.kind == LF_SWITCH;
        c->to[e] = free ? LF_NONE : c->edges[e].to;
    }
    find_components(c);
    for (uint32_t i = 0; i < c->n_order; i++) {
        uint32_t v = c->order[i], group = c->component[v];
        if (group == LF_NONE)
            continue;
        bool known = circular[group];
        circular[group] = circular[v] = true;
        if (known)
            continue;
        lf_bytes_printf(&c->text, "step '%s' is in a cycle that no switch closes, ", name_of(c, v));
        write_circle(c, v);
        TELL(c, v, "; let a switch decide when to leave it, or remove the way back");
    }
}

/* From every step a way leads to the last one; where none does, the switches at the
 * bottom lead nowhere but back. */
static void check_ends(check *c, arena *a, const bool *circular)
{
    bool *ends = scratch(c, a, c->n, sizeof *ends);
    bool *open = scratch(c, a, c->n, sizeof *open); /* by component: it ends, or is told */
    if (c->failed)
        return;
    uint32_t *queue = c->path, n = 0;
    bool some_last = false;
    for (uint32_t v = 0; v < c->n; v++) {
        c->seen[v] = c->nodes[v].step.kind == LF_LAST || c->loose[v];
        some_last = some_last || c->seen[v];
        if (c->seen[v])
            queue[n++] = v;
    }
    if (!some_last)
        return; /* there is no last step, which is told */
    for (uint32_t done = 0; done < n; done++)
        for EACH_IN(c, queue[done], i) {
            uint32_t from = c->edges[c->in[i]].from;
            if (!c->seen[from]) {
                c->seen[from] = true;
                queue[n++] = from;
            }
        }
    for (uint32_t v = 0; v < c->n; v++)
        ends[v] = c->seen[v];
    for (uint32_t e = 0; e < c->n_edges; e++)
        c->to[e] = c->edges[e].to;
    find_components(c);
    for (uint32_t e = 0; e < c->n_edges; e++) {
        uint32_t from = c->component[c->edges[e].from];
        if (from != LF_NONE && from != c->component[c->edges[e].to])
            open[from] = true;
    }
    for (uint32_t v = 0; v < c->n; v++)
        if (c->component[v] != LF_NONE && circular[v])
            open[c->component[v]] = true;
    for (uint32_t i = 0; i < c->n_order; i++) {
        uint32_t v = c->order[i], group = c->component[v];
        if (group == LF_NONE || ends[v] || open[group] || c->nodes[v].step.kind != LF_SWITCH)
            continue;
        open[group] = true;
        TELL(c, v, "step '%s' loops for ever: every case of its switch leads back, and none to "
             "the last step; add a case that leads out of the loop", name_of(c, v));
    }
}

/* ---- nesting ---- */

static uint32_t depth_of(const place *p) { return p == NULL ? 0 : p->depth; }

/* The stack that arrives over edge `e`. */
static place *stack_after(check *c, uint32_t e)
{
    uint32_t from = c->edges[e].from;
    if (c->vague[from])
        return &unknown;
    return is_split(&c->nodes[from]) ? &c->places[e] : c->stack[from];
}

/* How two stacks part: below `common` one goes on with `a`, the other with `b` (of
 * which one may be NULL: it ends there). */
typedef struct parting {
    place *common, *a, *b;
} parting;

static parting part(place *a, place *b)
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
static void settle(check *c, const place *p, const place *outer)
{
    for (; depth_of(p) > depth_of(outer); p = p->up)
        c->settled[p->split] = true;
}

static const char *arm_name(const check *c, const place *p)
{
    const lf_step *split = &c->nodes[p->split].step;
    return name_of(c, split->next[p->arm]);
}

/* Step `v`, no join, is reached over e1 and e2 with different stacks. */
static void tell_meeting(check *c, uint32_t v, uint32_t e1, uint32_t e2)
{
    parting p = part(stack_after(c, e1), stack_after(c, e2));
    const char *name = name_of(c, v);
    if (p.a != NULL && p.b != NULL && p.a->split == p.b->split) {
        bool in_order = p.a->arm < p.b->arm;
        lf_bytes_printf(&c->text, "step '%s' is reached by two branches of '%s', '%s' and '%s', "
                        "but is not their join; ", name, name_of(c, p.a->split),
                        arm_name(c, in_order ? p.a : p.b), arm_name(c, in_order ? p.b : p.a));
        if (c->nodes[v].step.has_function)
            TELL(c, v, "did its function forget the second parameter? write function(self, inputs)");
        else
            TELL(c, v, "give it a function with two parameters, function(self, inputs)");
    } else if (p.a != NULL && p.b != NULL) {
        TELL(c, v, "step '%s' is reached from inside the %s of '%s' and from inside the %s of "
             "'%s'; join each of them before", name, split_word(c, p.a->split),
             name_of(c, p.a->split), split_word(c, p.b->split), name_of(c, p.b->split));
    } else {
        const place *in = p.a != NULL ? p.a : p.b;
        uint32_t inner = p.a != NULL ? e1 : e2, outer = p.a != NULL ? e2 : e1;
        TELL(c, v, "step '%s' is reached from inside the %s of '%s' (by '%s') and from outside "
             "it (by '%s'); join the %s before '%s'", name, split_word(c, in->split),
             name_of(c, in->split), name_of(c, c->edges[inner].from),
             name_of(c, c->edges[outer].from), split_word(c, in->split), name);
    }
}

/* Join `v` is reached over e1 and e2, which have different splits open. */
static void tell_joining(check *c, uint32_t v, uint32_t e1, uint32_t e2)
{
    place *a = stack_after(c, e1), *b = stack_after(c, e2);
    const char *name = name_of(c, v);
    if (depth_of(a) == depth_of(b)) {
        TELL(c, v, "step '%s' joins the %s of '%s' and the %s of '%s' at once; a join closes one: "
             "join each in a step of its own", name, split_word(c, a->split), name_of(c, a->split),
             split_word(c, b->split), name_of(c, b->split));
        return;
    }
    if (depth_of(a) < depth_of(b)) {
        uint32_t e = e1;
        e1 = e2, e2 = e;
        place *p = a;
        a = b, b = p;
    }
    TELL(c, v, "step '%s' joins branches of different depth: '%s' comes from inside the %s of "
         "'%s', '%s' does not; join the %s in a step of its own first", name,
         name_of(c, c->edges[e1].from), split_word(c, a->split), name_of(c, a->split),
         name_of(c, c->edges[e2].from), split_word(c, a->split));
}

/* The stack `v` most likely has, when two that arrive there differ. */
static place *reconcile(check *c, uint32_t v, place *a, place *b)
{
    parting p = part(a, b);
    place *outer = p.common;
    if (c->nodes[v].step.is_join && (p.a == NULL || p.b == NULL) && outer != NULL)
        outer = outer->up;
    settle(c, a, outer);
    settle(c, b, outer);
    return outer;
}

static void tell_straight(check *c, uint32_t v, uint32_t from)
{
    TELL(c, from, "step '%s' goes straight to its join '%s'; at least one step stands between a "
         "%s and its join", name_of(c, from), name_of(c, v), split_word(c, from));
}

/* Gives join `v`, at which everything arrives with `top` open, its place. */
static void close_split(check *c, uint32_t v, place *top)
{
    if (top == NULL) {
        uint32_t guess = c->repair[v];
        if (guess != LF_NONE && !c->forgiven[guess])
            c->forgiven[guess] = true;
        else
            TELL(c, v, "step '%s' is a join (its function takes `inputs`) that closes nothing: no "
                 "branch or foreach is open there; write function(self)", name_of(c, v));
        return;
    }
    lf_step *split = &c->nodes[top->split].step;
    if (split->join == LF_NONE) {
        split->join = v;
    } else if (!c->settled[top->split]) {
        c->settled[top->split] = true;
        TELL(c, top->split, "the %s of step '%s' is joined by two steps, '%s' and '%s'; let all "
             "of it go to one", split_word(c, top->split), split->name, name_of(c, split->join),
             name_of(c, v));
    }
    c->stack[v] = top->up;
}

static bool agree(const node *v, const place *a, const place *b)
{
    if (a == b)
        return true;
    return v->step.is_join && a != NULL && b != NULL && a->split == b->split;
}

/* Two stacks come to `v` over e1 and e2 that should be one. Joins are not blamed for
 * stacks of which one follows from a guess and the other does not. */
static void tell_clash(check *c, uint32_t v, uint32_t e1, uint32_t e2)
{
    if (!c->nodes[v].step.is_join)
        tell_meeting(c, v, e1, e2);
    else if (c->repair[c->edges[e1].from] == c->repair[c->edges[e2].from])
        tell_joining(c, v, e1, e2);
}

/* Finds the stack of `v` from what arrives over the edges that close no loop. */
static void enter_step(check *c, uint32_t v)
{
    const node *step = &c->nodes[v];
    uint32_t first = LF_NONE;
    bool clash = false;
    place *stack = &unknown;
    for EACH_IN(c, v, i) {
        uint32_t e = c->in[i], from = c->edges[e].from;
        if (c->edges[e].closes_loop || !c->reached[from])
            continue;
        place *arrives = stack_after(c, e);
        if (arrives == &unknown)
            continue;
        if (c->repair[v] == LF_NONE)
            c->repair[v] = c->repair[from];
        if (step->step.is_join && arrives == &c->places[e])
            tell_straight(c, v, from);
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
    else if (step->step.is_join && stack != &unknown)
        close_split(c, v, stack);
}

static void check_closed(check *c, uint32_t v, uint32_t n_last)
{
    for (const place *p = c->stack[v]; p != NULL; p = p->up) {
        uint32_t split = p->split;
        if (c->settled[split] || (c->nodes[split].step.join != LF_NONE && n_last > 1))
            continue;
        c->settled[split] = true;
        TELL(c, split, "the %s of step '%s' is not joined: it is still open in '%s', the last "
             "step; close it in a step that takes inputs, function(self, inputs)",
             split_word(c, split), name_of(c, split), name_of(c, v));
    }
}

/* A loop comes back to the nesting it left. */
static void check_loop(check *c, uint32_t e)
{
    uint32_t u = c->edges[e].from, v = c->edges[e].to;
    place *arrives = stack_after(c, e), *stack = c->stack[v];
    if (arrives == &unknown || stack == &unknown || c->repair[u] != c->repair[v])
        return;
    if (c->nodes[v].step.is_join) {
        TELL(c, u, "step '%s' goes back to the join '%s'; a loop goes back to a step that is no "
             "join", name_of(c, u), name_of(c, v));
        return;
    }
    if (arrives == stack)
        return;
    parting p = part(arrives, stack);
    const place *between = p.a != NULL ? p.a : p.b;
    TELL(c, u, "step '%s' goes back to '%s', which is %s the %s of '%s'; a loop stays at one "
         "nesting: %s", name_of(c, u), name_of(c, v),
         p.b == NULL ? "outside" : p.a == NULL ? "inside" : "in another part of",
         split_word(c, between->split), name_of(c, between->split),
         p.b == NULL ? "join it before going back" : "go back to a step before it");
}

static void check_nesting(check *c, const bool *circular)
{
    uint32_t n_last = 0;
    for (uint32_t i = 0; i < c->n_order; i++)
        n_last += c->nodes[c->order[i]].step.kind == LF_LAST;
    for (uint32_t v = 0; v < c->n; v++)
        c->repair[v] = LF_NONE;
    for (uint32_t i = 0; i < c->n_order; i++) {
        uint32_t v = c->order[i];
        if (c->nodes[v].broken)
            c->stack[v] = &unknown;
        else if (v != c->root)
            enter_step(c, v);
        else if (c->nodes[v].step.is_join)
            close_split(c, v, NULL);
        if (c->stack[v] == &unknown)
            c->vague[v] = true;
        for EACH_OUT(c, v, k) {
            place *p = &c->places[c->out[k]];
            p->up = c->stack[v];
            p->depth = c->stack[v] == &unknown ? 0 : depth_of(p->up) + 1;
        }
    }
    for (uint32_t i = 0; i < c->n_order; i++)
        if (c->nodes[c->order[i]].step.kind == LF_LAST && !c->vague[c->order[i]])
            check_closed(c, c->order[i], n_last);
    for (uint32_t e = 0; e < c->n_edges; e++) {
        uint32_t u = c->edges[e].from;
        bool is_told = circular[u] && circular[c->edges[e].to] &&
                       c->nodes[u].step.kind != LF_SWITCH;
        if (c->edges[e].closes_loop && c->reached[u] && !is_told)
            check_loop(c, e);
    }
}

/* ---- numbering ---- */

/* A step may run again in one place when it is on a cycle of its own nesting: one
 * that passes from a split to its join, and never over what is between. */
static void find_loops(check *c)
{
    for (uint32_t e = 0; e < c->n_edges; e++) {
        const node *from = &c->nodes[c->edges[e].from], *to = &c->nodes[c->edges[e].to];
        if (is_split(from))
            c->to[e] = from->step.join;
        else
            c->to[e] = to->step.is_join ? LF_NONE : c->edges[e].to;
    }
    find_components(c);
    for (uint32_t i = 0; i < c->n_order; i++) {
        lf_step *s = &c->nodes[c->order[i]].step;
        s->in_loop = c->component[c->order[i]] != LF_NONE;
        if (s->in_loop)
            s->loop_slot = c->g->loop_slots++;
    }
}

static int number_steps(check *c)
{
    lf_graph *g = c->g;
    for (uint32_t i = 0; i < c->n; i++)
        c->nodes[c->order[i]].number = i;
    g->by_name = keep(&g->memory, c->n, sizeof *g->by_name);
    lf_step *steps = keep(&g->memory, c->n, sizeof *steps);
    if (g->by_name == NULL || steps == NULL)
        return LUAFLOW_ENOMEM;
    for (uint32_t i = 0; i < c->n; i++) {
        const node *v = &c->nodes[i];
        lf_step *s = &steps[v->number];
        g->by_name[i] = v->number;
        *s = v->step;
        if (s->join != LF_NONE)
            s->join = c->nodes[s->join].number;
        uint32_t *next = keep(&g->memory, s->n_next, sizeof *next);
        lf_case *cases = keep(&g->memory, s->cases != NULL ? s->n_next : 0, sizeof *cases);
        if (next == NULL || cases == NULL)
            return LUAFLOW_ENOMEM;
        for (uint32_t k = 0; k < s->n_next; k++) {
            next[k] = c->nodes[v->step.next[k]].number;
            if (s->cases != NULL)
                cases[k] = (lf_case){v->step.cases[k].key, next[k]};
        }
        s->next = next;
        s->cases = s->cases != NULL ? cases : NULL;
    }
    g->steps = steps;
    return LUAFLOW_OK;
}

static void check_all(check *c, arena *a)
{
    c->reached = scratch(c, a, c->n, sizeof *c->reached);
    c->loose = scratch(c, a, c->n, sizeof *c->loose);
    c->vague = scratch(c, a, c->n, sizeof *c->vague);
    c->settled = scratch(c, a, c->n, sizeof *c->settled);
    c->repair = scratch(c, a, c->n, sizeof *c->repair);
    c->forgiven = scratch(c, a, c->n, sizeof *c->forgiven);
    c->stack = scratch(c, a, c->n, sizeof *c->stack);
    c->finished = scratch(c, a, c->n, sizeof *c->finished);
    c->order = scratch(c, a, c->n, sizeof *c->order);
    c->component = scratch(c, a, c->n, sizeof *c->component);
    c->seen = scratch(c, a, c->n, sizeof *c->seen);
    c->low = scratch(c, a, c->n, sizeof *c->low);
    c->path = scratch(c, a, c->n, sizeof *c->path);
    c->at = scratch(c, a, c->n, sizeof *c->at);
    c->pending = scratch(c, a, c->n, sizeof *c->pending);
    bool *circular = scratch(c, a, c->n, sizeof *circular);
    if (c->failed)
        return;

    if (c->n > 0)
        qsort(c->nodes, c->n, sizeof *c->nodes, compare_nodes);
    for (uint32_t v = 0; v < c->n; v++)
        check_step(c, v);
    find_targets(c, a, c->seen);
    if (c->failed || !sort_edges(c, a))
        return;
    find_root(c);
    if (c->root != LF_NONE) {
        walk_all(c);
        sort_steps(c);
        check_reached(c);
    }
    check_last(c);
    check_cycles(c, circular);
    check_nesting(c, circular);
    check_ends(c, a, circular);
    if (!c->wrong && !c->failed)
        find_loops(c);
}

int lf_graph_seal(lf_graph *g, lf_problem_fn tell, void *payload)
{
    assert(g->steps == NULL);
    arena temporary = {NULL};
    check c = {.g = g, .nodes = g->nodes, .n = g->n, .tell = tell, .payload = payload};
    check_all(&c, &temporary);
    int rc = c.failed ? LUAFLOW_ENOMEM : c.wrong ? LUAFLOW_EFLOW : number_steps(&c);
    lf_bytes_fini(&c.text);
    arena_fini(&temporary);
    if (rc == LUAFLOW_OK) {
        free(g->nodes);
        g->nodes = NULL;
    }
    return rc;
}

/* ---- reading ---- */

uint32_t lf_graph_size(const lf_graph *g) { return g->n; }

const lf_step *lf_graph_step(const lf_graph *g, uint32_t number)
{
    assert(g->steps != NULL && number < g->n);
    return &g->steps[number];
}

uint32_t lf_graph_find(const lf_graph *g, const char *name)
{
    assert(g->steps != NULL);
    uint32_t low = 0, high = g->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(name, g->steps[g->by_name[middle]].name);
        if (order == 0)
            return g->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return LF_NONE;
}

uint32_t lf_graph_loop_slots(const lf_graph *g) { return g->loop_slots; }

uint32_t lf_step_case(const lf_step *s, lf_slice key)
{
    for (uint32_t i = 0; s->cases != NULL && i < s->n_next; i++)
        if (lf_slice_equal(s->cases[i].key, key))
            return s->cases[i].step;
    return LF_NONE;
}
