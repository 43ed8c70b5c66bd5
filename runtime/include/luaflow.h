/* luaflow.h -- run flows written in Lua, from C.
 *
 * This is the whole interface. A host that runs a flow and reads what it was for:
 *
 *     luaflow_error err = LUAFLOW_ERROR_INIT;
 *     luaflow_options open = LUAFLOW_OPTIONS_INIT;
 *     luaflow *rt = NULL;
 *     luaflow_flow *flow = NULL;
 *     luaflow_run *run = NULL;
 *     void *bytes = NULL;
 *     size_t size = 0;
 *     open.store = "builds/.luaflow";
 *     open.create = true;
 *     int rc = luaflow_open(&open, &rt, &err);
 *     if (rc == LUAFLOW_OK)
 *         rc = luaflow_flow_load("flows/titles.lua", NULL, &flow, &err);
 *     if (rc == LUAFLOW_OK)
 *         rc = luaflow_start(rt, flow, NULL, &run, &err);
 *     if (rc == LUAFLOW_OK && luaflow_wait(run, -1))
 *         rc = luaflow_run_artifact(run, "results", &bytes, &size, &err);
 *     if (rc != LUAFLOW_OK)
 *         complain(luaflow_error_text(&err));
 *     luaflow_free(bytes);
 *     luaflow_run_close(run);
 *     luaflow_flow_close(flow);
 *     luaflow_close(rt);
 *     luaflow_error_clear(&err);
 *
 * A game or an editor calls luaflow_poll(rt, 0.001) once a frame, or when luaflow_fd is readable,
 * instead of luaflow_wait.
 *
 * Handles are opaque. A function that can fail returns LUAFLOW_OK (0) or a negative LUAFLOW_E…,
 * and then puts a sentence for a person into `err`, which may be NULL, and gives nothing that
 * would have to be freed. Any of them may return LUAFLOW_ENOMEM. A pointer may be NULL where it says so,
 * and nowhere else. What is given to a function is borrowed until it returns, where nothing else
 * is said.
 *
 * The library is a guest: it prints nothing, handles no signal, exits nowhere, leaves locale,
 * directory and environment alone, and keeps no state of the process but the registry of open
 * stores (LMDB allows a store to be opened once per process). Its threads have all signals
 * blocked. Several runtimes, on one store or on many, do not meet.
 *
 * Threads: a handle is used by one thread at a time, where nothing else is said. Callbacks
 * about runs run inside luaflow_poll, luaflow_wait and the functions that close what may still
 * run, on the thread that called them; they may call whatever does not deliver events or close.
 * A process that forks must not use in the child what it opened before.
 *
 * Strings are UTF-8 and end with a NUL; a length stands beside bytes that may
 * hold NULs. Times are seconds since 1970, durations are seconds. Canonical bytes are
 * MessagePack with one way to write each value: equal values are equal bytes.
 *
 * Options and events begin with their size, so that a program and a library of different ages
 * go together: fields are only ever added at the end. A program starts from the initialiser and
 * sets what it wants; what an older one does not know is as in the initialiser, and options that
 * are larger than the library knows, or whose size was not set, are LUAFLOW_EUSAGE. Results that
 * the library allocates may grow at their end, too. */
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
    LUAFLOW_ENOMEM = -1,    /* out of memory, threads or descriptors */
    LUAFLOW_EUSAGE = -2,    /* an option or parameter is wrong */
    LUAFLOW_EFLOW = -3,     /* the flow file or its graph is wrong */
    LUAFLOW_ESTORE = -4,    /* the store cannot be opened, read or written */
    LUAFLOW_ENOTFOUND = -5, /* no such run, task or artifact */
    LUAFLOW_ESTEP = -6,     /* a step failed */
    LUAFLOW_EVALUE = -7     /* a value cannot be stored, or bytes are no value */
};

/* What went wrong. Start with LUAFLOW_ERROR_INIT: a call that fails frees the message of an
 * earlier one. luaflow_error_clear frees the last. */
typedef struct luaflow_error {
    int code;
    char *message; /* malloc'ed, or NULL */
} luaflow_error;

#define LUAFLOW_ERROR_INIT { 0, NULL }

