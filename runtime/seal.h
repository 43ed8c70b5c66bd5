/* seal.h -- what a task left, turned into its record: names written and tables touched are
 * encoded; everything untouched is passed on by key. The worker's thread. */
#ifndef LF_SEAL_H
#define LF_SEAL_H

#include "inputs.h"
#include "state.h"

struct lf_stepper;

/* The task of the stepper is about to run. */
void lf_seal_begin(struct lf_stepper *s);

/* Finds what the running task would pass on under `name` had it touched nothing. */
bool lf_seal_find(struct lf_stepper *s, lf_slice name, lf_found *out);

/* Gathers what the self at `index` holds; what cannot be kept becomes the stepper's
 * problem.  [-0, +0, raises out of memory] */
LF_RAISES void lf_seal(struct lf_stepper *s, int index);

/* Writes the record: of a success, or of a failure if there is one or a problem. */
void lf_seal_finish(struct lf_stepper *s, const lf_failure *failure);

void lf_seal_fini(struct lf_stepper *s);

#endif
