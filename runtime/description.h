/* description.h -- a flow's description as it was stored with a run, read back: what its steps
 * were. Knows nothing of the flow as it is now. Pure but for reading it; any thread. */
#ifndef LF_DESCRIPTION_H
#define LF_DESCRIPTION_H

#include "codec.h"
#include "store.h"

typedef struct lf_description {
    lf_buf *bytes; /* counted */
    lf_list steps; /* in the order of the graph, which numbers them */
} lf_description;

/* Reads that of a run. The caller calls lf_description_fini after success. */
int lf_description_read(lf_view *v, const lf_run_record *run, lf_description *out, luaflow_error *err);
/* The same from its bytes (taken, even on failure). */
int lf_description_of(lf_buf *bytes, lf_description *out, luaflow_error *err);
void lf_description_fini(lf_description *d);

/* What is said of a step under `field`, as canonical bytes; empty when nothing is. */
lf_slice lf_description_field(const lf_description *d, uint64_t step, const char *field);

/* The same of a field that is a string: its text. The name of a step there is not is "?". */
lf_slice lf_description_text(const lf_description *d, uint64_t step, const char *field);
lf_slice lf_description_name(const lf_description *d, uint64_t step);

/* The steps that follow a step, in declared order: cuts the list, of which
 * lf_description_target gives the names. The caller calls lf_list_fini after success. */
int lf_description_next(const lf_description *d, uint64_t step, lf_list *out, luaflow_error *err);
lf_slice lf_description_target(const lf_list *next, uint64_t i);

/* The number of the step called `name`, or LF_ANY. */
uint32_t lf_description_find(const lf_description *d, lf_slice name);

#endif
