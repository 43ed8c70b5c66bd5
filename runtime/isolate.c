/* isolate.c -- one attempt in a process of its own: the conversation with it, and its limits. */
#include "isolate_inside.h"
#include "clock.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* A process has so long to get ready, and after SIGTERM to end; in microseconds. */
static const uint64_t START_US = 60 * 1000000ull, GRACE_US = 2 * 1000000ull;

/* A process that closed its socket ends at once, or does not mean to. */
enum { LAST_WORDS_MS = 1000 };

/* So many frames are heard before anything else is looked at. */
enum { FRAMES = 64 };

struct lf_isolate {
    const lf_host *host;
    pthread_mutex_t lock;    /* a leaf: guards what follows */
    lf_child *ready;
    lf_child *ended;         /* killed, and not yet waited for */
    uint32_t n_ready;        /* with those being started */
    uint32_t running, most;  /* attempts, and how many there ever were at once */
    struct lf_nursery *nursery;
};

/* ---- processes that are ready ---- */

int lf_isolate_open(const lf_host *host, lf_isolate **out, luaflow_error *err)
{
    lf_isolate *iso = calloc(1, sizeof *iso);
    if (iso == NULL)
        return lf_fail_memory(err);
    pthread_mutex_init(&iso->lock, NULL);
    iso->host = host;
    if ((iso->nursery = lf_nursery_new()) == NULL) {
        lf_isolate_close(iso);
        return lf_fail_memory(err);
    }
    *out = iso;
    return LUAFLOW_OK;
}

static void end_child(lf_child *c)
{
    int status;
    lf_child_end(c, &status);
    lf_child_free(c);
}

/* Waits for those that have ended meanwhile, so that no attempt waits for the system to clean up
 * after the one before. */
static void reap(lf_isolate *iso)
{
    lf_child *over = NULL;
    pthread_mutex_lock(&iso->lock);
    for (lf_child **at = &iso->ended, *c; (c = *at) != NULL;) {
        if (lf_child_wait(c, false)) {
            *at = c->next;
            c->next = over;
            over = c;
        } else {
            at = &c->next;
        }
    }
    pthread_mutex_unlock(&iso->lock);
    for (lf_child *next; over != NULL; over = next) {
        next = over->next;
        lf_child_free(over);
    }
}

void lf_isolate_close(lf_isolate *iso)
{
    if (iso == NULL)
        return;
    for (lf_child *c = iso->ended, *next; c != NULL; c = next) {
        next = c->next;
        lf_child_wait(c, true);
        lf_child_free(c);
    }
    for (lf_child *c = iso->ready, *next; c != NULL; c = next) {
        next = c->next;
        end_child(c);
    }
    lf_nursery_free(iso->nursery);
    pthread_mutex_destroy(&iso->lock);
    free(iso);
}

static const char COMMAND[] = "/bin/luaflow";
typedef struct place {
    char text[PATH_MAX + sizeof COMMAND];
} place;

/* Where the command was installed. A tree may be installed under any prefix, and moved: so it is first
 * looked for beside the lib that this code was loaded from. Else, and in a host that has this
 * code in itself, it is where the build was configured to install it. */
static const char *installed(place *p)
{
    static const char within_us;
    Dl_info about;
    char *lib = NULL;
    if (dladdr(&within_us, &about) != 0 && realpath(about.dli_fname, p->text) != NULL)
        for (char *at = p->text; (at = strstr(at, "/lib")) != NULL; at += strlen("/lib"))
            if (strncmp(at, "/lib/", 5) == 0 || strncmp(at, "/lib64/", 7) == 0)
                lib = at;
    if (lib == NULL)
        return LUAFLOW_EXECUTABLE;
    memcpy(lib, COMMAND, sizeof COMMAND);
    return access(p->text, X_OK) == 0 ? p->text : LUAFLOW_EXECUTABLE;
}

static int start_child(const lf_isolate *iso, uint64_t surroundings, lf_child **out, luaflow_error *err)
{
    place p;
    const char *executable = iso->host->executable != NULL ? iso->host->executable : getenv("LUAFLOW_EXE");
    if (executable == NULL)
        executable = installed(&p);
    luaflow_error why = LUAFLOW_ERROR_INIT;
    int rc = lf_child_start(iso->nursery, executable, surroundings, out, &why);
    if (rc == LUAFLOW_ESTEP)
        lf_fail(err, LUAFLOW_ESTEP,
                "an isolated step runs in the luaflow command: give its path as the option "
                "`executable`, set LUAFLOW_EXE, or install it as %s (%s)",
                LUAFLOW_EXECUTABLE, luaflow_error_text(&why));
    else if (rc != LUAFLOW_OK)
        lf_fail_memory(err);
    luaflow_error_clear(&why);
    return rc;
}

static lf_child *take_ready(lf_isolate *iso)
{
    pthread_mutex_lock(&iso->lock);
    lf_child *c = iso->ready;
    if (c != NULL) {
        iso->ready = c->next;
        iso->n_ready--;
    }
    pthread_mutex_unlock(&iso->lock);
    return c;
}

