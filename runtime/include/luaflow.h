/* luaflow.h -- run flows written in Lua, from C.
 *
 * This is the whole interface. Handles are opaque. Functions that can fail
 * return LUAFLOW_OK (0) or a negative LUAFLOW_E… and put a sentence for a
 * person into `err`, which may be NULL. The library prints nothing, takes no
 * signal, calls no exit, and keeps no global state but the registry of open
 * stores (LMDB allows a store to be opened once per process).
 *
 * Threads: a handle is used by one thread at a time; callbacks run inside
 * luaflow_poll, luaflow_wait and the two functions that close what may still
 * run, on the thread that called them.
 *
 * Strings are UTF-8 and end with a NUL; a length stands beside bytes that may
 * hold NULs. Times are seconds since 1970, durations are seconds. */
#ifndef LUAFLOW_H
#define LUAFLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What this header belongs to. A program can ask luaflow_version() what it runs with. */
#define LUAFLOW_VERSION "0.1.0"
#define LUAFLOW_VERSION_MAJOR 0
#define LUAFLOW_VERSION_MINOR 1
#define LUAFLOW_VERSION_PATCH 0

#if defined(__GNUC__)
#define LUAFLOW_API __attribute__((visibility("default")))
#else
#define LUAFLOW_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct lua_State;

/* ---- errors ---------------------------------------------------------- */

enum luaflow_code {
    LUAFLOW_OK = 0,
    LUAFLOW_ENOMEM = -1,    /* out of memory */
    LUAFLOW_EUSAGE = -2,    /* an option or parameter is wrong */
    LUAFLOW_EFLOW = -3,     /* the flow file or its graph is wrong */
    LUAFLOW_ESTORE = -4,    /* the store cannot be opened, read or written */
    LUAFLOW_ENOTFOUND = -5, /* no such run, task or artifact */
    LUAFLOW_ESTEP = -6,     /* a step failed */
    LUAFLOW_EVALUE = -7     /* a value cannot be stored, or bytes are no value */
};

/* What went wrong. Start with LUAFLOW_ERROR_INIT; luaflow_error_clear frees
 * the message and makes it ready again. */
typedef struct luaflow_error {
    int code;
    char *message; /* malloc'ed, or NULL */
} luaflow_error;

#define LUAFLOW_ERROR_INIT { 0, NULL }

/* The sentence, or a general one for the code when there is none. Borrowed
 * until `err` is cleared. */
LUAFLOW_API const char *luaflow_error_text(const luaflow_error *err);

/* Frees the message. Accepts NULL. */
LUAFLOW_API void luaflow_error_clear(luaflow_error *err);

/* Puts a copy of the sentence `text` into `err` (NULL: nowhere), replacing an older one, and
 * returns `code`: `return luaflow_error_set(err, LUAFLOW_EFLOW, "no level is loaded");` ends a
 * callback that fails. */
LUAFLOW_API int luaflow_error_set(luaflow_error *err, int code, const char *text);

/* ---- flows ----------------------------------------------------------- */

/* A loaded and checked flow: its source, its graph and its parameters. */
typedef struct luaflow_flow luaflow_flow;

/* Adds a host's own functions and modules to a Lua state in which a flow is loaded or its steps
 * run: sets globals, or fields of package.preload. Called once in each such state, on the thread
 * that the state belongs to (so several may call it at once), before any of the flow's code runs
 * there. May raise; else returns LUAFLOW_OK, or another code with why in `err`. The state is
 * luaflow's: keep no pointer to it. A process for isolated steps does not call it. */
typedef int (*luaflow_state_fn)(void *payload, struct lua_State *L, luaflow_error *err);

/* An attribute for every step that may have it and has none of its own, as
 * `--with retry=2` says it: `value` is a number, true, false or a string. */
typedef struct luaflow_attribute {
    const char *name, *value;
} luaflow_attribute;

typedef struct luaflow_flow_options {
    size_t size;                   /* sizeof(luaflow_flow_options) */
    const luaflow_attribute *with; /* such attributes; LUAFLOW_EUSAGE for a wrong one */
    size_t n_with;
    luaflow_state_fn on_state;     /* as of luaflow_options, for the state in which the flow's own
                                      chunk is looked at; may be NULL */
    void *state_payload;
} luaflow_flow_options;

