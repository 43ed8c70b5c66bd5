/* test_guest.c -- the library is a guest in its host: it leaves alone what belongs to the process,
 * it ends wherever the host ends, and several of it do not meet. */
#include "unit.h"

#include "luaflow.h"

#include <dirent.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <locale.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a world in one line ---- */

static char base[64]; /* a directory of its own for each test */

static void fresh_place(void)
{
    strcpy(base, "/tmp/test_guest.XXXXXX");
    CHECK(mkdtemp(base) != NULL);
}

static void drop_place(void)
{
    char line[96];
    snprintf(line, sizeof line, "rm -rf '%s'", base);
    CHECK_INT(system(line), 0);
}

/* None of these checks anything: what goes wrong shows as NULL, in whatever thread. */
static luaflow *open_store(const char *name)
{
    char path[96];
    luaflow *rt = NULL;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    snprintf(path, sizeof path, "%s/%s", base, name);
    o.store = path;
    o.create = true;
    return luaflow_open(&o, &rt, NULL) == LUAFLOW_OK ? rt : NULL;
}

static luaflow_flow *flow_of(const char *source)
{
    luaflow_flow *f = NULL;
    return luaflow_flow_load_string(source, strlen(source), "f.lua", NULL, &f, NULL) == LUAFLOW_OK ? f : NULL;
}

static luaflow_run *start(luaflow *rt, luaflow_flow *f)
{
    luaflow_run *r = NULL;
    luaflow_run_options o = LUAFLOW_RUN_OPTIONS_INIT;
    o.max_workers = 3;
    return luaflow_start(rt, f, &o, &r, NULL) == LUAFLOW_OK ? r : NULL;
}

#define WIDE(work) "return { name = 'Wide', steps = { start = { next = 'a', foreach = 'n', function(self) "    \
                   "self.n = 30 print('out') io.stderr:write('err') end }, "                                    \
                   "a = { next = 'j', retry = 1, function(self) self.x = self.input " work " end }, "           \
                   "j = function(self, inputs) self.sum = 0 for _, i in ipairs(inputs) do self.sum = self.sum + i.x end end } }"
#define NAP "local ffi = require 'ffi' pcall(ffi.cdef, 'int poll(void *, unsigned long, int);') ffi.C.poll(nil, 0, 5)"
#define BROKEN "print('in vain') error('broken')"

/* A whole life: a run to its end, some of it read, all closed. */
static bool live(const char *store, const char *source, int status)
{
    luaflow *rt = open_store(store);
    luaflow_flow *f = flow_of(source);
    luaflow_run *r = rt == NULL || f == NULL ? NULL : start(rt, f);
    bool ok = r != NULL && luaflow_wait(r, -1) == 1 && luaflow_run_status(r) == status;
    lua_State *L = luaL_newstate();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (ok && status == LUAFLOW_DONE)
        ok = luaflow_run_artifact_push(r, "sum", L, &err) == LUAFLOW_OK && lua_tointeger(L, -1) == 465;
    luaflow_error_clear(&err);
    lua_close(L);
    luaflow_run_close(r);
    luaflow_flow_close(f);
    luaflow_close(rt);
    return ok;
}

/* ---- what belongs to the process ---- */

/* How every signal is handled. */
static void note_signals(struct sigaction actions[NSIG])
{
    memset(actions, 0, NSIG * sizeof *actions);
    for (int i = 1; i < NSIG; i++)
        sigaction(i, NULL, &actions[i]);
}

static void check_signals(const struct sigaction before[NSIG])
{
    static struct sigaction now[NSIG];
    note_signals(now);
    for (int i = 1; i < NSIG; i++)
        if (now[i].sa_handler != before[i].sa_handler || now[i].sa_flags != before[i].sa_flags)
            fail_msg("signal %d is handled in another way", i);
}

TEST(signals_locale_directory_and_environment_stay_the_hosts)
{
    static struct sigaction before[NSIG];
    extern char **environ;
    char locale[200], directory[200], now[200];
    sigset_t mask, mask_now;
    int variables = 0, variables_now = 0;
    fresh_place();
    note_signals(before);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    snprintf(locale, sizeof locale, "%s", setlocale(LC_ALL, NULL));
    CHECK(getcwd(directory, sizeof directory) != NULL);
    mode_t rights = umask(027);
    while (environ[variables] != NULL)
        variables++;
    luaflow *rt = open_store("s");
    luaflow_flow *f = flow_of(WIDE(NAP));
    luaflow_run *r = start(rt, f);
    check_signals(before); /* while it runs, too */
    CHECK_INT(luaflow_wait(r, -1), 1);
    luaflow_close(rt);
    luaflow_flow_close(f);
    CHECK(live("s", WIDE(BROKEN), LUAFLOW_FAILED));
    check_signals(before);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_now);
    for (int i = 1; i < NSIG; i++)
        CHECK_INT(sigismember(&mask_now, i), sigismember(&mask, i));
    CHECK_STR(setlocale(LC_ALL, NULL), locale);
    CHECK_STR(getcwd(now, sizeof now), directory);
    CHECK_INT(umask(rights), 027);
    while (environ[variables_now] != NULL)
        variables_now++;
    CHECK_INT(variables_now, variables);
    drop_place();
}