int lf_isolate_take(lf_isolate *iso, lf_child **out, luaflow_error *err)
{
    uint64_t surroundings = lf_child_surroundings();
    lf_child *c;
    while ((c = take_ready(iso)) != NULL && (c->surroundings != surroundings || lf_child_is_gone(c)))
        end_child(c);
    int rc = c != NULL ? LUAFLOW_OK : start_child(iso, surroundings, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    pthread_mutex_lock(&iso->lock);
    if (++iso->running > iso->most)
        iso->most = iso->running;
    pthread_mutex_unlock(&iso->lock);
    *out = c;
    return LUAFLOW_OK;
}

uint32_t lf_child_pid(const lf_child *c) { return (uint32_t)c->pid; }

/* Starts one for a later attempt, unless as many wait as ever ran at once. It gets ready while
 * the others run. */
static void replace(lf_isolate *iso, uint64_t surroundings)
{
    pthread_mutex_lock(&iso->lock);
    bool wanted = iso->n_ready < iso->most;
    iso->n_ready += wanted;
    pthread_mutex_unlock(&iso->lock);
    if (!wanted)
        return;
    lf_child *c = NULL;
    luaflow_error why = LUAFLOW_ERROR_INIT;
    if (start_child(iso, surroundings, &c, &why) != LUAFLOW_OK) /* no harm yet: the next attempt tries again */
        lf_host_log(iso->host, LUAFLOW_LOG_WARNING, "no process can be made ready for a later isolated step: %s",
                    luaflow_error_text(&why));
    luaflow_error_clear(&why);
    pthread_mutex_lock(&iso->lock);
    if (c != NULL) {
        lf_child **at = &iso->ready; /* those that began first are ready first */
        while (*at != NULL)
            at = &(*at)->next;
        *at = c;
    } else {
        iso->n_ready--;
    }
    pthread_mutex_unlock(&iso->lock);
}

/* ---- until it is over ---- */

/* Hears what the child has said, answering one question at a time. Says whether there may be
 * more: a child that talks without end must not keep us from looking at the clock. */
static bool listen_to(lf_attempt *a)
{
    lf_wire *wire = &a->c->wire;
    for (int i = 0; i < FRAMES && !a->over; i++) {
        lf_frame f;
        if (!lf_wire_flush(wire))
            return false;
        int rc = lf_wire_next(wire, &f, &a->problem);
        if (rc == 1) {
            if (a->stage != LF_ENDING)
                lf_attempt_hear(a, &f);
            lf_wire_done(wire);
        } else if (rc == 0) {
            rc = lf_wire_read(wire);
        }
        if (rc == 0)
            return false;
        a->over = a->over || rc < 0;
    }
    return true;
}

/* The deadline of this stage has passed. */
static void on_deadline(lf_attempt *a, uint64_t now)
{
    switch (a->stage) {
    case LF_STARTING:
        lf_attempt_hang_up(a, LUAFLOW_ESTEP, "the step's process did not get ready in 60 s");
        break;
    case LF_BEGUN:
        a->timed_out = true;
        a->stage = LF_ENDING;
        a->deadline = now + GRACE_US;
        lf_child_signal(a->c, SIGTERM);
        break;
    case LF_ENDING:
        a->over = true;
        break;
    }
}

static int wait_ms(uint64_t now, uint64_t deadline)
{
    uint64_t ms = (deadline - now + 999) / 1000;
    return deadline == UINT64_MAX ? -1 : ms < INT32_MAX ? (int)ms : INT32_MAX;
}

static void converse(lf_attempt *a)
{
    lf_child *c = a->c;
    bool more = false;
    while (!a->over) {
        uint64_t now = lf_tick_us();
        if (now >= a->deadline) {
            on_deadline(a, now);
            continue;
        }
        struct pollfd looks[] = {
            {.fd = c->wire.fd, .events = lf_wire_is_sent(&c->wire) ? POLLIN : POLLOUT},
            {.fd = c->out[0], .events = POLLIN},
            {.fd = c->out[1], .events = POLLIN},
            {.fd = c->pidfd, .events = POLLIN},
        };
        poll(looks, 4, more ? 0 : wait_ms(now, a->deadline));
        lf_attempt_drain(a);
        more = listen_to(a);
        if (looks[3].revents != 0 && !more)
            a->over = true; /* it has ended, and all it said was heard */
    }
}

/* ---- how it ended ---- */

static bool is_silent(const lf_attempt *a)
{
    return !a->succeeded && !a->failed && !a->timed_out && a->problem.code == LUAFLOW_OK;
}

/* The shortest decimal that is this number, with a point whatever the host's language. */
static void put_seconds(lf_bytes *out, double seconds)
{
    char text[32];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, seconds);
        if (strtod(text, NULL) == seconds)
            break;
    }
    for (char *at = text; *at != '\0'; at++)
        if (*at == ',')
            *at = '.';
    lf_bytes_put(out, text, strlen(text));
}

