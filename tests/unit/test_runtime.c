/* The whole house through its front door: luaflow.h alone, as a host has it. Processes for
 * isolated steps are started from this program, too. */
#include "unit.h"

#include "luaflow.h"

#include <dirent.h>
#include <lauxlib.h>
#include <lualib.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A child is known by its environment, see test_isolate.c. */
__attribute__((constructor)) static void be_a_child(void)
{
    if (getenv("TEST_CHILD") != NULL)
        _exit(luaflow_serve(3, NULL) == LUAFLOW_OK ? 0 : 2);
}

/* ---- a world in one line ---- */

static char base[64];       /* a directory of its own for each test */
static char path_text[160]; /* of what stands there */

static const char *path(const char *name)
{
    snprintf(path_text, sizeof path_text, "%s/%s", base, name);
    return path_text;
}

static void fresh_place(void)
{
    strcpy(base, "/tmp/test_runtime.XXXXXX");
    CHECK(mkdtemp(base) != NULL);
}

static void drop_place(void)
{
    char line[96];
    snprintf(line, sizeof line, "rm -rf '%s'", base);
    CHECK_INT(system(line), 0);
}

static luaflow *open_store(const char *name, uint32_t event_queue)
{
    luaflow *rt = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    o.store = path(name);
    o.create = true;
    o.event_queue = event_queue;
    if (luaflow_open(&o, &rt, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return rt;
}

static luaflow *fresh_runtime(void)
{
    fresh_place();
    return open_store("s", 0);
}

static void drop_runtime(luaflow *rt)
{
    luaflow_close(rt);
    drop_place();
}

static luaflow_flow *flow_of(const char *source)
{
    luaflow_flow *f = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_flow_load_string(source, strlen(source), "flows/f.lua", NULL, &f, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return f;
}

static luaflow_run *start_with(luaflow *rt, luaflow_flow *f, luaflow_run_options o)
{
    luaflow_run *r = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_start(rt, f, &o, &r, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return r;
}

static const luaflow_run_options plain = LUAFLOW_RUN_OPTIONS_INIT;

/* Runs the flow to its end; returns the run's number. */
static uint64_t run_with(luaflow *rt, const char *source, luaflow_run_options o, int status)
{
    luaflow_flow *f = flow_of(source);
    luaflow_run *r = start_with(rt, f, o);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_run_status(r), status);
    uint64_t id = luaflow_run_id(r);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    return id;
}

static uint64_t run_flow(luaflow *rt, const char *source)
{
    return run_with(rt, source, plain, LUAFLOW_DONE);
}

/* ---- what was told ---- */

static const char *const words[] = {"run_started", "started", "line", "finished", "failed",
                                    "retrying", "reused", "progress", "run_finished"};

/* Events of one run, as text: "run_started;started start;line start hello;…". */
typedef struct ear {
    char text[8000];
    int events, finished;
    luaflow_counts counts;
    int naps_us; /* how long hearing one takes */
} ear;

static void hear(void *payload, const luaflow_event *e)
{
    ear *heard = payload;
    size_t used = strlen(heard->text);
    CHECK_INT(e->size, sizeof *e);
    CHECK(e->time > 1.6e9 && e->run > 0);
    heard->events++;
    if (heard->naps_us > 0)
        usleep((useconds_t)heard->naps_us);
    if (e->type == LUAFLOW_RUN_FINISHED) {
        heard->finished++;
        heard->counts = e->counts;
    }
    snprintf(heard->text + used, sizeof heard->text - used, "%s%s%s%.*s%s%s;", words[e->type],
             e->path != NULL ? " " : "", e->path != NULL ? e->path : "", (int)e->text_size + (e->text != NULL),
             e->text != NULL ? " " : "", e->text != NULL ? e->text : "",
             e->message != NULL ? e->message : "");
}

static luaflow_run_options hearing(ear *heard)
{
    luaflow_run_options o = plain;
    o.on_event = hear;
    o.payload = heard;
    return o;
}

/* That `first` was told, and `second` after it. */
static void check_order(const ear *heard, const char *first, const char *second)
{
    const char *at = strstr(heard->text, first);
    if (at == NULL || strstr(at, second) == NULL)
        fail_msg("'%s' does not tell '%s' and then '%s'", heard->text, first, second);
}

/* ---- what is stored ---- */

static luaflow_run_info *run_info(luaflow *rt, uint64_t run)
{
    luaflow_run_info *info = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_run_read(rt, run, &info, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return info;
}

static int stored_status(luaflow *rt, uint64_t run)
{
    luaflow_run_info *info = run_info(rt, run);
    int status = info->status;
    luaflow_free(info);
    return status;
}

static luaflow_task_info *task_info(luaflow *rt, uint64_t run, uint64_t task)
{
    luaflow_task_info *info = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_task_read(rt, run, task, &info, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return info;
}

static size_t list_tasks(luaflow *rt, uint64_t run, const char *step, bool failed, uint64_t after,
                         uint64_t *numbers, size_t max)
{
    size_t n = 99;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_tasks_list(rt, run, step, failed, after, numbers, max, &n, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return n;
}

/* That `condition`, in Lua, holds of `value`, the artifact. */
static void check_artifact(luaflow *rt, uint64_t run, uint64_t task, const char *name,
                           const char *condition)
{
    void *bytes;
    size_t size;
    char code[500];
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_artifact_read(rt, run, task, name, &bytes, &size, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaflow_furnish(L);
    CHECK_INT(luaflow_value_push(L, bytes, size, NULL), LUAFLOW_OK);
    lua_setglobal(L, "value");
    snprintf(code, sizeof code, "return %s", condition);
    CHECK_INT(luaL_dostring(L, code), 0);
    if (!lua_toboolean(L, -1))
        fail_msg("not so: %s", condition);
    lua_close(L);
    luaflow_free(bytes);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int entries_of(const char *directory)
{
    DIR *d = opendir(directory);
    int n = 0;
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static int descriptors(void) { return entries_of("/proc/self/fd"); }
static int threads(void) { return entries_of("/proc/self/task"); }

/* The kernel takes a moment to forget a thread that was joined. */
static void check_threads(int wanted)
{
    for (double end = now() + 5; threads() != wanted && now() < end;)
        usleep(1000);
    CHECK_INT(threads(), wanted);
}

#define HELLO "return { steps = { start = { next = 'b', function(self) print('hello') self.x = 1 end }," \
              "b = function(self) print('bye', self.x) self.y = 2 end } }"

/* n tasks of `a`, each doing `work`, and a join that counts them. */
#define WIDE(n, work) "return { name = 'Wide', steps = { start = { next = 'a', foreach = 'list', "        \
                      "function(self) self.list = " n " end }, a = { next = 'j', function(self) " work    \
                      " end }, j = function(self, inputs) self.n = #inputs end } }"

/* Takes a while, on a worker. */
#define NAP(ms) "local ffi = require 'ffi' pcall(ffi.cdef, 'int poll(void *, unsigned long, int);') " \
                "ffi.C.poll(nil, 0, " ms ") "

/* ---- opening ---- */

TEST(a_store_that_is_not_there_is_not_made_unasked)
{
    fresh_place();
    luaflow *rt = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    o.store = path("s");
    CHECK_INT(luaflow_open(&o, &rt, &err), LUAFLOW_ENOTFOUND);
    CHECK(rt == NULL);
    CHECK(strstr(luaflow_error_text(&err), base) != NULL);
    CHECK(access(o.store, F_OK) != 0);
    luaflow_error_clear(&err);
    CHECK_INT(luaflow_open(&o, &rt, NULL), LUAFLOW_ENOTFOUND);
    o.create = true;
    CHECK_INT(luaflow_open(&o, &rt, &err), LUAFLOW_OK);
    CHECK_INT(access(o.store, F_OK), 0);
    drop_runtime(rt);
}

TEST(what_is_no_store_cannot_be_opened)
{
    fresh_place();
    FILE *f = fopen(path("file"), "w");
    CHECK(f != NULL);
    fclose(f);
    luaflow *rt = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    o.store = path("file");
    o.create = true;
    CHECK_INT(luaflow_open(&o, &rt, &err), LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&err), o.store) != NULL);
    CHECK(rt == NULL);
    luaflow_error_clear(&err);
    drop_place();
}

TEST(a_runtime_that_ran_nothing_has_no_threads_and_a_descriptor_to_wait_on)
{
    int before = threads();
    luaflow *rt = fresh_runtime();
    struct pollfd p = {luaflow_fd(rt), POLLIN, 0};
    CHECK(p.fd >= 0);
    CHECK_INT(poll(&p, 1, 0), 0);
    CHECK_INT(luaflow_events_lost(rt), 0);
    CHECK_INT(luaflow_poll(rt, 0), 0);
    CHECK_INT(luaflow_poll(rt, 1), 0);
    CHECK_INT(threads(), before);
    uint64_t id;
    size_t n;
    CHECK_INT(luaflow_runs_list(rt, NULL, NULL, 0, &id, 1, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 0);
    run_flow(rt, HELLO);
    CHECK_INT(luaflow_fd(rt), p.fd);
    drop_runtime(rt);
    luaflow_close(NULL);
    luaflow_run_close(NULL);
    luaflow_flow_close(NULL);
    luaflow_free(NULL);
    luaflow_error_clear(NULL);
}

/* That a call refused what it was given, saying so. */
static void check_refused(int rc, luaflow_error *err, const char *said)
{
    CHECK_INT(rc, LUAFLOW_EUSAGE);
    if (strstr(luaflow_error_text(err), said) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(err), said);
    luaflow_error_clear(err);
}

TEST(options_whose_size_is_wrong_are_refused)
{
    luaflow *rt = fresh_runtime(), *other = NULL;
    luaflow_flow *f = flow_of(HELLO), *none = NULL;
    luaflow_run *r = NULL;
    luaflow_pruned sum;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    const size_t wrong[] = {0, 3, 4000};
    for (int i = 0; i < 3; i++) {
        luaflow_options open = LUAFLOW_OPTIONS_INIT;
        luaflow_flow_options load = LUAFLOW_FLOW_OPTIONS_INIT;
        luaflow_run_options run = LUAFLOW_RUN_OPTIONS_INIT;
        luaflow_prune_options prune = LUAFLOW_PRUNE_OPTIONS_INIT;
        open.size = load.size = run.size = prune.size = wrong[i];
        open.store = path("s");
        check_refused(luaflow_open(&open, &other, &err), &err, "luaflow_options.size is ");
        check_refused(luaflow_flow_load_string("", 0, "f", &load, &none, &err), &err, "luaflow_flow_options.size is ");
        check_refused(luaflow_flow_load("f", &load, &none, &err), &err, "luaflow_flow_options.size is ");
        check_refused(luaflow_start(rt, f, &run, &r, &err), &err, "luaflow_run_options.size is ");
        check_refused(luaflow_resume(rt, f, 0, NULL, &run, &r, &err), &err, "luaflow_run_options.size is ");
        check_refused(luaflow_prune(rt, &prune, &sum, &err), &err, "luaflow_prune_options.size is ");
    }
    luaflow_options open = LUAFLOW_OPTIONS_INIT;
    check_refused(luaflow_open(&open, &other, &err), &err, "store must name");
    check_refused(luaflow_open(NULL, &other, &err), &err, "store must name");
    check_refused(luaflow_prune(rt, NULL, &sum, &err), &err, "needs options");
    CHECK(other == NULL && none == NULL && r == NULL);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

static int refuse_state(void *payload, lua_State *L, luaflow_error *err)
{
    (void)payload, (void)L;
    return luaflow_error_set(err, LUAFLOW_EFLOW, "it was not asked for");
}

TEST(a_host_that_was_compiled_for_an_older_header_is_served)
{
    fresh_place();
    luaflow *rt = NULL;
    luaflow_flow *f = NULL;
    luaflow_run *r = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options open = LUAFLOW_OPTIONS_INIT;
    open.size = offsetof(luaflow_options, on_state); /* what follows is not ours to read */
    open.on_state = refuse_state;
    open.store = path("s");
    open.create = true;
    CHECK_INT(luaflow_open(&open, &rt, &err), LUAFLOW_OK);
    luaflow_flow_options load = LUAFLOW_FLOW_OPTIONS_INIT;
    load.size = offsetof(luaflow_flow_options, on_state);
    load.on_state = refuse_state;
    CHECK_INT(luaflow_flow_load_string(HELLO, strlen(HELLO), "f.lua", &load, &f, &err), LUAFLOW_OK);
    luaflow_run_options how = LUAFLOW_RUN_OPTIONS_INIT;
    how.size = offsetof(luaflow_run_options, run_id_file);
    how.run_id_file = "/nowhere/at/all";
    CHECK_INT(luaflow_start(rt, f, &how, &r, &err), LUAFLOW_OK);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_run_status(r), LUAFLOW_DONE);
    luaflow_run_close(r);
    CHECK_INT(luaflow_start(rt, f, NULL, &r, &err), LUAFLOW_OK); /* or has nothing to say */
    CHECK_INT(luaflow_wait(r, -1), 1);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    luaflow_prune_options prune = LUAFLOW_PRUNE_OPTIONS_INIT;
    luaflow_pruned sum;
    prune.size = offsetof(luaflow_prune_options, older_than);
    prune.keep = 1;
    prune.older_than = 1e9;
    CHECK_INT(luaflow_prune(rt, &prune, &sum, &err), LUAFLOW_OK);
    CHECK_INT(sum.runs, 1);
    drop_runtime(rt);
}

/* ---- flows ---- */

TEST(a_wrong_flow_is_told_with_every_problem)
{
    const char *source = "return { steps = { start = { next = 'nowhere' }, other = { retry = 'x' } } }";
    luaflow_flow *f = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(luaflow_flow_load_string(source, strlen(source), "f.lua", NULL, &f, &err), LUAFLOW_EFLOW);
    CHECK(f == NULL);
    CHECK(strstr(luaflow_error_text(&err), "nowhere") != NULL);
    CHECK(strstr(luaflow_error_text(&err), "retry") != NULL);
    luaflow_error_clear(&err);
    CHECK_INT(luaflow_flow_load("/nowhere/f.lua", NULL, &f, &err), LUAFLOW_EFLOW);
    CHECK(strstr(luaflow_error_text(&err), "/nowhere/f.lua") != NULL);
    luaflow_error_clear(&err);
}

TEST(a_flow_describes_itself)
{
    luaflow_flow *f = flow_of("return { name = 'G', doc = 'd', params = { n = { default = 5 } }, "
                              "steps = { start = { next = 'b' }, b = { doc = 'last' } } }");
    size_t size;
    const void *bytes = luaflow_flow_describe(f, &size);
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaflow_furnish(L);
    CHECK_INT(luaflow_value_push(L, bytes, size, NULL), LUAFLOW_OK);
    lua_setglobal(L, "d");
    CHECK_INT(luaL_dostring(L, "assert(d.name == 'G' and d.doc == 'd' and d.file == 'flows/f.lua') "
                               "assert(d.steps[1].name == 'start' and d.steps[2].doc == 'last') "
                               "assert(d.params[1].name == 'n' and d.params[1].type == 'number')"), 0);
    lua_close(L);
    luaflow_flow_close(f);
}

TEST(a_flow_is_loaded_from_a_file_with_attributes_for_its_steps)
{
    fresh_place();
    FILE *file = fopen(path("mine.lua"), "w");
    CHECK(file != NULL);
    fputs("return { steps = { start = function(self) end } }", file);
    fclose(file);
    luaflow_flow *f = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_attribute retry = {"retry", "2"}, wrong = {"retry", "soon"};
    luaflow_flow_options options = LUAFLOW_FLOW_OPTIONS_INIT;
    options.with = &retry;
    options.n_with = 1;
    size_t size;
    CHECK_INT(luaflow_flow_load(path("mine.lua"), &options, &f, &err), LUAFLOW_OK);
    const void *description = luaflow_flow_describe(f, &size);
    CHECK(memmem(description, size, "mine", 4) != NULL);
    luaflow_flow_close(f);
    f = NULL;
    options.with = &wrong;
    CHECK_INT(luaflow_flow_load(path("mine.lua"), &options, &f, &err), LUAFLOW_EUSAGE);
    CHECK(strstr(luaflow_error_text(&err), "retry") != NULL);
    CHECK(f == NULL);
    luaflow_error_clear(&err);
    drop_place();
}

#define PARAMS "return { params = { n = { default = 5 }, word = { required = true, type = 'string' } }, " \
               "steps = { start = function(self) self.got = self.word .. self.n end } }"

TEST(parameters_are_checked_without_a_run)
{
    luaflow_flow *f = flow_of(PARAMS);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    void *value;
    size_t size;
    luaflow_param word = {"word", "x", NULL, 0}, wrong[] = {word, {"n", "many", NULL, 0}};
    CHECK_INT(luaflow_flow_params(f, &word, 1, &value, &size, &err), LUAFLOW_OK);
    CHECK(memmem(value, size, "word", 4) != NULL);
    luaflow_free(value);
    CHECK_INT(luaflow_flow_params(f, &word, 1, NULL, NULL, &err), LUAFLOW_OK);
    CHECK_INT(luaflow_flow_params(f, NULL, 0, &value, &size, &err), LUAFLOW_EUSAGE);
    CHECK(strstr(luaflow_error_text(&err), "word") != NULL);
    CHECK_INT(luaflow_flow_params(f, wrong, 2, &value, &size, &err), LUAFLOW_EUSAGE);
    CHECK(strstr(luaflow_error_text(&err), "many") != NULL);
    luaflow_error_clear(&err);
    luaflow_flow_close(f);
}

TEST(a_run_takes_parameters_as_text_and_as_values)
{
    luaflow *rt = fresh_runtime();
    luaflow_param params[] = {{"word", "w", NULL, 0}, {"n", NULL, "\x07", 1}};
    luaflow_run_options o = plain;
    o.params = params;
    o.n_params = 2;
    uint64_t run = run_with(rt, PARAMS, o, LUAFLOW_DONE);
    check_artifact(rt, run, 1, "got", "value == 'w7'");
    drop_runtime(rt);
}

TEST(a_run_with_a_wrong_parameter_or_tag_is_not_made)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(PARAMS);
    luaflow_run *r = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_run_options o = plain;
    CHECK_INT(luaflow_start(rt, f, &o, &r, &err), LUAFLOW_EUSAGE);
    CHECK(strstr(luaflow_error_text(&err), "word") != NULL);
    luaflow_param word = {"word", "w", NULL, 0};
    const char *empty = "";
    o.params = &word;
    o.n_params = 1;
    o.tags = &empty;
    o.n_tags = 1;
    CHECK_INT(luaflow_start(rt, f, &o, &r, &err), LUAFLOW_EUSAGE);
    luaflow_error_clear(&err);
    CHECK(r == NULL);
    uint64_t id;
    size_t n = 9;
    CHECK_INT(luaflow_runs_list(rt, NULL, NULL, 0, &id, 1, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 0);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

/* ---- events ---- */

TEST(events_come_in_order)
{
    luaflow *rt = fresh_runtime();
    ear heard = {.events = 0};
    uint64_t run = run_with(rt, HELLO, hearing(&heard), LUAFLOW_DONE);
    CHECK_INT(run, 1);
    CHECK_INT(strncmp(heard.text, "run_started;started start;line start hello;", 43), 0);
    check_order(&heard, "line start hello;", "finished start;");
    check_order(&heard, "started b;", "line b bye\t1;");
    check_order(&heard, "line b bye\t1;", "finished b;");
    check_order(&heard, "finished start;", "finished b;run_finished;");
    CHECK_INT(heard.events, 8);
    CHECK_INT(heard.counts.done, 2);
    CHECK_INT(heard.counts.failed, 0);
    drop_runtime(rt);
}

/* Reads what it is told from the store at once. */
static void look_at_once(void *payload, const luaflow_event *e)
{
    luaflow *rt = payload;
    if (e->type == LUAFLOW_TASK_FINISHED)
        luaflow_free(task_info(rt, e->run, e->task));
    if (e->type == LUAFLOW_RUN_FINISHED)
        CHECK_INT(stored_status(rt, e->run), LUAFLOW_DONE);
}

TEST(what_an_event_tells_is_stored_already)
{
    luaflow *rt = fresh_runtime();
    luaflow_run_options o = plain;
    o.on_event = look_at_once;
    o.payload = rt;
    run_with(rt, WIDE("100", ""), o, LUAFLOW_DONE);
    drop_runtime(rt);
}

TEST(polling_keeps_to_its_budget)
{
    luaflow *rt = fresh_runtime();
    ear heard = {.naps_us = 2000};
    luaflow_flow *f = flow_of(WIDE("60", ""));
    luaflow_run *r = start_with(rt, f, hearing(&heard));
    while (stored_status(rt, 1) == LUAFLOW_RUNNING)
        usleep(1000);
    CHECK_INT(heard.events, 0); /* nothing is told behind the host's back */
    int n = luaflow_poll(rt, 0.005);
    CHECK(n >= 1 && n <= 4);
    CHECK_INT(heard.events, n);
    CHECK_INT(luaflow_poll(rt, 0), 1);
    heard.naps_us = 0;
    while (luaflow_run_status(r) == LUAFLOW_RUNNING)
        n += luaflow_poll(rt, 1);
    CHECK_INT(heard.events, n + 1);
    CHECK_INT(heard.events, 2 * 62 + 2);
    CHECK_INT(luaflow_poll(rt, 1), 0);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(the_descriptor_is_readable_while_events_wait)
{
    luaflow *rt = fresh_runtime();
    ear heard = {.events = 0};
    luaflow_flow *f = flow_of(HELLO);
    luaflow_run *r = start_with(rt, f, hearing(&heard));
    struct pollfd p = {luaflow_fd(rt), POLLIN, 0};
    CHECK(p.fd >= 0);
    while (luaflow_run_status(r) == LUAFLOW_RUNNING) { /* as an event loop would */
        CHECK_INT(poll(&p, 1, 20000), 1);
        CHECK(luaflow_poll(rt, 1) > 0);
    }
    CHECK_INT(poll(&p, 1, 0), 0);
    CHECK_INT(luaflow_wait(r, 0), 1);
    CHECK_INT(heard.events, 8);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(waiting_ends_when_the_time_is_over)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of("return { steps = { start = function() " NAP("300") " end } }");
    luaflow_run *r = start_with(rt, f, plain);
    double began = now();
    CHECK_INT(luaflow_wait(r, 0), 0);
    CHECK_INT(luaflow_wait(r, 0.05), 0);
    CHECK(now() - began >= 0.05);
    CHECK_INT(luaflow_run_status(r), LUAFLOW_RUNNING);
    CHECK_INT(stored_status(rt, 1), LUAFLOW_RUNNING);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK(now() - began >= 0.29);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(a_host_that_does_not_poll_loses_the_oldest_lines)
{
    enum { KEPT = 200 };
    fresh_place();
    luaflow *rt = open_store("s", KEPT);
    ear heard = {.events = 0};
    luaflow_flow *f = flow_of("return { steps = { start = function() for i = 1, 1000 do print(i) end end } }");
    luaflow_run *r = start_with(rt, f, hearing(&heard));
    while (stored_status(rt, 1) == LUAFLOW_RUNNING)
        usleep(1000);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK(heard.events >= KEPT && heard.events <= KEPT + 2); /* the last two may come later */
    CHECK_INT((uint64_t)heard.events + luaflow_events_lost(rt), 1004); /* four besides the lines */
    CHECK(strstr(heard.text, "run_started;started start;line start 8") != NULL);
    check_order(&heard, "line start 1000;", "finished start;run_finished;");
    luaflow_log *log;
    CHECK_INT(luaflow_log_read(rt, 1, 1, &log, NULL), LUAFLOW_OK);
    CHECK_INT(log->n_entries, 1000); /* the store has them all */
    luaflow_free(log);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

static void count_progress(void *payload, const luaflow_event *e)
{
    ear *heard = payload;
    heard->events++;
    if (e->type == LUAFLOW_PROGRESS) {
        CHECK_STR(e->step, "a");
        heard->counts = e->counts;
        heard->finished++;
    }
}

TEST(tasks_of_a_wide_step_give_way_to_progress)
{
    luaflow *rt = fresh_runtime();
    ear heard = {.events = 0};
    luaflow_run_options o = hearing(&heard);
    o.on_event = count_progress;
    o.progress_after = 50;
    run_with(rt, WIDE("1000", ""), o, LUAFLOW_DONE);
    CHECK(heard.finished >= 1);
    CHECK_INT(heard.counts.done, 1000);
    CHECK_INT(heard.events, 2 + 2 * (1 + 50 + 1) + heard.finished);
    drop_runtime(rt);
}

/* ---- ends ---- */

TEST(a_failed_task_fails_its_run)
{
    luaflow *rt = fresh_runtime();
    ear heard = {.events = 0};
    const char *source = "return { steps = { start = { next = 'b', function(self) self.x = 1 end },\n"
                         "b = { next = 'c', function(self) print('so far') error('no luck') end }, c = {} } }";
    uint64_t run = run_with(rt, source, hearing(&heard), LUAFLOW_FAILED);
    check_order(&heard, "failed bflows/f.lua:2: no luck;", "run_finished;");
    luaflow_run_info *info = run_info(rt, run);
    CHECK_INT(info->status, LUAFLOW_FAILED);
    CHECK_INT(info->counts.done, 1);
    CHECK_INT(info->counts.failed, 1);
    CHECK(info->problem == NULL);
    luaflow_free(info);
    uint64_t number;
    CHECK_INT(list_tasks(rt, run, NULL, true, 0, &number, 1), 1);
    luaflow_task_info *task = task_info(rt, run, number);
    CHECK(task->failed);
    CHECK_STR(task->step, "b");
    CHECK_STR(task->message, "flows/f.lua:2: no luck");
    CHECK(strstr(task->traceback, "flows/f.lua:2") != NULL);
    CHECK_INT(task->n_artifacts, 0);
    luaflow_free(task);
    drop_runtime(rt);
}

#define HALF_BROKEN "return { steps = { start = { next = { 'a', 'b' } }, " \
                    "a = { next = 'j', function() error('x') end }, b = { next = 'c' }, "      \
                    "c = { next = 'j', function(self) self.x = 1 end }, j = function(self, inputs) end } }"

TEST(keeping_on_runs_whatever_does_not_hang_on_a_failure)
{
    luaflow *rt = fresh_runtime();
    luaflow_run_options o = plain;
    o.keep_going = true;
    uint64_t number, run = run_with(rt, HALF_BROKEN, o, LUAFLOW_FAILED);
    CHECK_INT(list_tasks(rt, run, "c", false, 0, &number, 1), 1);
    CHECK_INT(list_tasks(rt, run, "j", false, 0, &number, 1), 0);
    drop_runtime(rt);
}

TEST(a_cancelled_run_is_interrupted_and_keeps_what_it_did)
{
    luaflow *rt = fresh_runtime();
    ear heard = {.events = 0};
    luaflow_flow *f = flow_of(WIDE("1000", NAP("5")));
    luaflow_run *r = start_with(rt, f, hearing(&heard));
    while (strstr(heard.text, "finished a[") == NULL)
        CHECK_INT(luaflow_wait(r, 0.01), 0);
    luaflow_cancel(r);
    luaflow_cancel(r);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_run_status(r), LUAFLOW_INTERRUPTED);
    CHECK_INT(heard.finished, 1);
    luaflow_cancel(r); /* too late, no harm */
    luaflow_run_info *info = run_info(rt, 1);
    CHECK_INT(info->status, LUAFLOW_INTERRUPTED);
    CHECK(info->counts.done >= 2 && info->counts.done < 1000);
    CHECK_INT(info->counts.done, heard.counts.done);
    CHECK(info->finished_at > 0);
    luaflow_free(info);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(closing_a_run_that_is_under_way_interrupts_it_in_silence)
{
    luaflow *rt = fresh_runtime();
    ear heard = {.events = 0};
    luaflow_flow *f = flow_of(WIDE("1000", NAP("5")));
    luaflow_run *r = start_with(rt, f, hearing(&heard));
    CHECK_INT(luaflow_wait(r, 0.02), 0);
    int events = heard.events;
    luaflow_run_close(r);
    CHECK_INT(heard.events, events);
    CHECK_INT(stored_status(rt, 1), LUAFLOW_INTERRUPTED);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(closing_a_runtime_waits_for_the_steps_that_run)
{
    int before = threads();
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(WIDE("1000", NAP("5")));
    start_with(rt, f, plain);
    start_with(rt, f, plain);
    usleep(20000);
    luaflow_close(rt); /* the runs go with it */
    check_threads(before);
    luaflow_flow_close(f);
    rt = open_store("s", 0);
    CHECK_INT(stored_status(rt, 1), LUAFLOW_INTERRUPTED);
    CHECK_INT(stored_status(rt, 2), LUAFLOW_INTERRUPTED);
    drop_runtime(rt);
}

TEST(a_run_whose_process_was_killed_is_interrupted)
{
    fresh_place();
    int told[2];
    CHECK_INT(pipe(told), 0);
    pid_t child = fork();
    if (child == 0) {
        luaflow *rt = open_store("s", 0);
        luaflow_run *r = start_with(rt, flow_of(WIDE("100", NAP("20"))), plain);
        luaflow_wait(r, 0.05);
        if (write(told[1], "x", 1) == 1)
            luaflow_wait(r, -1);
        _exit(1);
    }
    char x;
    close(told[1]);
    CHECK_INT(read(told[0], &x, 1), 1); /* nothing when it died before */
    luaflow *rt = open_store("s", 0);
    CHECK_INT(stored_status(rt, 1), LUAFLOW_RUNNING);
    kill(child, SIGKILL);
    CHECK_INT(waitpid(child, NULL, 0), child);
    CHECK_INT(stored_status(rt, 1), LUAFLOW_INTERRUPTED);
    CHECK_INT(run_flow(rt, HELLO), 2);
    close(told[0]);
    drop_runtime(rt);
}

/* ---- going on with a run ---- */

static luaflow_run *resume_with(luaflow *rt, luaflow_flow *f, uint64_t origin, const char *step, luaflow_run_options o)
{
    luaflow_run *r = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_resume(rt, f, origin, step, &o, &r, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return r;
}

/* Resumes with the flow and waits; returns the new run's number. */
static uint64_t resume_to_end(luaflow *rt, const char *source, uint64_t origin, const char *step,
                              luaflow_run_options o, int status)
{
    luaflow_flow *f = flow_of(source);
    luaflow_run *r = resume_with(rt, f, origin, step, o);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_run_status(r), status);
    uint64_t id = luaflow_run_id(r);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    return id;
}

static uint64_t resume(luaflow *rt, const char *source, uint64_t origin)
{
    return resume_to_end(rt, source, origin, NULL, plain, LUAFLOW_DONE);
}

/* That resuming fails so, and makes no run. */
static void check_no_resume(luaflow *rt, const char *source, uint64_t origin, const char *step,
                            luaflow_run_options o, int code, const char *said)
{
    uint64_t before[9], after[9];
    size_t n_before, n_after;
    luaflow_run *r = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_flow *f = flow_of(source);
    CHECK_INT(luaflow_runs_list(rt, NULL, NULL, 0, before, 9, &n_before, NULL), LUAFLOW_OK);
    CHECK_INT(luaflow_resume(rt, f, origin, step, &o, &r, &err), code);
    CHECK(r == NULL);
    if (strstr(luaflow_error_text(&err), said) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(&err), said);
    luaflow_error_clear(&err);
    CHECK_INT(luaflow_runs_list(rt, NULL, NULL, 0, after, 9, &n_after, NULL), LUAFLOW_OK);
    CHECK_INT(n_after, n_before);
    luaflow_flow_close(f);
}

/* Three elements, of which the second does `work`. */
#define THREE(work) WIDE("3", "print('at', self.index) if self.index == 2 then " work " end "                    \
                         "self.got = self.input * 10 self.big = ('x'):rep(1000)")
#define BREAKS THREE("error('broken')")
#define MENDED THREE("")

static luaflow_run_options keeping_on(void)
{
    luaflow_run_options o = plain;
    o.keep_going = true;
    return o;
}

static uint64_t broken_run(luaflow *rt) { return run_with(rt, BREAKS, keeping_on(), LUAFLOW_FAILED); }

/* What was reused or ran, and why. */
static void hear_reasons(void *payload, const luaflow_event *e)
{
    char *said = payload;
    bool has_reason = e->type == LUAFLOW_TASK_STARTED || e->type == LUAFLOW_TASK_REUSED;
    CHECK_INT(e->reason != NULL, has_reason);
    if (has_reason)
        sprintf(said + strlen(said), "%s %s: %s\n", words[e->type], e->path, e->reason);
}

TEST(a_resumed_run_runs_what_failed_and_what_comes_after_it)
{
    luaflow *rt = fresh_runtime();
    char said[1000] = "";
    uint64_t origin = broken_run(rt);
    luaflow_run_options o = plain;
    o.on_event = hear_reasons;
    o.payload = said;
    o.max_workers = 1;
    uint64_t run = resume_to_end(rt, MENDED, origin, NULL, o, LUAFLOW_DONE);
    CHECK(strstr(said, "reused start: it succeeded in run 1, as task 1\n") != NULL);
    CHECK(strstr(said, "reused a[1]: it succeeded in run 1, as task ") != NULL);
    CHECK(strstr(said, "started a[2]: it failed in run 1\n") != NULL);
    CHECK(strstr(said, "reused a[3]: it succeeded in run 1, as task ") != NULL);
    CHECK(strstr(said, "started j: it did not finish in run 1\n") != NULL);
    luaflow_run_info *info = run_info(rt, run);
    CHECK_INT(info->origin, origin);
    CHECK_INT(info->counts.done, 5);
    CHECK_INT(info->counts.failed, 0);
    CHECK_INT(info->counts.reused, 3);
    CHECK_INT(info->steps[1].counts.done, 3);
    CHECK_INT(info->steps[1].counts.reused, 2);
    luaflow_run_info *first = run_info(rt, origin);
    CHECK_INT(first->origin, 0);
    CHECK_INT(first->status, LUAFLOW_FAILED);
    CHECK_INT(info->seed, first->seed);
    luaflow_free(first);
    luaflow_free(info);
    check_artifact(rt, run, 5, "n", "value == 3");
    drop_runtime(rt);
}

TEST(a_reused_task_is_remembered_with_times_attempts_parents_and_what_it_left)
{
    luaflow *rt = fresh_runtime();
    const char *source = "return { name = 'Again', steps = { start = { next = 'a', retry = 2, function(self) "
                         "print('try') if require('luaflow').current.retry_count < 2 then error('not yet') end "
                         "self.x = ('x'):rep(500) self.z = 1 end }, "
                         "a = { next = 'b', catch = 'why', function(self) error('never') end }, "
                         "b = function(self) %s end } }";
    char broken[600], mended[600];
    snprintf(broken, sizeof broken, source, "error('broken')");
    snprintf(mended, sizeof mended, source, "self.y = self.x .. self.why.attempts");
    uint64_t origin = run_with(rt, broken, plain, LUAFLOW_FAILED), run = resume(rt, mended, origin);
    for (uint64_t i = 1; i <= 2; i++) {
        luaflow_task_info *was = task_info(rt, origin, i), *is = task_info(rt, run, i);
        CHECK_INT(was->origin_run, 0);
        CHECK_INT(is->origin_run, origin);
        CHECK_INT(is->origin_task, i);
        CHECK_INT(is->run, run);
        CHECK_INT(is->task, i);
        CHECK_STR(is->path, was->path);
        CHECK(is->started_at == was->started_at && is->finished_at == was->finished_at);
        CHECK_INT(is->worker, was->worker);
        CHECK_INT(is->attempt, i == 1 ? 2 : 0);
        CHECK_INT(is->caught, i == 2);
        CHECK(!is->failed && is->message == NULL);
        CHECK_INT(is->n_attempts, was->n_attempts);
        for (size_t k = 0; k < is->n_attempts; k++) {
            CHECK_STR(is->attempts[k].message, was->attempts[k].message);
            CHECK(is->attempts[k].started_at == was->attempts[k].started_at);
        }
        CHECK_INT(is->n_parents, i - 1);
        CHECK_INT(is->n_artifacts, i == 1 ? 2 : 3);
        CHECK_INT(is->n_artifacts, was->n_artifacts);
        for (size_t k = 0; k < is->n_artifacts; k++) {
            CHECK_STR(is->artifacts[k].name, was->artifacts[k].name);
            CHECK_INT(is->artifacts[k].inherited, was->artifacts[k].inherited);
            CHECK_INT(is->artifacts[k].size, was->artifacts[k].size);
        }
        luaflow_free(was);
        luaflow_free(is);
    }
    luaflow_task_info *t = task_info(rt, run, 3);
    CHECK_INT(t->origin_run, 0);
    CHECK_INT(t->parents[0], 2);
    luaflow_free(t);
    check_artifact(rt, run, 1, "x", "value == ('x'):rep(500)");
    check_artifact(rt, run, 2, "z", "value == 1");
    check_artifact(rt, run, 3, "y", "value == ('x'):rep(500) .. '1'");
    check_artifact(rt, run, 3, "z", "value == 1");
    luaflow_log *log;
    CHECK_INT(luaflow_log_read(rt, run, 1, &log, NULL), LUAFLOW_OK);
    CHECK_INT(log->n_entries, 3);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_INT(log->entries[i].task, 1);
        CHECK_INT(log->entries[i].attempt, i);
        CHECK_STR(log->entries[i].text, "try\n");
    }
    luaflow_free(log);
    drop_runtime(rt);
}

/* The tasks with a log, asked for in pages of `max`: "1 2 3". */
static const char *logged(luaflow *rt, uint64_t run, size_t max)
{
    static char text[4000];
    uint64_t numbers[100], after = 0;
    uint32_t steps[100];
    size_t n = max;
    text[0] = 0;
    while (n == max) {
        CHECK_INT(luaflow_logs_list(rt, run, after, numbers, steps, max, &n, NULL), LUAFLOW_OK);
        for (size_t i = 0; i < n; i++) {
            CHECK(numbers[i] > after);
            after = numbers[i];
            luaflow_task_info *t = task_info(rt, run, after);
            luaflow_run_info *info = run_info(rt, run);
            CHECK_STR(info->steps[steps[i]].name, t->step);
            luaflow_free(t);
            luaflow_free(info);
            sprintf(text + strlen(text), " %d", (int)after);
        }
    }
    return text;
}

TEST(logs_of_reused_tasks_are_listed_among_those_that_ran)
{
    luaflow *rt = fresh_runtime();
    char all[400];
    luaflow_run_options o = keeping_on();
    o.max_workers = 1;
    uint64_t origin = run_with(rt, WIDE("40", "if self.index % 3 ~= 0 then print(self.index) end "
                                              "if self.index % 4 == 0 then error('broken') end"),
                               o, LUAFLOW_FAILED);
    uint64_t run = resume(rt, WIDE("40", "if self.index % 5 == 0 then print(self.index) end"), origin);
    strcpy(all, logged(rt, run, 100));
    int n = 0;
    for (const char *at = all; *at != 0; at++)
        n += *at == ' ';
    CHECK_INT(n, 20 + 2); /* reused: not every third or fourth; run again: 20 and 40 */
    for (size_t max = 1; max < 25; max++)
        CHECK_STR(logged(rt, run, max), all);
    drop_runtime(rt);
}

TEST(a_resumed_run_can_be_resumed_and_tells_where_tasks_truly_ran)
{
    luaflow *rt = fresh_runtime();
    uint64_t first = broken_run(rt);
    uint64_t second = resume_to_end(rt, THREE("error('still broken')"), first, NULL, keeping_on(), LUAFLOW_FAILED);
    uint64_t third = resume(rt, MENDED, 0); /* the latest */
    luaflow_run_info *info = run_info(rt, third);
    CHECK_INT(info->origin, second);
    CHECK_INT(info->counts.reused, 3);
    luaflow_free(info);
    luaflow_task_info *t = task_info(rt, third, 1);
    CHECK_INT(t->origin_run, first);
    CHECK_INT(t->origin_task, 1);
    luaflow_free(t);
    check_artifact(rt, third, 5, "n", "value == 3");
    uint64_t fourth = resume(rt, MENDED, third);
    info = run_info(rt, fourth);
    CHECK_INT(info->counts.reused, 5);
    luaflow_free(info);
    t = task_info(rt, fourth, 5);
    CHECK_INT(t->origin_run, third);
    luaflow_free(t);
    check_artifact(rt, fourth, 5, "n", "value == 3");
    drop_runtime(rt);
}

TEST(what_stands_on_a_task_of_another_run_is_found_over_several_runs)
{
    luaflow *rt = fresh_runtime();
    const char *source = "return { name = 'Far', steps = { start = { next = 'a', function(self) "
                         "self.big = ('b'):rep(3000) self.list = { 1, 2 } for i = 1, 30 do self['v' .. i] = i end end }, "
                         "a = { next = 'b', function(self) self.a = 1 self.v1 = nil %s end }, "
                         "b = { next = 'c', function(self) self.b = self.a + 1 self.v2 = nil %s end }, "
                         "c = function(self) self.c = self.b + self.v3 self.n = #self.big "
                         "self.gone = self:has('v1') or self:has('v2') end } }";
    char flow[1000];
    snprintf(flow, sizeof flow, source, "error('a')", "");
    uint64_t run = run_with(rt, flow, plain, LUAFLOW_FAILED);
    snprintf(flow, sizeof flow, source, "", "error('b')");
    run = resume_to_end(rt, flow, run, NULL, plain, LUAFLOW_FAILED);
    snprintf(flow, sizeof flow, source, "", "");
    run = resume_to_end(rt, flow, run, "c", plain, LUAFLOW_DONE);
    run = resume_to_end(rt, flow, run, "c", plain, LUAFLOW_DONE);
    check_artifact(rt, run, 4, "c", "value == 5");
    check_artifact(rt, run, 4, "n", "value == 3000");
    check_artifact(rt, run, 4, "gone", "value == false");
    check_artifact(rt, run, 4, "v30", "value == 30");
    check_artifact(rt, run, 2, "v30", "value == 30");
    luaflow_task_info *t = task_info(rt, run, 4);
    CHECK_INT(t->n_artifacts, 30 - 2 + 2 + 2 + 3);
    luaflow_free(t);
    drop_runtime(rt);
}

TEST(a_list_that_was_empty_is_looked_at_again_where_its_step_runs_again)
{
    luaflow *rt = fresh_runtime();
    uint64_t origin = run_flow(rt, WIDE("{}", "self.x = 1"));
    uint64_t run = resume_to_end(rt, WIDE("{ 7, 8 }", "self.x = 1"), origin, "start", plain, LUAFLOW_DONE);
    luaflow_run_info *info = run_info(rt, run);
    CHECK_INT(info->counts.done, 4);
    CHECK_INT(info->counts.reused, 0);
    luaflow_free(info);
    check_artifact(rt, run, 4, "n", "value == 2");
    run = resume(rt, WIDE("{ 7, 8 }", "self.x = 1"), origin); /* what was decided stays decided */
    info = run_info(rt, run);
    CHECK_INT(info->counts.reused, 2);
    luaflow_free(info);
    check_artifact(rt, run, 2, "n", "value == 0");
    drop_runtime(rt);
}

TEST(what_cannot_be_resumed_is_refused_and_makes_no_run)
{
    luaflow *rt = fresh_runtime();
    luaflow_run_options given = plain, seeded = plain;
    given.params = &(luaflow_param){.name = "x", .text = "1"};
    given.n_params = 1;
    seeded.has_seed = true;
    check_no_resume(rt, MENDED, 0, NULL, plain, LUAFLOW_ENOTFOUND, "flow Wide has no run in ");
    uint64_t run = broken_run(rt);
    check_no_resume(rt, MENDED, run + 1, NULL, plain, LUAFLOW_ENOTFOUND, "there is no run 2");
    check_no_resume(rt, MENDED, 1ull << 40, NULL, plain, LUAFLOW_ENOTFOUND, "there is no run 1099511627776");
    check_no_resume(rt, MENDED, run, NULL, given, LUAFLOW_EUSAGE, "they cannot be given");
    check_no_resume(rt, MENDED, run, NULL, seeded, LUAFLOW_EUSAGE, "they cannot be given");
    check_no_resume(rt, MENDED, run, "b", plain, LUAFLOW_EUSAGE, "the flow has no step 'b'");
    check_no_resume(rt, "return { name = 'Narrow', steps = { start = {} } }", run, NULL, plain, LUAFLOW_EUSAGE,
                    "run 1 is one of flow Wide, and this is flow Narrow");
    check_no_resume(rt, "return { name = 'Wide', steps = { start = { next = 'b' }, b = {} } }", run, NULL, plain,
                    LUAFLOW_EUSAGE, "step start was done and would be reused, but it now has other successors");
    drop_runtime(rt);
}

TEST(a_run_that_still_runs_is_not_resumed_here_or_in_another_runtime)
{
    luaflow *one = fresh_runtime(), *two = open_store("s", 0);
    const char *source = WIDE("200", NAP("10"));
    luaflow_flow *f = flow_of(source);
    luaflow_run *r = start_with(one, f, plain);
    check_no_resume(one, source, 1, NULL, plain, LUAFLOW_EUSAGE, "run 1 is still running");
    check_no_resume(two, source, 1, NULL, plain, LUAFLOW_EUSAGE, "run 1 is still running");
    check_no_resume(two, source, 0, NULL, plain, LUAFLOW_EUSAGE, "run 1 is still running");
    luaflow_cancel(r);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_run_status(r), LUAFLOW_INTERRUPTED);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    uint64_t run = resume(two, WIDE("200", "self.x = 1"), 1);
    check_artifact(one, run, 202, "n", "value == 200");
    luaflow_close(one);
    drop_runtime(two);
}

TEST(a_resumed_run_that_is_cancelled_can_be_resumed)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(WIDE("3000", "self.x = 1 if self.index > 2000 then " NAP("5") "end"));
    luaflow_run *r = start_with(rt, f, plain);
    luaflow_wait(r, 0.3);
    luaflow_run_close(r); /* cancels */
    for (int i = 0; i < 5; i++) {
        r = resume_with(rt, f, 0, NULL, plain);
        luaflow_wait(r, 0.01 * i);
        luaflow_run_close(r);
    }
    luaflow_flow_close(f);
    uint64_t run = resume(rt, WIDE("3000", "self.x = 1"), 0);
    luaflow_run_info *info = run_info(rt, run);
    CHECK_INT(info->counts.done, 3002);
    luaflow_free(info);
    check_artifact(rt, run, 3002, "n", "value == 3000");
    drop_runtime(rt);
}

enum { RESUMERS = 4, RESUMES = 5 };

/* In a runtime of its own: resumes run 1 several times at once. */
static void *resume_often(void *payload)
{
    uintptr_t wrong = 0;
    luaflow *rt = NULL;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    luaflow_flow *f = NULL;
    luaflow_run *runs[RESUMES] = {NULL};
    o.store = payload;
    if (luaflow_open(&o, &rt, NULL) != LUAFLOW_OK ||
        luaflow_flow_load_string(MENDED, strlen(MENDED), "flows/f.lua", NULL, &f, NULL) != LUAFLOW_OK)
        return (void *)1;
    for (int i = 0; i < RESUMES; i++)
        wrong += luaflow_resume(rt, f, 1, NULL, &plain, &runs[i], NULL) != LUAFLOW_OK;
    for (int i = 0; i < RESUMES && wrong == 0; i++) {
        luaflow_run_info *info = NULL;
        luaflow_wait(runs[i], -1);
        wrong += luaflow_run_read(rt, luaflow_run_id(runs[i]), &info, NULL) != LUAFLOW_OK ||
                 info->status != LUAFLOW_DONE || info->origin != 1 || info->counts.done != 5 ||
                 info->counts.reused != 3;
        luaflow_free(info);
    }
    luaflow_close(rt); /* the runs go with it */
    luaflow_flow_close(f);
    return (void *)wrong;
}

TEST(one_run_is_resumed_twenty_times_at_once_by_several_runtimes)
{
    luaflow *rt = fresh_runtime();
    pthread_t threads_of[RESUMERS];
    char store[160];
    CHECK_INT(broken_run(rt), 1);
    strcpy(store, path("s"));
    for (int i = 0; i < RESUMERS; i++)
        CHECK_INT(pthread_create(&threads_of[i], NULL, resume_often, store), 0);
    for (int i = 0; i < RESUMERS; i++) {
        void *wrong;
        CHECK_INT(pthread_join(threads_of[i], &wrong), 0);
        CHECK(wrong == NULL);
    }
    for (uint64_t run = 2; run <= 1 + RESUMERS * RESUMES; run++) {
        check_artifact(rt, run, 5, "n", "value == 3");
        check_artifact(rt, run, 2, "got", "value % 10 == 0");
    }
    drop_runtime(rt);
}

/* ---- what a host adds ---- */

/* What a host of this kind has to say, and how often it was asked to add to a state. */
typedef struct game {
    atomic_int visits;
    const char *fails;
    pthread_mutex_t lock; /* guards what follows: what was said, but for details */
    char said[2000];
    int states;           /* made by workers, as these said */
} game;

static int bake_fast(lua_State *L)
{
    lua_pushnumber(L, luaL_checknumber(L, 1) * 2);
    return 1;
}

static int open_bake(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, bake_fast);
    lua_setfield(L, -2, "slow");
    return 1;
}

static int add_baking(void *payload, lua_State *L, luaflow_error *err)
{
    game *g = payload;
    atomic_fetch_add(&g->visits, 1);
    if (g->fails != NULL)
        return luaflow_error_set(err, LUAFLOW_EFLOW, g->fails);
    lua_pushcfunction(L, bake_fast);
    lua_setglobal(L, "bake_fast");
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, open_bake);
    lua_setfield(L, -2, "bake");
    return luaL_dostring(L, "function string.bake(s) return s .. ' baked' end "
                            "function whose() return bake_fast(21) end print('not for anybody')");
}

static void note(void *payload, int level, const char *sentence)
{
    game *g = payload;
    pthread_mutex_lock(&g->lock);
    size_t used = strlen(g->said);
    g->states += strstr(sentence, "has made a Lua state for flow ") != NULL;
    if (level > LUAFLOW_LOG_DEBUG)
        snprintf(g->said + used, sizeof g->said - used, "%d: %s\n", level, sentence);
    pthread_mutex_unlock(&g->lock);
}

static luaflow *open_game(game *g)
{
    static char itself[256];
    luaflow *rt = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    fresh_place();
    ssize_t n = readlink("/proc/self/exe", itself, sizeof itself - 1);
    CHECK(n > 0);
    itself[n] = '\0';
    o.store = path("s");
    o.create = true;
    o.event_queue = 100;
    o.executable = itself;
    o.on_state = add_baking;
    o.on_log = note;
    o.state_payload = o.log_payload = g;
    if (luaflow_open(&o, &rt, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return rt;
}

#define NEW_GAME { .lock = PTHREAD_MUTEX_INITIALIZER }

static luaflow_flow *flow_of_game(game *g, const char *source)
{
    luaflow_flow *f = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_flow_options o = LUAFLOW_FLOW_OPTIONS_INIT;
    o.on_state = add_baking;
    o.state_payload = g;
    if (luaflow_flow_load_string(source, strlen(source), "flows/f.lua", &o, &f, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return f;
}

static luaflow_run_options with_workers(uint32_t n)
{
    luaflow_run_options o = plain;
    o.max_workers = n;
    return o;
}

static int end_of(luaflow_run *r)
{
    CHECK_INT(luaflow_wait(r, -1), 1);
    return luaflow_run_status(r);
}

#define BAKING "local bake = require 'bake' local ready = bake_fast(1) " \
               "return { name = 'Bake', params = { n = { default = function() return bake_fast(10) end } }, steps = { " \
               "start = { next = 'a', foreach = 'list', function(self) self.list = 40 end }, " \
               "a = { next = 'j', function(self) self.x = bake_fast(self.input) + bake.slow(1) + ready + self.n end }, " \
               "j = function(self, inputs) self.all = inputs:collect('x') self.word = ('cake'):bake() " \
               "self.whose = whose() end } }"

TEST(what_a_host_adds_is_seen_by_steps_whatever_they_do_with_globals)
{
    const char *const sources[] = {BAKING, "local g = _G assert(g.bake_fast) " BAKING}; /* inherited, and copied */
    for (int i = 0; i < 2; i++) {
        game g = NEW_GAME;
        luaflow *rt = open_game(&g);
        luaflow_flow *f = flow_of_game(&g, sources[i]);
        CHECK_INT(atomic_load(&g.visits), 1);
        luaflow_run *r = start_with(rt, f, with_workers(1));
        CHECK_INT(end_of(r), LUAFLOW_DONE);
        CHECK_INT(atomic_load(&g.visits), 2); /* once for each state */
        check_artifact(rt, 1, 42, "all", "#value == 40 and value[40] == 80 + 2 + 2 + 20");
        check_artifact(rt, 1, 42, "word", "value == 'cake baked'");
        check_artifact(rt, 1, 42, "whose", "value == 42");
        luaflow_run_close(r);
        r = start_with(rt, f, with_workers(3));
        CHECK_INT(end_of(r), LUAFLOW_DONE);
        int visits = atomic_load(&g.visits);
        CHECK(visits >= 2 && visits <= 4);
        luaflow_run_close(r);
        luaflow_trial *trial = NULL;
        CHECK_INT(luaflow_try(rt, f, "j", 1, 0, NULL, NULL, &trial, NULL), LUAFLOW_OK);
        CHECK(!trial->failed);
        luaflow_free(trial);
        CHECK_INT(atomic_load(&g.visits), visits + 1); /* which has a state of its own */
        CHECK_STR(g.said, "");
        luaflow_flow_close(f);
        drop_runtime(rt);
    }
}

TEST(a_host_that_cannot_add_to_a_state_fails_what_needs_it_and_says_why)
{
    game g = NEW_GAME;
    luaflow *rt = open_game(&g);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_flow *f = flow_of_game(&g, "return { steps = { start = function() end } }"), *none = NULL;
    luaflow_run *r = start_with(rt, f, plain);
    CHECK_INT(end_of(r), LUAFLOW_DONE);
    luaflow_run_close(r);
    g.fails = "the oven is cold";
    luaflow_trial *trial = NULL;
    CHECK_INT(luaflow_try(rt, f, "start", 1, 0, NULL, NULL, &trial, &err), LUAFLOW_EFLOW);
    CHECK(strstr(luaflow_error_text(&err), "on_state") != NULL && strstr(err.message, g.fails) != NULL);
    luaflow_flow_options o = LUAFLOW_FLOW_OPTIONS_INIT;
    o.on_state = add_baking;
    o.state_payload = &g;
    CHECK_INT(luaflow_flow_load_string(HELLO, strlen(HELLO), "f.lua", &o, &none, &err), LUAFLOW_EFLOW);
    CHECK(strstr(luaflow_error_text(&err), g.fails) != NULL);
    luaflow_error_clear(&err);
    luaflow_flow *other = flow_of(HELLO);
    r = start_with(rt, other, plain);
    CHECK_INT(end_of(r), LUAFLOW_FAILED);
    int code;
    const char *why = luaflow_run_problem(r, &code);
    CHECK(why != NULL && strstr(why, g.fails) != NULL);
    CHECK_INT(code, LUAFLOW_EFLOW);
    luaflow_run_close(r);
    g.fails = NULL; /* it was no more than that */
    r = start_with(rt, other, plain);
    CHECK_INT(end_of(r), LUAFLOW_DONE);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    luaflow_flow_close(other);
    drop_runtime(rt);
}

TEST(a_state_that_takes_the_place_of_a_worn_one_is_added_to_and_told_of)
{
    game g = NEW_GAME;
    luaflow *rt = open_game(&g);
    luaflow_flow *f = flow_of_game(&g, WIDE("1100", "local ffi = require 'ffi' for i = 1, 22 do ffi.typeof('struct { char x' "
                                                    ".. self.input .. 'y' .. i .. '; }') end self.x = bake_fast(1)"));
    luaflow_run *r = start_with(rt, f, with_workers(1));
    CHECK_INT(end_of(r), LUAFLOW_DONE);
    CHECK_INT(atomic_load(&g.visits), 3);
    CHECK_INT(g.states, 2);
    CHECK_INT(strncmp(g.said, "1: worker 1's Lua state for flow Wide has grown too large", 57), 0);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(an_isolated_step_does_not_see_what_the_host_adds_and_says_so)
{
    game g = NEW_GAME;
    ear heard = {.events = 0};
    setenv("TEST_CHILD", "1", 1);
    luaflow *rt = open_game(&g);
    luaflow_flow *f = flow_of_game(&g, "return { steps = { start = { next = 'b', function() bake_fast(1) end }, "
                                       "b = { isolate = true, function() bake_fast(1) end } } }");
    luaflow_run *r = start_with(rt, f, hearing(&heard));
    CHECK_INT(end_of(r), LUAFLOW_FAILED);
    CHECK(strstr(heard.text, "finished start;") != NULL);
    CHECK(strstr(heard.text, "failed bflows/f.lua:1: attempt to call global 'bake_fast' (a nil value) (an isolated step runs in "
                             "a process of its own and does not see what the host adds: 'bake_fast');") != NULL);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    unsetenv("TEST_CHILD");
    drop_runtime(rt);
}

TEST(a_host_hears_once_that_a_run_loses_events)
{
    game g = NEW_GAME;
    luaflow *rt = open_game(&g);
    luaflow_flow *f = flow_of_game(&g, "return { steps = { start = function() for i = 1, 1000 do print(i) end end } }");
    ear heard = {.events = 0};
    luaflow_run *r = start_with(rt, f, hearing(&heard));
    while (stored_status(rt, 1) == LUAFLOW_RUNNING)
        usleep(1000);
    CHECK_INT(end_of(r), LUAFLOW_DONE);
    CHECK(luaflow_events_lost(rt) > 800);
    pthread_mutex_lock(&g.lock);
    CHECK_INT(strncmp(g.said, "2: events of run 1 are dropped", 30), 0);
    CHECK_INT(strchr(g.said, '\n') - g.said, strlen(g.said) - 1);
    pthread_mutex_unlock(&g.lock);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

/* ---- the file with the run's id ---- */

TEST(the_runs_id_is_written_to_a_file)
{
    luaflow *rt = fresh_runtime();
    luaflow_run_options o = plain;
    char text[20] = "";
    o.run_id_file = path("id");
    run_flow(rt, HELLO);
    o.run_id_file = path("id");
    CHECK_INT(run_with(rt, HELLO, o, LUAFLOW_DONE), 2);
    FILE *f = fopen(path("id"), "r");
    CHECK(f != NULL);
    CHECK_INT(fread(text, 1, sizeof text - 1, f), 2);
    fclose(f);
    CHECK_STR(text, "2\n");
    drop_runtime(rt);
}

TEST(no_run_is_made_when_its_id_cannot_be_written)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(HELLO);
    luaflow_run *r = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_run_options o = plain;
    uint64_t id;
    size_t n;
    o.run_id_file = "/nowhere/id";
    CHECK_INT(luaflow_start(rt, f, &o, &r, &err), LUAFLOW_EUSAGE);
    CHECK(strstr(luaflow_error_text(&err), "/nowhere/id") != NULL);
    luaflow_error_clear(&err);
    CHECK_INT(luaflow_runs_list(rt, NULL, NULL, 0, &id, 1, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 0);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

/* ---- several at once ---- */

TEST(two_runs_at_once_tell_each_host_its_own)
{
    luaflow *rt = fresh_runtime();
    ear one = {.events = 0}, two = {.events = 0};
    luaflow_flow *f = flow_of(WIDE("30", NAP("1") "print(self.input)")), *g = flow_of(HELLO);
    luaflow_run *a = start_with(rt, f, hearing(&one)), *b = start_with(rt, g, hearing(&two));
    CHECK_INT(luaflow_wait(a, -1), 1);
    CHECK_INT(luaflow_wait(b, -1), 1);
    CHECK_INT(one.events, 2 + 2 * 32 + 30);
    CHECK_INT(two.events, 8);
    CHECK(strstr(two.text, "a[") == NULL);
    CHECK(luaflow_run_id(a) != luaflow_run_id(b));
    luaflow_run_close(a);
    luaflow_run_close(b);
    luaflow_flow_close(f);
    luaflow_flow_close(g);
    drop_runtime(rt);
}

TEST(one_flow_may_run_several_times_at_once)
{
    enum { N = 8 };
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of(WIDE("20", "self.x = self.input"));
    luaflow_run *runs[N];
    for (int i = 0; i < N; i++)
        runs[i] = start_with(rt, f, plain);
    for (int i = N - 1; i >= 0; i--) {
        CHECK_INT(luaflow_wait(runs[i], -1), 1);
        CHECK_INT(luaflow_run_status(runs[i]), LUAFLOW_DONE);
        check_artifact(rt, luaflow_run_id(runs[i]), 22, "n", "value == 20");
        luaflow_run_close(runs[i]);
    }
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(two_runtimes_in_one_process_share_a_store)
{
    luaflow *one = fresh_runtime(), *two = open_store("s", 0);
    luaflow_flow *f = flow_of(WIDE("50", NAP("2")));
    luaflow_run *a = start_with(one, f, plain), *b = start_with(two, f, plain);
    CHECK_INT(luaflow_run_id(a), 1);
    CHECK_INT(luaflow_run_id(b), 2);
    CHECK_INT(stored_status(two, 1), LUAFLOW_RUNNING);
    CHECK_INT(stored_status(one, 2), LUAFLOW_RUNNING);
    CHECK_INT(luaflow_wait(a, -1), 1);
    CHECK_INT(luaflow_wait(b, -1), 1);
    CHECK_INT(stored_status(two, 1), LUAFLOW_DONE);
    CHECK_INT(stored_status(one, 2), LUAFLOW_DONE);
    luaflow_run_close(a);
    luaflow_close(one);
    check_artifact(two, 1, 52, "n", "value == 50"); /* closing one leaves the other alone */
    CHECK_INT(run_flow(two, HELLO), 3);
    luaflow_run_close(b);
    luaflow_flow_close(f);
    drop_runtime(two);
}

TEST(two_runtimes_in_one_process_have_stores_of_their_own)
{
    luaflow *one = fresh_runtime(), *two = open_store("t", 0);
    luaflow_flow *f = flow_of(HELLO);
    luaflow_run *a = start_with(one, f, plain), *b = start_with(two, f, plain);
    CHECK_INT(luaflow_wait(b, -1), 1);
    CHECK_INT(luaflow_wait(a, -1), 1);
    CHECK_INT(luaflow_run_id(a), 1);
    CHECK_INT(luaflow_run_id(b), 1);
    luaflow_run_close(a);
    luaflow_run_close(b);
    luaflow_close(one);
    luaflow_flow_close(f);
    drop_runtime(two);
}

TEST(the_number_of_workers_does_not_show_in_the_artifacts)
{
    luaflow *rt = fresh_runtime();
    const char *source = WIDE("20", "self.r = math.random()");
    luaflow_run_options o = plain;
    o.has_seed = true;
    o.seed = 5;
    void *bytes[3];
    size_t size[3];
    for (int i = 0; i < 3; i++) {
        o.max_workers = i == 0 ? 1 : 4;
        o.seed = i == 2 ? 6 : 5;
        uint64_t run = run_with(rt, source, o, LUAFLOW_DONE);
        luaflow_run_info *info = run_info(rt, run);
        CHECK_INT(info->seed, o.seed);
        luaflow_free(info);
        CHECK_INT(luaflow_artifact_read(rt, run, 9, "r", &bytes[i], &size[i], NULL), LUAFLOW_OK);
    }
    CHECK_INT(size[0], 9);
    CHECK_MEM(bytes[0], bytes[1], 9);
    CHECK(memcmp(bytes[0], bytes[2], 9) != 0);
    for (int i = 0; i < 3; i++)
        luaflow_free(bytes[i]);
    drop_runtime(rt);
}

/* ---- reading ---- */

TEST(a_run_is_remembered)
{
    luaflow *rt = fresh_runtime();
    const char *tags[] = {"nightly", "a", "nightly"};
    luaflow_run_options o = plain;
    o.tags = tags;
    o.n_tags = 3;
    run_with(rt, WIDE("3", ""), o, LUAFLOW_DONE);
    luaflow_close(rt);
    rt = open_store("s", 0);
    luaflow_run_info *info = run_info(rt, 1);
    CHECK_INT(info->id, 1);
    CHECK_INT(info->origin, 0);
    CHECK_STR(info->flow, "Wide");
    CHECK_INT(info->status, LUAFLOW_DONE);
    CHECK(info->created_at > 1.6e9 && info->finished_at >= info->created_at);
    CHECK_INT(info->counts.started, 5);
    CHECK_INT(info->counts.done, 5);
    CHECK_INT(info->n_tags, 2);
    CHECK_STR(info->tags[0], "a");
    CHECK_STR(info->tags[1], "nightly");
    CHECK_INT(info->n_steps, 3);
    CHECK_STR(info->steps[0].name, "start");
    CHECK_STR(info->steps[1].name, "a");
    CHECK_INT(info->steps[1].counts.done, 3);
    CHECK_STR(info->steps[2].name, "j");
    luaflow_free(info);
    drop_runtime(rt);
}

TEST(the_parts_of_a_run_are_remembered)
{
    luaflow *rt = fresh_runtime();
    uint64_t run = run_flow(rt, HELLO);
    void *bytes;
    size_t size;
    CHECK_INT(luaflow_run_part_read(rt, run, LUAFLOW_PART_SOURCE, &bytes, &size, NULL), LUAFLOW_OK);
    CHECK_INT(size, strlen(HELLO));
    CHECK_MEM(bytes, HELLO, size);
    luaflow_free(bytes);
    CHECK_INT(luaflow_run_part_read(rt, run, LUAFLOW_PART_PARAMS, &bytes, &size, NULL), LUAFLOW_OK);
    CHECK_INT(size, 1);
    luaflow_free(bytes);
    luaflow_flow *f = flow_of(HELLO);
    size_t wanted;
    const void *description = luaflow_flow_describe(f, &wanted);
    CHECK_INT(luaflow_run_part_read(rt, run, LUAFLOW_PART_DESCRIPTION, &bytes, &size, NULL), LUAFLOW_OK);
    CHECK_INT(size, wanted);
    CHECK_MEM(bytes, description, size);
    luaflow_free(bytes);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

static void check_runs(luaflow *rt, const char *flow, const char *tag, uint64_t before, size_t max,
                       const char *wanted)
{
    uint64_t ids[20];
    size_t n = 0;
    char text[100] = "";
    CHECK_INT(luaflow_runs_list(rt, flow, tag, before, ids, max, &n, NULL), LUAFLOW_OK);
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%llu", i > 0 ? " " : "",
                 (unsigned long long)ids[i]);
    CHECK_STR(text, wanted);
}

TEST(runs_are_listed_newest_first_by_flow_and_tag)
{
    luaflow *rt = fresh_runtime();
    const char *tag = "t";
    luaflow_run_options o = plain;
    o.tags = &tag;
    o.n_tags = 1;
    for (int i = 0; i < 3; i++) {
        run_flow(rt, HELLO);
        run_with(rt, WIDE("0", ""), o, LUAFLOW_DONE);
    }
    check_runs(rt, NULL, NULL, 0, 20, "6 5 4 3 2 1");
    check_runs(rt, NULL, NULL, 0, 2, "6 5");
    check_runs(rt, NULL, NULL, 5, 2, "4 3");
    check_runs(rt, NULL, NULL, 1, 2, "");
    check_runs(rt, "Wide", NULL, 0, 20, "6 4 2");
    check_runs(rt, "f", NULL, 4, 20, "3 1");
    check_runs(rt, NULL, "t", 0, 20, "6 4 2");
    check_runs(rt, "f", "t", 0, 20, "");
    check_runs(rt, "Nobody", NULL, 0, 20, "");
    check_runs(rt, NULL, "none", 0, 20, "");
    drop_runtime(rt);
}

TEST(tasks_are_listed_in_pages)
{
    enum { N = 2500, PAGE = 700 };
    luaflow *rt = fresh_runtime();
    uint64_t run = run_flow(rt, WIDE("2500", "")), numbers[PAGE], after = 0;
    size_t all = 0, n;
    while ((n = list_tasks(rt, run, NULL, false, after, numbers, PAGE)) > 0) {
        CHECK(n <= PAGE);
        for (size_t i = 0; i < n; i++)
            CHECK_INT(numbers[i], all + i + 1);
        all += n;
        after = numbers[n - 1];
    }
    CHECK_INT(all, N + 2);
    CHECK_INT(list_tasks(rt, run, NULL, true, 0, numbers, PAGE), 0);
    all = 0;
    for (after = 0; (n = list_tasks(rt, run, "a", false, after, numbers, PAGE)) > 0; after = numbers[n - 1])
        all += n;
    CHECK_INT(all, N);
    CHECK_INT(list_tasks(rt, run, "j", false, 0, numbers, PAGE), 1);
    CHECK_INT(numbers[0], N + 2);
    CHECK_INT(list_tasks(rt, run, "j", false, N + 2, numbers, PAGE), 0);
    CHECK_INT(list_tasks(rt, run, NULL, false, UINT64_MAX, numbers, PAGE), 0);
    drop_runtime(rt);
}

TEST(a_task_is_remembered)
{
    luaflow *rt = fresh_runtime();
    uint64_t run = run_flow(rt, WIDE("2", "self.got = self.input * 10 self.big = ('x'):rep(1000)"));
    luaflow_task_info *t = task_info(rt, run, 3);
    CHECK_INT(t->run, run);
    CHECK_INT(t->task, 3);
    CHECK_STR(t->step, "a");
    CHECK_STR(t->path, "a[2]");
    CHECK(!t->failed && t->message == NULL && t->traceback == NULL);
    CHECK_INT(t->attempt, 0);
    CHECK(t->worker >= 1);
    CHECK_INT(t->origin_run, 0);
    CHECK(t->started_at > 1.6e9 && t->finished_at >= t->started_at);
    CHECK_INT(t->n_parents, 1);
    CHECK_INT(t->parents[0], 1);
    CHECK_INT(t->n_artifacts, 3);
    CHECK_STR(t->artifacts[0].name, "big");
    CHECK(t->artifacts[0].size > 1000 && !t->artifacts[0].inherited);
    CHECK_STR(t->artifacts[1].name, "got");
    CHECK_STR(t->artifacts[2].name, "list");
    luaflow_free(t);
    t = task_info(rt, run, 4);
    CHECK_INT(t->n_parents, 2);
    CHECK_INT(t->parents[0], 2);
    CHECK_INT(t->parents[1], 3);
    CHECK_INT(t->n_artifacts, 1);
    luaflow_free(t);
    check_artifact(rt, run, 3, "got", "value == 20");
    check_artifact(rt, run, 3, "big", "#value == 1000");
    check_artifact(rt, run, 3, "list", "value == 2");
    check_artifact(rt, run, 4, "n", "value == 2");
    drop_runtime(rt);
}

TEST(what_a_task_passes_on_without_having_written_it_is_inherited)
{
    luaflow *rt = fresh_runtime();
    uint64_t run = run_flow(rt, "return { steps = { start = { next = 'b', function(self) "
                                "self.x = ('x'):rep(300) self.z = 1 end }, b = function(self) self.y = 1 self.z = nil end } }");
    luaflow_task_info *t = task_info(rt, run, 2);
    CHECK_INT(t->n_artifacts, 2);
    CHECK_STR(t->artifacts[0].name, "x");
    CHECK(t->artifacts[0].inherited);
    CHECK_STR(t->artifacts[1].name, "y");
    CHECK(!t->artifacts[1].inherited);
    luaflow_free(t);
    drop_runtime(rt);
}

/* Reads a run that is under way, until it ends. */
static void *read_along(void *payload)
{
    luaflow *rt = payload;
    for (int status = LUAFLOW_RUNNING; status == LUAFLOW_RUNNING;) {
        luaflow_run_info *info = NULL;
        luaflow_task_info *task = NULL;
        luaflow_log *log = NULL;
        uint64_t numbers[50], id;
        size_t n = 0, size, n_runs;
        void *bytes = NULL;
        if (luaflow_run_read(rt, 1, &info, NULL) != LUAFLOW_OK ||
            luaflow_runs_list(rt, NULL, NULL, 0, &id, 1, &n_runs, NULL) != LUAFLOW_OK || n_runs != 1 ||
            luaflow_tasks_list(rt, 1, "a", false, 0, numbers, 50, &n, NULL) != LUAFLOW_OK)
            return "a run could not be read";
        status = info->status;
        luaflow_free(info);
        for (size_t i = 0; i < n; i++) {
            if (luaflow_task_read(rt, 1, numbers[i], &task, NULL) != LUAFLOW_OK ||
                luaflow_artifact_read(rt, 1, numbers[i], "x", &bytes, &size, NULL) != LUAFLOW_OK ||
                luaflow_log_read(rt, 1, numbers[i], &log, NULL) != LUAFLOW_OK || log->n_entries != 1)
                return "a task could not be read";
            luaflow_free(task);
            luaflow_free(bytes);
            luaflow_free(log);
        }
    }
    return NULL;
}

TEST(many_threads_may_read_while_the_host_polls)
{
    enum { READERS = 3 };
    luaflow *rt = fresh_runtime();
    pthread_t readers[READERS];
    void *wrong;
    luaflow_flow *f = flow_of(WIDE("40", "print('here') self.x = ('x'):rep(500) " NAP("5")));
    luaflow_run *r = start_with(rt, f, plain);
    for (int i = 0; i < READERS; i++)
        CHECK_INT(pthread_create(&readers[i], NULL, read_along, rt), 0);
    while (luaflow_run_status(r) == LUAFLOW_RUNNING) {
        luaflow_poll(rt, 0.001);
        usleep(1000);
    }
    for (int i = 0; i < READERS; i++) {
        CHECK_INT(pthread_join(readers[i], &wrong), 0);
        if (wrong != NULL)
            fail_msg("%s", (const char *)wrong);
    }
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(what_a_run_was_for_is_read_from_its_last_task)
{
    luaflow *rt = fresh_runtime();
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_flow *f = flow_of(WIDE("300", "self.x = require('ffi').new('double[2]')"));
    luaflow_run *r = start_with(rt, f, plain);
    luaflow_wait(r, -1);
    CHECK_INT(luaflow_run_artifact_push(r, "n", L, &err), LUAFLOW_OK);
    CHECK_INT(lua_tointeger(L, -1), 300);
    void *bytes;
    size_t size;
    CHECK_INT(luaflow_run_artifact(r, "n", &bytes, &size, &err), LUAFLOW_OK);
    CHECK_INT(luaflow_value_push(L, bytes, size, &err), LUAFLOW_OK);
    CHECK(lua_rawequal(L, -1, -2));
    luaflow_free(bytes);
    CHECK_INT(luaflow_artifact_push(rt, 1, 7, "list", L, &err), LUAFLOW_OK);
    CHECK_INT(lua_gettop(L), 3);
    CHECK_INT(luaflow_run_artifact_push(r, "nope", L, &err), LUAFLOW_ENOTFOUND);
    CHECK_STR(luaflow_error_text(&err), "task 302 of run 1 has no artifact 'nope'");
    CHECK_INT(luaflow_run_artifact(r, "nope", &bytes, &size, NULL), LUAFLOW_ENOTFOUND);
    CHECK_INT(luaflow_artifact_push(rt, 1, 303, "n", L, NULL), LUAFLOW_ENOTFOUND);
    CHECK_INT(luaflow_artifact_push(rt, 2, 1, "n", L, NULL), LUAFLOW_ENOTFOUND);
    CHECK_INT(lua_gettop(L), 3);
    lua_State *bare = luaL_newstate(); /* where nothing is, not even `require` */
    CHECK_INT(luaflow_run_artifact_push(r, "n", bare, &err), LUAFLOW_OK);
    CHECK_INT(luaflow_artifact_push(rt, 1, 7, "x", bare, &err), LUAFLOW_EUSAGE);
    CHECK(strstr(luaflow_error_text(&err), "this Lua state cannot take a value") != NULL);
    CHECK_INT(lua_gettop(bare), 1);
    luaflow_error_clear(&err);
    lua_close(bare);
    lua_close(L);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

static uint64_t last_task(luaflow *rt, uint64_t run)
{
    uint64_t task = 0;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (luaflow_last_task(rt, run, &task, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return task;
}

TEST(the_last_task_of_a_run_is_the_last_that_succeeded)
{
    luaflow *rt = fresh_runtime();
    uint64_t task;
    CHECK_INT(last_task(rt, run_flow(rt, HELLO)), 2);
    CHECK_INT(last_task(rt, run_with(rt, WIDE("600", "if self.index > 1 then error('x') end"), keeping_on(),
                                     LUAFLOW_FAILED)), 2);
    CHECK_INT(last_task(rt, run_flow(rt, "return { steps = { start = { next = { go = 'again', stop = 'finish' }, "
                                         "switch = 'way', function(self) local n = self:get('n', 0) + 1 self.n = n "
                                         "self.way = n < 3 and 'go' or 'stop' end }, "
                                         "again = { next = 'start' }, finish = {} } }")), 6);
    CHECK_INT(luaflow_last_task(rt, run_with(rt, "return { steps = { start = function() error('x') end } }", plain,
                                             LUAFLOW_FAILED), &task, NULL), LUAFLOW_ENOTFOUND);
    CHECK_INT(luaflow_last_task(rt, 99, &task, NULL), LUAFLOW_ENOTFOUND);
    CHECK_INT(luaflow_last_task(rt, 0, &task, NULL), LUAFLOW_ENOTFOUND);
    drop_runtime(rt);
}

TEST(what_is_not_there_is_said_to_be_missing)
{
    luaflow *rt = fresh_runtime();
    uint64_t run = run_flow(rt, HELLO), number, missing[] = {0, run + 1, 1ull << 32, UINT64_MAX};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_run_info *r = NULL;
    luaflow_task_info *t = NULL;
    luaflow_log *log = NULL;
    void *bytes;
    size_t size;
    for (int i = 0; i < 4; i++) {
        uint64_t x = missing[i];
        CHECK_INT(luaflow_run_read(rt, x, &r, &err), LUAFLOW_ENOTFOUND);
        CHECK(strlen(luaflow_error_text(&err)) > 0);
        CHECK_INT(luaflow_run_part_read(rt, x, LUAFLOW_PART_SOURCE, &bytes, &size, &err),
                  LUAFLOW_ENOTFOUND);
        CHECK_INT(luaflow_run_tag(rt, x, NULL, 0, NULL, 0, &err), LUAFLOW_ENOTFOUND);
        CHECK_INT(luaflow_tasks_list(rt, x, NULL, false, 0, &number, 1, &size, &err),
                  LUAFLOW_ENOTFOUND);
        CHECK_INT(luaflow_logs_list(rt, x, 0, &number, NULL, 1, &size, &err), LUAFLOW_ENOTFOUND);
        CHECK_INT(luaflow_task_read(rt, x, 1, &t, &err), LUAFLOW_ENOTFOUND);
        CHECK_INT(luaflow_task_read(rt, run, i == 1 ? 3 : x, &t, &err), LUAFLOW_ENOTFOUND);
        CHECK_INT(luaflow_artifact_read(rt, x, 1, "x", &bytes, &size, &err), LUAFLOW_ENOTFOUND);
        CHECK_INT(luaflow_log_read(rt, x, 1, &log, &err), LUAFLOW_ENOTFOUND);
    }
    CHECK_INT(luaflow_artifact_read(rt, run, 1, "nope", &bytes, &size, &err), LUAFLOW_ENOTFOUND);
    CHECK(strstr(luaflow_error_text(&err), "nope") != NULL);
    CHECK_INT(luaflow_tasks_list(rt, run, "nope", false, 0, &number, 1, &size, &err), LUAFLOW_ENOTFOUND);
    CHECK(strstr(luaflow_error_text(&err), "nope") != NULL);
    luaflow_error_clear(&err);
    drop_runtime(rt);
}

TEST(what_tasks_printed_is_remembered)
{
    luaflow *rt = fresh_runtime();
    uint64_t run = run_flow(rt, WIDE("3", "if self.index ~= 2 then print('out', self.index) "
                                          "io.stderr:write('err') end"));
    uint64_t numbers[10];
    uint32_t steps[10];
    size_t n;
    CHECK_INT(luaflow_logs_list(rt, run, 0, numbers, steps, 10, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 2);
    CHECK_INT(numbers[0], 2);
    CHECK_INT(numbers[1], 4);
    CHECK_INT(steps[1], 1);
    CHECK_INT(luaflow_logs_list(rt, run, 2, numbers, NULL, 10, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 1);
    luaflow_log *log;
    CHECK_INT(luaflow_log_read(rt, run, 4, &log, NULL), LUAFLOW_OK);
    CHECK_INT(log->n_entries, 2);
    CHECK_INT(log->entries[0].stream, 1);
    CHECK_STR(log->entries[0].text, "out\t3\n");
    CHECK_INT(log->entries[0].text_size, 6);
    CHECK_INT(log->entries[1].stream, 2);
    CHECK_STR(log->entries[1].text, "err");
    CHECK_INT(log->entries[1].task, 4);
    CHECK(log->entries[1].time >= log->entries[0].time && log->entries[0].time > 1.6e9);
    luaflow_free(log);
    CHECK_INT(luaflow_log_read(rt, run, 1, &log, NULL), LUAFLOW_OK);
    CHECK_INT(log->n_entries, 0);
    luaflow_free(log);
    drop_runtime(rt);
}

TEST(what_a_running_task_printed_can_be_read_meanwhile)
{
    luaflow *rt = fresh_runtime();
    luaflow_flow *f = flow_of("return { steps = { start = function() print('early') " NAP("2500") " end } }");
    luaflow_run *r = start_with(rt, f, plain);
    luaflow_log *log = NULL;
    size_t n = 0;
    while (n == 0 && luaflow_wait(r, 0.02) == 0)
        if (luaflow_log_read(rt, 1, 1, &log, NULL) == LUAFLOW_OK) {
            n = log->n_entries;
            luaflow_free(log);
        }
    CHECK_INT(n, 1);
    CHECK_INT(stored_status(rt, 1), LUAFLOW_RUNNING);
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_log_read(rt, 1, 1, &log, NULL), LUAFLOW_OK);
    CHECK_INT(log->n_entries, 1);
    luaflow_free(log);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    drop_runtime(rt);
}

TEST(tags_come_and_go)
{
    luaflow *rt = fresh_runtime();
    const char *add[] = {"new", "b", "a", "b"}, *remove[] = {"b", "never"}, *wrong[] = {""};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    run_flow(rt, HELLO);
    luaflow_close(rt);
    rt = open_store("s", 0);
    CHECK_INT(luaflow_run_tag(rt, 1, add, 4, NULL, 0, &err), LUAFLOW_OK);
    check_runs(rt, NULL, "b", 0, 20, "1");
    CHECK_INT(luaflow_run_tag(rt, 1, add, 1, remove, 2, &err), LUAFLOW_OK);
    check_runs(rt, NULL, "b", 0, 20, "");
    luaflow_run_info *info = run_info(rt, 1);
    CHECK_INT(info->n_tags, 2);
    CHECK_STR(info->tags[0], "a");
    CHECK_STR(info->tags[1], "new");
    luaflow_free(info);
    CHECK_INT(luaflow_run_tag(rt, 1, wrong, 1, NULL, 0, &err), LUAFLOW_EUSAGE);
    luaflow_error_clear(&err);
    drop_runtime(rt);
}

/* ---- values ---- */

TEST(a_value_goes_to_bytes_and_back_in_a_state_of_the_hosts)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaflow_furnish(L);
    void *bytes;
    size_t size;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(luaL_dostring(L, "return { 1, x = { 'y' }, [2.5] = false }"), 0);
    CHECK_INT(luaflow_value_encode(L, -1, "t", &bytes, &size, &err), LUAFLOW_OK);
    CHECK_INT(luaflow_value_push(L, bytes, size, &err), LUAFLOW_OK);
    lua_setglobal(L, "v");
    luaflow_free(bytes);
    CHECK_INT(luaL_dostring(L, "assert(v[1] == 1 and v.x[1] == 'y' and v[2.5] == false)"), 0);
    CHECK_INT(luaL_dostring(L, "return { f = print }"), 0);
    int top = lua_gettop(L);
    CHECK_INT(luaflow_value_encode(L, -1, "t", &bytes, &size, &err), LUAFLOW_EVALUE);
    CHECK_STR(luaflow_error_text(&err), "artifact 't' cannot be stored: t.f is a function");
    CHECK_INT(luaflow_value_push(L, "\xc1", 1, &err), LUAFLOW_EVALUE);
    CHECK_INT(lua_gettop(L), top);
    luaflow_error_clear(&err);
    lua_close(L);
}

TEST(the_libraries_tell_their_versions)
{
    char *versions = luaflow_versions();
    CHECK_INT(strncmp(versions, "luaflow " LUAFLOW_VERSION "\n", strlen("luaflow " LUAFLOW_VERSION "\n")), 0);
    CHECK(strstr(versions, "LuaJIT") != NULL && strstr(versions, "LMDB") != NULL);
    luaflow_free(versions);
}

TEST(an_error_without_a_sentence_has_one_for_its_code)
{
    for (int code = LUAFLOW_EVALUE; code <= LUAFLOW_OK; code++) {
        luaflow_error err = {code, NULL};
        CHECK(strlen(luaflow_error_text(&err)) > 0);
    }
}

/* ---- nothing is left behind ---- */

TEST(fifty_runtimes_later_no_thread_and_no_descriptor_is_left)
{
    fresh_place();
    int fds = 0, before = 0;
    luaflow_flow *f = flow_of(WIDE("5", "print(self.input)")), *broken = flow_of(HALF_BROKEN);
    for (int i = 0; i <= 50; i++) {
        if (i == 1) { /* the first may leave what belongs to the process */
            fds = descriptors();
            before = threads();
        }
        ear heard = {.events = 0};
        luaflow *rt = open_store("s", 0);
        luaflow_run *r = start_with(rt, i % 5 == 4 ? broken : f, hearing(&heard));
        if (i % 7 != 6)
            CHECK_INT(luaflow_wait(r, -1), 1);
        if (i % 2 == 0)
            luaflow_run_close(r);
        luaflow_close(rt);
    }
    CHECK_INT(descriptors(), fds);
    check_threads(before);
    luaflow_flow_close(f);
    luaflow_flow_close(broken);
    drop_place();
}
