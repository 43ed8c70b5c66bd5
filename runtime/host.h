/* host.h -- what a host has given to the library: options that may be older than it, functions
 * of its own, and the ear for what the library itself has to say. Knows nothing of who uses it.
 * Any thread. */
#ifndef LF_HOST_H
#define LF_HOST_H

#include "error.h"

/* Part of what a host gives to luaflow_open, for rooms further down; they borrow it, and it
 * does not change. */
typedef struct lf_host {
    char *executable; /* the luaflow command, or NULL */
    luaflow_state_fn on_state;
    void *state_payload;
    luaflow_log_fn on_log;
    void *log_payload;
} lf_host;

/* Tells the host a sentence, formatted; `level` is of enum luaflow_log_level. Nothing may be
 * locked. `host` may be NULL: nobody hears it. */
void lf_host_log(const lf_host *host, int level, const char *format, ...) LF_PRINTF(3, 4);

/* Copies the options at `given` (NULL: none are given) to `out`, which is a struct of `known`
 * bytes called `name` whose first member is its size: who gives them may have been compiled when
 * it had fewer fields, and those it did not know are zero. So new fields go to the end, not into
 * padding, and zero is what they are by default. LUAFLOW_EUSAGE for a size of 0 or beyond
 * `known`. */
int lf_host_options(const void *given, void *out, size_t known, const char *name, luaflow_error *err);

#endif
