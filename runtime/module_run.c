/* module_run.c -- runs as Lua handles: started, followed, cancelled, closed; their events
 * as tables. Knows nothing of what is stored. Lives on the thread of the state that
 * calls it.
 *
 * A run's handle is a block of its own, listed in its runtime: its userdata may be
 * collected while events are delivered, when it must not be closed yet. Nothing raises
 * between begin_delivery and end_delivery: a callback's error waits for the latter. */
#include "module_inside.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#define FOREVER 1e9 /* seconds; from here on, math.huge included, waiting has no end */
#define RUNS_TABLE "luaflow.runs" /* registry: weak, from a run's block to its userdata */

struct lf_core_run {
    luaflow_run *handle; /* NULL once closed, and until it is started */
    lf_core_runtime *rt; /* NULL once that is closed */
    bool kept;           /* its runtime keeps its userdata alive */
    bool orphan;         /* its userdata is gone; closed once nothing is delivered */
    lf_core_run *next, *prev;
};

typedef lf_core_run run;
typedef lf_core_runtime runtime;

/* ---- a run and its runtime ---- */

LF_RAISES static run *arg_run(lua_State *L, int arg)
{
    run **slot = luaL_checkudata(L, arg, LF_RUN_TYPE);
    luaL_argcheck(L, *slot != NULL && (*slot)->handle != NULL, arg, "this run is closed");
    return *slot;
}

static void link_run(runtime *rt, run *r)
{
    r->rt = rt;
    r->next = rt->runs;
    if (r->next != NULL)
        r->next->prev = r;
    rt->runs = r;
}

static void unlink_run(run *r)
{
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        r->rt->runs = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
}

/* Closes the run and frees its block. */
static void free_run(run *r)
{
    if (r->rt != NULL) {
        unlink_run(r);
        luaflow_run_close(r->handle);
    }
    free(r);
}

void lf_core_drop_runs(runtime *rt)
{
    for (run *r = rt->runs, *next; r != NULL; r = next) {
        next = r->next;
        r->handle = NULL;
        r->rt = NULL;
        if (r->orphan)
            free(r);
    }
    rt->runs = NULL;
}

/* Lets the runtime whose userdata is at `rt_index` keep the run alive no longer. Its
 * key is there, so nothing is allocated.  [-0, +0, -] */
static void let_go(lua_State *L, int rt_index, run *r)
{
    if (!r->kept)
        return;
    r->kept = false;
    lua_getfenv(L, rt_index);
    lua_pushlightuserdata(L, r);
    lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* Pushes the userdata of the runtime of the run at `index`.  [-0, +1, raises] */
LF_RAISES static void push_runtime(lua_State *L, int index)
{
    lua_getfenv(L, index);
    lua_getfield(L, -1, "runtime");
    lua_remove(L, -2);
}

/* ---- events ---- */

static const char *const event_names[] = {
    [LUAFLOW_RUN_STARTED] = "run_started",     [LUAFLOW_TASK_STARTED] = "task_started",
    [LUAFLOW_LINE] = "line",                   [LUAFLOW_TASK_FINISHED] = "task_finished",
    [LUAFLOW_TASK_FAILED] = "task_failed",     [LUAFLOW_TASK_RETRYING] = "task_retrying",
    [LUAFLOW_TASK_REUSED] = "task_reused",     [LUAFLOW_PROGRESS] = "progress",
    [LUAFLOW_RUN_FINISHED] = "run_finished",
};

/* [-0, +1, raises] */
LF_RAISES static void push_event(lua_State *L, const luaflow_event *e)
{
    lua_createtable(L, 0, 12);
    lf_set_string(L, "event", event_names[e->type]);
    lf_set_number(L, "run", (double)e->run);
    lf_set_number(L, "time", e->time);
    lf_set_string(L, "step", e->step);
    lf_set_string(L, "path", e->path);
    lf_set_string(L, "message", e->message);
    lf_set_string(L, "traceback", e->traceback);
    lf_set_string(L, "reason", e->reason);
    if (e->input != NULL)
        lf_set_bytes(L, "input", e->input, e->input_size);
    lf_set_known(L, "worker", e->worker);
    lf_set_known(L, "pid", e->pid);
    if (e->task != 0) {
        lf_set_number(L, "task", (double)e->task);
        lf_set_number(L, "attempt", e->attempt);
    }
    if (e->type == LUAFLOW_LINE) {
        lf_set_stream(L, e->stream);
        lf_set_bytes(L, "text", e->text, e->text_size);
    }
    if (e->type == LUAFLOW_TASK_RETRYING)
        lf_set_number(L, "delay", e->delay);
    if (e->type == LUAFLOW_RUN_FINISHED)
        lf_set_status(L, e->status);
    if (e->type == LUAFLOW_RUN_FINISHED || e->type == LUAFLOW_PROGRESS) {
        lua_createtable(L, 0, 4);
        lf_set_counts(L, &e->counts);
        lua_setfield(L, -2, "counts");
    }
}

typedef struct delivery {
    run *run;
    const luaflow_event *event;
} delivery;

/* Calls the on_event of the event's run.  [-1, +0, raises] */
LF_RAISES static int deliver_protected(lua_State *L)
{
    delivery *d = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, RUNS_TABLE);
    lua_pushlightuserdata(L, d->run);
    lua_rawget(L, -2);                 /* runs, userdata or nil */
    if (lua_isnil(L, -1))
        return 0;
    lua_getfenv(L, -1);                /* runs, userdata, env */
    lua_getfield(L, -1, "on_event");
    if (lua_isnil(L, -1))
        return 0;
    push_event(L, d->event);
    lua_call(L, 1, 0);
    return 0;
}

