/* flow_inside.h -- what the files of the flow share. Only they include it. */
#ifndef LF_FLOW_INSIDE_H
#define LF_FLOW_INSIDE_H

#include "flow.h"

struct lf_flow {
    atomic_uint refs;
    char *path, *name, *directory;
    char *chunk_name; /* "@path" */
    lf_bytes source, description;
    lf_graph *graph;
    bool plain, chancy;
    lua_State *L;        /* the loader's thread only, as are the next two */
    int specs, defaults; /* in L's registry: params of the normal table, functions */
};

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
