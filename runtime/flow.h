/* flow.h -- a flow's source, its graph and its parameters; loads it into any
 * state. Immutable after loading and counted, so any thread may read it; but its
 * private Lua state (which computes parameters) belongs to the loader's thread.
 * Knows nothing of threads or the store. */
#ifndef LF_FLOW_H
#define LF_FLOW_H

#include "graph.h"
#include "state.h"

typedef struct lf_flow lf_flow;

/* Reads the file, or takes the text, and does all of SPEC 1: LUAFLOW_EFLOW with one
 * sentence for a file that cannot be read or loaded, or with every problem of its
 * graph, one a line; LUAFLOW_EUSAGE for a wrong attribute. Bytecode is refused. `path` is kept
 * as given: it is what messages and tracebacks show. `options` may be NULL. The caller frees
 * `*out`. */
int lf_flow_load(const char *path, const luaflow_flow_options *options, lf_flow **out,
                 luaflow_error *err);
int lf_flow_load_string(const char *source, size_t size, const char *name,
                        const luaflow_flow_options *options, lf_flow **out, luaflow_error *err);

/* The flow that the table at `index` of somebody's state is. Its functions go with it, as
 * lua/luaflow/ship.lua packs them: LUAFLOW_EFLOW names what of them cannot. Furnishes the state
 * as luaflow_furnish does. `name` (NULL: the base name of the file of its first step's function, or
 * PromptFlow) is the flow's unless its table has one. That state's thread only.
 * [-0, +0, never raises] */
int lf_flow_load_lua(lua_State *L, int index, const char *name, const luaflow_flow_options *options,
                     lf_flow **out, luaflow_error *err);

/* What another process tells of a flow that it has loaded: what lf_flow_path and the like
 * give. */
typedef struct lf_flow_told {
    const char *path, *name;
    lf_slice source;
    lf_buf *parcel;
    lf_slice description;
} lf_flow_told;

/* Such a flow, to be entered, and no more: it has no graph. Copies all. LUAFLOW_ENOMEM. The
 * caller frees `*out`. */
int lf_flow_known(const lf_flow_told *told, lf_flow **out, luaflow_error *err);

lf_flow *lf_flow_ref(lf_flow *f); /* another owner */
void lf_flow_free(lf_flow *f);    /* an owner less; accepts NULL */

/* An owner less, on the loader's thread: the private state is closed at once, so that what a host
 * has put there ends where it began. Who holds the flow still can do all but what is the
 * loader's. Accepts NULL. */
void lf_flow_close(lf_flow *f);

const char *lf_flow_name(const lf_flow *f);
const char *lf_flow_path(const lf_flow *f);
const lf_graph *lf_flow_graph(const lf_flow *f);
/* Of a flow that was given as a table, the text of its functions as far as it is known, to be read
 * by people alone. */
lf_slice lf_flow_source(const lf_flow *f);
/* Of such a flow, what its states are made from, borrowed: it has bytecode, and is never stored.
 * Else NULL. */
lf_buf *lf_flow_parcel(const lf_flow *f);
lf_slice lf_flow_description(const lf_flow *f); /* canonical map, see lua/luaflow/flow.lua */

/* Whether the text mentions nothing by which a step could see or change the table of
 * globals itself (`_G`, getfenv, setfenv, load…, dofile, debug, module, package): then a
 * task's environment may inherit from the globals instead of being a copy of them. */
bool lf_flow_is_plain(const lf_flow *f);

/* Whether its code can reach math.random, which is seeded for each task: only a plain text without
 * the words `math` and `require` cannot. */
bool lf_flow_is_chancy(const lf_flow *f);

/* Prepares a state for tasks of this flow (luaflow.isolation, and `require` finding
 * modules beside the file) and pushes its compiled chunk.
 * [-0, +1 on success, never raises] */
int lf_flow_enter(const lf_flow *f, lua_State *L, luaflow_error *err);

/* Seeds math.random for defaults that a function computes. Loader's thread only. */
int lf_flow_seed(lf_flow *f, uint64_t seed, luaflow_error *err);

/* Checks the given parameters, adds the defaults, and appends the canonical map of
 * all that have a value. LUAFLOW_EUSAGE says what is wrong. Loader's thread only. */
int lf_flow_params(lf_flow *f, const luaflow_param *params, size_t n, lf_bytes *out,
                   luaflow_error *err);

/* The same for a run that is resumed: `values` and `description` are those of its origin. What
 * that was given stays; parameters that it did not know have their defaults. LUAFLOW_EUSAGE when
 * one of these has none and is required. */
int lf_flow_params_again(lf_flow *f, lf_slice values, lf_slice description, lf_bytes *out,
                         luaflow_error *err);

#endif
