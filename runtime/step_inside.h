/* step_inside.h -- what the files of step share: a Lua state prepared for one flow, and the task
 * it runs. Nobody else includes it. */
#ifndef LF_STEP_INSIDE_H
#define LF_STEP_INSIDE_H

#include "step.h"

struct lf_stepper {
    lf_flow *flow;        /* NULL until it is entered */
    lua_State *L;
    /* references into the registry */
    int chunk, perform, collect, begin, name_kept, find_step, make_inputs, reset, originals, settled,
        randomseed, globals, inherit;
    int began_kb;         /* Lua's memory when the state was new */
    int kept_kb;          /* and after the last full collection */
    uint64_t tasks;
    uint32_t known_run;
    const char *name;     /* of the last task's step: Lua's string, kept by name_kept */
    int alone;            /* step functions of a chunk that need not run anew, or LUA_NOREF */
    bool busy;            /* bytes are being decoded or values encoded */
    bool io_changed;      /* a step called io.output(…) or io.input(…) */
    bool muted;           /* what is printed is dropped */
    /* the task that runs, or NULL */
    const lf_who *who;
    lf_world *world;
    lf_buf *loaded;       /* bytes being decoded */
    lf_bytes value;       /* one encoded value, to become a counted buffer if large */
    lf_bytes path;
    luaflow_error problem; /* why what it leaves cannot be kept */
};

/* step_natives.c: adds its functions to the table at the top.  [-0, +0, raises] */
LF_RAISES void lf_step_natives(lua_State *L, struct lf_stepper *s);

/* step_natives.c: pushes nil and the message of `err`, which it clears.  [-0, +2, raises] */
LF_RAISES int lf_step_refuse(lua_State *L, luaflow_error *err);

/* step_gather.c: tells the world what the self at `index` holds; what cannot be kept becomes
 * the stepper's problem.  [-0, +0, raises] */
LF_RAISES void lf_step_gather(lua_State *L, struct lf_stepper *s, int index);

#endif