#define LUAFLOW_FLOW_OPTIONS_INIT { sizeof(luaflow_flow_options), NULL, 0, NULL, NULL }

/* Loads the file at `path`, runs its chunk in a private Lua state and checks
 * its graph. LUAFLOW_EFLOW with every problem, one a line, when it is no
 * valid flow. `options` may be NULL. The caller closes `*out`. */
LUAFLOW_API int luaflow_flow_load(const char *path, const luaflow_flow_options *options,
                                  luaflow_flow **out, luaflow_error *err);

/* The same for source text in memory. `name` stands for the file in messages
 * and gives the flow its default name. */
LUAFLOW_API int luaflow_flow_load_string(const char *source, size_t size, const char *name,
                                         const luaflow_flow_options *options, luaflow_flow **out,
                                         luaflow_error *err);

/* The same for a flow that is a table in a Lua state of the host's, at `index`: what a flow file
 * would return. Its step functions are taken to the workers as they are now, with their upvalues:
 * values that could be stored, tables of them and of functions, other Lua functions. What is a
 * standard library's or a required module's goes by name, and the worker requires it (with the
 * host's package.path and package.cpath). Each task sees all of it as it was taken; other globals
 * are nil there. LUAFLOW_EFLOW names what cannot be taken, with the step and the upvalue.
 *
 * The flow's name is the table's, else `name`; where that is NULL, the base name of the file in
 * which its first step's function stands, or PromptFlow. What is stored as the run's source is the
 * text of the functions, as far as Lua knows it; to resume it, give a table or a file with steps of
 * the same names. The state is furnished (see luaflow_furnish) and not needed afterwards. On its
 * thread.  [-0, +0, never raises] */
LUAFLOW_API int luaflow_flow_load_lua(struct lua_State *L, int index, const char *name,
                                      const luaflow_flow_options *options, luaflow_flow **out,
                                      luaflow_error *err);

/* The flow as data: a canonical MessagePack map with name, doc, file, params
 * and steps (in topological order). Borrowed until the flow is closed. */
LUAFLOW_API const void *luaflow_flow_describe(const luaflow_flow *flow, size_t *size);

/* Frees the flow once no run uses it any more. Accepts NULL. */
LUAFLOW_API void luaflow_flow_close(luaflow_flow *flow);

/* ---- a runtime: an open store and the threads that run tasks --------- */

typedef struct luaflow luaflow;

enum luaflow_log_level {
    LUAFLOW_LOG_DEBUG,  /* what only a developer of luaflow asks for */
    LUAFLOW_LOG_INFO,   /* worth knowing, and all is well */
    LUAFLOW_LOG_WARNING /* something to see to, though what was asked for goes on */
};

/* Hears what the library itself has to say: a sentence without a newline, borrowed until it
 * returns. What steps print never comes here, nor what a call fails with. Any thread, so several
 * may call it at once; from the first call of luaflow_open to the end of luaflow_close. Must not
 * call back into the library. */
typedef void (*luaflow_log_fn)(void *payload, int level, const char *sentence);

typedef struct luaflow_options {
    size_t size;          /* sizeof(luaflow_options) */
    const char *store;    /* directory of the store */
    bool create;          /* make the store when it is not there */
    uint32_t event_queue; /* events kept for a host that does not poll; 0: 65,536 */
    bool wait_for_host;   /* when they are that many, steps wait for luaflow_poll instead of
                             the oldest printed lines being dropped */
    const char *executable; /* the luaflow command, which isolated steps run in; NULL:
                               $LUAFLOW_EXE, else the path fixed when this was built */
    luaflow_state_fn on_state; /* adds the host's own functions and modules to every worker's
                                  state; may be NULL */
    void *state_payload;
    luaflow_log_fn on_log; /* hears of what the host's user should know; may be NULL */
    void *log_payload;
} luaflow_options;

#define LUAFLOW_OPTIONS_INIT \
    { sizeof(luaflow_options), NULL, false, 0, false, NULL, NULL, NULL, NULL, NULL }

