/* runtime.h -- what runtime.c and reading.c share: an open store and its threads. */
#ifndef LF_RUNTIME_H
#define LF_RUNTIME_H

#include "flow.h"
#include "host.h"
#include "owner.h"
#include "pool.h"
#include "sched.h"
#include "writer.h"

struct luaflow {
    lf_store *store;
    lf_owner *owner;
    lf_host host;       /* the threads borrow it */
    lf_events *events;
    /* made with the first run, or the first thing to write */
    lf_mailbox *box;
    lf_staged *staged;
    lf_writer *writer;
    lf_pool *pool;
    lf_sched *sched;
    luaflow_run *runs; /* open ones */
};

/* Starts the threads if they do not run yet; `flow` (NULL: none yet) is what is to run. */
int lf_runtime_start(luaflow *rt, lf_flow *flow, luaflow_error *err);

/* Borrowed. */
lf_flow *lf_runtime_flow(const luaflow_flow *flow);

/* LUAFLOW_EUSAGE for what cannot be a tag. */
int lf_runtime_check_tag(const char *tag, luaflow_error *err);

/* A run's number as the store knows it; LUAFLOW_ENOTFOUND for one it cannot have. */
int lf_runtime_number(uint64_t wide, const char *what, uint32_t *number, luaflow_error *err);

/* The runtime of a run. */
luaflow *lf_runtime_of(const luaflow_run *run);

/* Gives `buf` (taken, of one owner) out for luaflow_free; returns LUAFLOW_OK. */
int lf_runtime_give(lf_buf *buf, void **bytes, size_t *size);

/* Copies `s` to *at with a NUL behind it, and moves *at on: for results that are one block. */
static inline const char *lf_runtime_keep(char **at, lf_slice s)
{
    char *copy = *at;
    if (s.size > 0)
        memcpy(copy, s.data, s.size);
    copy[s.size] = 0;
    *at += s.size + 1;
    return copy;
}

#endif
