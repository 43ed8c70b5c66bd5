/* step.h -- runs one step in one Lua state. What it reads and leaves, it asks and tells a
 * world (world.h). One state's own thread. */
#ifndef LF_STEP_H
#define LF_STEP_H

#include "flow.h"
#include "host.h"
#include "world.h"

typedef struct lf_stepper lf_stepper;

/* A state with what `host` adds to it and the flow's chunk loaded. Holds `flow`. LUAFLOW_EFLOW or
 * LUAFLOW_ENOMEM. The caller frees `*out`. */
int lf_stepper_new(lf_flow *flow, const lf_host *host, lf_stepper **out, luaflow_error *err);
void lf_stepper_free(lf_stepper *s); /* accepts NULL */

/* The same in two steps: a state that is good for any flow, and then its flow. An
 * `own_process` is the step's to end. */
int lf_stepper_prepare(lf_stepper **out, luaflow_error *err);
int lf_stepper_enter(lf_stepper *s, lf_flow *flow, bool own_process, luaflow_error *err);

const lf_flow *lf_stepper_flow(const lf_stepper *s);

/* Runs the step of `who`, a task of this stepper's flow, and tells `world` what it leaves.
 * LUAFLOW_OK; or how it failed in `*failure`, which the caller finishes. The names it told
 * stay where they are until the next call. */
int lf_stepper_run(lf_stepper *s, const lf_who *who, lf_world *world, lf_failure *failure);

/* Between two tasks: collects what the last one left, if that is much. */
void lf_stepper_rest(lf_stepper *s);

/* Whether the state has gathered so much that a new one should take its place. */
bool lf_stepper_is_worn(lf_stepper *s);

#endif
