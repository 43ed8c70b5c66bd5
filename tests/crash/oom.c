/* oom.c -- memory that runs out. Whole small runs through luaflow.h, of which the n-th allocation
 * of ours fails, alone or with all after it, for every n until a run no longer comes to it. Every
 * call then succeeds or fails with a sentence; nothing hangs, crashes or leaks; and the store holds
 * what was told to be done.
 *
 *     oom [--every K] [--from N] [--count N] [SCENARIO…]
 *
 * The program is linked with --wrap for what allocates (cmake/oom.cmake), so what counts is what
 * our own objects ask for: memory, threads, Lua states, libevent's events. What LuaJIT, LMDB and
 * libevent ask for themselves does not: they are not ours, and Debian's LuaJIT does not survive
 * it everywhere.
 *
 * Each n has a process of its own. The others' allocations are those of all threads together,
 * so the order is not quite the same each time; it is over the whole that nothing is missed. */
#include "luaflow.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>
#include <lauxlib.h>
#include <lualib.h>

/* ---- what fails ---- */

static struct {
    long at;                /* the n-th */
    bool persistent;        /* and all after it */
    atomic_bool armed;
    atomic_long count;
    atomic_bool hit;
    void *where[16];        /* the stack of the first that failed */
    int n_where;
} fault;

static bool fails(void)
{
    if (!fault.armed)
        return false;
    long n = ++fault.count;
    if (n != fault.at && !(fault.persistent && n > fault.at))
        return false;
    if (!atomic_exchange(&fault.hit, true))
        fault.n_where = backtrace(fault.where, 16);
    errno = ENOMEM;
    return true;
}

/* ---- what is alive ---- */

/* Blocks that were allocated while a scenario ran, by address. */
enum { BLOCKS = 1 << 16 };
static struct block {
    void *data, *site;
} blocks[BLOCKS];
static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool watching;

static size_t slot_of(const void *data) { return (size_t)((uintptr_t)data * UINT64_C(0x9e3779b97f4a7c15) >> 48) % BLOCKS; }

static void *note(void *data, void *site)
{
    if (data == NULL || !watching)
        return data;
    pthread_mutex_lock(&blocks_lock);
    size_t i = slot_of(data);
    while (blocks[i].data != NULL)
        i = (i + 1) % BLOCKS;
    blocks[i] = (struct block){data, site};
    pthread_mutex_unlock(&blocks_lock);
    return data;
}

/* Whether it was one of them. */
static bool forget(const void *data)
{
    if (data == NULL || !watching)
        return false;
    pthread_mutex_lock(&blocks_lock);
    size_t i = slot_of(data);
    while (blocks[i].data != NULL && blocks[i].data != data)
        i = (i + 1) % BLOCKS;
    bool is_ours = blocks[i].data != NULL;
    blocks[i].data = NULL;
    for (size_t next = (i + 1) % BLOCKS; is_ours && blocks[next].data != NULL; next = (next + 1) % BLOCKS) {
        struct block b = blocks[next]; /* those behind the gap move up */
        blocks[next].data = NULL;
        size_t to = slot_of(b.data);
        while (blocks[to].data != NULL)
            to = (to + 1) % BLOCKS;
        blocks[to] = b;
    }
    pthread_mutex_unlock(&blocks_lock);
    return is_ours;
}

/* ---- in place of what our objects call ---- */

#define WRAP(type, name, parameters) \
    type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters

#define SITE __builtin_return_address(0)

WRAP(void *, malloc, (size_t size)) { return fails() ? NULL : note(__real_malloc(size), SITE); }

WRAP(void *, calloc, (size_t n, size_t size)) { return fails() ? NULL : note(__real_calloc(n, size), SITE); }

WRAP(void *, realloc, (void *data, size_t size))
{
    if (fails())
        return NULL;
    forget(data);
    return note(__real_realloc(data, size), SITE);
}

WRAP(void, free, (void *data))
{
    forget(data);
    __real_free(data);
}