/* Opens the store; threads start with the first run. LUAFLOW_ENOTFOUND when
 * there is no store and `create` is not set, LUAFLOW_ESTORE when it cannot be
 * used. The caller closes `*out`. */
LUAFLOW_API int luaflow_open(const luaflow_options *options, luaflow **out, luaflow_error *err);

/* Cancels what runs, waits for steps that are running, frees. Accepts NULL. Not
 * from within a callback. */
LUAFLOW_API void luaflow_close(luaflow *rt);

/* A descriptor that is readable exactly while events wait for luaflow_poll: for poll, epoll or
 * a loop of the host's. The same from luaflow_open to luaflow_close. Owned by the runtime: never
 * read or close it. */
LUAFLOW_API int luaflow_fd(const luaflow *rt);

/* Delivers waiting events to their runs' callbacks, for at most `seconds`;
 * never waits for any. Returns how many were delivered. */
LUAFLOW_API int luaflow_poll(luaflow *rt, double seconds);

/* How many events were dropped since the runtime was opened, because the host
 * did not take them. Any thread. */
LUAFLOW_API uint64_t luaflow_events_lost(const luaflow *rt);

/* ---- runs ------------------------------------------------------------ */

enum luaflow_event_type {
    LUAFLOW_RUN_STARTED,
    LUAFLOW_TASK_STARTED,
    LUAFLOW_LINE,          /* stream, text */
    LUAFLOW_TASK_FINISHED, /* message, traceback when it failed and was caught */
    LUAFLOW_TASK_FAILED,   /* message, traceback */
    LUAFLOW_TASK_RETRYING, /* message, traceback, delay */
    LUAFLOW_TASK_REUSED,
    LUAFLOW_PROGRESS,      /* of one step with many tasks: counts */
    LUAFLOW_RUN_FINISHED   /* status, message when the store failed */
};

enum luaflow_status {
    LUAFLOW_RUNNING,
    LUAFLOW_DONE,
    LUAFLOW_FAILED,
    LUAFLOW_INTERRUPTED
};

/* How many tasks are in which state. */
typedef struct luaflow_counts {
    uint64_t started, done, failed, reused; /* reused ones are among the done */
} luaflow_counts;

/* Pointers in an event are good until the callback returns. What does not
 * belong to the type is zero. */
typedef struct luaflow_event {
    size_t size;
    int type; /* enum luaflow_event_type */
    uint64_t run, task;
    double time;
    const char *step;      /* its name */
    const char *path;      /* step and place, as in "eval[2][1]" */
    uint32_t attempt;      /* from 0 */
    uint32_t worker;       /* from 1 */
    uint32_t pid;          /* of an isolated task */
    int stream;            /* 1 stdout, 2 stderr */
    const char *text;      /* a line without its newline */
    size_t text_size;
    const char *message, *traceback;
    double delay;          /* seconds until the next attempt */
    const void *input;     /* of a failed task inside a foreach: self.input, canonical bytes, if
                              these are few (4 KB) */
    size_t input_size;
    const char *reason;    /* of a resumed run: why the task was reused, or runs */
    int status;            /* enum luaflow_status */
    luaflow_counts counts; /* of the step (progress: started less those that ended is what
                              runs now) or of the run (finished) */
} luaflow_event;

typedef void (*luaflow_event_fn)(void *payload, const luaflow_event *event);

/* A parameter's value: `text` as on a command line, or canonical bytes. */
typedef struct luaflow_param {
    const char *name;
    const char *text;
    const void *value;
    size_t value_size;
} luaflow_param;

typedef struct luaflow_run luaflow_run;

typedef struct luaflow_run_options {
    size_t size; /* sizeof(luaflow_run_options) */
    const luaflow_param *params;
    size_t n_params;
    const char *const *tags;
    size_t n_tags;
    bool has_seed;
    uint64_t seed;           /* for math.random; random when not given */
    uint32_t max_workers;    /* 0: one per core */
    uint32_t max_num_splits; /* 0: 1,000,000 */
    uint32_t progress_after; /* past so many tasks of a step, events of single tasks that
                                start or finish give way to LUAFLOW_PROGRESS; 0: never */
    bool keep_going;
    const char *run_id_file; /* gets the id and a newline before the first task starts */
    luaflow_event_fn on_event;
    void *payload;
} luaflow_run_options;