/* Inside luaflow_poll and the like: an error is kept, never raised from here. */
static void deliver(void *payload, const luaflow_event *event)
{
    run *r = payload;
    runtime *rt = r->rt;
    lua_State *L = rt->delivering;
    delivery d = {r, event};
    if (r->orphan || L == NULL || lua_cpcall(L, deliver_protected, &d) == 0)
        return;
    if (rt->raised)
        lua_pop(L, 1); /* while a run is closed; the first error is the one to tell */
    rt->raised = true;
}

LF_RAISES static void begin_delivery(lua_State *L, runtime *rt, const char *what)
{
    lf_core_refuse_inside(L, rt, what);
    luaL_checkstack(L, 8, "events");
    rt->delivering = L;
}

/* Closes the runs that nobody holds any more and lets go of those that have ended; then
 * raises what a callback raised. `rt_index` is the runtime's userdata.
 * [-0, +0, raises] */
LF_RAISES static void end_delivery(lua_State *L, runtime *rt, int rt_index)
{
    rt->delivering = NULL;
    for (run *r = rt->runs, *next; r != NULL; r = next) {
        next = r->next;
        if (r->orphan)
            free_run(r);
        else if (luaflow_run_status(r->handle) != LUAFLOW_RUNNING)
            let_go(L, rt_index, r);
    }
    if (!rt->raised)
        return;
    rt->raised = false;
    lua_error(L);
}

/* ---- following ---- */

