/* task.h -- the envelope of a task, and the batch it travels in. A batch has one owner,
 * who took it last: the scheduler fills in what to run, a worker runs it and seals the
 * outcome, the writer makes it durable. What has been sealed is immutable; successors
 * hold it to read their inputs from it. Knows nothing of Lua or of who owns it when. */
#ifndef LF_TASK_H
#define LF_TASK_H

#include "codec.h"
#include "events.h"
#include "queue.h"
#include "record.h"

struct lf_flow;
struct lf_blob; /* staged.h */

/* ---- a run, as its tasks see it ---- */

/* Immutable facts, counted. `tally`, `total` and `lost` belong to the writer's thread. */
typedef struct lf_facts {
    atomic_uint refs;
    uint32_t run, origin;
    struct lf_flow *flow;   /* counted by whoever made the facts, freed by drop_flow */
    void (*drop_flow)(struct lf_flow *flow);
    uint64_t seed;
    uint64_t max_num_splits;
    lf_buf *params;         /* canonical map */
    lf_bytes tags;          /* strings */
    uint32_t n_tags;
    char *store;            /* the store's directory */
    uint32_t n_steps;
    luaflow_counts *tally;  /* by step, as committed: writer's thread only */
    luaflow_counts total;   /* the same of the whole run */
    luaflow_error lost;     /* why something of this run was not stored, and nothing after it */
    /* who hears of this run's tasks, and up to how many of a step one by one */
    lf_events *events;
    lf_ear *owner;
    /* of a resumed run: what it takes over, freed by drop_replay; else NULL */
    struct lf_replay *replay;
    void (*drop_replay)(struct lf_replay *replay);
    bool keep_going;         /* a failed task is no reason to halt */
    bool listened;           /* whether anybody hears of single tasks and lines */
    uint32_t progress_after; /* 0: no bound */
    atomic_uint *begun;      /* by step: how many tasks were started */
    atomic_bool halted;      /* no further task is to start: set by the scheduler, and by a worker
                                whose task has failed; workers look before each task */
} lf_facts;

/* Zeroed facts with room for `n_steps` and one owner, or NULL. */
lf_facts *lf_facts_new(uint32_t n_steps);
lf_facts *lf_facts_ref(lf_facts *f);
void lf_facts_free(lf_facts *f); /* accepts NULL */

/* ---- what a foreach goes over ---- */

/* Shared by all children of one foreach; immutable and counted. */
typedef struct lf_split {
    atomic_uint refs;
    struct lf_split *up;    /* the foreach around it (counted), and where in it */
    uint32_t up_index;
    uint32_t step;          /* the foreach step */
    lf_buf *bytes;          /* the verified list, and its elements */
    lf_list list;
} lf_split;

/* Cuts the list `bytes` (taken, even on failure). */
lf_split *lf_split_new(lf_buf *bytes, luaflow_error *err);
lf_split *lf_split_ref(lf_split *s);
void lf_split_free(lf_split *s); /* accepts NULL */

/* ---- tasks ---- */

typedef enum lf_outcome {
    LF_UNSTARTED = 0, /* given back: somebody else should run it */
    LF_SUCCEEDED,
    LF_BROKE,         /* it failed: message and traceback are in the record */
    LF_RETRYING       /* likewise, and will be tried again: the scheduler's word */
} lf_outcome;

typedef struct lf_task lf_task;
typedef struct lf_batch lf_batch;

/* An input of a join that is not yet committed (counted), by its slot. */
typedef struct lf_live_input {
    uint32_t slot;
    lf_task *task;
} lf_live_input;

/* What a join closes. */
typedef struct lf_join {
    uint32_t n;
    uint32_t *numbers;     /* of the inputs, in order; owned */
    uint32_t n_live;
    lf_live_input *live;   /* ascending by slot; owned */
    uint32_t step;         /* the branch or foreach that opened what it closes */
} lf_join;

/* A reference from a record to a blob that may not be committed yet. */
typedef struct lf_held {
    struct lf_blob *blob;  /* counted; NULL: it was committed long ago */
    size_t salt_at;        /* where in the record its salt stands */
    bool own;              /* this task made it: its commit stores it */
} lf_held;

