/* graph.c -- the steps of a flow and how they follow each other: collected, and, once
 * the checks have passed, numbered.
 * Pure: no threads, no files, no Lua, no clock. One thread until sealed, any after. */
#include "graph_inside.h"

#include <assert.h>
#include <stdlib.h>

/* ---- memory that lives as long as its owner ---- */

typedef struct lf_block {
    struct lf_block *older;
    max_align_t data[];
} lf_block;

void *lf_arena_keep(lf_arena *a, size_t n, size_t size)
{
    if (size != 0 && n > (SIZE_MAX - sizeof(lf_block)) / size)
        return NULL;
    lf_block *b = calloc(1, sizeof *b + n * size);
    if (b == NULL)
        return NULL;
    b->older = a->newest;
    a->newest = b;
    return b->data;
}

static void arena_fini(lf_arena *a)
{
    while (a->newest != NULL) {
        lf_block *b = a->newest;
        a->newest = b->older;
        free(b);
    }
}

/* ---- building ---- */

struct lf_graph {
    lf_arena memory;
    lf_node *nodes; /* until sealed */
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
static bool copy_text(lf_arena *a, const char *text, const char **to)
{
    *to = NULL;
    if (text == NULL)
        return true;
    size_t size = strlen(text) + 1;
    char *copy = lf_arena_keep(a, size, 1);
    if (copy != NULL)
        *to = memcpy(copy, text, size);
    return copy != NULL;
}

static bool copy_texts(lf_arena *a, size_t n, const char *const *texts, const char ***to)
{
    *to = NULL;
    if (texts == NULL || n == 0)
        return true;
    *to = lf_arena_keep(a, n, sizeof **to);
    for (size_t i = 0; *to != NULL && i < n; i++)
        if (!copy_text(a, texts[i], &(*to)[i]))
            return false;
    return *to != NULL;
}

static bool copy_cases(lf_arena *a, const lf_step_spec *spec, const lf_case **to)
{
    *to = NULL;
    if (spec->kind != LF_SWITCH || spec->case_keys == NULL || spec->n_next == 0)
        return true;
    lf_case *cases = lf_arena_keep(a, spec->n_next, sizeof *cases);
    for (size_t i = 0; cases != NULL && i < spec->n_next; i++) {
        lf_slice key = spec->case_keys[i];
        uint8_t *copy = lf_arena_keep(a, key.size, 1);
        if (copy == NULL)
            return false;
        if (key.size > 0)
            memcpy(copy, key.data, key.size);
        cases[i] = (lf_case){lf_slice_of(copy, key.size), LF_NONE};
    }
    *to = cases;
    return cases != NULL;
}

static bool copy_attributes(lf_arena *a, const lf_attributes *from, lf_attributes *to)
{
    *to = *from;
    to->env = NULL;
    if (!copy_text(a, from->catch_name, &to->catch_name))
        return false;
    if (from->n_env == 0)
        return true;
    lf_env_var *env = lf_arena_keep(a, from->n_env, sizeof *env);
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
    lf_node *nodes = realloc(g->nodes, room * sizeof *nodes);
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
    lf_node *v = &g->nodes[g->n];
    *v = (lf_node){.broken = spec->broken, .doubtful = spec->doubtful, .number = LF_NONE};
    v->step.kind = spec->kind;
    v->step.is_join = spec->is_join;
    v->step.has_function = spec->has_function;
    v->step.n_next = (uint32_t)spec->n_next;
    v->step.join = LF_NONE;
    lf_arena *a = &g->memory;
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

/* ---- numbering ---- */

/* A step may run again in one place when it is on a cycle of its own nesting: one
 * that passes from a split to its join, and never over what is between. */
static void find_loops(lf_graph *g, lf_check *c)
{
    for (uint32_t e = 0; e < c->n_edges; e++) {
        const lf_node *from = &c->nodes[c->edges[e].from], *to = &c->nodes[c->edges[e].to];
        if (is_split(from))
            c->to[e] = from->step.join;
        else
            c->to[e] = to->step.is_join ? LF_NONE : c->edges[e].to;
    }
    lf_walk_components(c);
    for (uint32_t i = 0; i < c->n_order; i++) {
        lf_step *s = &c->nodes[c->order[i]].step;
        s->in_loop = c->component[c->order[i]] != LF_NONE;
        if (s->in_loop)
            s->loop_slot = g->loop_slots++;
    }
}

static int number_steps(lf_graph *g, lf_check *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        c->nodes[c->order[i]].number = i;
    g->by_name = lf_arena_keep(&g->memory, c->n, sizeof *g->by_name);
    lf_step *steps = lf_arena_keep(&g->memory, c->n, sizeof *steps);
    if (g->by_name == NULL || steps == NULL)
        return LUAFLOW_ENOMEM;
    for (uint32_t i = 0; i < c->n; i++) {
        const lf_node *v = &c->nodes[i];
        lf_step *s = &steps[v->number];
        g->by_name[i] = v->number;
        *s = v->step;
        if (s->join != LF_NONE)
            s->join = c->nodes[s->join].number;
        uint32_t *next = lf_arena_keep(&g->memory, s->n_next, sizeof *next);
        lf_case *cases = lf_arena_keep(&g->memory, s->cases != NULL ? s->n_next : 0, sizeof *cases);
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

int lf_graph_seal(lf_graph *g, lf_problem_fn tell, void *payload)
{
    assert(g->steps == NULL);
    lf_check c = {.nodes = g->nodes, .n = g->n, .tell = tell, .payload = payload};
    lf_check_all(&c);
    int rc = c.failed ? LUAFLOW_ENOMEM : c.wrong ? LUAFLOW_EFLOW : LUAFLOW_OK;
    if (rc == LUAFLOW_OK) {
        find_loops(g, &c);
        rc = number_steps(g, &c);
    }
    lf_bytes_fini(&c.text);
    arena_fini(&c.memory);
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