#define LUAFLOW_RUN_OPTIONS_INIT \
    { sizeof(luaflow_run_options), NULL, 0, NULL, 0, false, 0, 0, 0, 0, false, NULL, NULL, NULL }

/* Checks parameters without making a run: LUAFLOW_EUSAGE says what is wrong.
 * On success `*value` is the canonical map of all parameters (caller frees
 * with luaflow_free); `value` may be NULL. */
LUAFLOW_API int luaflow_flow_params(luaflow_flow *flow, const luaflow_param *params, size_t n,
                                    void **value, size_t *size, luaflow_error *err);

/* Makes a run of `flow`, stores it and starts it. Borrows `flow` until the
 * run is closed; copies the options. LUAFLOW_EUSAGE for a wrong parameter,
 * before a run is made. The caller closes `*out`. */
LUAFLOW_API int luaflow_start(luaflow *rt, luaflow_flow *flow, const luaflow_run_options *options,
                              luaflow_run **out, luaflow_error *err);

/* Makes a run that takes over what the run `origin` (0: the flow's latest) had done, and runs
 * the rest of `flow`: tasks that succeeded there, and all of whose ancestors are taken over,
 * are not run again. Where `step` is not NULL, that step and all after it run again.
 * Parameters and seed are those of the origin; options that give them are LUAFLOW_EUSAGE, as is
 * a flow that no longer fits and an origin that still runs; LUAFLOW_ENOTFOUND when there is no
 * such run. Otherwise as luaflow_start. */
LUAFLOW_API int luaflow_resume(luaflow *rt, luaflow_flow *flow, uint64_t origin, const char *step,
                               const luaflow_run_options *options, luaflow_run **out,
                               luaflow_error *err);

/* Delivers events until the run has ended and its last event was delivered
 * (returns 1), or until `seconds` have passed or a signal handler ran
 * (returns 0). Negative seconds wait without end. */
LUAFLOW_API int luaflow_wait(luaflow_run *run, double seconds);

/* Starts no further task of this run; those that run are waited for and kept.
 * It then ends as interrupted. Any thread. */
LUAFLOW_API void luaflow_cancel(luaflow_run *run);

/* The run's number, from 1, counted per store. */
LUAFLOW_API uint64_t luaflow_run_id(const luaflow_run *run);

/* enum luaflow_status, as of the events delivered so far. */
LUAFLOW_API int luaflow_run_status(const luaflow_run *run);

/* Why a run failed that no task failed, or why the store did; else NULL.
 * *code (may be NULL) tells which LUAFLOW_E…. Borrowed until the run is closed. */
LUAFLOW_API const char *luaflow_run_problem(const luaflow_run *run, int *code);

/* Cancels the run if it still runs, waits for it, frees. Accepts NULL. Not from
 * within a callback. */
LUAFLOW_API void luaflow_run_close(luaflow_run *run);

/* ---- reading the store ----------------------------------------------- */

/* Frees what a function below gave to the caller. Accepts NULL. */
LUAFLOW_API void luaflow_free(void *memory);

typedef struct luaflow_step_info {
    const char *name;
    luaflow_counts counts;
} luaflow_step_info;

typedef struct luaflow_run_info {
    uint64_t id;
    uint64_t origin; /* the run it resumed, or 0 */
    const char *flow;
    int status; /* enum luaflow_status; a running run whose process died is interrupted */
    double created_at, finished_at; /* 0 while it runs */
    uint64_t seed;
    luaflow_counts counts;
    const char *const *tags; /* sorted */
    size_t n_tags;
    const luaflow_step_info *steps; /* in topological order */
    size_t n_steps;
    const char *problem; /* why it failed without a failed task, or NULL */
} luaflow_run_info;

/* Everything remembered of a run. Free `*out` (one block) with luaflow_free. */
LUAFLOW_API int luaflow_run_read(luaflow *rt, uint64_t run, luaflow_run_info **out,
                                 luaflow_error *err);

/* Numbers of runs, newest first, below `before` (0: from the newest), of one
 * flow and one tag where given. Writes at most `max`, the count to `*n`. */
