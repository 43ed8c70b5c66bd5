/* plan_order.c -- which of several ready steps goes first.
 * Pure: no threads, no files, no Lua, no clock. */
#include "plan_inside.h"

#include <stdlib.h>

/* A step on the way of the walk, and which of its sorted targets come next. */
typedef struct visit {
    uint32_t step, at, end;
} visit;

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static visit enter(const lf_graph *g, uint32_t step, uint32_t *targets, uint32_t from)
{
    const lf_step *s = lf_graph_step(g, step);
    for (uint32_t i = 0; i < s->n_next; i++)
        targets[from + i] = s->next[i];
    if (s->n_next > 1)
        qsort(targets + from, s->n_next, sizeof *targets, ascending);
    return (visit){step, from, from + s->n_next};
}

bool lf_plan_order(const lf_graph *g, uint32_t *by_rank)
{
    uint32_t size = lf_graph_size(g), edges = 0, depth = 0, rank = size;
    for (uint32_t i = 0; i < size; i++)
        edges += lf_graph_step(g, i)->n_next;
    bool *seen = calloc(size, sizeof *seen);
    visit *stack = malloc(size * sizeof *stack);
    uint32_t *targets = malloc((edges + 1) * sizeof *targets);
    bool ok = seen != NULL && stack != NULL && targets != NULL;
    if (ok) {
        seen[0] = true;
        stack[depth++] = enter(g, 0, targets, 0);
    }
    while (depth > 0) {
        visit *top = &stack[depth - 1];
        if (top->at == top->end) {
            by_rank[--rank] = top->step;
            depth--;
            continue;
        }
        uint32_t next = targets[top->at++];
        if (!seen[next]) {
            seen[next] = true;
            stack[depth] = enter(g, next, targets, top->end);
            depth++;
        }
    }
    free(seen);
    free(stack);
    free(targets);
    return ok;
}