/* [-0, +0, raises] */
LF_RAISES static double opt_seconds(lua_State *L, int arg, double absent)
{
    double seconds = luaL_optnumber(L, arg, absent);
    luaL_argcheck(L, !isnan(seconds), arg, "not a number of seconds");
    return seconds;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Events are delivered one by one, so that after a callback that raised no other is called:
 * what waits is told another time. */
static bool deliver_one(runtime *rt) { return !rt->raised && luaflow_poll(rt->handle, 0) > 0; }

/* rt:poll(seconds or nil) -> how many events were delivered; one, if any, for nil */
static int runtime_poll(lua_State *L)
{
    runtime *rt = lf_arg_runtime(L, 1);
    double end = now() + opt_seconds(L, 2, 0);
    int n = 0;
    begin_delivery(L, rt, "poll");
    while (deliver_one(rt)) {
        n++;
        if (now() >= end)
            break;
    }
    end_delivery(L, rt, 1);
    lua_pushinteger(L, n);
    return 1;
}

/* False when `seconds` (negative: any number) have passed, or a signal handler ran. */
static bool wait_for_events(const runtime *rt, double seconds)
{
    struct pollfd p = {luaflow_fd(rt->handle), POLLIN, 0};
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    return ppoll(&p, 1, seconds < 0 ? NULL : &t, NULL) > 0;
}

/* Delivers until the run has ended (true), or time is up, a callback raised or a signal handler
 * ran (false). */
static bool wait_for_end(run *r, double seconds)
{
    double end = now() + seconds;
    while (luaflow_run_status(r->handle) == LUAFLOW_RUNNING) {
        bool delivered = deliver_one(r->rt);
        double left = end - now();
        if (r->rt->raised || (seconds >= 0 && left <= 0))
            break;
        if (!delivered && !wait_for_events(r->rt, seconds < 0 ? -1 : left))
            break;
    }
    return luaflow_run_status(r->handle) != LUAFLOW_RUNNING;
}

/* run:wait(seconds or nil) -> whether it has ended; without end for nil */
static int run_wait(lua_State *L)
{
    run *r = arg_run(L, 1);
    runtime *rt = r->rt;
    double seconds = opt_seconds(L, 2, -1);
    lua_settop(L, 1);
    push_runtime(L, 1);             /* run, runtime */
    begin_delivery(L, rt, "wait");
    bool ended = wait_for_end(r, seconds < FOREVER ? seconds : -1);
    end_delivery(L, rt, 2);
    lua_pushboolean(L, ended);
    return 1;
}

static int run_cancel(lua_State *L)
{
    luaflow_cancel(arg_run(L, 1)->handle);
    return 0;
}

/* run:listen(function or nil): who hears its events from the next one on */
static int run_listen(lua_State *L)
{
    arg_run(L, 1);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_getfenv(L, 1);
    lua_insert(L, 2);               /* run, env, function */
    lua_setfield(L, 2, "on_event");
    return 0;
}

static int run_id(lua_State *L)
{
    lua_pushnumber(L, (double)luaflow_run_id(arg_run(L, 1)->handle));
    return 1;
}

static int run_status(lua_State *L)
{
    lua_pushstring(L, lf_status_name(luaflow_run_status(arg_run(L, 1)->handle)));
    return 1;
}

/* run:problem() -> message, code or nil */
static int run_problem(lua_State *L)
{
    int code;
    const char *message = luaflow_run_problem(arg_run(L, 1)->handle, &code);
    if (message == NULL)
        return 0;
    lua_pushstring(L, message);
    lua_pushstring(L, lf_code_name(code));
    return 2;
}

/* run:close(). It waits for what still runs, and the events of other runs that come
 * meanwhile are delivered. */
static int run_close(lua_State *L)
{
    run **slot = luaL_checkudata(L, 1, LF_RUN_TYPE);
    run *r = *slot;
    runtime *rt = r == NULL ? NULL : r->rt;
    if (rt == NULL) {
        *slot = NULL;
        free(r);
        return 0;
    }
    lua_settop(L, 1);
    push_runtime(L, 1);             /* run, runtime */
    begin_delivery(L, rt, "close");
    let_go(L, 2, r);
    free_run(r);
    *slot = NULL;
    end_delivery(L, rt, 2);
    return 0;
}

/* A run that is collected before it has ended is one of a state that closes: its runtime's others
 * end with it. So none of them starts anything while one is waited for. */
static void cancel_with(run *r)
{
    for (run *other = r->kept ? r->rt->runs : NULL; other != NULL; other = other->next)
        if (other->handle != NULL)
            luaflow_cancel(other->handle);
}

static int run_gc(lua_State *L)
{
    run **slot = lua_touserdata(L, 1);
    run *r = *slot;
    *slot = NULL;
    if (r == NULL)
        return 0;
    if (r->rt != NULL)
        cancel_with(r);
    if (r->rt != NULL && r->rt->delivering != NULL)
        r->orphan = true;
    else
        free_run(r);
    return 0;
}

/* ---- starting ---- */

/* The seed in the options at `index`: a whole number or, since Lua's numbers end before
 * seeds do, decimal digits.  [-0, +0, raises] */
LF_RAISES static void read_seed(lua_State *L, int index, luaflow_run_options *options)
{
    lf_option_push(L, index, "seed");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    bool ok = false;
    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_Number n = lua_tonumber(L, -1);
        ok = n >= 0 && n <= 9007199254740992.0 && n == floor(n);
        options->seed = ok ? (uint64_t)n : 0;
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        const char *text = lua_tostring(L, -1);
        char *end;
        errno = 0;
        options->seed = strtoull(text, &end, 10);
        ok = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    }
    if (!ok)
        luaL_error(L, "option 'seed' must be a whole number from 0 to 18446744073709551615 "
                      "(above 9007199254740992 as a string)");
    options->has_seed = true;
    lua_pop(L, 1);
}

/* Pushes the userdata of a new run of the runtime at 1 and the flow at 2, with the
 * options at 3; nothing is started.  [-0, +1, raises] */
