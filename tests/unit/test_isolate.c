/* test_isolate.c -- attempts in processes of their own. The program that is started is this one:
 * it runs a step as the command would, or, told so, says what no honest process would. */
#include "flow.h"
#include "isolate.h"
#include "tasks.h"
#include "wire.h"

#include <dirent.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the other side ---- */

static lf_wire wire = {.fd = 3};

static void say_names(lf_frame_kind kind, const char *name, const char *payload)
{
    lf_bytes head = {0};
    lf_frame_words_put(&head, 0, text(name));
    lf_wire_put(&wire, kind, lf_slice_of(head.data, head.size), text(payload));
    lf_bytes_fini(&head);
}

static void say(lf_frame_kind kind) { lf_wire_put(&wire, kind, (lf_slice){NULL, 0}, (lf_slice){NULL, 0}); }

static void greet(void)
{
    lf_bytes head = {0};
    lf_frame_hello_put(&head);
    lf_wire_put(&wire, LF_FRAME_HELLO, lf_slice_of(head.data, head.size), (lf_slice){NULL, 0});
    lf_bytes_fini(&head);
    say(LF_FRAME_BEGIN);
}

static void misbehave(const char *how)
{
    if (strcmp(how, "noise") == 0) {
        send(wire.fd, "usage: luaflow COMMAND [options]", 32, 0);
        pause();
    } else if (strcmp(how, "version") == 0) {
        static const uint8_t hello[] = {'l', 'u', 'a', 'f', 'l', 'o', 'w', 0, 99, 4, '9', '.', '9', 0};
        lf_wire_put(&wire, LF_FRAME_HELLO, lf_slice_of(hello, sizeof hello), (lf_slice){NULL, 0});
        lf_wire_flush(&wire);
        pause();
    }
    greet();
    if (strcmp(how, "twice") == 0) {
        say_names(LF_FRAME_KEEP, "x", "\1");
        say_names(LF_FRAME_KEEP, "y", "\1");
        say_names(LF_FRAME_KEEP, "x", "\2");
        say(LF_FRAME_SUCCESS);
    } else if (strcmp(how, "novalue") == 0) {
        say_names(LF_FRAME_KEEP, "x", "\xa5no");
    } else if (strcmp(how, "nil") == 0) {
        say_names(LF_FRAME_KEEP, "x", "\xc0");
    } else if (strcmp(how, "unasked") == 0) {
        say_names(LF_FRAME_MERGE, "", "");
    } else if (strcmp(how, "level") == 0) {
        say_names(LF_FRAME_LEVEL, "", "");
    } else if (strcmp(how, "propagate") == 0) {
        lf_wire_put(&wire, LF_FRAME_PROPAGATE, text("\1\0\1x"), (lf_slice){NULL, 0});
        lf_wire_put(&wire, LF_FRAME_PROPAGATE, lf_slice_of("\1\0\1x", 4), (lf_slice){NULL, 0});
    } else if (strcmp(how, "answer") == 0) {
        say(LF_FRAME_ANSWER);
    } else if (strcmp(how, "quiet") == 0) {
        shutdown(wire.fd, SHUT_WR);
    } else if (strcmp(how, "endless") == 0) {
        for (;;) {
            say_names(LF_FRAME_REMOVE, "x", "");
            lf_wire_flush(&wire);
        }
    }
    lf_wire_flush(&wire);
    pause();
}

/* A child is known by its environment: a constructor need not be given the arguments, and a child
 * that took itself for the test would start children without end. */
__attribute__((constructor)) static void be_a_child(void)
{
    if (getenv("TEST_CHILD") == NULL)
        return;
    int type = 0;
    getsockopt(3, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type});
    if (getenv("TEST_MISBEHAVE") != NULL && type == SOCK_STREAM)
        misbehave(getenv("TEST_MISBEHAVE"));
    else if (getenv("TEST_MISBEHAVE") != NULL)
        _exit(2); /* no nursery, then */
    _exit(luaflow_serve(3, NULL) == LUAFLOW_OK ? 0 : 2);
}

