/* flow_inside.h -- what the files of the flow share. Only they include it. */
#ifndef LF_FLOW_INSIDE_H
#define LF_FLOW_INSIDE_H

#include "flow.h"

struct lf_flow {
    atomic_uint refs;
    char *path, *name, *directory;
    char *chunk_name; /* "@path" */
    lf_bytes source, description;
    lf_buf *parcel;     /* of a flow that was given as a table, or NULL */
    lf_graph *graph;
    bool plain, chancy;
    lua_State *L;        /* the loader's thread only, as are the next two */
    int specs, defaults; /* in L's registry: params of the normal table, functions */
};

/* flow.c: a flow that is nothing yet, with one owner. NULL when out of memory. */
lf_flow *lf_flow_new(void);

typedef struct lf_flow_words {
    const char *path, *name; /* `name` may be NULL: the base name of the path */
    lf_slice text;           /* where every word stands by which a step may name something */
} lf_flow_words;

/* flow.c: makes a flow of the source or parcel that `f` holds. Takes `f`. */
int lf_flow_finish(lf_flow *f, const lf_flow_words *words, const luaflow_flow_options *options,
                   lf_flow **out, luaflow_error *err);

/* flow_ship.c: pushes the chunk of a flow that has a parcel, unpacked in this state.
 * [-0, +1 on success, raises] */
LF_RAISES int lf_flow_push_shipped(lua_State *L, const lf_flow *f, luaflow_error *err);

/* flow.c: fails with the message (NULL: there is none), the file in front should Lua not
 * have put it there. */
int lf_flow_fail(const lf_flow *f, const char *message, luaflow_error *err);

/* flow.c: the outcome of a lua_cpcall() that returned `failed`, of a function of ours that
 * has set `err` if its `rc` says so, and else was stopped by Lua.  [-1 if failed, +0, -] */
int lf_flow_judge(lua_State *L, int failed, const lf_flow *f, int rc, luaflow_error *err);

/* flow_load.c: runs the chunk in f->L, checks what it returns, and fills in the name, the
 * graph, the description and the parameters. */
int lf_flow_examine(lf_flow *f, const luaflow_attribute *with, size_t n, luaflow_error *err);

#endif
