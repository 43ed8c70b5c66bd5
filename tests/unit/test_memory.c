/* What a host keeps that opens, runs and closes for a long time: nothing. */
#include "unit.h"

#include "luaflow.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WARM_UP = 20, ROUNDS = 200, KEPT_MAX = 1 << 20 };

static char store[64];

static const char source[] =
    "return { steps = {\n"
    "  start = { next = 'each', foreach = 'list', function(self) self.list = { 1, 2, 3 }; print('hello') end },\n"
    "  each = { next = 'finish', function(self) self.x = ('x'):rep(10000) .. self.input end },\n"
    "  finish = function(self, inputs) self.all = inputs:collect('x') end } }\n";

static size_t count_entries(const char *directory)
{
    DIR *d = opendir(directory);
    size_t n = 0;
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* Bytes of memory that are in use by the process. */
static size_t resident(void)
{
    size_t unused, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%zu %zu", &unused, &pages) == 2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void check(int rc, luaflow_error *err)
{
    if (rc != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(err));
}

/* A whole life of a runtime: one run, and some of it read. */
static void live(void)
{
    luaflow *rt;
    luaflow_flow *flow;
    luaflow_run *run;
    luaflow_task_info *task;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    luaflow_run_options how = LUAFLOW_RUN_OPTIONS_INIT;
    o.store = store;
    o.create = true;
    how.max_workers = 2;
    check(luaflow_open(&o, &rt, &err), &err);
    check(luaflow_flow_load_string(source, sizeof source - 1, "f.lua", NULL, &flow, &err), &err);
    check(luaflow_start(rt, flow, &how, &run, &err), &err);
    CHECK_INT(luaflow_wait(run, -1), 1);
    CHECK_INT(luaflow_run_status(run), LUAFLOW_DONE);
    check(luaflow_task_read(rt, luaflow_run_id(run), 1, &task, &err), &err);
    luaflow_free(task);
    luaflow_run_close(run);
    luaflow_flow_close(flow);
    luaflow_close(rt);
}

TEST(a_host_that_opens_runs_and_closes_keeps_nothing)
{
    const char *wanted = getenv("MEMORY_ROUNDS"); /* more of them: ./dev prove host */
    int rounds = wanted != NULL ? atoi(wanted) : ROUNDS;
    strcpy(store, "/tmp/test_memory.XXXXXX");
    CHECK(mkdtemp(store) != NULL);
    strcat(store, "/s");
    for (int i = 0; i < WARM_UP; i++)
        live();
    size_t files = count_entries("/proc/self/fd"), threads = count_entries("/proc/self/task"), bytes = resident();
    for (int i = 0; i < rounds; i++)
        live();
    CHECK_INT(count_entries("/proc/self/fd"), files);
    CHECK_INT(count_entries("/proc/self/task"), threads);
    size_t now = resident();
    print_message("%d rounds: %zu files, %zu threads, %zu KB and then %zu KB\n", rounds, files - 2, threads - 2,
                  bytes / 1024, now / 1024);
#ifndef LF_SANITIZE /* whose allocators keep what is freed; and they look for leaks themselves */
    CHECK(now < bytes + KEPT_MAX);
#endif
    store[strlen(store) - 2] = '\0';
    char line[96];
    snprintf(line, sizeof line, "rm -rf '%s'", store);
    CHECK_INT(system(line), 0);
}