/* The sentence, or a general one for the code when there is none (out of memory). Borrowed
 * until `err` is cleared or filled again. Any thread. */
LUAFLOW_API const char *luaflow_error_text(const luaflow_error *err);

/* Frees the message and makes it LUAFLOW_ERROR_INIT again. Accepts NULL. */
LUAFLOW_API void luaflow_error_clear(luaflow_error *err);

/* Puts a copy of the sentence `text` into `err` (NULL: nowhere), replacing an older one, and
 * returns `code`: `return luaflow_error_set(err, LUAFLOW_EFLOW, "no level is loaded");` ends a
 * callback that fails. */
LUAFLOW_API int luaflow_error_set(luaflow_error *err, int code, const char *text);

/* ---- flows ----------------------------------------------------------- */

/* A loaded and checked flow: its source, its graph and its parameters. */
typedef struct luaflow_flow luaflow_flow;

/* Adds a host's own functions and modules to a Lua state of luaflow's: sets globals, entries of
 * package.preload, fields of library tables. Called once in each state, before any code of the
 * flow runs there: in every worker's, for each flow that it runs tasks of, and again in the one
 * that takes its place when it has grown too large; in the one in which luaflow_try runs a step;
 * and, where luaflow_flow_options ask for it, in the flow's private one. Once more, in a state
 * that is thrown away, when an isolated step has failed for want of something: to find out whether
 * that was added here.
 *
 * Runs on the thread the state belongs to: a worker's (all signals blocked), so several threads
 * may call it at once, or that of luaflow_flow_load. `payload` lives until luaflow_close.
 *
 * What it adds is seen by all tasks of the state, and what it holds stays there from one to the
 * next: tasks do not see each other's globals, but functions that are added keep the state's own
 * globals and their upvalues. What it prints is dropped.
 *
 * May raise; otherwise returns LUAFLOW_OK, or another code with why in `err` (never NULL here; see
 * luaflow_error_set). Then what needs the state fails with that: the run, the trial, the loading.
 * Must not keep `L`, nor use a handle.
 *
 * An isolated step runs in a process of its own, in which this is not called: it does not see what
 * is added, and its failure says so where that is the reason. */
typedef int (*luaflow_state_fn)(void *payload, struct lua_State *L, luaflow_error *err);

/* An attribute for every step that may have it and has none of its own, as
 * `luaflow run --with retry=2` has it: `value` is the text of a number, true, false or a string. */
typedef struct luaflow_attribute {
    const char *name, *value;
} luaflow_attribute;

typedef struct luaflow_flow_options {
    size_t size;                   /* sizeof(luaflow_flow_options) */
    const luaflow_attribute *with; /* such attributes; LUAFLOW_EUSAGE for a wrong one */
    size_t n_with;
    luaflow_state_fn on_state;     /* adds to the private state in which the flow's file is looked
                                      at and defaults of parameters are computed: where these need
                                      what luaflow_options.on_state adds, the same; may be NULL */
    void *state_payload;           /* only needed until the flow is loaded */
} luaflow_flow_options;

#define LUAFLOW_FLOW_OPTIONS_INIT { sizeof(luaflow_flow_options), NULL, 0, NULL, NULL }

/* Loads the file at `path`, runs its chunk in a private Lua state and checks
 * its graph. Nothing is stored, no step runs. LUAFLOW_EFLOW with every problem, one a line, when
 * it cannot be read or is no valid flow. `options` may be NULL. The caller closes `*out`. A flow
 * belongs to no runtime: it may run several times at once, in any. */
LUAFLOW_API int luaflow_flow_load(const char *path, const luaflow_flow_options *options,
                                  luaflow_flow **out, luaflow_error *err);

/* The same for source text of `size` bytes in memory. `name` stands for the file in messages
 * and tracebacks, gives the flow its default name, and its directory is where `require` looks
 * first. */
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

/* The flow as data: a canonical map with name, doc, file, params and steps (in topological order).
 * Borrowed until the flow is closed. Never fails. Any thread. */
LUAFLOW_API const void *luaflow_flow_describe(const luaflow_flow *flow, size_t *size);

/* Gives up the flow; runs of it keep what they need. Its private state is closed at once, on
 * the thread that calls this. Accepts NULL. */