/* ---- a world: a flow of one step ---- */

typedef struct world {
    lf_store *store;
    lf_staged *staged;
    lf_log *log;
    lf_seal *seal;
    lf_facts *facts;
    lf_isolate *isolate;
} world;

static void drop_flow(struct lf_flow *flow) { lf_flow_free(flow); }

static char itself[256];
static lf_host host = {.executable = itself};

static world world_of(const char *attributes, const char *body)
{
    char source[1000];
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow *flow = NULL;
    lf_bytes params = {0};
    ssize_t n = readlink("/proc/self/exe", itself, sizeof itself - 1);
    CHECK(n > 0);
    itself[n] = '\0';
    unsetenv("LUAFLOW_EXE");
    setenv("TEST_CHILD", "1", 1);
    world w = {.store = new_store(), .staged = lf_staged_new(), .log = lf_log_new()};
    w.seal = lf_seal_new(w.store, w.staged, w.log);
    int size = snprintf(source, sizeof source,
                        "return { name = 'F', steps = { start = { %s, function(self) %s end } } }", attributes, body);
    if (lf_flow_load_string(source, (size_t)size, "f.lua", NULL, &flow, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    w.facts = lf_facts_new(1);
    CHECK_INT(lf_flow_params(flow, NULL, 0, &params, NULL), LUAFLOW_OK);
    w.facts->params = lf_buf_copy(params.data, params.size);
    lf_bytes_fini(&params);
    w.facts->run = 1;
    w.facts->flow = flow;
    w.facts->drop_flow = drop_flow;
    w.facts->store = strdup(place);
    CHECK_INT(lf_isolate_open(&host, &w.isolate, NULL), LUAFLOW_OK);
    return w;
}

static void drop_world(world *w)
{
    lf_isolate_close(w->isolate);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1); /* no child, no zombie */
    lf_facts_free(w->facts);
    lf_seal_free(w->seal);
    lf_log_free(w->log);
    CHECK_INT(lf_staged_bytes(w->staged), 0);
    lf_staged_free(w->staged);
    drop_store(w->store);
}

/* Runs the step once; the caller drops the task. */
static lf_task *attempt(world *w)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_child *c = NULL;
    lf_batch *b = lf_batch_new(w->facts, 1);
    lf_task *t = &b->tasks[0];
    t->number = 1;
    if (lf_isolate_take(w->isolate, &c, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    t->pid = lf_child_pid(c);
    lf_isolate_run(w->isolate, c, w->seal, t, w->log);
    CHECK_INT(b->error.code, LUAFLOW_OK);
    siginfo_t info; /* it ends without anybody's doing, and may be waited for later */
    CHECK(waitid(P_PID, t->pid, &info, WEXITED | WNOWAIT) == 0 || errno == ECHILD);
    return t;
}

static lf_task_record record_of(const lf_task *t)
{
    lf_task_record record;
    CHECK(lf_task_record_get(lf_task_record_bytes(t), &record));
    return record;
}

/* Of an attempt that must fail. */
static const char *failure(world *w)
{
    static char message[4000];
    lf_task *t = attempt(w);
    CHECK_INT(t->outcome, LF_BROKE);
    lf_task_record record = record_of(t);
    CHECK_INT(record.n_outputs, 0);
    snprintf(message, sizeof message, "%.*s", (int)record.message.size, (const char *)record.message.data);
    lf_task_drop(t);
    return message;
}

static int n_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* Of the living processes whose parent this is, the one that began first or last; or 0. */
static pid_t child_of_age(bool oldest)
{
    DIR *d = opendir("/proc");
    pid_t found = 0;
    long long found_at = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[300];
        int pid, parent;
        char state;
        long long started;
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = fopen(path, "r");
        if (f == NULL)
            continue;
        if (fscanf(f, "%d (%*[^)]) %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lld",
                   &pid, &state, &parent, &started) == 4 && parent == getpid() && state != 'Z' &&
            (found == 0 || (oldest ? started < found_at || (started == found_at && pid < found)
                                   : started > found_at || (started == found_at && pid > found)))) {
            found = pid;
            found_at = started;
        }
        fclose(f);
    }
    closedir(d);
    return found;
}

/* ---- attempts ---- */

TEST(what_a_process_leaves_is_sealed)
{
    world w = world_of("isolate = true", "self.n = 7; self.text = ('x'):rep(1000); print('hello')");
    lf_task *t = attempt(&w);
    CHECK_INT(t->outcome, LF_SUCCEEDED);
    lf_task_record record = record_of(t);
    lf_ref ref;
    CHECK_INT(record.n_outputs, 2);
    CHECK(lf_output_find(&record, text("n"), &ref));
    CHECK_INT(ref.bytes.data[0], 7);
    CHECK(lf_output_find(&record, text("text"), &ref));
    CHECK_INT(ref.size, 1003);
    CHECK(memmem(t->batch->arena.data + t->log_at, t->log_size, "hello\n", 6) != NULL);
    lf_task_drop(t);
    drop_world(&w);
}

TEST(every_attempt_has_a_process_of_its_own_and_nothing_stays_open)
{
    world w = world_of("isolate = true", "self.n = 1");
    uint32_t before = 0;
    int open_before = n_descriptors();
    for (int i = 0; i < 20; i++) {
        lf_task *t = attempt(&w);
        CHECK_INT(t->outcome, LF_SUCCEEDED);
        CHECK(t->pid != before);
        before = t->pid;
        lf_task_drop(t);
        CHECK(n_descriptors() <= open_before + 5); /* of the one that is ready, and of the nursery */
    }
    lf_isolate_close(w.isolate);
    w.isolate = NULL;
    CHECK_INT(n_descriptors(), open_before);
    drop_world(&w);
}

TEST(a_process_that_died_waiting_is_not_used)
{
    world w = world_of("isolate = true", "self.n = 1");
    lf_task_drop(attempt(&w));
    pid_t waiting = child_of_age(false);
    CHECK(waiting != 0);
    CHECK_INT(kill(waiting, SIGKILL), 0);
    siginfo_t info; /* it has ended, and is there to be waited for */
    CHECK_INT(waitid(P_PID, (id_t)waiting, &info, WEXITED | WNOWAIT), 0);
    lf_task *t = attempt(&w);
    CHECK_INT(t->outcome, LF_SUCCEEDED);
    lf_task_drop(t);
    drop_world(&w);
}

TEST(a_nursery_that_dies_is_replaced)
{
    world w = world_of("isolate = true", "self.n = 1");
    for (int i = 0; i < 3; i++) {
        lf_task_drop(attempt(&w));
        CHECK_INT(kill(child_of_age(true), SIGKILL), 0);
    }
    lf_task *t = attempt(&w);
    CHECK_INT(t->outcome, LF_SUCCEEDED);
    lf_task_drop(t);
    drop_world(&w);
}

TEST(a_process_that_waits_is_not_used_in_other_surroundings)
{
    char here[4096];
    world w = world_of("isolate = true", "self.at = os.getenv('WHERE')");
    CHECK(getcwd(here, sizeof here) != NULL);
    setenv("WHERE", "one", 1);
    lf_task_drop(attempt(&w));
    setenv("WHERE", "two", 1);
    lf_task *t = attempt(&w);
    lf_task_record record = record_of(t);
    lf_ref ref;
    CHECK(lf_output_find(&record, text("at"), &ref));
    CHECK(is_text(ref.bytes, "\xa3two"));
    lf_task_drop(t);
    unsetenv("WHERE");
    drop_world(&w);
}

TEST(time_runs_out_in_an_endless_loop)
{
    world w = world_of("timeout = 0.25", "while true do end");
    CHECK_STR(failure(&w), "timed out after 0.25 s");
    drop_world(&w);
}

TEST(a_failure_is_caught_as_what_it_is)
{
    world w = world_of("timeout = 0.25, catch = 'why'", "self.x = 1 while true do end");
    lf_task *t = attempt(&w);
    CHECK_INT(t->outcome, LF_SUCCEEDED);
    lf_task_record record = record_of(t);
    lf_ref ref;
    CHECK_INT(record.flags, LF_TASK_CAUGHT);
    CHECK_INT(record.n_outputs, 1);
    CHECK(lf_output_find(&record, text("why"), &ref));
    CHECK(is_text(ref.bytes, "\x84\xa7message\xb6timed out after 0.25 s\xa7timeout\xc3\xa8" "attempts\1\xa9traceback\xa0"));
    lf_task_drop(t);
    drop_world(&w);
}

/* One attempt in a host whose children vanish. */
static lf_task *attempt_unheeded(world *w)
{
    signal(SIGCHLD, SIG_IGN);
    lf_task *t = attempt(w);
    lf_isolate_close(w->isolate);
    w->isolate = NULL;
    signal(SIGCHLD, SIG_DFL);
    return t;
}

TEST(a_host_that_ignores_its_children_gets_results_all_the_same)
{
    world w = world_of("isolate = true", "self.n = 1");
    lf_task *t = attempt_unheeded(&w);
    CHECK_INT(t->outcome, LF_SUCCEEDED);
    lf_task_drop(t);
    drop_world(&w);
    w = world_of("isolate = true", "os.exit(3)");
    t = attempt_unheeded(&w);
    CHECK(is_text(record_of(t).message, "the process ended before the step did"));
    lf_task_drop(t);
    drop_world(&w);
}

/* ---- what is started ---- */

TEST(an_executable_that_is_not_there_is_named_with_all_three_ways)
{
    world w = world_of("isolate = true", "self.n = 1");
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_isolate *other = NULL;
    lf_child *c = NULL;
    lf_host misled = {.executable = (char[]){"/not/there/luaflow"}};
    CHECK_INT(lf_isolate_open(&misled, &other, NULL), LUAFLOW_OK);
    CHECK_INT(lf_isolate_take(other, &c, &err), LUAFLOW_ESTEP);
    CHECK(strstr(err.message, "cannot start /not/there/luaflow: No such file or directory") != NULL);
    CHECK(strstr(err.message, "`executable`") != NULL && strstr(err.message, "LUAFLOW_EXE") != NULL &&
          strstr(err.message, "/bin/luaflow") != NULL);
    luaflow_error_clear(&err);
    lf_isolate_close(other);
    setenv("LUAFLOW_EXE", "/not/there/either", 1);
    misled.executable = NULL;
    CHECK_INT(lf_isolate_open(&misled, &other, NULL), LUAFLOW_OK);
    CHECK_INT(lf_isolate_take(other, &c, &err), LUAFLOW_ESTEP);
    CHECK(strstr(err.message, "/not/there/either") != NULL);
    luaflow_error_clear(&err);
    lf_isolate_close(other);
    drop_world(&w);
}

TEST(an_executable_that_is_not_luaflow_is_told)
{
    world w = world_of("isolate = true", "self.n = 1");
    lf_isolate_close(w.isolate);
    lf_host misled = {.executable = (char[]){"/bin/true"}};
    CHECK_INT(lf_isolate_open(&misled, &w.isolate, NULL), LUAFLOW_OK);
    CHECK_STR(failure(&w), "the process ended with exit code 0 before the step began");
    drop_world(&w);
}

static void keep_warning(void *payload, int level, const char *sentence)
{
    CHECK_INT(level, LUAFLOW_LOG_WARNING);
    strncat(payload, sentence, 300);
}

TEST(a_process_that_cannot_be_made_ready_for_later_is_told_and_harms_nobody)
{
    world w = world_of("isolate = true", "self.n = 1");
    char link[300], said[400] = "";
    lf_host linked = {.executable = link, .on_log = keep_warning, .log_payload = said};
    lf_isolate_close(w.isolate);
    snprintf(link, sizeof link, "%s/luaflow", place);
    CHECK_INT(symlink(itself, link), 0);
    CHECK_INT(lf_isolate_open(&linked, &w.isolate, NULL), LUAFLOW_OK);
    lf_child *c = NULL;
    CHECK_INT(lf_isolate_take(w.isolate, &c, NULL), LUAFLOW_OK);
    CHECK_INT(unlink(link), 0);
    CHECK_INT(kill(child_of_age(true), SIGKILL), 0); /* the nursery, which would need no file */
    lf_batch *b = lf_batch_new(w.facts, 1);
    b->tasks[0].number = 1;
    b->tasks[0].turn = 1;
    lf_isolate_run(w.isolate, c, w.seal, &b->tasks[0], w.log);
    CHECK_INT(b->tasks[0].outcome, LF_SUCCEEDED);
    CHECK(strstr(said, "no process can be made ready") != NULL && strstr(said, link) != NULL);
    lf_batch_free(b);
    drop_world(&w);
}

/* ---- what the host adds ---- */

static int add_bake(void *payload, lua_State *L, luaflow_error *err)
{
    (void)payload, (void)err;
    lua_pushboolean(L, 1);
    lua_setglobal(L, "bake_fast");
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "bake");
    return LUAFLOW_OK;
}