WRAP(char *, strdup, (const char *s)) { return fails() ? NULL : note(__real_strdup(s), SITE); }

WRAP(char *, strndup, (const char *s, size_t n)) { return fails() ? NULL : note(__real_strndup(s, n), SITE); }

WRAP(char *, realpath, (const char *path, char *out))
{
    return fails() ? NULL : note(__real_realpath(path, out), SITE);
}

int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **out, const char *format, ...)
{
    if (fails())
        return -1;
    va_list args;
    va_start(args, format);
    int n = vasprintf(out, format, args);
    va_end(args);
    if (n >= 0)
        note(*out, SITE);
    return n;
}

WRAP(FILE *, fopencookie, (void *cookie, const char *mode, cookie_io_functions_t functions))
{
    return fails() ? NULL : __real_fopencookie(cookie, mode, functions);
}

WRAP(int, pthread_create, (pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *payload))
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attributes, run, payload);
}

WRAP(struct event_base *, event_base_new_with_config, (const struct event_config *config))
{
    return fails() ? NULL : __real_event_base_new_with_config(config);
}

WRAP(struct event *, event_new,
     (struct event_base *base, evutil_socket_t fd, short what, event_callback_fn call, void *payload))
{
    return fails() ? NULL : __real_event_new(base, fd, what, call, payload);
}

WRAP(lua_State *, luaL_newstate, (void)) { return fails() ? NULL : __real_luaL_newstate(); }

/* Lua's own memory is not ours, although a sanitizer's build gives it an allocator of ours. */
static void *lua_memory(void *payload, void *block, size_t old_size, size_t size)
{
    (void)payload, (void)old_size;
    if (size > 0)
        return __real_realloc(block, size);
    __real_free(block);
    return NULL;
}

WRAP(lua_State *, lua_newstate, (lua_Alloc allocator, void *payload))
{
    (void)allocator, (void)payload;
    return fails() ? NULL : __real_lua_newstate(lua_memory, NULL);
}

/* ---- what must hold ---- */

static char problem[400];

static void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (*problem == '\0')
        vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
}

/* Whether a call did what it should. One that did not says why, and something has failed. */
static bool good(const char *what, int rc, luaflow_error *err)
{
    if (rc == LUAFLOW_OK)
        return true;
    if (!fault.hit)
        wrong("%s fails without a cause: %s", what, luaflow_error_text(err));
    if (*luaflow_error_text(err) == '\0')
        wrong("%s fails without a word", what);
    luaflow_error_clear(err);
    return false;
}

/* ---- scenarios ---- */

static char place[64], store[96]; /* of all stores; of the one that is played with */

static const char flow_text[] =
    "local ffi = require 'ffi'\n"
    "return {\n"
    "  name = 'F',\n"
    "  params = { words = { default = 'a,b', separator = ',' }, n = { default = function() return 3 end } },\n"
    "  steps = {\n"
    "    start = { next = { 'each', 'turn' }, function(self)\n"
    "      print('hello', self.n); io.stderr:write('no end of line')\n"
    "      self.large = ('0123456789'):rep(60000)\n"
    "      self.block = ffi.new('double[?]', 100, 0.5)\n"
    "      self.table = { 1, 'two', { three = true, 4LL } }\n"
    "      self.list = { 'p', 'q', 'r' }\n"
    "    end },\n"
    "    each = { next = 'part', foreach = 'list' },\n"
    "    part = { next = 'gather', retry = 1, function(self)\n"
    "      if self.index == 2 and require('luaflow').current.retry_count == 0 then error('once') end\n"
    "      self.part = self.input .. #self.large .. self.block[self.index]\n"
    "      self.large = nil\n"
    "    end },\n"
    "    gather = { next = 'caught', function(self, inputs)\n"
    "      self.parts = inputs:collect('part')\n"
    "      self:merge_artifacts(inputs, { exclude = { 'part' } })\n"
    "    end },\n"
    "    caught = { next = 'join', catch = 'failure', function(self) error('always') end },\n"
    "    turn = { next = { again = 'turn', out = 'join' }, switch = 'where', function(self)\n"
    "      self.turns = self:get('turns', 0) + 1\n"
    "      self.where = self.turns < 3 and 'again' or 'out'\n"
    "    end },\n"
    "    join = { next = 'finish', function(self, inputs)\n"
    "      self.parts = inputs.caught.parts\n"
    "      self:merge_artifacts(inputs, { exclude = { 'where', 'turns' } })\n"
    "    end },\n"
    "    finish = { function(self) MAYBE; print(table.concat(self.parts, ' ')) end },\n"
    "  },\n"
    "}\n";