static void put_end(const lf_attempt *a, lf_bytes *out, int status)
{
    const char *when = a->stage == LF_STARTING ? "before the step began" : "before the step did";
    if (WIFSIGNALED(status)) {
        int number = WTERMSIG(status);
        const char *name = sigabbrev_np(number), *words = sigdescr_np(number);
        lf_bytes_printf(out, "killed by signal %d (SIG%s): %s%s", number, name != NULL ? name : "?",
                        words != NULL ? words : "unknown",
                        number == SIGKILL ? "; perhaps the machine ran out of memory" : "");
    } else {
        lf_bytes_printf(out, "the process ended with exit code %d %s", WEXITSTATUS(status), when);
    }
}

/* Ends the process and all it has started, and says how it came to that. `*waited`: it was also
 * waited for. */
static void conclude(lf_attempt *a, bool *waited)
{
    lf_child *c = a->c;
    int status;
    if (is_silent(a) && c->pidfd >= 0) {
        struct pollfd look = {.fd = c->pidfd, .events = POLLIN};
        if (poll(&look, 1, LAST_WORDS_MS) == 0)
            lf_attempt_hang_up(a, LUAFLOW_ESTEP, "the step closed the descriptor by which its process talks to luaflow");
    }
    bool silent = is_silent(a);
    if (!silent && !a->timed_out && a->problem.code == LUAFLOW_OK) {
        lf_child_kill(c);
        lf_attempt_drain(a);
        return;
    }
    bool known = lf_child_end(c, &status);
    *waited = true;
    lf_attempt_drain(a);
    lf_bytes text = {0};
    if (a->timed_out) {
        lf_bytes_printf(&text, "timed out after ");
        put_seconds(&text, a->timeout);
        lf_bytes_printf(&text, " s");
    } else if (!silent) {
        lf_bytes_printf(&text, "%s", luaflow_error_text(&a->problem));
    } else if (known) {
        put_end(a, &text, status);
    } else {
        lf_bytes_printf(&text, "the process ended before the step did");
    }
    lf_failure_fini(&a->failure);
    a->failure.message = lf_bytes_cstr(&text);
    if (a->failure.message == NULL)
        lf_bytes_fini(&text);
    a->failure.timed_out = a->timed_out;
    a->failed = true;
}

/* Says so when it failed for want of what only the host's own states have. */
static void hint(const lf_host *host, lf_failure *failure)
{
    const char *message = failure->message;
    char *missed = message == NULL ? NULL : lf_state_missed(host->on_state, host->state_payload, message);
    if (missed == NULL)
        return;
    lf_bytes text = {0};
    lf_bytes_printf(&text, "%s%c(an isolated step runs in a process of its own and does not see what the host adds: '%s')",
                    message, strchr(message, '\n') != NULL ? '\n' : ' ', missed);
    free(missed);
    if (lf_bytes_cstr(&text) == NULL) { /* out of memory: the message stays as it is */
        lf_bytes_fini(&text);
        return;
    }
    free(failure->message);
    failure->message = (char *)text.data;
}

static void fini(lf_attempt *a)
{
    for (uint32_t i = 0; i < a->n_names; i++)
        free((void *)(uintptr_t)a->names[i].data);
    free(a->names);
    lf_failure_fini(&a->failure);
    luaflow_error_clear(&a->problem);
    lf_bytes_fini(&a->head);
    lf_bytes_fini(&a->block);
}

/* The process was killed: frees it if it was waited for too, else that is for later. */
static void part_with(lf_isolate *iso, lf_child *c, bool waited)
{
    if (waited)
        lf_child_free(c);
    else
        lf_child_shut(c);
    pthread_mutex_lock(&iso->lock);
    if (!waited) {
        c->next = iso->ended;
        iso->ended = c;
    }
    iso->running--;
    pthread_mutex_unlock(&iso->lock);
}

void lf_isolate_run(lf_isolate *iso, lf_child *c, lf_seal *seal, lf_task *t, lf_log *log)
{
    const lf_flow *flow = t->batch->facts->flow;
    const lf_attributes *attributes = &lf_graph_step(lf_flow_graph(flow), t->step)->attributes;
    lf_attempt a = {.c = c, .world = lf_seal_world(seal), .log = log, .timeout = attributes->timeout,
                 .deadline = lf_tick_us() + START_US};
    lf_seal_begin(seal, t, lf_tick_us());
    lf_seal_who(seal, &a.who);
    lf_attempt_tell(&a, flow, attributes);
    lf_wire_flush(&c->wire);
    replace(iso, c->surroundings);
    reap(iso);
    bool waited = false;
    converse(&a);
    conclude(&a, &waited);
    if (a.failed)
        hint(iso->host, &a.failure);
    lf_seal_finish(seal, a.failed ? &a.failure : NULL);
    fini(&a);
    part_with(iso, c, waited);
}
