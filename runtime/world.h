/* world.h -- what a step that runs asks of the world, and tells it. In a worker's thread the
 * task's open envelope answers (seal.h); in a process of its own, the parent does, over a
 * socket (child.c). Who asks cannot tell which. */
#ifndef LF_WORLD_H
#define LF_WORLD_H

#include "codec.h"

/* What a task knows of itself without asking. Borrowed while it runs. */
typedef struct lf_who {
    const char *step;
    bool has_function, is_join;
    uint32_t run, origin, task, attempt;
    uint32_t depth, index; /* foreaches around it, and its place in the nearest; 0: none */
    const lf_list *near;   /* its element `near_at` is self.input, if that is at hand; else NULL */
    uint64_t near_at;
    uint32_t n_inputs;     /* of a join */
    uint64_t seed;         /* for math.random, if the flow is chancy */
    lf_slice params;       /* canonical map */
    lf_slice tags;         /* strings */
    uint32_t n_tags;
    const char *store;
} lf_who;

/* A value that was asked for: its canonical bytes. */
typedef struct lf_given {
    bool found;
    lf_slice bytes; /* good until the next question; as long as `buf` where there is one */
    lf_buf *buf;    /* counted for who asked, or NULL */
} lf_given;

/* One of the foreaches around a task. All borrowed while the task runs. */
typedef struct lf_level {
    const char *step;
    uint32_t index;
    uint64_t size;
    const lf_list *list; /* its element `at` is the task's */
    uint64_t at;
} lf_level;

typedef struct lf_world {
    const struct lf_answers *ask;
} lf_world;

/* All but `print` return LUAFLOW_OK or fail with a sentence for the user. */
typedef struct lf_answers {
    /* What the task would pass on under `name` had it touched nothing. */
    int (*fetch)(lf_world *w, lf_slice name, lf_given *out, luaflow_error *err);
    /* Foreaches around the task, from the inside (0) out. */
    int (*level)(lf_world *w, uint32_t n, lf_level *out, luaflow_error *err);

    /* ---- of a join; slots are below n_inputs ---- */
    int (*load)(lf_world *w, uint32_t slot, lf_slice name, lf_given *out, luaflow_error *err);
    /* The same for every slot in turn, from 0, of one name. */
    int (*collect)(lf_world *w, uint32_t slot, lf_slice name, lf_given *out, luaflow_error *err);
    /* Appends the path of an input, "a[3]". */
    int (*path)(lf_world *w, uint32_t slot, lf_bytes *out, luaflow_error *err);
    /* The i-th name that an input answers to, borrowed; an empty one past the last. */
    int (*input_name)(lf_world *w, uint32_t i, lf_slice *name, uint32_t *slot, luaflow_error *err);
    /* Everything that any input has: how many, and then each, borrowed, in order of names. */
    int (*merge)(lf_world *w, uint32_t *n, luaflow_error *err);
    void (*merged)(lf_world *w, uint32_t i, lf_slice *name, bool *conflict);
    /* The task passes these, names among the merged, on too. */
    int (*propagate)(lf_world *w, const lf_slice *names, size_t n, luaflow_error *err);

    /* ---- what it leaves ---- */
    /* Whether these bytes are known to be what `name` had before the task: then it need not be
     * kept. */
    int (*is_same)(lf_world *w, lf_slice name, lf_parts bytes, bool *same, luaflow_error *err);
    /* `value` was begun with lf_buf_start, and may be taken. `name` stays until the task's end. */
    int (*keep)(lf_world *w, lf_slice name, lf_bytes *value, luaflow_error *err);
    int (*remove)(lf_world *w, lf_slice name, luaflow_error *err);
    void (*print)(lf_world *w, int stream, const char *text, size_t size);
} lf_answers;

#endif