static void *do_nothing(void *payload) { return payload; }

/* Numbers of threads, as a set. */
static bool has_thread[1 << 22];

static int new_threads(bool note, void (*check)(int thread))
{
    DIR *d = opendir("/proc/self/task");
    int n = 0;
    CHECK(d != NULL);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        int thread = atoi(entry->d_name);
        if (thread <= 0 || thread >= 1 << 22 || has_thread[thread])
            continue;
        n++;
        if (note)
            has_thread[thread] = true;
        else
            check(thread);
    }
    closedir(d);
    return n;
}

/* All that can be, but for two that glibc keeps for itself. */
static void check_blocks_all(int thread)
{
    const unsigned long long never = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) | 3ull << 31;
    char name[64], line[200];
    unsigned long long blocked = 0;
    snprintf(name, sizeof name, "/proc/self/task/%d/status", thread);
    FILE *status = fopen(name, "r");
    if (status == NULL)
        return; /* it has ended meanwhile */
    while (fgets(line, sizeof line, status) != NULL)
        sscanf(line, "SigBlk: %llx", &blocked);
    fclose(status);
    if ((blocked | never) != ~0ull)
        fail_msg("a thread hears signals: %llx are blocked", blocked);
}

TEST(no_thread_of_the_library_hears_a_signal)
{
    pthread_t thread;
    fresh_place();
    CHECK_INT(pthread_create(&thread, NULL, do_nothing, NULL), 0); /* a sanitizer may add one of its own */
    pthread_join(thread, NULL);
    new_threads(true, NULL);
    luaflow *rt = open_store("s");
    luaflow_flow *f = flow_of(WIDE(NAP));
    luaflow_run *r = start(rt, f);
    while (luaflow_run_status(r) == LUAFLOW_RUNNING) {
        CHECK(new_threads(false, check_blocks_all) >= 2); /* its writer and its scheduler, at least */
        luaflow_wait(r, 0.01);
    }
    luaflow_close(rt);
    luaflow_flow_close(f);
    drop_place();
}

TEST(nothing_is_printed)
{
    char path[96];
    struct stat about;
    fresh_place();
    snprintf(path, sizeof path, "%s/printed", base);
    fflush(NULL);
    int out = dup(1), err = dup(2), file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(out >= 0 && err >= 0 && file >= 0 && dup2(file, 1) == 1 && dup2(file, 2) == 2);
    bool good = live("s", WIDE(""), LUAFLOW_DONE), bad = live("s", WIDE(BROKEN), LUAFLOW_FAILED);
    luaflow_flow *wrong = flow_of("return { steps = { start = { next = 'nowhere' } } }");
    fflush(NULL);
    CHECK(dup2(out, 1) == 1 && dup2(err, 2) == 2);
    CHECK_INT(fstat(file, &about), 0);
    CHECK(good && bad && wrong == NULL);
    CHECK_INT(about.st_size, 0);
    close(out);
    close(err);
    close(file);
    drop_place();
}

#ifndef LF_SANITIZE /* which finds at the exit what was not closed */
TEST(a_host_may_exit_while_steps_run)
{
    int status;
    fresh_place();
    pid_t child = fork();
    if (child == 0) {
        luaflow_flow *f = flow_of(WIDE(NAP));
        luaflow_run *r = start(open_store("s"), f);
        luaflow_wait(r, 0.02);
        exit(luaflow_run_status(r) == LUAFLOW_RUNNING ? 7 : 8);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 7);
    CHECK(live("s", WIDE(""), LUAFLOW_DONE));
    drop_place();
}
#endif

/* ---- several at once ---- */

enum { HOSTS = 4, LIVES = 3 };

static void *live_often(void *payload)
{
    for (int i = 0; i < LIVES; i++)
        if (!live(payload, WIDE(""), LUAFLOW_DONE))
            return "a life went wrong";
    return NULL;
}

TEST(runtimes_of_several_threads_do_not_meet_whether_their_stores_are_one_or_many)
{
    char *const stores[HOSTS] = {"a", "b", "shared", "shared"};
    pthread_t threads[HOSTS];
    fresh_place();
    for (int i = 0; i < HOSTS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, live_often, stores[i]), 0);
    for (int i = 0; i < HOSTS; i++) {
        void *wrong;
        CHECK_INT(pthread_join(threads[i], &wrong), 0);
        CHECK(wrong == NULL);
    }
    drop_place();
}

