/* step.h -- runs one task in one Lua state: inputs in, call, outputs out. A stepper is a
 * state prepared for one flow; it and its state belong to one worker thread for life. */
#ifndef LF_STEP_H
#define LF_STEP_H

#include "flow.h"
#include "log.h"
#include "staged.h"
#include "store.h"
#include "task.h"

typedef struct lf_stepper lf_stepper;

/* A state with the flow's chunk loaded. Holds `flow`; borrows the rest for its life.
 * LUAFLOW_EFLOW or LUAFLOW_ENOMEM. The caller frees `*out`. */
int lf_stepper_new(lf_flow *flow, lf_store *store, lf_staged *staged, lf_log *log,
                   lf_stepper **out, luaflow_error *err);
void lf_stepper_free(lf_stepper *s); /* accepts NULL */

const lf_flow *lf_stepper_flow(const lf_stepper *s);

/* Runs `t`, a task of this stepper's flow, and seals its outcome into its batch. Whatever
 * goes wrong is the task's failure; only running out of memory while sealing leaves the
 * batch's error set. */
void lf_stepper_run(lf_stepper *s, lf_task *t);

/* Whether the state has gathered so much that a new one should take its place. */
bool lf_stepper_is_worn(lf_stepper *s);

#endif
