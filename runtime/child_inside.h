/* child_inside.h -- what the files of the room `child` share. Nobody else includes it. */
#ifndef LF_CHILD_INSIDE_H
#define LF_CHILD_INSIDE_H

#include "luaflow.h"

/* child_nursery.c: forks a process for each request that comes over `control`, until nobody is
 * at its other end. Returns in each of these, too, which leads a group of its own, with
 * `*is_forked` set, its streams in place, and in the place of `control` its own socket. The process
 * must have one thread. LUAFLOW_ESTEP. */
int lf_nurse(int control, bool *is_forked, luaflow_error *err);

#endif
