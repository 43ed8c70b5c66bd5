/* state.h -- a Lua state furnished our way, and the one door into it. Knows
 * nothing of the store or of tasks. A state belongs to one thread for life. */
#ifndef LF_STATE_H
#define LF_STATE_H

#include "codec.h"

/* A state with the standard libraries, the codec, and our own modules where
 * `require` finds them. NULL when out of memory. What stands below, but for
 * lf_state_furnish, is for such states alone. */
lua_State *lf_state_new(void);
void lf_state_free(lua_State *L); /* accepts NULL */

/* Makes `require` in any state find the modules that are compiled in, right after
 * package.preload and before any file. A second time does nothing.
 * [-0, +0, raises] */
LF_RAISES void lf_state_furnish(lua_State *L);

/* Pushes the table that `require "luaflow.native"` gives in this state, made if need be:
 * what our Lua asks C for. It has `register(name, metatable)`,
 * `registered(name)`, `class(metatable)` and `unregister(name)` for classes, `execute(command)` for
 * os.execute, and `open_signals()`, `close_signals(mask)` around io.popen.
 * [-0, +1, raises] */
LF_RAISES void lf_state_natives(lua_State *L);

/* Lets a host add to the state: calls `on_state` (NULL: nobody) inside a protected call. What it
 * raises is LUAFLOW_EFLOW, as is a code that is none of ours.  [-0, +0, never raises] */
int lf_state_visit(lua_State *L, luaflow_state_fn on_state, void *payload, luaflow_error *err);

/* The name of a global, a field of a library or a module that `message`, of a failure, says is
 * not there, and that `on_state` adds: found out in a state made for that on the caller's thread.
 * The caller frees it; NULL when there is none. */
char *lf_state_missed(luaflow_state_fn on_state, void *payload, const char *message);

/* Where a state's printed output goes: `stream` is 1 for stdout, 2 for stderr. May
 * not call back into the state. */
typedef void (*lf_output_fn)(void *payload, int stream, const char *text, size_t size);

/* From here on print, io.write, io.stdout and io.stderr of this state go to `out`
 * (NULL: nowhere) instead of the process's streams, each call as one piece or more,
 * at once; whoever kept io.stdout writes there too. io.open and the rest stay as they
 * are. An io.output(file) or io.input(file) that is in force is flushed and undone.
 * A new state's output is dropped.  [-0, +0, never raises] */
void lf_state_output(lua_State *L, lf_output_fn out, void *payload);

/* What a failed call left: the message (with the user's file and line in front)
 * and the traceback as Lua writes it, "stack traceback:\n\t…", of which only the
 * frames of the user's own Lua are left; empty when there are none. */
typedef struct lf_failure {
    char *message, *traceback; /* malloc'ed; either may be NULL when out of memory */
    bool timed_out;            /* set by whoever set the limit; a call never does */
} lf_failure;
void lf_failure_fini(lf_failure *f);

/* Calls the function below `n_args` arguments on the stack, as lua_pcall does.
 * LUAFLOW_OK with `n_results` on the stack; LUAFLOW_ESTEP (or LUAFLOW_ENOMEM) with
 * none, and `*failure` (may be NULL) filled: the caller finishes it.
 * [-(n_args + 1), +n_results on success, never raises] */
int lf_state_call(lua_State *L, int n_args, int n_results, lf_failure *failure);

/* The same, with the failure's message as an error of code `code` (or
 * LUAFLOW_ENOMEM). */
int lf_state_try(lua_State *L, int n_args, int n_results, int code, luaflow_error *err);

/* Pushes the module that `require` gives for one of ours; LUAFLOW_EFLOW when there is
 * none, or it fails.
 * [-0, +1 on success, never raises] */
int lf_state_require(lua_State *L, const char *module, luaflow_error *err);

#endif