struct lf_task {
    lf_batch *batch;
    /* who it is */
    uint32_t number, step, attempt;
    uint32_t index;        /* its own element of the nearest frame, or 0 */
    uint32_t turn;
    lf_slice prefix;       /* place of all around it; borrowed from the plan until sealed */
    void *planned;         /* the scheduler's */
    /* what it reads; given up when it has been sealed */
    lf_task *parent;       /* counted; NULL for `start` and joins */
    lf_split *split;       /* the nearest foreach around it; counted, kept */
    uint32_t split_index;
    lf_join *join;         /* owned; NULL unless it is a join */
    /* what it left: sealed */
    lf_outcome outcome;
    bool told;             /* its start was told, so its end will be */
    uint32_t worker, pid;  /* who runs it; pid 0 unless it is isolated */
    uint32_t origin_run, origin_task; /* reused: where it ran, and what it left is to be read */
    uint64_t width;        /* of a foreach */
    uint32_t choice;       /* of a switch: a step */
    lf_split *opened;      /* of a foreach; owned */
    size_t record_at, record_size;   /* in the batch's arena */
    size_t outputs_at, outputs_size; /* likewise, within the record */
    lf_task *base;         /* whose outputs stand behind these; counted, or NULL */
    uint32_t held_at, n_held;        /* in the batch's list, in order of the outputs */
    size_t log_at, log_size;         /* the rest of its log, in the arena */
    uint32_t log_sequence;           /* and how many pieces were stored before */
};

/* Letters between the threads: the first member of everything that is posted. */
typedef enum lf_letter_kind {
    LF_LETTER_SEALED,    /* a batch: worker -> scheduler */
    LF_LETTER_BATCH,     /* a batch: scheduler -> writer */
    LF_LETTER_COMMITTED, /* a batch: writer -> scheduler */
    LF_LETTER_LOG,       /* a piece of a running task's log: scheduler -> writer */
    LF_LETTER_STATE,     /* a run's state: scheduler -> writer, and home again */
    LF_LETTER_CALL,      /* a transaction for another thread: anyone -> writer */
    LF_LETTER_START,     /* a run: host -> scheduler */
    LF_LETTER_CANCEL,    /* likewise */
    LF_LETTER_STOP       /* the end of a thread */
} lf_letter_kind;

typedef struct lf_letter {
    lf_node node;
    lf_letter_kind kind;
} lf_letter;

/* Tasks of one step of one run that travel together. */
struct lf_batch {
    lf_letter letter;
    atomic_uint refs;      /* its owner, and everyone who holds a task of it */
    lf_facts *facts;       /* counted */
    luaflow_error error;   /* why its tasks could not be kept */
    uint32_t vacant;       /* 1 + where a task was that goes on in another batch; 0: nowhere */
    bool replays;          /* its tasks are taken over from the origin, or come back unstarted */
    uint64_t elapsed_us;   /* SEALED: what running it took */
    lf_bytes arena;        /* records and logs */
    lf_held *held;
    uint32_t n_held, held_room;
    uint32_t n;
    lf_task tasks[];
};

/* A batch of `n` zeroed tasks with one owner; holds `facts`. NULL when out of memory. */
lf_batch *lf_batch_new(lf_facts *facts, uint32_t n);
/* An owner less; the last one frees. Accepts NULL. Any thread. */
void lf_batch_free(lf_batch *b);

/* Another holder of a task (of its whole batch), and a holder less. Accept NULL. */
lf_task *lf_task_hold(lf_task *t);
void lf_task_drop(lf_task *t);

/* Gives up what the task reads; it keeps what it left. */
void lf_task_release_inputs(lf_task *t);

/* Appends one held blob (taken; may be NULL) to the batch; false when out of memory. */
bool lf_batch_hold(lf_batch *b, struct lf_blob *blob, size_t salt_at, bool own);

/* The element of a task that failed is told with that if it has no more bytes. */
enum { LF_INPUT_SHOWN = 4096 };

/* Its sealed record, and its own outputs within it. */
static inline lf_slice lf_task_record_bytes(const lf_task *t)
{
    return (lf_slice){t->batch->arena.data + t->record_at, t->record_size};
}
static inline lf_slice lf_task_outputs(const lf_task *t)
{
    return (lf_slice){t->batch->arena.data + t->outputs_at, t->outputs_size};
}

/* Appends its place (record.h). Only until it is sealed. */
void lf_task_place(const lf_task *t, lf_bytes *out);

/* If anybody listens, posts an event about `t`: fills in run, task, step, path, attempt, worker and time
 * where they are not set. `place` is its place. */
void lf_task_tell(const lf_task *t, lf_slice place, const char *step, luaflow_event event);

#endif
