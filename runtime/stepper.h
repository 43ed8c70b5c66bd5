/* stepper.h -- what the files of step and seal share: a Lua state prepared for one flow, and
 * the task it runs. Nobody else includes it. */
#ifndef LF_STEPPER_H
#define LF_STEPPER_H

#include "flow.h"
#include "inputs.h"
#include "log.h"

/* An artifact that the task leaves, on its way into the record. */
typedef struct lf_leaving {
    lf_slice name;    /* borrowed: a Lua string of self, or a record in memory */
    lf_ref ref;
    size_t at;        /* inline values of this task: where in `values` */
    bool own;         /* written by this task; else passed on */
    lf_blob *blob;    /* counted, or NULL */
} lf_leaving;

struct lf_stepper {
    lf_flow *flow;
    const lf_graph *graph;
    lf_store *store;
    lf_staged *staged;
    lf_log *log;
    lua_State *L;
    /* references into the registry */
    int chunk, perform, seal, collect, run, reset, originals, settled, randomseed, globals, inherit;
    int began_kb;         /* Lua's memory when the state was new */
    int kept_kb;          /* and after the last full collection */
    uint64_t tasks;
    uint32_t known_run;
    int alone;            /* step functions of a chunk that need not run anew, or LUA_NOREF */
    bool busy;            /* bytes are being decoded or values encoded */
    bool io_changed;      /* a step called io.output(…) or io.input(…) */
    /* the task that runs */
    lf_task *task;
    lf_merged *merged;
    const lf_merged_entry **propagated;
    uint32_t n_propagated;
    lf_buf *loaded;       /* bytes being decoded */
    lf_bytes scratch, path;
    /* sealing */
    lf_leaving *leaving;
    uint32_t n_leaving, leaving_room;
    lf_bytes value;       /* one encoded value, to become a counted buffer if large */
    lf_bytes values;      /* the small ones */
    lf_bytes outputs;
    lf_bytes place, parents;
    luaflow_error problem; /* why the outcome cannot be kept */
    uint64_t started_us, started_tick;
};

/* step_natives.c: adds its functions to the table at the top.  [-0, +0, raises] */
LF_RAISES void lf_step_natives(lua_State *L, struct lf_stepper *s);

/* step_natives.c: pushes nil and the message of `err`, which it clears.  [-0, +2, raises] */
LF_RAISES int lf_step_refuse(lua_State *L, luaflow_error *err);

#endif
