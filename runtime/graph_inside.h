/* graph_inside.h -- what the files of the graph share while it is being sealed. Only
 * they include it. Steps are positions in the list of nodes, which is sorted by name, so
 * that everything told and numbered is the same for every order of adding. */
#ifndef LF_GRAPH_INSIDE_H
#define LF_GRAPH_INSIDE_H

#include "graph.h"

/* ---- memory that lives as long as its owner ---- */

typedef struct lf_arena {
    struct lf_block *newest;
} lf_arena;

/* Zeroed memory for `n` things of `size` bytes, or NULL. */
void *lf_arena_keep(lf_arena *a, size_t n, size_t size);

/* ---- what is checked ---- */

typedef struct lf_node {
    lf_step step;       /* its `next` holds positions in `nodes` until it is numbered */
    const char **names; /* of the targets */
    const char **texts; /* of the cases, or NULL */
    bool broken, doubtful;
    uint32_t number;
} lf_node;

typedef struct lf_edge {
    uint32_t from, to;
    bool closes_loop; /* goes back to a step the depth-first walk stands in */
} lf_edge;

/* An open split with one of its arms: the stack of a step is a chain of them. There
 * is one for each edge that leaves a split, so equal stacks are the same pointer. */
typedef struct lf_place {
    struct lf_place *up; /* NULL: nothing open around it */
    uint32_t split, arm, depth;
} lf_place;

extern lf_place lf_unknown; /* the stack of a step that an earlier mistake made doubtful */

typedef struct lf_check {
    lf_node *nodes;
    uint32_t n, root; /* root: where the walk begins; LF_NONE: nowhere */
    lf_problem_fn tell;
    void *payload;
    lf_bytes text; /* of the message being written */
    bool wrong, failed;
    lf_arena memory; /* of everything below */

    lf_edge *edges;
    uint32_t n_edges;
    uint32_t *out, *out_first; /* edges by `from`, then by the target's name */
    uint32_t *in, *in_first;   /* edges by `to` */

    bool *reached;                  /* from the root */
    uint32_t *order, n_order;       /* what is reached, in topological order */
    uint32_t n_last;                /* steps that have no `next`, reached or not */
    uint32_t *finished, n_finished; /* everything, as the depth-first walk left it */
    uint32_t *to;                   /* by edge: the targets that components follow */
    uint32_t *component;            /* by step: the same number in a circle; LF_NONE: in none */
    uint32_t *seen, *low, *path, *at, *pending; /* by step, for the walks */

    bool *loose;    /* by step: some of its targets are not known */
    bool *vague;    /* by step: what it opens or closes is not known */
    bool *circular; /* by step: in a cycle without a switch, which is told */
    lf_place *places; /* by edge */
    lf_place **stack; /* by step; a join's is the one after closing */
    bool *settled;    /* by step: a split of whose join nothing more is told */
    uint32_t *closes; /* by step: how many splits are open after it, to be closed behind it */
    uint32_t *repair; /* by step: the last one on the way whose stack is a guess */
    bool *forgiven;   /* by step: its guess has excused a join too many */
} lf_check;

#define LF_EACH_OUT(c, v, i) \
    (uint32_t i = (c)->out_first[v]; i < (c)->out_first[(v) + 1]; i++)
#define LF_EACH_IN(c, v, i) \
    (uint32_t i = (c)->in_first[v]; i < (c)->in_first[(v) + 1]; i++)

static inline const char *name_of(const lf_check *c, uint32_t v) { return c->nodes[v].step.name; }

static inline bool is_split(const lf_node *v)
{
    return v->step.kind == LF_BRANCH || v->step.kind == LF_FOREACH;
}

/* ---- graph_walk.c: orders and circles. Nothing is told here. ---- */

/* Makes the edges of the nodes' known targets, grouped both ways. False when out of
 * memory. */
bool lf_walk_edges(lf_check *c);

/* Walks over all steps depth first, from the root and then from what is left, targets
 * in the order of their names: fills c->reached, c->finished, and closes_loop. */
void lf_walk_depth_first(lf_check *c);

/* Fills c->order: Kahn's way without the edges that close a loop, ties broken by name. */
void lf_walk_order(lf_check *c);

/* Groups the reached steps that lie on cycles of the edges as c->to has them (LF_NONE:
 * leave it out), into c->component. */
void lf_walk_components(lf_check *c);

/* ---- graph_check.c: each step alone, and the whole ---- */

/* All checks. Sorts the nodes and fills in their targets; on success leaves c->order. */
void lf_check_all(lf_check *c);

/* Zeroed memory as long as the check, or NULL and c->failed. */
void *lf_check_memory(lf_check *c, size_t n, size_t size);

/* Sends the message that was written into c->text; it is about step `v` or LF_NONE. */
void lf_check_told(lf_check *c, uint32_t v);

#define LF_TELL(c, v, ...) (lf_bytes_printf(&(c)->text, __VA_ARGS__), lf_check_told((c), (v)))

/* ---- graph_nesting.c: splits, their joins, and loops between them ---- */

/* Carries the stack of open splits along c->order; fills in the splits' joins. */
void lf_check_nesting(lf_check *c);

#endif