enum { TASKS = 12 };

/* The flow; or one whose last step fails. */
static luaflow_flow *load(bool fails_at_last)
{
    static char text[sizeof flow_text + 32];
    const char *at = strstr(flow_text, "MAYBE");
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - flow_text), flow_text, fails_at_last ? "error('no')" : "do end",
             at + strlen("MAYBE"));
    luaflow_flow *flow = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    good("loading", luaflow_flow_load_string(text, strlen(text), "f.lua", NULL, &flow, &err), &err);
    return flow;
}

static luaflow *open_store(bool create)
{
    luaflow *rt = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    o.store = store;
    o.create = create;
    good("opening", luaflow_open(&o, &rt, &err), &err);
    return rt;
}

static int told; /* the status of the run, as the last event said */

static void hear(void *payload, const luaflow_event *e)
{
    (void)payload;
    if (e->type == LUAFLOW_RUN_FINISHED)
        told = e->status;
}

static luaflow_run_options hearing(void)
{
    luaflow_run_options o = LUAFLOW_RUN_OPTIONS_INIT;
    static const char *const tags[] = {"one", "two"};
    o.tags = tags;
    o.n_tags = 2;
    o.max_workers = 1;
    o.on_event = hear;
    return o;
}

/* Waits for the end of a run that should end as `status`. */
static void finish(luaflow_run *run, int status)
{
    if (!luaflow_wait(run, 30))
        wrong("the run does not end");
    int ended = luaflow_run_status(run);
    if (ended != status && !fault.hit)
        wrong("the run ends with status %d: %s", ended, luaflow_run_problem(run, NULL));
    luaflow_run_close(run);
}

static void run_to_end(luaflow *rt, luaflow_flow *flow, int status)
{
    luaflow_run *run = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_run_options o = hearing();
    static const luaflow_param params[] = {{.name = "words", .text = "x,y"}};
    o.params = params;
    o.n_params = 1;
    if (good("starting", luaflow_start(rt, flow, &o, &run, &err), &err))
        finish(run, status);
}

static void scenario_run(void)
{
    luaflow_flow *flow = load(false);
    luaflow *rt = flow != NULL ? open_store(true) : NULL;
    if (rt != NULL)
        run_to_end(rt, flow, LUAFLOW_DONE);
    luaflow_close(rt);
    luaflow_flow_close(flow);
}

static void scenario_resume(void)
{
    luaflow_flow *flow = load(false);
    luaflow *rt = flow != NULL ? open_store(false) : NULL;
    luaflow_run *run = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_run_options o = hearing();
    if (rt != NULL && good("resuming", luaflow_resume(rt, flow, 0, NULL, &o, &run, &err), &err))
        finish(run, LUAFLOW_DONE);
    luaflow_close(rt);
    luaflow_flow_close(flow);
}

static void scenario_cancel(void)
{
    luaflow_flow *flow = load(false);
    luaflow *rt = flow != NULL ? open_store(true) : NULL;
    luaflow_run *run = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_run_options o = hearing();
    if (rt != NULL && good("starting", luaflow_start(rt, flow, &o, &run, &err), &err)) {
        luaflow_wait(run, 0.004);
        luaflow_cancel(run);
        if (!luaflow_wait(run, 30))
            wrong("the cancelled run does not end");
        luaflow_run_close(run);
    }
    luaflow_close(rt);
    luaflow_flow_close(flow);
}

