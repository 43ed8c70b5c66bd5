/* error.h -- an error value: a code and a sentence for a person. */
#ifndef LF_ERROR_H
#define LF_ERROR_H

#include "luaflow.h"

#define LF_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Puts the sentence into `err` (NULL: nowhere), replacing an older one, and
 * returns `code`, so that a function can end with `return lf_fail(…)`. Any thread. */
int lf_fail(luaflow_error *err, int code, const char *format, ...) LF_PRINTF(3, 4);

/* The same for a sentence that is there already; copies it. */
int lf_fail_text(luaflow_error *err, int code, const char *text);

/* lf_fail for running out of memory. */
int lf_fail_memory(luaflow_error *err);

/* Moves `from` into `to` (NULL: drops it), leaving `from` empty; returns its code. */
int lf_error_move(luaflow_error *to, luaflow_error *from);

#endif