LUAFLOW_API void luaflow_flow_close(luaflow_flow *flow);

/* ---- a runtime: an open store and the threads that run tasks --------- */

typedef struct luaflow luaflow;

/* How much what is said matters. */
enum luaflow_log_level {
    LUAFLOW_LOG_DEBUG,  /* how it does what it does: a worker has made a Lua state */
    LUAFLOW_LOG_INFO,   /* worth knowing, and all is well: a worker's state had grown too large and
                           gives way to a new one */
    LUAFLOW_LOG_WARNING /* something to see to, though what was asked for goes on: the store is
                           where other machines write too; events are dropped; a worker, or a
                           process for isolated steps, cannot be started */
};

/* Hears what the library itself has to say to whoever runs it: a sentence without a newline,
 * borrowed until this returns. What steps print never comes here, nor what a call or a run fails
 * with. Called on any thread, by several at once, from within luaflow_open until the end of
 * luaflow_close; `payload` lives as long. Must be quick, and not call the library. */
typedef void (*luaflow_log_fn)(void *payload, int level, const char *sentence);

typedef struct luaflow_options {
    size_t size;          /* sizeof(luaflow_options) */
    const char *store;    /* directory of the store; this must be set */
    bool create;          /* make the store when it is not there */
    uint32_t event_queue; /* so many events wait for a host that does not poll; 0: 65,536 */
    bool wait_for_host;   /* when they are that many, steps wait for luaflow_poll instead of
                             the oldest printed lines being dropped, and then the oldest events of
                             tasks; those of whole runs never are */
    const char *executable; /* the luaflow command, which isolated steps run in; NULL:
                               $LUAFLOW_EXE, else the path fixed when this was installed */
    luaflow_state_fn on_state; /* adds the host's own functions and modules to every worker's
                                  state; may be NULL */
    void *state_payload;
    luaflow_log_fn on_log; /* hears what the host's user should know; may be NULL */
    void *log_payload;
} luaflow_options;

#define LUAFLOW_OPTIONS_INIT \
    { sizeof(luaflow_options), NULL, false, 0, false, NULL, NULL, NULL, NULL, NULL }

/* Opens the store; threads start with the first run. LUAFLOW_ENOTFOUND when
 * there is no store and `create` is not set, LUAFLOW_ESTORE when it cannot be
 * used, with what to do about it. Copies the options. The caller closes `*out`. */
LUAFLOW_API int luaflow_open(const luaflow_options *options, luaflow **out, luaflow_error *err);

/* Cancels what runs, waits for steps that are running (give one that may hang a timeout), and
 * frees all, runs that are open included: their handles are gone with it. Their callbacks are not
 * called any more. Accepts NULL. Not from within a callback. */
LUAFLOW_API void luaflow_close(luaflow *rt);

/* A descriptor that is readable exactly while events wait for luaflow_poll: for poll, epoll or
 * a loop of the host's. The same from luaflow_open to luaflow_close. Owned by the runtime: never
 * read, write or close it. Any thread. */
LUAFLOW_API int luaflow_fd(const luaflow *rt);

/* Delivers waiting events to their runs' callbacks, in the order they happened, until none waits
 * or `seconds` have passed: one at least, if there is one. Never waits for any, nor for steps, the
 * disk, or longer than it may for a thread that is just posting one. A callback is not cut
 * short. Returns how many were delivered. Not from within a callback. */
LUAFLOW_API int luaflow_poll(luaflow *rt, double seconds);

/* How many events were dropped since the runtime was opened, because the host
 * did not take them. What steps print is stored all the same. Any thread. */
LUAFLOW_API uint64_t luaflow_events_lost(const luaflow *rt);

/* ---- runs ------------------------------------------------------------ */

/* What an event tells, and which fields it has besides run and time. Those of tasks have task,
 * step, path, attempt and worker; an isolated one's have pid. What is told to have ended is stored
 * by then, so a task may be told to have started before the one it follows is told to have ended. */