static void read_task(luaflow *rt, uint64_t run, uint64_t number, bool wants_all)
{
    luaflow_task_info *task;
    luaflow_log *log;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (good("reading a log", luaflow_log_read(rt, run, number, &log, &err), &err))
        luaflow_free(log);
    if (!good("reading a task", luaflow_task_read(rt, run, number, &task, &err), &err))
        return;
    for (size_t i = 0; i < task->n_artifacts; i++) {
        void *bytes;
        size_t size;
        if (good("reading an artifact",
                 luaflow_artifact_read(rt, run, number, task->artifacts[i].name, &bytes, &size, &err), &err)) {
            if (size != task->artifacts[i].size)
                wrong("%s has %zu bytes", task->artifacts[i].name, size);
            luaflow_free(bytes);
        }
        if (!wants_all && i == 2)
            break;
    }
    luaflow_free(task);
}

/* Reads what there is of a run; of artifacts all, or some. */
static void read_run(luaflow *rt, uint64_t id, bool wants_all)
{
    luaflow_run_info *run;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (!good("reading a run", luaflow_run_read(rt, id, &run, &err), &err))
        return;
    uint64_t done = run->counts.done, failed = run->counts.failed;
    if (run->status == LUAFLOW_DONE && done != TASKS)
        wrong("run %d is done with %d tasks", (int)id, (int)done);
    luaflow_free(run);
    uint64_t numbers[4 * TASKS];
    size_t n = 0;
    if (!good("listing tasks", luaflow_tasks_list(rt, id, NULL, false, 0, numbers, 4 * TASKS, &n, &err), &err))
        return;
    if (n != done + failed)
        wrong("run %d has %zu tasks and counts %d", (int)id, n, (int)(done + failed));
    for (size_t i = 0; i < n; i++)
        read_task(rt, id, numbers[i], wants_all);
    for (int part = LUAFLOW_PART_SOURCE; part <= LUAFLOW_PART_PARAMS; part++) {
        void *bytes;
        size_t size;
        if (good("reading a part", luaflow_run_part_read(rt, id, part, &bytes, &size, &err), &err))
            luaflow_free(bytes);
    }
}

static void scenario_read(void)
{
    luaflow *rt = open_store(false);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    uint64_t ids[4];
    size_t n = 0;
    static const char *const add[] = {"new"}, *const remove[] = {"one"};
    if (rt == NULL)
        return;
    if (good("listing runs", luaflow_runs_list(rt, "F", "two", 0, ids, 4, &n, &err), &err) && n > 0) {
        read_run(rt, ids[0], false);
        good("tagging", luaflow_run_tag(rt, ids[0], add, 1, remove, 1, &err), &err);
    }
    luaflow_close(rt);
}

static void scenario_try(void)
{
    luaflow_flow *flow = load(false);
    luaflow *rt = flow != NULL ? open_store(false) : NULL;
    luaflow_trial *trial;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    static const char *const steps[] = {"join", "part"};
    for (int i = 0; i < 2 && rt != NULL; i++)
        if (good("trying", luaflow_try(rt, flow, steps[i], 1, 0, hear, NULL, &trial, &err), &err))
            luaflow_free(trial);
    luaflow_close(rt);
    luaflow_flow_close(flow);
}

static void scenario_isolate(void)
{
    static const luaflow_attribute with[] = {{"isolate", "true"}};
    luaflow_flow_options options = LUAFLOW_FLOW_OPTIONS_INIT;
    options.with = with;
    options.n_with = 1;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_flow *flow = NULL;
    luaflow *rt = NULL;
    char path[96];
    snprintf(path, sizeof path, "%s/isolate.lua", place);
    if (good("loading", luaflow_flow_load(path, &options, &flow, &err), &err))
        rt = open_store(true);
    if (rt != NULL)
        run_to_end(rt, flow, LUAFLOW_DONE);
    luaflow_close(rt);
    luaflow_flow_close(flow);
}

