/* frame.h -- what a process that runs one step and its parent say to each other, as bytes: a
 * frame is a header, a head of small fields, and a payload of bulk. Whoever reads does not
 * trust what it reads: everything here is bounded and checked. Pure; any thread. */
#ifndef LF_FRAME_H
#define LF_FRAME_H

#include "world.h"

enum { LF_FRAME_VERSION = 2, LF_FRAME_HEADER = 13 };

/* No head is longer than this. */
#define LF_FRAME_HEAD_MAX ((size_t)1 << 28)

typedef enum lf_frame_kind {
    LF_FRAME_HELLO = 1, /* both, first of all: a version */
    /* from the parent */
    LF_FRAME_TASK,      /* lf_frame_task; the payload is the flow's parcel, if it has one */
    LF_FRAME_ANSWER,    /* to the last question: as it says below */
    LF_FRAME_PROBLEM,   /* likewise, when there is none: lf_frame_problem */
    /* questions of the child: lf_frame_words. One at a time. */
    LF_FRAME_FETCH,     /* name: a value */
    LF_FRAME_LEVEL,     /* number: lf_frame_level */
    LF_FRAME_LOAD,      /* number (a slot), name: a value */
    LF_FRAME_COLLECT,   /* number (the first slot), name: a block of values */
    LF_FRAME_PATH,      /* number (a slot): lf_frame_words */
    LF_FRAME_NAMES,     /* names with slots */
    LF_FRAME_MERGE,     /* names with 1 for a conflict */
    LF_FRAME_SYNC,      /* nothing: all output so far was read */
    /* what it tells, without an answer */
    LF_FRAME_BEGIN,     /* the step begins */
    LF_FRAME_PROPAGATE, /* names, ascending */
    LF_FRAME_KEEP,      /* name; the payload is the value */
    LF_FRAME_REMOVE,    /* name */
    LF_FRAME_SUCCESS,   /* the step has ended */
    LF_FRAME_FAILURE,   /* so it has: lf_frame_failure */
    LF_FRAME_KINDS
} lf_frame_kind;

/* ---- headers ---- */

typedef struct lf_frame_header {
    lf_frame_kind kind;
    uint32_t head;
    uint64_t payload;
} lf_frame_header;

void lf_frame_header_put(uint8_t out[LF_FRAME_HEADER], const lf_frame_header *h);
/* False for what is no header. */
bool lf_frame_header_get(const uint8_t in[LF_FRAME_HEADER], lf_frame_header *out);

/* ---- heads. Each get reads what its put wrote, all of it; false for anything else. Slices
 * and texts are borrowed from the bytes. ---- */

void lf_frame_hello_put(lf_bytes *out);
/* LUAFLOW_EUSAGE, naming both versions, when they are not the same. */
int lf_frame_hello_get(lf_slice head, luaflow_error *err);

/* Everything a fresh process must know to run a task. */
typedef struct lf_frame_task {
    lf_who who;
    const char *path, *flow;   /* of the flow */
    lf_slice source, description;
    uint32_t n_env;
    lf_slice env;              /* lf_frame_env_next */
    lf_slice near;             /* lf_frame_level of the nearest foreach, if its element is small;
                                  else empty */
} lf_frame_task;

void lf_frame_task_put(lf_bytes *out, const lf_frame_task *task);
bool lf_frame_task_get(lf_slice head, lf_frame_task *out);
void lf_frame_env_put(lf_bytes *out, const char *name, const char *value);
bool lf_frame_env_next(lf_reader *r, const char **name, const char **value);

typedef struct lf_frame_words {
    uint32_t number;
    lf_slice name;
} lf_frame_words;

void lf_frame_words_put(lf_bytes *out, uint32_t number, lf_slice name);
bool lf_frame_words_get(lf_slice head, lf_frame_words *out);

/* Names, each with a number. */
void lf_frame_names_begin(lf_bytes *out, uint32_t n);
void lf_frame_names_add(lf_bytes *out, lf_slice name, uint32_t number);
/* Fills a new array, which the caller frees. LUAFLOW_EVALUE or LUAFLOW_ENOMEM. */
int lf_frame_names_get(lf_slice head, lf_frame_words **out, uint32_t *n, luaflow_error *err);

/* One foreach around the task; `list` has the element alone, and is empty for a foreach over
 * a number, whose elements are their places. */
typedef struct lf_frame_level {
    const char *step;
    uint32_t index;
    uint64_t size;
    lf_slice list;
} lf_frame_level;

void lf_frame_level_put(lf_bytes *out, const lf_level *level);
bool lf_frame_level_get(lf_slice head, lf_frame_level *out);

typedef struct lf_frame_failure {
    lf_slice message, traceback; /* without NULs */
} lf_frame_failure;

void lf_frame_failure_put(lf_bytes *out, const char *message, const char *traceback);
bool lf_frame_failure_get(lf_slice head, lf_frame_failure *out);

void lf_frame_problem_put(lf_bytes *out, const luaflow_error *err);
/* Fails as the head says. */
int lf_frame_problem_get(lf_slice head, luaflow_error *err);

/* ---- payloads ---- */

/* Whether these bytes are a value that can be an artifact. */
bool lf_frame_is_value(lf_slice bytes);

/* A block: what each input in turn has. */
void lf_frame_block_add(lf_bytes *out, const lf_given *given);
/* The next, or false. */
bool lf_frame_block_next(lf_reader *r, lf_given *out);

#endif