enum luaflow_event_type {
    LUAFLOW_RUN_STARTED,   /* the first one of a run */
    LUAFLOW_TASK_STARTED,  /* reason, of a resumed run */
    LUAFLOW_LINE,          /* stream, text: as soon as it is printed */
    LUAFLOW_TASK_FINISHED, /* message, traceback when it failed and was caught */
    LUAFLOW_TASK_FAILED,   /* message, traceback, input: the last attempt, not caught */
    LUAFLOW_TASK_RETRYING, /* message, traceback, input, delay */
    LUAFLOW_TASK_REUSED,   /* reason */
    LUAFLOW_PROGRESS,      /* step, counts: of a step with many tasks, at most once a second */
    LUAFLOW_RUN_FINISHED   /* the last one: status, counts, and message where no task is to blame */
};

enum luaflow_status {
    LUAFLOW_RUNNING,
    LUAFLOW_DONE,
    LUAFLOW_FAILED,     /* a task failed for good, or the store did */
    LUAFLOW_INTERRUPTED /* it was cancelled, or its process ended */
};

/* How many tasks are in which state. */
typedef struct luaflow_counts {
    uint64_t started, done, failed, reused; /* reused ones are among the done */
} luaflow_counts;

/* Pointers in an event are good until the callback returns. What does not
 * belong to the type is zero. */
