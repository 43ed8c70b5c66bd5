/* module_inside.h -- what the files of the room `module` share. Nobody else includes it.
 *
 * The room is the Lua face of luaflow.h: require "luaflow.core". It knows nothing of the
 * house but the public header, and lives on the thread of the state that calls it. What
 * may well fail returns nil, message, code; what is called wrongly raises.
 *
 * Handles are userdata that are made first and filled then. What a C function gives us
 * to free waits in a scratch userdata while Lua, which may jump, copies it. */
#ifndef LF_MODULE_INSIDE_H
#define LF_MODULE_INSIDE_H

#include <luaflow.h>

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>

#define LF_RAISES /* may jump with a Lua error over its caller */

#define LF_FLOW_TYPE "luaflow.flow"
#define LF_RUNTIME_TYPE "luaflow.runtime"
#define LF_RUN_TYPE "luaflow.run"
#define LF_SCRATCH_TYPE "luaflow.scratch"

/* ---- what each file adds to the module's table on top ----------------- */

/* All [-0, +0, raises]. In this order: reading adds methods to the runtime's. */
LF_RAISES void lf_core_values(lua_State *L);
LF_RAISES void lf_core_flows(lua_State *L);
LF_RAISES void lf_core_runtimes(lua_State *L);
LF_RAISES void lf_core_runs(lua_State *L);
LF_RAISES void lf_core_reading(lua_State *L);
LF_RAISES void lf_core_stores(lua_State *L);
LF_RAISES void lf_core_places(lua_State *L);

/* Sets functions as fields of the table on top.  [-0, +0, raises] */
LF_RAISES void lf_core_add(lua_State *L, const luaL_Reg *functions);

/* Adds methods to the handles called `type`, which are made known if need be; `gc` may be
 * NULL for those that are.  [-0, +0, raises] */
LF_RAISES void lf_core_methods(lua_State *L, const char *type, const luaL_Reg *methods,
                               lua_CFunction gc);

/* ---- handles ---------------------------------------------------------- */

typedef struct lf_core_run lf_core_run;
typedef struct lf_core_said lf_core_said;

/* The userdata of an open store. Its environment keeps alive the runs that have not
 * ended: { [block of a run] = its userdata }. */
typedef struct lf_core_runtime {
    luaflow *handle; /* NULL once closed */
    lf_core_run *runs;
    _Atomic(lf_core_said *) said; /* by any thread: see module_log.c */
    lf_core_said *heard;
    lua_State *delivering; /* the state inside luaflow_poll and the like, or NULL */
    bool raised;           /* a callback's error lies on top of its stack */
    int place;             /* its directory: while this descriptor is open, no other one is
                              taken for it; -1 once closed */
} lf_core_runtime;

/* The open handle that is argument `arg`.  [-0, +0, raises] */
LF_RAISES luaflow_flow *lf_arg_flow(lua_State *L, int arg);
LF_RAISES lf_core_runtime *lf_arg_runtime(lua_State *L, int arg);

/* Refuses to do `what` while events are delivered.  [-0, +0, raises] */
LF_RAISES void lf_core_refuse_inside(lua_State *L, const lf_core_runtime *rt, const char *what);

/* Returns what core.place gives for the directory that `fd` is; nothing once that was removed.
 * [-0, +1 or +0, raises] */
LF_RAISES int lf_push_place_of(lua_State *L, int fd);

/* module_log.c: a luaflow_log_fn that keeps warnings for the lf_core_runtime at `payload`. */
void lf_core_hear(void *payload, int level, const char *sentence);

/* Returns the oldest that was kept, and keeps it no longer.  [-0, +1 or +0, raises] */
LF_RAISES int lf_push_warning(lua_State *L, lf_core_runtime *rt);

/* Frees those that nobody asked for. */
void lf_core_forget_warnings(lf_core_runtime *rt);

/* Forgets the runs of a runtime whose handle, and theirs with it, was closed. */
void lf_core_drop_runs(lf_core_runtime *rt);

/* ---- what C gave us, until Lua has copied it -------------------------- */

typedef struct lf_scratch {
    luaflow_error err;
    void *memory; /* for luaflow_free */
} lf_scratch;

/* [-0, +1, raises] */
LF_RAISES lf_scratch *lf_scratch_new(lua_State *L);
void lf_scratch_clear(lf_scratch *s);

/* Pushes nil, message, code for what `s` says and clears it. Returns 3, for a function
 * to return.  [-0, +3, raises] */
LF_RAISES int lf_scratch_fail(lua_State *L, lf_scratch *s);

/* Pushes the value that the bytes in `s` stand for, or nil, message, code, and clears it.
 * Returns how many.  [-0, +1 or +3, raises] */
LF_RAISES int lf_scratch_value(lua_State *L, lf_scratch *s, size_t size);

/* The name that scripts know an error's code by. */
const char *lf_code_name(int code);

/* ---- arguments and tables of options ---------------------------------- */

/* A number of a run or a task.  [-0, +0, raises] */
LF_RAISES uint64_t lf_arg_number(lua_State *L, int arg);
LF_RAISES uint64_t lf_arg_optional_number(lua_State *L, int arg); /* 0 for nil */

/* Pushes a field of the table at `index`, without asking a metatable: what it holds lives
 * as long as the table.  [-0, +1, raises] */
LF_RAISES void lf_option_push(lua_State *L, int index, const char *name);

/* A field; NULL, false or 0 when it is nil. A string is anchored in the table.
 * [-0, +0, raises] */
LF_RAISES const char *lf_option_string(lua_State *L, int index, const char *name);
LF_RAISES bool lf_option_boolean(lua_State *L, int index, const char *name);
LF_RAISES uint32_t lf_option_count(lua_State *L, int index, const char *name);

/* Pushes a zeroed block for `n` items, which Lua frees.  [-0, +1, raises] */
LF_RAISES void *lf_push_block(lua_State *L, size_t n, size_t item);

/* The strings of the list at `index` (nil: none), which anchors them; `what` is what the
 * message calls the list. Pushes the block they are listed in.  [-0, +1, raises] */
LF_RAISES const char *const *lf_push_strings(lua_State *L, int index, const char *what, size_t *n);

/* Makes parameters of { name = text } at `texts` and { name = value } at `values`, either
 * of which may be nil and both of which anchor what is theirs. Pushes what anchors the
 * rest; false with `s` filled when a value cannot be encoded.  [-0, +2, raises] */
LF_RAISES bool lf_push_params(lua_State *L, int texts, int values, lf_scratch *s,
                              const luaflow_param **out, size_t *n);

/* ---- tables of results ------------------------------------------------ */

/* They set a field of the table on top.  [-0, +0, raises] */
LF_RAISES void lf_set_string(lua_State *L, const char *field, const char *value); /* NULL: not */
LF_RAISES void lf_set_bytes(lua_State *L, const char *field, const char *bytes, size_t size);
LF_RAISES void lf_set_number(lua_State *L, const char *field, double value);
LF_RAISES void lf_set_known(lua_State *L, const char *field, double value); /* 0: not */
LF_RAISES void lf_set_boolean(lua_State *L, const char *field, bool value);
LF_RAISES void lf_set_status(lua_State *L, int status);
LF_RAISES void lf_set_stream(lua_State *L, int stream);
LF_RAISES void lf_set_counts(lua_State *L, const luaflow_counts *counts); /* four fields */

/* The word for an enum luaflow_status. */
const char *lf_status_name(int status);

#endif