TEST(several_runtimes_of_one_thread_run_side_by_side)
{
    char *const stores[HOSTS] = {"a", "b", "shared", "shared"};
    luaflow *rts[HOSTS];
    luaflow_run *runs[HOSTS];
    fresh_place();
    luaflow_flow *f = flow_of(WIDE(NAP));
    for (int i = 0; i < HOSTS; i++) {
        rts[i] = open_store(stores[i]);
        runs[i] = start(rts[i], f);
        CHECK(runs[i] != NULL);
    }
    CHECK_INT(luaflow_run_id(runs[1]), 1);
    CHECK(luaflow_run_id(runs[2]) != luaflow_run_id(runs[3]));
    luaflow_flow_close(f);
    for (int i = HOSTS - 1; i >= 0; i--) {
        CHECK_INT(luaflow_wait(runs[i], -1), 1);
        CHECK_INT(luaflow_run_status(runs[i]), LUAFLOW_DONE);
        luaflow_close(rts[i]);
    }
    drop_place();
}

/* ---- ends, in every order ---- */

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

/* What is closed one after the other: f the flow, r and s its runs, o the runtime, w waits for r. */
static void end_in_order(const char *order)
{
    luaflow *rt = open_store("s");
    luaflow_flow *f = flow_of(WIDE(NAP));
    luaflow_run *r = start(rt, f), *s = start(rt, f);
    CHECK(rt != NULL && r != NULL && s != NULL);
    for (; *order != '\0'; order++)
        switch (*order) {
        case 'f': luaflow_flow_close(f); break;
        case 'r': luaflow_run_close(r); break;
        case 's': luaflow_run_close(s); break;
        case 'w': CHECK_INT(luaflow_wait(r, -1), 1); break;
        case 'c': luaflow_cancel(r); break;
        default: luaflow_close(rt); break;
        }
}

TEST(flows_runs_and_runtimes_are_closed_in_any_order_while_steps_run)
{
    static const char *const orders[] = {"of", "fo", "rsfo", "frso", "srof", "rof", "fro", "sof", "wof", "fwo",
                                         "wrfso", "fwsro", "cof", "fcwrso", "csrfo"};
    fresh_place();
    CHECK(live("s", WIDE(""), LUAFLOW_DONE)); /* the first may leave what belongs to the process */
    int descriptors = entries_of("/proc/self/fd");
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        end_in_order(orders[i]);
    CHECK_INT(entries_of("/proc/self/fd"), descriptors);
    CHECK(live("s", WIDE(""), LUAFLOW_DONE));
    drop_place();
}

TEST(nothing_is_closed_by_closing_nothing)
{
    luaflow_close(NULL);
    luaflow_run_close(NULL);
    luaflow_flow_close(NULL);
    luaflow_free(NULL);
    luaflow_error_clear(NULL);
    CHECK_INT(luaflow_error_set(NULL, LUAFLOW_ESTEP, "x"), LUAFLOW_ESTEP);
}

/* What a host puts into the flow's own state. */
typedef struct treasure {
    pthread_t collector;
    atomic_int collected;
} treasure;

static int collect(lua_State *L)
{
    treasure *t = *(treasure **)lua_touserdata(L, 1);
    t->collector = pthread_self();
    atomic_fetch_add(&t->collected, 1);
    return 0;
}

static int bury(void *payload, lua_State *L, luaflow_error *err)
{
    (void)err;
    *(treasure **)lua_newuserdata(L, sizeof payload) = payload;
    lua_newtable(L);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_setglobal(L, "treasure");
    return LUAFLOW_OK;
}

TEST(what_a_host_adds_to_a_flows_state_ends_on_the_thread_that_closes_the_flow)
{
    treasure t = {.collected = 0};
    luaflow_flow_options o = LUAFLOW_FLOW_OPTIONS_INIT;
    luaflow_flow *f = NULL;
    const char *source = WIDE(NAP);
    o.on_state = bury;
    o.state_payload = &t;
    fresh_place();
    luaflow *rt = open_store("s");
    CHECK_INT(luaflow_flow_load_string(source, strlen(source), "f.lua", &o, &f, NULL), LUAFLOW_OK);
    luaflow_run *r = start(rt, f);
    luaflow_flow_close(f); /* which the run still needs, but not its state */
    CHECK_INT(atomic_load(&t.collected), 1);
    CHECK(pthread_equal(t.collector, pthread_self()));
    CHECK_INT(luaflow_wait(r, -1), 1);
    CHECK_INT(luaflow_run_status(r), LUAFLOW_DONE);
    luaflow_close(rt);
    CHECK_INT(atomic_load(&t.collected), 1);
    drop_place();
}