static void check_hint(const char *body, const char *begins, const char *ends)
{
    world w = world_of("isolate = true", body);
    const char *message = failure(&w);
    size_t size = strlen(message), tail = strlen(ends);
    if (strncmp(message, begins, strlen(begins)) != 0 || size < tail || strcmp(message + size - tail, ends) != 0)
        fail_msg("%s", message);
    drop_world(&w);
}

#define HINT(name) "(an isolated step runs in a process of its own and does not see what the host adds: '" name "')"

TEST(a_step_that_misses_what_the_host_adds_is_told_why)
{
    host.on_state = add_bake;
    check_hint("bake_fast(1)", "f.lua:1: attempt to call global 'bake_fast' (a nil value) (an", HINT("bake_fast"));
    check_hint("require 'bake'", "f.lua:1: module 'bake' not found:\n", "\n" HINT("bake"));
    check_hint("bake_slow(1)", "f.lua:1: attempt to call global 'bake_slow' (a nil value)", "(a nil value)");
    check_hint("error('bake_fast')", "f.lua:1: bake_fast", "bake_fast");
    host.on_state = NULL;
    check_hint("bake_fast(1)", "f.lua:1: attempt to call global 'bake_fast' (a nil value)", "(a nil value)");
}

/* ---- processes that are not to be trusted ---- */

static void check_distrust(const char *how, const char *sentence)
{
    world w = world_of("timeout = 2", "self.n = 1");
    setenv("TEST_MISBEHAVE", how, 1);
    const char *message = failure(&w);
    if (strstr(message, sentence) == NULL)
        fail_msg("%s: %s", how, message);
    unsetenv("TEST_MISBEHAVE");
    drop_world(&w);
}

TEST(a_process_that_says_what_makes_no_sense_fails_its_task)
{
    check_distrust("noise", "is not luaflow's");
    check_distrust("version", "use the same release for both");
    check_distrust("twice", "leaves an artifact twice");
    check_distrust("novalue", "leaves what is no value");
    check_distrust("nil", "leaves what is no value");
    check_distrust("unasked", "asks what makes no sense");
    check_distrust("level", "asks what makes no sense");
    check_distrust("propagate", "passes on what it was not given");
    check_distrust("answer", "says what makes no sense");
}

TEST(a_process_that_goes_silent_fails_its_task)
{
    check_distrust("quiet", "closed the descriptor");
    check_distrust("endless", "timed out after 2 s");
}