/* The flow is a table in a state of the host's. */
static void scenario_table(void)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_flow *flow = NULL;
    luaflow *rt = NULL;
    lua_State *host = luaL_newstate();
    if (host == NULL)
        return;
    luaL_openlibs(host);
    const char *at = strstr(flow_text, "MAYBE;");
    lua_pushlstring(host, flow_text, (size_t)(at - flow_text));
    lua_pushstring(host, at + strlen("MAYBE;"));
    lua_concat(host, 2);
    if (luaL_dostring(host, lua_tostring(host, 1)) != 0)
        wrong("%s", lua_tostring(host, -1));
    else if (good("taking a table", luaflow_flow_load_lua(host, -1, NULL, NULL, &flow, &err), &err))
        rt = open_store(true);
    if (lua_gettop(host) != 2)
        wrong("the host's stack is not as it was");
    lua_close(host);
    if (rt != NULL)
        run_to_end(rt, flow, LUAFLOW_DONE);
    luaflow_close(rt);
    luaflow_flow_close(flow);
}

static const struct scenario {
    const char *name;
    void (*play)(void);
    bool needs_store; /* in which a run failed at its last step */
} scenarios[] = {
    {"run", scenario_run, false},       {"resume", scenario_resume, true}, {"cancel", scenario_cancel, false},
    {"read", scenario_read, true},      {"try", scenario_try, true},       {"isolate", scenario_isolate, false},
    {"table", scenario_table, false},
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* ---- one case, in a process of its own ---- */

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char line[400];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (system(line) != 0)
        wrong("%s fails", line);
}

/* Whatever was told or is shown as done is there. */
static void check_store(void)
{
    luaflow *rt = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    o.store = store;
    int rc = luaflow_open(&o, &rt, &err);
    if (rc == LUAFLOW_ENOTFOUND && told == LUAFLOW_RUNNING) {
        luaflow_error_clear(&err);
        return;
    }
    if (!good("opening again", rc, &err))
        return;
    uint64_t ids[4];
    size_t n = 0;
    if (good("listing runs", luaflow_runs_list(rt, NULL, NULL, 0, ids, 4, &n, &err), &err)) {
        luaflow_run_info *newest;
        for (size_t i = 0; i < n; i++)
            read_run(rt, ids[i], true);
        if (n > 0 && good("reading a run", luaflow_run_read(rt, ids[0], &newest, &err), &err)) {
            if ((told == LUAFLOW_DONE) != (newest->status == LUAFLOW_DONE))
                wrong("a run was told to have ended with status %d, and has %d", told, newest->status);
            luaflow_free(newest);
        }
    }
    luaflow_close(rt);
}

static void check_blocks(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        if (blocks[i].data != NULL) {
            backtrace_symbols_fd(&blocks[i].site, 1, STDERR_FILENO);
            wrong("memory that was allocated there is lost");
        }
}

enum { PASSED, NOT_REACHED, FAILED, FAILED_ANYWAY };

static void say_where(const char *what)
{
    void *stack[24];
    fprintf(stderr, "%s in\n", what);
    backtrace_symbols_fd(stack, backtrace(stack, 24), STDERR_FILENO);
    fprintf(stderr, "after there was no memory in\n");
    backtrace_symbols_fd(fault.where, fault.n_where, STDERR_FILENO);
}

static void on_signal(int signal)
{
    say_where(strsignal(signal));
    raise(signal); /* the action was reset */
}

static void watch(void)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGALRM};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        sigaction(fatal[i], &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_NODEFER}, NULL);
}

static int play(const struct scenario *s, const char *name)
{
    watch();
    alarm(60);
    fault.armed = watching = true;
    s->play();
    fault.armed = watching = false;
    check_blocks();
    bool was_hit = fault.hit;
    fault.hit = false;
    if (*problem == '\0')
        check_store();
    if (*problem == '\0')
        return was_hit ? PASSED : NOT_REACHED;
    fprintf(stderr, "%s, %s %ld: %s%s\n", name, fault.persistent ? "from" : "at", fault.at, problem,
            was_hit ? ". It failed at" : "");
    backtrace_symbols_fd(fault.where, fault.n_where, STDERR_FILENO);
    return was_hit ? FAILED : FAILED_ANYWAY;
}