LUAFLOW_API int luaflow_runs_list(luaflow *rt, const char *flow, const char *tag, uint64_t before,
                                  uint64_t *ids, size_t max, size_t *n, luaflow_error *err);

enum luaflow_run_part { LUAFLOW_PART_SOURCE, LUAFLOW_PART_DESCRIPTION, LUAFLOW_PART_PARAMS };

/* The source text, the description (as of luaflow_flow_describe) or the
 * parameters (canonical map) of a run. Free `*bytes` with luaflow_free. */
LUAFLOW_API int luaflow_run_part_read(luaflow *rt, uint64_t run, int part, void **bytes,
                                      size_t *size, luaflow_error *err);

/* Adds and removes tags in one transaction. */
LUAFLOW_API int luaflow_run_tag(luaflow *rt, uint64_t run, const char *const *add, size_t n_add,
                                const char *const *remove, size_t n_remove, luaflow_error *err);

/* Numbers of finished tasks of a run, ascending, above `after`; only those of
 * `step` where given; only failed ones where asked. */
LUAFLOW_API int luaflow_tasks_list(luaflow *rt, uint64_t run, const char *step, bool failed,
                                   uint64_t after, uint64_t *numbers, size_t max, size_t *n,
                                   luaflow_error *err);

typedef struct luaflow_artifact_info {
    const char *name;
    uint64_t size;   /* of the canonical bytes */
    bool inherited;  /* passed on, not written by this task */
} luaflow_artifact_info;

/* An attempt that failed and was followed by another. */
typedef struct luaflow_attempt_info {
    uint32_t worker;
    double started_at, finished_at;
    const char *message, *traceback;
} luaflow_attempt_info;

typedef struct luaflow_task_info {
    uint64_t run, task;
    uint64_t origin_run, origin_task; /* where it ran, if reused; else 0 */
    const char *step, *path;
    bool failed;
    bool caught;                            /* it failed, and its `catch` made that a success */
    uint32_t attempt, worker;               /* of its last attempt, from 0 */
    double started_at, finished_at;
    const char *message, *traceback;        /* of a failed task */
    const luaflow_attempt_info *attempts;   /* those before the last, attempt 0 first */
    size_t n_attempts;
    const uint64_t *parents;                /* numbers in the same run, in input order */
    size_t n_parents;
    const luaflow_artifact_info *artifacts; /* all it passes on, sorted by name; no parameters */
    size_t n_artifacts;
} luaflow_task_info;

/* Everything remembered of a finished task. Free `*out` with luaflow_free. */
LUAFLOW_API int luaflow_task_read(luaflow *rt, uint64_t run, uint64_t task,
                                  luaflow_task_info **out, luaflow_error *err);

/* The canonical bytes of one artifact, verified. Free with luaflow_free. */
LUAFLOW_API int luaflow_artifact_read(luaflow *rt, uint64_t run, uint64_t task, const char *name,
                                      void **bytes, size_t *size, luaflow_error *err);

/* The same as a value in a Lua state of the host's.
 * [-0, +1 on success, +0 on failure; raises only when Lua is out of memory at once] */
LUAFLOW_API int luaflow_artifact_push(luaflow *rt, uint64_t run, uint64_t task, const char *name,
                                      struct lua_State *L, luaflow_error *err);

/* The number of the last task of a run that succeeded: of a run that is done, the one task of its
 * last step. LUAFLOW_ENOTFOUND while there is none. */
LUAFLOW_API int luaflow_last_task(luaflow *rt, uint64_t run, uint64_t *task, luaflow_error *err);

/* What the run's last task left, as luaflow_artifact_read and luaflow_artifact_push give it. */
LUAFLOW_API int luaflow_run_artifact(luaflow_run *run, const char *name, void **bytes,
                                     size_t *size, luaflow_error *err);
LUAFLOW_API int luaflow_run_artifact_push(luaflow_run *run, const char *name, struct lua_State *L,
                                          luaflow_error *err);

typedef struct luaflow_log_entry {
    uint64_t task;
    uint32_t attempt;
    double time;
    int stream; /* 1 stdout, 2 stderr */
    const char *text; /* as written, its newline included */
    size_t text_size;
} luaflow_log_entry;

