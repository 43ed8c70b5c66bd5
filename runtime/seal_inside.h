/* seal_inside.h -- what the files of the room `seal` share. Nobody else includes it. */
#ifndef LF_SEAL_INSIDE_H
#define LF_SEAL_INSIDE_H

#include "flow.h"
#include "inputs.h"
#include "seal.h"

/* So many inputs of a join are looked up in one view. */
enum { LF_GATHER = 256 };

/* An artifact that the task leaves, on its way into the record. */
typedef struct lf_leaving {
    lf_slice name;    /* borrowed: from who kept it, or a record in memory */
    lf_ref ref;
    size_t at;        /* inline values of this task: where in `values` */
    bool own;         /* written by this task; else passed on */
    lf_blob *blob;    /* counted, or NULL */
} lf_leaving;

struct lf_seal {
    lf_world world;
    lf_store *store;
    lf_staged *staged;
    lf_log *log;
    /* the open task */
    lf_task *task;
    const lf_graph *graph;
    uint64_t started_us, started_tick, ended_tick;
    uint64_t checked_tick, offset_us; /* when the wall clock was read, and how far it was ahead */
    luaflow_error problem;  /* why the outcome cannot be kept */
    /* what it reads */
    lf_bytes scratch;       /* of one question */
    lf_bytes collected;     /* inline values of the block below */
    lf_gathered block[LF_GATHER];
    uint32_t block_from, block_size;
    lf_merged *merged;
    const lf_merged_entry **propagated;
    uint32_t n_propagated;
    /* what it leaves */
    lf_leaving *leaving;
    uint32_t n_leaving, leaving_room;
    lf_bytes values;        /* the small ones */
    lf_bytes outputs, place, parents, text;
};

extern const lf_answers lf_seal_answers;

/* Finds what the open task would pass on under `name` had it touched nothing. */
bool lf_seal_find(const lf_seal *s, lf_slice name, lf_found *out);

/* What the task leaves: one value more, and one that is gone. */
int lf_seal_keep(lf_seal *s, lf_slice name, lf_bytes *value, luaflow_error *err);
int lf_seal_remove(lf_seal *s, lf_slice name, luaflow_error *err);

#endif