static int play_case(const struct scenario *s, long at, bool persistent)
{
    fault.at = at;
    fault.persistent = persistent;
    snprintf(store, sizeof store, "%s/s", place);
    shell("rm -rf %s", store);
    if (s->needs_store)
        shell("cp -r %s/failed %s", place, store);
    pid_t child = fork();
    if (child == 0)
        _exit(play(s, s->name));
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return FAILED;
    if (WIFEXITED(status) && WEXITSTATUS(status) <= FAILED_ANYWAY)
        return WEXITSTATUS(status);
    fprintf(stderr, "%s, %s %ld: the process ends with %s %d\n", s->name, persistent ? "from" : "at", at,
            WIFSIGNALED(status) ? "signal" : "exit code",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return FAILED;
}

/* A store with a run that failed at its last step, made in a process of its own. */
static void make_failed(void)
{
    snprintf(store, sizeof store, "%s/failed", place);
    pid_t child = fork();
    if (child == 0) {
        luaflow_flow *flow = load(true);
        luaflow *rt = open_store(true);
        run_to_end(rt, flow, LUAFLOW_FAILED);
        luaflow_close(rt);
        luaflow_flow_close(flow);
        if (*problem != '\0')
            fprintf(stderr, "%s\n", problem);
        _exit(*problem != '\0');
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        exit(2);
    char path[96];
    snprintf(path, sizeof path, "%s/isolate.lua", place);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        exit(2);
    const char *at = strstr(flow_text, "MAYBE");
    fprintf(file, "%.*sdo end%s", (int)(at - flow_text), flow_text, at + strlen("MAYBE"));
    fclose(file);
}

/* ---- all cases ---- */

static struct {
    long every, from, count;
} wanted = {1, 1, -1};

static long n_cases, n_failed;

static void sweep(const struct scenario *s, bool persistent)
{
    int outcome = PASSED, missed = 0;
    long at = wanted.from, n = 0;
    /* Where threads race, a run may by chance have fewer than the one before. */
    for (; missed < 3 && n != wanted.count; at += wanted.every, n++) {
        outcome = play_case(s, at, persistent);
        missed = outcome == NOT_REACHED || outcome == FAILED_ANYWAY ? missed + 1 : 0;
        n_failed += outcome == FAILED || outcome == FAILED_ANYWAY;
    }
    n_cases += n;
    printf("%s, %s: %ld cases up to allocation %ld\n", s->name, persistent ? "from the n-th on" : "the n-th alone", n,
           at - wanted.every);
    fflush(stdout);
}

static bool is_chosen(const char *name, char **chosen)
{
    for (char **c = chosen; *c != NULL; c++)
        if (strcmp(*c, name) == 0)
            return true;
    return *chosen == NULL;
}

int main(int argc, char **argv)
{
    int i = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        long value = atol(argv[i + 1]);
        if (strcmp(argv[i], "--every") == 0) wanted.every = value;
        else if (strcmp(argv[i], "--from") == 0) wanted.from = value;
        else if (strcmp(argv[i], "--count") == 0) wanted.count = value;
        else return fprintf(stderr, "oom [--every K] [--from N] [--count N] [SCENARIO…]\n"), 2;
    }
    void *warm_up[1];
    backtrace(warm_up, 1);
    strcpy(place, access("/dev/shm", W_OK) == 0 ? "/dev/shm/oom.XXXXXX" : "/tmp/oom.XXXXXX");
    if (mkdtemp(place) == NULL)
        return 2;
    make_failed();
    for (int s = 0; s < SCENARIOS; s++)
        for (int persistent = 0; persistent < 2 && is_chosen(scenarios[s].name, argv + i); persistent++)
            sweep(&scenarios[s], persistent);
    shell("rm -rf %s", place);
    printf("%ld cases, %ld failed\n", n_cases, n_failed);
    return n_failed > 0;
}
