/* plan_inside.h -- what the files of the room `plan` share. Nobody else includes it. */
#ifndef LF_PLAN_INSIDE_H
#define LF_PLAN_INSIDE_H

#include "graph.h"

/* Fills by_rank[0..size) with the steps such that the highest rank is what to run first:
 * whatever follows a step has a higher rank than it (loops aside), so that what has begun
 * goes on before more is begun; of several that follow, the first in the order of the graph
 * has the highest. False when out of memory.
 * It is the postorder of a depth-first walk, from its end. */
bool lf_plan_order(const lf_graph *g, uint32_t *by_rank);

#endif
