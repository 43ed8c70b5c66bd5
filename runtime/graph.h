/* graph.h -- the steps of a flow and how they follow each other: built, checked
 * once, and immutable from then on (so any thread may read it). Knows nothing of
 * threads, files, Lua or the clock. */
#ifndef LF_GRAPH_H
#define LF_GRAPH_H

#include "bytes.h"
#include "error.h"

#define LF_NONE UINT32_MAX

typedef enum lf_kind { LF_LAST, LF_LINEAR, LF_BRANCH, LF_FOREACH, LF_SWITCH } lf_kind;

/* One case of a switch: the canonical bytes of its key, and the step. */
typedef struct lf_case {
    lf_slice key;
    uint32_t step;
} lf_case;

typedef struct lf_env_var {
    const char *name, *value;
} lf_env_var;

/* Attributes of a step; zero is "not given". Durations are seconds. */
typedef struct lf_attributes {
    uint32_t retry_times;
    double retry_delay, retry_backoff; /* backoff 0: 1 */
    double timeout;
    const char *catch_name;
    bool isolate;
    const lf_env_var *env;
    size_t n_env;
    uint32_t cpu, max_parallel;
} lf_attributes;

/* Whether an attempt runs in a process of its own. */
static inline bool lf_attributes_isolate(const lf_attributes *a)
{
    return a->isolate || a->timeout > 0 || a->n_env > 0;
}

/* A step of a sealed graph. Steps are numbered from 0 in topological order
 * (edges that close a loop not counted), ties broken by name. */
typedef struct lf_step {
    const char *name;
    const char *where;    /* "flows/a.lua:12", or NULL */
    lf_kind kind;
    bool is_join;         /* takes `inputs` */
    bool has_function;
    bool in_loop;         /* may run more than once in one place */
    uint32_t loop_slot;   /* dense number among the steps in loops, if in_loop */
    uint32_t n_next;
    const uint32_t *next; /* in declared order; a switch's are those of its cases */
    const lf_case *cases; /* n_next of them, for a switch */
    const char *over;     /* the artifact or parameter of a foreach or switch */
    uint32_t join;        /* of a branch or foreach: the step that closes it; else LF_NONE */
    lf_attributes attributes;
} lf_step;

typedef struct lf_graph lf_graph;

/* What the builder is told of one step. Everything is copied. */
typedef struct lf_step_spec {
    const char *name, *where;
    lf_kind kind;
    bool is_join, has_function;
    size_t n_next;
    const char *const *next;     /* target names */
    const lf_slice *case_keys;   /* n_next canonical keys, for a switch */
    const char *const *case_texts; /* how a message shows each key */
    const char *over;
    lf_attributes attributes;
    /* What is wrong with the step and told already: nothing is told that follows from
     * it, and sealing fails. */
    bool broken;   /* its transition: `next` is what is known of it */
    bool doubtful; /* its function: whether it is a join is not known */
} lf_step_spec;

/* An empty graph, to be filled with lf_graph_add and sealed, or NULL. */
lf_graph *lf_graph_new(void);

/* Adds a step; names must differ (the caller's table guarantees it). Returns
 * LUAFLOW_OK or LUAFLOW_ENOMEM. */
int lf_graph_add(lf_graph *g, const lf_step_spec *spec);

/* Hears one problem: the sentence names the step and the cure; `where` is the
 * file and line of the step it is about, or NULL. */
typedef void (*lf_problem_fn)(void *payload, const char *where, const char *sentence);

/* Checks everything SPEC 1 asks of a graph and tells every problem, without
 * follow-on ones; numbers the steps. LUAFLOW_OK, LUAFLOW_EFLOW when there was a
 * problem, or LUAFLOW_ENOMEM. The first step is `start`. */
int lf_graph_seal(lf_graph *g, lf_problem_fn tell, void *payload);

/* Of a sealed graph: */
uint32_t lf_graph_size(const lf_graph *g);
const lf_step *lf_graph_step(const lf_graph *g, uint32_t number);
uint32_t lf_graph_find(const lf_graph *g, const char *name); /* or LF_NONE */
uint32_t lf_graph_loop_slots(const lf_graph *g);             /* how many steps are in loops */
/* `start`'s number is always 0. */

/* The target of a switch for a value with these canonical bytes, or LF_NONE. */
uint32_t lf_step_case(const lf_step *s, lf_slice key);

/* Frees. Accepts NULL. */
void lf_graph_free(lf_graph *g);

#endif
