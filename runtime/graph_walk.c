/* graph_walk.c -- the orders in which the steps of a graph can be gone through, and
 * its circles. Everything is done in time proportional to steps and edges, and without
 * recursion: a flow may be a chain of any length. */
#include "graph_inside.h"

/* ---- edges ---- */

bool lf_walk_edges(lf_check *c)
{
    size_t total = 0;
    for (uint32_t v = 0; v < c->n; v++)
        total += c->nodes[v].step.n_next;
    if (total >= LF_NONE)
        c->failed = true;
    c->edges = lf_check_memory(c, total, sizeof *c->edges);
    c->places = lf_check_memory(c, total, sizeof *c->places);
    c->to = lf_check_memory(c, total, sizeof *c->to);
    c->out = lf_check_memory(c, total, sizeof *c->out);
    c->in = lf_check_memory(c, total, sizeof *c->in);
    c->out_first = lf_check_memory(c, (size_t)c->n + 2, sizeof *c->out_first);
    c->in_first = lf_check_memory(c, (size_t)c->n + 2, sizeof *c->in_first);
    if (c->failed)
        return false;
    /* Each `first` is counted two places up, so that filling in moves it into place. */
    for (uint32_t v = 0; v < c->n; v++)
        for (uint32_t i = 0; i < c->nodes[v].step.n_next; i++) {
            uint32_t to = c->nodes[v].step.next[i];
            if (to == LF_NONE)
                continue;
            c->places[c->n_edges] = (lf_place){NULL, v, i, 0};
            c->edges[c->n_edges++] = (lf_edge){v, to, false};
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

/* ---- walks ---- */

/* Walks on from `from` over steps not yet seen, appends them to c->finished as the walk
 * leaves them, and marks the edges that close a loop. */
static void walk_from(lf_check *c, uint32_t from)
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
        lf_edge *e = &c->edges[c->out[c->at[v]++]];
        if (c->seen[e->to] == OPEN) {
            e->closes_loop = true;
        } else if (c->seen[e->to] == NEW) {
            c->seen[e->to] = OPEN;
            c->at[e->to] = c->out_first[e->to];
            c->path[depth++] = e->to;
        }
    }
}

void lf_walk_depth_first(lf_check *c)
{
    for (uint32_t v = 0; v < c->n; v++)
        c->seen[v] = 0;
    walk_from(c, c->root);
    for (uint32_t i = 0; i < c->n_finished; i++)
        c->reached[c->finished[i]] = true;
    for (uint32_t v = 0; v < c->n; v++)
        walk_from(c, v);
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

void lf_walk_order(lf_check *c)
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
        for LF_EACH_OUT(c, v, i) {
            const lf_edge *e = &c->edges[c->out[i]];
            if (!e->closes_loop && --waits_for[e->to] == 0)
                heap_push(heap, &n, e->to);
        }
    }
}

/* Tarjan's way, with its stack of calls in c->path and c->at. */
void lf_walk_components(lf_check *c)
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