typedef struct luaflow_log {
    const luaflow_log_entry *entries;
    size_t n_entries;
} luaflow_log;

/* What one task printed, all attempts, in the order it was written. A task
 * that runs may be asked too. Free `*out` with luaflow_free. */
LUAFLOW_API int luaflow_log_read(luaflow *rt, uint64_t run, uint64_t task, luaflow_log **out,
                                 luaflow_error *err);

/* Numbers above `after` of tasks of a run that printed something, running
 * ones included, with the step of each in `steps` (an index into the run's
 * steps; may be NULL). */
LUAFLOW_API int luaflow_logs_list(luaflow *rt, uint64_t run, uint64_t after, uint64_t *numbers,
                                  uint32_t *steps, size_t max, size_t *n, luaflow_error *err);

/* ---- the store itself ------------------------------------------------ */

/* Something that is wrong with a store, and whom it hurts. */
typedef struct luaflow_finding {
    size_t size;
    uint64_t run, task;   /* 0: it is not about a single one */
    const char *step;     /* or NULL */
    const char *path;     /* of the task, or NULL */
    const char *artifact; /* or NULL */
    const char *text;     /* a sentence that says all of it */
} luaflow_finding;

typedef void (*luaflow_finding_fn)(void *payload, const luaflow_finding *finding);

/* What luaflow_verify looked at. Artifacts are counted where they were written. */
typedef struct luaflow_verified {
    uint64_t runs, tasks, artifacts, blobs;
    uint64_t bytes;    /* of all that is in use */
    uint64_t findings;
} luaflow_verified;

/* Reads every record and every value of the store in the directory `store`, recomputes every
 * key, follows every reference, and tells `tell` (may be NULL) what is wrong. Works beside
 * whatever is running: it sees the store as it is when it begins. Reads the file by itself, page
 * by page, so that it is safe on any damage; does nothing but read. Any thread; where this process
 * has not opened the store already, opening it waits until this returns.
 * LUAFLOW_OK when all could be looked at, whatever was found. LUAFLOW_ENOTFOUND when there is no
 * store. */
LUAFLOW_API int luaflow_verify(const char *store, luaflow_finding_fn tell, void *payload,
                               luaflow_verified *sum, luaflow_error *err);

typedef struct luaflow_prune_options {
    size_t size;       /* sizeof(luaflow_prune_options) */
    uint64_t keep;     /* the newest so many runs of each flow stay, those that run not counted */
    const char *flow;  /* runs of this flow only; NULL: of all */
    double older_than; /* runs made before so many seconds only; 0: any */
    bool dry_run;      /* only count */
} luaflow_prune_options;

#define LUAFLOW_PRUNE_OPTIONS_INIT { sizeof(luaflow_prune_options), 0, NULL, 0, false }

/* What went, or would go. */
typedef struct luaflow_pruned {
    uint64_t runs, tasks, blobs;
    uint64_t bytes; /* of records, logs and values */
} luaflow_pruned;

/* Deletes runs that are not running, and then what no other run needs. What remaining runs
 * reuse of deleted ones is kept, logs included, until they go as well; so is a run that a running
 * one was resumed from. Works beside running runs, in short transactions; stopped halfway it has
 * done no harm, and the next one finishes. LUAFLOW_ESTORE when another process prunes the store,
 * and when something is damaged: then nothing but runs is deleted. */
LUAFLOW_API int luaflow_prune(luaflow *rt, const luaflow_prune_options *options, luaflow_pruned *sum,
                              luaflow_error *err);

/* Gives space that was freed back to the disk: writes the store anew and puts that in its place,
 * whole or not at all. `*before` and `*after` are sizes of its file. LUAFLOW_ESTORE, and nothing
 * is done, while this or another process has the store open, or when it is damaged. */
LUAFLOW_API int luaflow_compact(const char *store, uint64_t *before, uint64_t *after,
                                luaflow_error *err);

/* The directory of the store that this thread is reading or writing at this moment, or NULL.
 * Async-signal-safe: a host that handles SIGSEGV, SIGBUS, SIGFPE and SIGABRT can tell by it that a
 * damaged store is to blame. */