typedef struct luaflow_event {
    size_t size; /* of the struct as the library has it: fields beyond are not there */
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

/* Hears one event of its run, on the thread that called luaflow_poll or luaflow_wait. */
typedef void (*luaflow_event_fn)(void *payload, const luaflow_event *event);

/* A parameter's value: `text` as on a command line, or, where that is NULL, canonical bytes. */
typedef struct luaflow_param {
    const char *name;
    const char *text;
    const void *value;
    size_t value_size;
} luaflow_param;

/* A run that this process has started. */
typedef struct luaflow_run luaflow_run;

typedef struct luaflow_run_options {
    size_t size; /* sizeof(luaflow_run_options) */
    const luaflow_param *params;
    size_t n_params;
    const char *const *tags; /* each of 1 to 128 bytes, without control characters */
    size_t n_tags;
    bool has_seed;
    uint64_t seed;           /* for math.random; random when not given */
    uint32_t max_workers;    /* so many steps run at once; 0: one per core */
    uint32_t max_num_splits; /* a task that splits wider fails; 0: 1,000,000 */
    uint32_t progress_after; /* past so many tasks of a step, events of single tasks that
                                start or finish give way to LUAFLOW_PROGRESS; 0: never */
    bool keep_going;         /* a failed task ends only what depends on it */
    const char *run_id_file; /* gets the id and a newline before the first task starts */
    luaflow_event_fn on_event; /* NULL: nobody listens, and events of tasks are not made */
    void *payload;
} luaflow_run_options;

#define LUAFLOW_RUN_OPTIONS_INIT \
    { sizeof(luaflow_run_options), NULL, 0, NULL, 0, false, 0, 0, 0, 0, false, NULL, NULL, NULL }

/* Checks parameters without making a run, and computes those that have a default:
 * LUAFLOW_EUSAGE says what is wrong. On success `*value` is the canonical map of all parameters
 * (the caller frees it with luaflow_free); `value` may be NULL. */
LUAFLOW_API int luaflow_flow_params(luaflow_flow *flow, const luaflow_param *params, size_t n,
                                    void **value, size_t *size, luaflow_error *err);

/* Makes a run of `flow`, stores it and starts it, and returns: that takes a commit to the disk, not
 * a step. `options` may be NULL; they are copied. LUAFLOW_EUSAGE for a wrong parameter, before a run
 * is made; LUAFLOW_ESTORE when it cannot be stored. The caller closes `*out`, and may close
 * the flow at any time. */
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

/* Delivers events, those of other runs too, until this run has ended and its last event was
 * delivered (returns 1), or until `seconds` have passed or a signal handler ran
 * (returns 0). Negative seconds wait without end. Not from within a callback. */
LUAFLOW_API int luaflow_wait(luaflow_run *run, double seconds);

/* Starts no further task of this run; those that run are waited for and kept. It then ends as
 * interrupted, and can be resumed. Returns at once; a second time, or too late, does nothing. Any
 * thread. */
LUAFLOW_API void luaflow_cancel(luaflow_run *run);

/* The run's number, from 1, counted per store. Any thread. */
LUAFLOW_API uint64_t luaflow_run_id(const luaflow_run *run);

/* enum luaflow_status, as of the events delivered so far: LUAFLOW_RUNNING until the last one. */
LUAFLOW_API int luaflow_run_status(const luaflow_run *run);

/* Why a run failed that no task failed, or why the store did; else NULL.
 * *code (may be NULL) tells which LUAFLOW_E…. Borrowed until the run is closed. */
LUAFLOW_API const char *luaflow_run_problem(const luaflow_run *run, int *code);

/* Cancels the run if it still runs, waits for it, frees. Its callback is not called any more;
 * events of other runs that come meanwhile are delivered. What is stored stays. Accepts NULL. Not
 * from within a callback, nor after its runtime was closed. */
LUAFLOW_API void luaflow_run_close(luaflow_run *run);

/* ---- reading the store ----------------------------------------------- */

/* These read what is stored at that moment, of runs of any process; a task is there once it has
 * ended, with all it left. Any thread, several at once, beside whatever else is done with the
 * runtime but closing it; from within a callback too. They fail with LUAFLOW_ENOTFOUND when there
 * is no such thing, and with LUAFLOW_ESTORE when the store is damaged or cannot be read. What
 * they give is one block of memory, freed as a whole. */

/* Frees what a function below gave to the caller. Accepts NULL. Any thread. */
LUAFLOW_API void luaflow_free(void *memory);

typedef struct luaflow_step_info {
    const char *name;
    luaflow_counts counts;
} luaflow_step_info;

typedef struct luaflow_run_info {
    uint64_t id;
    uint64_t origin; /* the run that it resumed, or 0 */
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

/* Everything remembered of a run. Free `*out` with luaflow_free. */
LUAFLOW_API int luaflow_run_read(luaflow *rt, uint64_t run, luaflow_run_info **out,
                                 luaflow_error *err);

/* Numbers of runs, newest first, below `before` (0: from the newest), of one flow and one tag where
 * these are not NULL. Writes at most `max` to `ids` and how many these are to `*n`; to go on, ask
 * again below the last one. */
LUAFLOW_API int luaflow_runs_list(luaflow *rt, const char *flow, const char *tag, uint64_t before,
                                  uint64_t *ids, size_t max, size_t *n, luaflow_error *err);

enum luaflow_run_part { LUAFLOW_PART_SOURCE, LUAFLOW_PART_DESCRIPTION, LUAFLOW_PART_PARAMS };

/* The source text, the description (as of luaflow_flow_describe) or the
 * parameters (canonical map) of a run. Free `*bytes` with luaflow_free. */
LUAFLOW_API int luaflow_run_part_read(luaflow *rt, uint64_t run, int part, void **bytes,
                                      size_t *size, luaflow_error *err);

/* Adds and removes tags in one transaction, and returns when that is stored. A tag to add that is
 * there, or to remove that is not, is fine; LUAFLOW_EUSAGE for one that cannot be a tag. Unlike
 * those that only read, for one thread at a time. */
LUAFLOW_API int luaflow_run_tag(luaflow *rt, uint64_t run, const char *const *add, size_t n_add,
                                const char *const *remove, size_t n_remove, luaflow_error *err);

/* Numbers of finished tasks of a run, ascending, above `after` (0: from the first), of all steps or
 * only of `step`, where that is not NULL, and only failed ones where asked. Writes at most `max` to
 * `numbers` and how many these are to `*n`; to go on, ask again above the last one. The last task
 * of a run is had from luaflow_last_task. */
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

/* The canonical bytes of one artifact that the task wrote or passed on, verified against its key.
 * Free with luaflow_free. Parameters are no artifacts: see luaflow_run_part_read. */
LUAFLOW_API int luaflow_artifact_read(luaflow *rt, uint64_t run, uint64_t task, const char *name,
                                      void **bytes, size_t *size, luaflow_error *err);

/* The same as a value in a Lua state of the host's, on its thread: tables, FFI arrays, instances of
 * classes that are registered there. LUAFLOW_EUSAGE when the state cannot take it (arrays need the
 * FFI).  [-0, +1 on success, +0 on failure; raises only when Lua has no memory to begin] */
LUAFLOW_API int luaflow_artifact_push(luaflow *rt, uint64_t run, uint64_t task, const char *name,
                                      struct lua_State *L, luaflow_error *err);

/* The number of the last task of a run that succeeded: of a run that is done, the one task of its
 * last step, which has what the run was for. LUAFLOW_ENOTFOUND while there is none. */
LUAFLOW_API int luaflow_last_task(luaflow *rt, uint64_t run, uint64_t *task, luaflow_error *err);

/* What that task left, as luaflow_artifact_read and luaflow_artifact_push give it. */
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
    size_t size;          /* as of an event */
    uint64_t run, task;   /* 0: it is not about a single one */
    const char *step;     /* or NULL */
    const char *path;     /* of the task, or NULL */
    const char *artifact; /* or NULL */
    const char *text;     /* a sentence that says all of it */
} luaflow_finding;

/* Hears of one finding, whose pointers are good until it returns, on the thread that called
 * luaflow_verify. */
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
 * done no harm, and the next one finishes. `options` must be given. LUAFLOW_ESTORE when another
 * process prunes the store, and when something is damaged: then nothing but runs is deleted. */
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

/* Runs one step of `flow` as it is now, once, in a state or a process of its own, on what a task of
 * an earlier run read: `task`, or the first of that step if 0. Stores nothing. Returns when the
 * step has ended; meanwhile tells `on_event` (may be NULL) that it starts and what it prints. That
 * it fails is no failure of this call. LUAFLOW_ENOTFOUND or LUAFLOW_EUSAGE when there are no such
 * inputs. Free `*out` with luaflow_free. Not from within a callback. */
LUAFLOW_API int luaflow_try(luaflow *rt, luaflow_flow *flow, const char *step, uint64_t run,
                            uint64_t task, luaflow_event_fn on_event, void *payload,
                            luaflow_trial **out, luaflow_error *err);

/* ---- isolated steps -------------------------------------------------- */

/* A process that runs one isolated step is started from `executable` (of
 * luaflow_options) with this as its only argument, and with descriptor 3 to
 * talk to the runtime that started it. */
#define LUAFLOW_SERVE "--serve-one-step"

/* What such a process does; a host never calls it. Runs the step that the runtime at the other end
 * of the socket `fd` gives it, and returns when it has told how that went, or
 * with LUAFLOW_EUSAGE when nobody is there. The process then ends. It ends too,
 * by SIGKILL and with the programs it has started, when the runtime's does. */
LUAFLOW_API int luaflow_serve(int fd, luaflow_error *err);

/* ---- values ---------------------------------------------------------- */

/* Pushes the Lua value that canonical bytes stand for onto `L`, on its thread. LUAFLOW_EVALUE when
 * they are damaged or no value: bytes of any origin are safe.
 * [-0, +1 on success, +0 on failure; raises only when Lua is out of memory] */
LUAFLOW_API int luaflow_value_push(struct lua_State *L, const void *bytes, size_t size,
                                   luaflow_error *err);

/* The same, but instances of registered classes come as tables whose metatable is
 * { __luaflow_class = name }, so that a tool can show what they are. */
LUAFLOW_API int luaflow_value_push_marked(struct lua_State *L, const void *bytes, size_t size,
                                          luaflow_error *err);

/* Encodes the Lua value at `index`, on the state's thread: for luaflow_param. LUAFLOW_EVALUE names
 * what cannot be stored; `name` is what the message calls the value. Free `*bytes` with
 * luaflow_free.  [-0, +0, raises only out of memory] */
LUAFLOW_API int luaflow_value_encode(struct lua_State *L, int index, const char *name,
                                     void **bytes, size_t *size, luaflow_error *err);

/* ---- odds and ends --------------------------------------------------- */

/* LUAFLOW_VERSION of the library that the program runs with. Any thread. */
LUAFLOW_API const char *luaflow_version(void);

/* "luaflow 0.1.0" and the versions of the libraries, a line each. Free with
 * luaflow_free; NULL when out of memory. */
LUAFLOW_API char *luaflow_versions(void);

/* Makes `require` in this state find the modules that are compiled into this
 * library, and prepares it for luaflow_value_push and _encode. Once per state,
 * after luaL_openlibs: raises where there is no `require`.
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