LF_RAISES static run *push_run(lua_State *L, runtime *rt)
{
    run **slot = lua_newuserdata(L, sizeof(run *));
    *slot = NULL;
    luaL_getmetatable(L, LF_RUN_TYPE);
    lua_setmetatable(L, -2);
    lua_createtable(L, 0, 3); /* what it keeps alive, and whom it tells */
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "runtime");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "flow");
    lf_option_push(L, 3, "on_event");
    if (!lua_isnil(L, -1) && !lua_isfunction(L, -1))
        luaL_error(L, "option 'on_event' must be a function");
    lua_setfield(L, -2, "on_event");
    lua_setfenv(L, -2);
    run *r = calloc(1, sizeof *r);
    if (r == NULL)
        luaL_error(L, "not enough memory");
    *slot = r;
    lua_getfield(L, LUA_REGISTRYINDEX, RUNS_TABLE); /* userdata, runs */
    lua_pushlightuserdata(L, r);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_getfenv(L, 1);                              /* userdata, runs, env of rt */
    lua_pushlightuserdata(L, r);
    lua_pushvalue(L, -4);
    lua_rawset(L, -3);
    lua_pop(L, 2);
    r->kept = true;
    link_run(rt, r);
    return r;
}

/* Sees to a table of options at 3, of those that starting and resuming have in common, and
 * leaves the tags at 4.  [-?, +?, raises] */