LUAFLOW_API const char *luaflow_inside_store(void);

/* ---- one step alone --------------------------------------------------- */

typedef struct luaflow_left {
    const char *name;
    const void *value; /* canonical bytes */
    size_t size;
} luaflow_left;

/* What a step that was tried would have stored. */
typedef struct luaflow_trial {
    const char *step, *path;
    uint64_t task;                   /* whose inputs it read */
    bool failed;
    const char *message, *traceback; /* of a failure */
    const void *input;               /* of a failure inside a foreach: as an event has it */
    size_t input_size;
    const luaflow_left *artifacts;   /* all it would pass on, sorted by name */
    size_t n_artifacts;
    const char *choice;              /* of a switch: the step it chose; else NULL */
    bool is_foreach;
    uint64_t width;                  /* of a foreach: how many tasks it would start */
} luaflow_trial;

/* Runs one step of `flow` as it is now, once, on what a task of an earlier run read: `task`, or
 * the first of that step if 0. Stores nothing. Returns when the step has ended; meanwhile tells
 * `on_event` (may be NULL) what it prints. That it fails is no failure of this call.
 * LUAFLOW_ENOTFOUND or LUAFLOW_EUSAGE when there are no such inputs. Free `*out` (one block)
 * with luaflow_free. */
LUAFLOW_API int luaflow_try(luaflow *rt, luaflow_flow *flow, const char *step, uint64_t run,
                            uint64_t task, luaflow_event_fn on_event, void *payload,
                            luaflow_trial **out, luaflow_error *err);

/* ---- isolated steps -------------------------------------------------- */

/* A process that runs one isolated step is started from `executable` (of
 * luaflow_options) with this as its only argument, and with descriptor 3 to
 * talk to the runtime that started it. */
#define LUAFLOW_SERVE "--serve-one-step"

/* What such a process does: runs the step that the runtime at the other end
 * of the socket `fd` gives it, and returns when it has told how that went, or
 * with LUAFLOW_EUSAGE when nobody is there. The process then ends. It ends too,
 * by SIGKILL and with the programs it has started, when the runtime's does. */
LUAFLOW_API int luaflow_serve(int fd, luaflow_error *err);

/* ---- values ---------------------------------------------------------- */

/* Pushes the Lua value that `bytes` (canonical MessagePack) stand for onto
 * `L`.  [-0, +1 on success, +0 on failure; raises only when Lua is out of memory] */
LUAFLOW_API int luaflow_value_push(struct lua_State *L, const void *bytes, size_t size,
                                   luaflow_error *err);

/* The same, but instances of registered classes come as tables whose metatable is
 * { __luaflow_class = name }, so that a tool can show what they are. */
LUAFLOW_API int luaflow_value_push_marked(struct lua_State *L, const void *bytes, size_t size,
                                          luaflow_error *err);

/* Encodes the Lua value at `index`. Free `*bytes` with luaflow_free. `name`
 * is what the message calls the value.  [-0, +0, raises only out of memory] */
LUAFLOW_API int luaflow_value_encode(struct lua_State *L, int index, const char *name,
                                     void **bytes, size_t *size, luaflow_error *err);

/* ---- odds and ends --------------------------------------------------- */

/* LUAFLOW_VERSION of the library that the program runs with. Any thread. */
LUAFLOW_API const char *luaflow_version(void);

/* "luaflow 0.1.0" and the versions of the libraries, a line each. Free with
 * luaflow_free; NULL when out of memory. */
LUAFLOW_API char *luaflow_versions(void);

/* Makes `require` in this state find the modules that are compiled into this
 * library, and prepares it for luaflow_value_push and _encode. Once per state.
 * [-0, +0, raises] */
LUAFLOW_API void luaflow_furnish(struct lua_State *L);

/* Pushes the module table of `require "luaflow.core"`, on which the Lua side
 * of luaflow stands.  [-0, +1, raises] */
LUAFLOW_API int luaopen_luaflow_core(struct lua_State *L);

/* The same under the name by which `require "luaflow"` finds a C module. */
LUAFLOW_API int luaopen_luaflow(struct lua_State *L);

#ifdef __cplusplus
}
#endif
#endif
