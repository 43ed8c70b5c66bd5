/* state.h -- a Lua state furnished our way, and the one door into it. Knows
 * nothing of the store or of tasks. A state belongs to one thread for life. */
#ifndef LF_STATE_H
#define LF_STATE_H

#include "codec.h"

/* A state with the standard libraries, the codec, and our own modules where
 * `require` finds them (package.preload). NULL when out of memory. */
lua_State *lf_state_new(void);
void lf_state_free(lua_State *L); /* accepts NULL */

/* Makes `require` in any state find the modules that are compiled in.
 * [-0, +0, raises] */
LF_RAISES void lf_state_furnish(lua_State *L);

/* Where a state's printed output goes: `stream` is 1 for stdout, 2 for stderr. May
 * not call back into the state. */
typedef void (*lf_output_fn)(void *payload, int stream, const char *text, size_t size);

/* From here on print, io.write, io.stdout, io.stderr and io.output() of this state go
 * to `out` instead of the process's streams; io.open and the rest stay as they are.
 * A new state's output is dropped.  [-0, +0, raises nothing] */
void lf_state_output(lua_State *L, lf_output_fn out, void *payload);

/* What a failed call left: the message (with the user's file and line in front)
 * and the traceback, whose frames are the user's own. */
typedef struct lf_failure {
    char *message, *traceback; /* malloc'ed; either may be NULL when out of memory */
} lf_failure;
void lf_failure_fini(lf_failure *f);

/* Calls the function below `n_args` arguments on the stack, as lua_pcall does.
 * LUAFLOW_OK with `n_results` on the stack; LUAFLOW_ESTEP (or LUAFLOW_ENOMEM) with
 * none, and `*failure` (may be NULL) filled: the caller finishes it.
 * [-(n_args + 1), +n_results on success, never raises] */
int lf_state_call(lua_State *L, int n_args, int n_results, lf_failure *failure);

/* The same, with the failure's message as an error of code `code`. */
int lf_state_try(lua_State *L, int n_args, int n_results, int code, luaflow_error *err);

/* Pushes the module that `require` gives for one of ours.
 * [-0, +1 on success, never raises] */
int lf_state_require(lua_State *L, const char *module, luaflow_error *err);

#endif