LF_RAISES static luaflow_run_options read_options(lua_State *L)
{
    if (lua_isnoneornil(L, 3)) {
        lua_settop(L, 2);
        lua_newtable(L);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    luaflow_run_options options = LUAFLOW_RUN_OPTIONS_INIT;
    options.max_workers = lf_option_count(L, 3, "max_workers");
    options.max_num_splits = lf_option_count(L, 3, "max_num_splits");
    options.progress_after = lf_option_count(L, 3, "progress_after");
    options.keep_going = lf_option_boolean(L, 3, "keep_going");
    options.run_id_file = lf_option_string(L, 3, "run_id_file");
    lf_option_push(L, 3, "tags");
    options.tags = lf_push_strings(L, 4, "option 'tags'", &options.n_tags);
    return options;
}

/* [-0, +0, raises] */
LF_RAISES static void listen(lua_State *L, luaflow_run_options *options, run *r)
{
    options->on_event = lf_option_boolean(L, 3, "unheard") ? NULL : deliver;
    options->payload = r;
}

/* What a start that failed leaves: nil and why, and no run.  [-0, +?, raises] */
LF_RAISES static int refuse(lua_State *L, run *r, lf_scratch *s)
{
    *(run **)lua_touserdata(L, -1) = NULL;
    let_go(L, 1, r);
    free_run(r);
    return lf_scratch_fail(L, s);
}

/* rt:start(flow, { texts =, values =, tags =, seed =, max_workers =, max_num_splits =,
 * progress_after =, keep_going =, run_id_file =, on_event =, unheard = }); unheard: nobody will
 * ever listen, so events of tasks need not be made */
static int runtime_start(lua_State *L)
{
    runtime *rt = lf_arg_runtime(L, 1);
    luaflow_flow *flow = lf_arg_flow(L, 2);
    luaflow_run_options options = read_options(L);
    read_seed(L, 3, &options);
    lf_option_push(L, 3, "texts");
    int texts = lua_gettop(L);
    lf_option_push(L, 3, "values");
    lf_scratch *s = lf_scratch_new(L);
    if (!lf_push_params(L, texts, texts + 1, s, &options.params, &options.n_params))
        return lf_scratch_fail(L, s);
    run *r = push_run(L, rt);
    listen(L, &options, r);
    if (luaflow_start(rt->handle, flow, &options, &r->handle, &s->err) == LUAFLOW_OK)
        return 1;
    return refuse(L, r, s);
}

/* rt:resume(flow, { origin =, step =, and what start has but texts, values and seed }) */
static int runtime_resume(lua_State *L)
{
    runtime *rt = lf_arg_runtime(L, 1);
    luaflow_flow *flow = lf_arg_flow(L, 2);
    luaflow_run_options options = read_options(L);
    uint64_t origin = lf_option_count(L, 3, "origin");
    const char *step = lf_option_string(L, 3, "step");
    lf_scratch *s = lf_scratch_new(L);
    run *r = push_run(L, rt);
    listen(L, &options, r);
    if (luaflow_resume(rt->handle, flow, origin, step, &options, &r->handle, &s->err) == LUAFLOW_OK)
        return 1;
    return refuse(L, r, s);
}

/* ---- one step alone ---- */

/* Who hears of a step that is tried: the function at `index`, until it raises. */
typedef struct hearing {
    lua_State *L;
    int index;
    bool raised; /* the error is at the top */
} hearing;

static int push_event_protected(lua_State *L)
{
    push_event(L, lua_touserdata(L, 1));
    return 1;
}

static void hear(void *payload, const luaflow_event *event)
{
    hearing *h = payload;
    if (h->raised || lua_isnil(h->L, h->index))
        return;
    lua_pushvalue(h->L, h->index);
    lua_pushcfunction(h->L, push_event_protected);
    lua_pushlightuserdata(h->L, (void *)event);
    h->raised = lua_pcall(h->L, 1, 1, 0) != 0;
    if (h->raised)
        lua_remove(h->L, -2);
    else
        h->raised = lua_pcall(h->L, 1, 0, 0) != 0;
}

/* [-0, +1, raises] */
LF_RAISES static void push_trial(lua_State *L, const luaflow_trial *trial)
{
    lua_createtable(L, 0, 10);
    lf_set_string(L, "status", trial->failed ? "failed" : "done");
    lf_set_string(L, "step", trial->step);
    lf_set_string(L, "path", trial->path);
    lf_set_number(L, "task", (double)trial->task);
    lf_set_string(L, "message", trial->message);
    lf_set_string(L, "traceback", trial->traceback);
    if (trial->input != NULL)
        lf_set_bytes(L, "input", trial->input, trial->input_size);
    lf_set_string(L, "choice", trial->choice);
    if (trial->is_foreach && !trial->failed)
        lf_set_number(L, "width", (double)trial->width);
    lua_createtable(L, (int)trial->n_artifacts, 0);
    for (size_t i = 0; i < trial->n_artifacts; i++) {
        lua_createtable(L, 0, 2);
        lf_set_string(L, "name", trial->artifacts[i].name);
        lf_set_bytes(L, "value_bytes", trial->artifacts[i].value, trial->artifacts[i].size);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "artifacts");
}

/* rt:try(flow, step, { run =, task =, on_event = }) -> { status =, step =, path =, task =,
 * message =, traceback =, input =, artifacts = { { name =, value_bytes = }, … }, choice =, width = } */
static int runtime_try(lua_State *L)
{
    runtime *rt = lf_arg_runtime(L, 1);
    luaflow_flow *flow = lf_arg_flow(L, 2);
    const char *step = luaL_checkstring(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_settop(L, 4);
    uint64_t id = lf_option_count(L, 4, "run"), task = lf_option_count(L, 4, "task");
    lf_scratch *s = lf_scratch_new(L);  /* 5 */
    lf_option_push(L, 4, "on_event");   /* 6 */
    lf_core_refuse_inside(L, rt, "try");
    luaL_checkstack(L, 8, "events");
    hearing h = {L, 6, false};
    luaflow_trial *trial;
    int rc = luaflow_try(rt->handle, flow, step, id, task, hear, &h, &trial, &s->err);
    if (h.raised) {
        if (rc == LUAFLOW_OK)
            luaflow_free(trial);
        return lua_error(L);
    }
    if (rc != LUAFLOW_OK)
        return lf_scratch_fail(L, s);
    s->memory = trial;
    push_trial(L, trial);
    lf_scratch_clear(s);
    return 1;
}

/* Makes the table that finds a run's userdata; others keep that alive.  [-0, +0, raises] */
LF_RAISES static void make_runs_table(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, RUNS_TABLE);
    bool made = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (made)
        return; /* the module was opened under its other name */
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, RUNS_TABLE);
}

void lf_core_runs(lua_State *L)
{
    static const luaL_Reg runtime_methods[] = {
        {"start", runtime_start},
        {"resume", runtime_resume},
        {"try", runtime_try},
        {"poll", runtime_poll},
        {NULL, NULL},
    };
    static const luaL_Reg methods[] = {
        {"wait", run_wait},
        {"cancel", run_cancel},
        {"listen", run_listen},
        {"id", run_id},
        {"status", run_status},
        {"problem", run_problem},
        {"close", run_close},
        {NULL, NULL},
    };
    make_runs_table(L);
    lf_core_methods(L, LF_RUNTIME_TYPE, runtime_methods, NULL);
    lf_core_methods(L, LF_RUN_TYPE, methods, run_gc);
}
