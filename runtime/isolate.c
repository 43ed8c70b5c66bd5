/* isolate.c -- one attempt in a process of its own: the conversation with it, and its limits. */
#include "isolate_inside.h"
#include "clock.h"
#include "flow.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef LUAFLOW_EXECUTABLE
#define LUAFLOW_EXECUTABLE "/usr/local/bin/luaflow" /* where CMake installs by default */
#endif

/* A process has so long to get ready, and after SIGTERM to end; in microseconds. */
static const uint64_t START_US = 60 * 1000000ull, GRACE_US = 2 * 1000000ull;

/* A process that closed its socket ends at once, or does not mean to. */
enum { LAST_WORDS_MS = 1000 };

/* Blocks of collected values are about so large. */
enum { BLOCK_BYTES = 256 * 1024 };

/* Payloads up to this are copied behind their head, to be sent in one piece with it. */
enum { SMALL_BYTES = 16 * 1024 };

/* So many pieces of output are read before anything else is looked at. */
enum { PIECES = 64, PIECE_BYTES = 16 * 1024 };

struct lf_isolate {
    char *executable;        /* as the host gave it, or NULL */
    pthread_mutex_t lock;    /* a leaf: guards what follows */
    lf_child *ready;
    uint32_t n_ready;        /* with those being started */
    uint32_t running, most;  /* attempts, and how many there ever were at once */
};

/* ---- processes that are ready ---- */

int lf_isolate_open(const char *executable, lf_isolate **out, luaflow_error *err)
{
    lf_isolate *iso = calloc(1, sizeof *iso);
    if (iso == NULL)
        return lf_fail_memory(err);
    pthread_mutex_init(&iso->lock, NULL);
    if (executable != NULL && (iso->executable = strdup(executable)) == NULL) {
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

void lf_isolate_close(lf_isolate *iso)
{
    if (iso == NULL)
        return;
    for (lf_child *c = iso->ready, *next; c != NULL; c = next) {
        next = c->next;
        end_child(c);
    }
    pthread_mutex_destroy(&iso->lock);
    free(iso->executable);
    free(iso);
}

bool lf_isolate_wanted(const lf_attributes *a) { return a->isolate || a->timeout > 0 || a->n_env > 0; }

static int start_child(const lf_isolate *iso, uint64_t surroundings, lf_child **out, luaflow_error *err)
{
    const char *executable = iso->executable != NULL ? iso->executable : getenv("LUAFLOW_EXE");
    if (executable == NULL)
        executable = LUAFLOW_EXECUTABLE;
    luaflow_error why = LUAFLOW_ERROR_INIT;
    int rc = lf_child_start(executable, surroundings, out, &why);
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
    start_child(iso, surroundings, &c, NULL); /* what goes wrong shows with the next attempt */
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

/* ---- an attempt ---- */

typedef enum stage { STARTING, RUNNING, ENDING } stage;

typedef struct attempt {
    lf_child *c;
    lf_world *world;         /* of the open task */
    lf_log *log;
    lf_who who;
    double timeout;          /* seconds, or 0 */
    stage stage;
    uint64_t deadline;       /* of this stage; UINT64_MAX: none */
    bool greeted, merged, over;
    bool succeeded, failed;  /* as the child says */
    bool timed_out;
    lf_failure failure;
    luaflow_error problem;   /* why what it left cannot be kept, or it cannot be talked to */
    lf_slice *names;         /* of what it left; the envelope borrows them */
    uint32_t n_names, names_room;
    lf_bytes head, block;    /* scratch */
} attempt;

/* Reads what the child and its own children have printed by now. */
static void drain(attempt *a, int stream)
{
    char piece[PIECE_BYTES];
    int *fd = &a->c->out[stream - 1];
    for (int i = 0; i < PIECES && *fd >= 0; i++) {
        ssize_t n = read(*fd, piece, sizeof piece);
        if (n > 0)
            lf_log_write(a->log, stream, piece, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            close(*fd);
            *fd = -1;
        } else if (errno == EAGAIN)
            return;
    }
}

static void drain_both(attempt *a)
{
    drain(a, 1);
    drain(a, 2);
}

/* The conversation ends: `a->problem` says why, and goes before what the child says. */
static void hang_up(attempt *a, int code, const char *sentence)
{
    if (a->problem.code == LUAFLOW_OK)
        lf_fail_text(&a->problem, code, sentence);
    a->over = true;
}

static void put(attempt *a, lf_frame_kind kind, lf_slice payload)
{
    lf_slice head = lf_slice_of(a->head.data, a->head.size);
    if (a->head.failed || !lf_wire_put(&a->c->wire, kind, head, payload))
        hang_up(a, LUAFLOW_ENOMEM, "out of memory");
}

/* ---- what it is told at first ---- */

static void tell_task(attempt *a, const lf_flow *flow, const lf_attributes *attributes)
{
    static const lf_slice nothing = {NULL, 0};
    lf_bytes env = {0};
    lf_frame_hello_put(&a->head);
    put(a, LF_FRAME_HELLO, nothing);
    for (size_t i = 0; i < attributes->n_env; i++)
        lf_frame_env_put(&env, attributes->env[i].name, attributes->env[i].value);
    lf_frame_task task = {
        .who = a->who,
        .path = lf_flow_path(flow),
        .flow = lf_flow_name(flow),
        .source = lf_flow_source(flow),
        .description = lf_flow_description(flow),
        .n_env = (uint32_t)attributes->n_env,
        .env = lf_slice_of(env.data, env.size),
    };
    lf_bytes_clear(&a->head);
    lf_frame_task_put(&a->head, &task);
    if (env.failed)
        a->head.failed = true;
    put(a, LF_FRAME_TASK, nothing);
    lf_bytes_fini(&env);
}

/* ---- its questions ---- */

static void answer_problem(attempt *a, luaflow_error *err)
{
    lf_bytes_clear(&a->head);
    lf_frame_problem_put(&a->head, err);
    luaflow_error_clear(err);
    put(a, LF_FRAME_PROBLEM, (lf_slice){NULL, 0});
}

static void answer(attempt *a) { put(a, LF_FRAME_ANSWER, (lf_slice){NULL, 0}); }

/* One value, as it lies there if it is large. */
static void answer_given(attempt *a, lf_given *given)
{
    lf_bytes_put_u8(&a->head, given->found);
    if (given->buf == NULL || given->bytes.size <= SMALL_BYTES) {
        put(a, LF_FRAME_ANSWER, given->found ? given->bytes : (lf_slice){NULL, 0});
        lf_buf_free(given->buf);
    } else if (a->head.failed ||
               !lf_wire_put_large(&a->c->wire, LF_FRAME_ANSWER,
                                  lf_slice_of(a->head.data, a->head.size), given->buf)) {
        hang_up(a, LUAFLOW_ENOMEM, "out of memory");
    }
}

/* What as many inputs have as fill a block. */
static int collect(attempt *a, const lf_frame_words *q, luaflow_error *err)
{
    uint32_t n = 0;
    lf_bytes_clear(&a->block);
    for (uint32_t slot = q->number; slot < a->who.n_inputs && a->block.size < BLOCK_BYTES; slot++, n++) {
        lf_given given;
        int rc = a->world->ask->collect(a->world, slot, q->name, &given, err);
        if (rc != LUAFLOW_OK)
            return rc;
        lf_frame_block_add(&a->block, &given);
        lf_buf_free(given.buf);
    }
    if (a->block.failed)
        return lf_fail_memory(err);
    lf_frame_words_put(&a->head, n, (lf_slice){NULL, 0});
    put(a, LF_FRAME_ANSWER, lf_slice_of(a->block.data, a->block.size));
    return LUAFLOW_OK;
}

static int answer_path(attempt *a, uint32_t slot, luaflow_error *err)
{
    lf_bytes_clear(&a->block);
    int rc = a->world->ask->path(a->world, slot, &a->block, err);
    if (rc != LUAFLOW_OK)
        return rc;
    a->head.failed = a->head.failed || a->block.failed;
    lf_frame_words_put(&a->head, 0, lf_slice_of(a->block.data, a->block.size));
    answer(a);
    return LUAFLOW_OK;
}

static int answer_names(attempt *a, luaflow_error *err)
{
    lf_slice name;
    uint32_t slot = 0, n = 0;
    lf_bytes_clear(&a->block);
    for (;; n++) {
        int rc = a->world->ask->input_name(a->world, n, &name, &slot, err);
        if (rc != LUAFLOW_OK)
            return rc;
        if (name.size == 0)
            break;
        lf_frame_names_add(&a->block, name, slot);
    }
    lf_frame_names_begin(&a->head, n);
    lf_bytes_put(&a->head, a->block.data, a->block.size);
    a->head.failed = a->head.failed || a->block.failed;
    answer(a);
    return LUAFLOW_OK;
}

static int answer_merge(attempt *a, luaflow_error *err)
{
    uint32_t n = 0;
    int rc = a->world->ask->merge(a->world, &n, err);
    if (rc != LUAFLOW_OK)
        return rc;
    a->merged = true;
    lf_frame_names_begin(&a->head, n);
    for (uint32_t i = 0; i < n; i++) {
        lf_slice name;
        bool conflict;
        a->world->ask->merged(a->world, i, &name, &conflict);
        lf_frame_names_add(&a->head, name, conflict);
    }
    answer(a);
    return LUAFLOW_OK;
}

static int answer_level(attempt *a, uint32_t n, luaflow_error *err)
{
    lf_level level;
    int rc = a->world->ask->level(a->world, n, &level, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_frame_level_put(&a->head, &level);
    answer(a);
    return LUAFLOW_OK;
}

static int answer_value(attempt *a, lf_frame_kind kind, const lf_frame_words *q, luaflow_error *err)
{
    lf_given given;
    int rc = kind == LF_FRAME_FETCH ? a->world->ask->fetch(a->world, q->name, &given, err)
                                    : a->world->ask->load(a->world, q->number, q->name, &given, err);
    if (rc == LUAFLOW_OK)
        answer_given(a, &given);
    return rc;
}

/* Whether a question about inputs makes sense for this task. */
static bool is_askable(const attempt *a, lf_frame_kind kind, const lf_frame_words *q)
{
    switch (kind) {
    case LF_FRAME_LOAD:
    case LF_FRAME_COLLECT:
    case LF_FRAME_PATH:
        return a->who.is_join && q->number < a->who.n_inputs;
    case LF_FRAME_NAMES:
    case LF_FRAME_MERGE:
        return a->who.is_join;
    case LF_FRAME_LEVEL:
        return q->number < a->who.depth;
    default:
        return true;
    }
}

static void on_question(attempt *a, const lf_frame *f)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_frame_words q;
    int rc = LUAFLOW_OK;
    lf_bytes_clear(&a->head);
    if (!lf_frame_words_get(f->head, &q) || !is_askable(a, f->kind, &q)) {
        hang_up(a, LUAFLOW_ESTEP, "the step's process asks what makes no sense");
        return;
    }
    switch (f->kind) {
    case LF_FRAME_LEVEL: rc = answer_level(a, q.number, &err); break;
    case LF_FRAME_COLLECT: rc = collect(a, &q, &err); break;
    case LF_FRAME_PATH: rc = answer_path(a, q.number, &err); break;
    case LF_FRAME_NAMES: rc = answer_names(a, &err); break;
    case LF_FRAME_MERGE: rc = answer_merge(a, &err); break;
    case LF_FRAME_SYNC: drain_both(a); answer(a); break;
    default: rc = answer_value(a, f->kind, &q, &err); break;
    }
    if (rc != LUAFLOW_OK)
        answer_problem(a, &err);
}

/* ---- what it leaves ---- */

/* Makes `name` a copy of itself that lives as long as the attempt. */
static bool remember_name(attempt *a, lf_slice *name)
{
    if (a->n_names == a->names_room) {
        uint32_t room = a->names_room ? a->names_room * 2 : 16;
        lf_slice *names = realloc(a->names, room * sizeof *names);
        if (names == NULL)
            return false;
        a->names = names;
        a->names_room = room;
    }
    uint8_t *copy = malloc(name->size + 1);
    if (copy == NULL)
        return false;
    if (name->size > 0)
        memcpy(copy, name->data, name->size);
    *name = a->names[a->n_names++] = lf_slice_of(copy, name->size);
    return true;
}

/* One more artifact, or one less. */
static void on_leaving(attempt *a, const lf_frame *f)
{
    lf_frame_words q;
    bool keeps = f->kind == LF_FRAME_KEEP;
    if (!lf_frame_words_get(f->head, &q) || keeps != (f->payload != NULL) ||
        (keeps && !lf_frame_is_value(lf_buf_pending(f->payload)))) {
        hang_up(a, LUAFLOW_ESTEP, "the step's process leaves what is no value");
        return;
    }
    if (a->problem.code != LUAFLOW_OK)
        return; /* of what came before: nothing of this is kept */
    if (!remember_name(a, &q.name))
        lf_fail_memory(&a->problem);
    else if (keeps)
        a->world->ask->keep(a->world, q.name, f->payload, &a->problem);
    else
        a->world->ask->remove(a->world, q.name, &a->problem);
}

static int compare_names(const void *a, const void *b)
{
    return lf_slice_compare(*(const lf_slice *)a, *(const lf_slice *)b);
}

/* An honest child names each artifact once. */
static void check_names(attempt *a)
{
    if (a->n_names > 1)
        qsort(a->names, a->n_names, sizeof *a->names, compare_names);
    for (uint32_t i = 1; i < a->n_names; i++)
        if (lf_slice_equal(a->names[i - 1], a->names[i]))
            hang_up(a, LUAFLOW_ESTEP, "the step's process leaves an artifact twice");
}

static void on_propagate(attempt *a, const lf_frame *f)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_frame_words *words = NULL;
    uint32_t n = 0;
    int rc = lf_frame_names_get(f->head, &words, &n, &err);
    bool ascending = a->merged;
    for (uint32_t i = 1; rc == LUAFLOW_OK && i < n && ascending; i++)
        ascending = lf_slice_compare(words[i - 1].name, words[i].name) < 0;
    lf_slice *names = calloc(n + (size_t)1, sizeof *names);
    if (rc != LUAFLOW_OK || !ascending) {
        hang_up(a, LUAFLOW_ESTEP, "the step's process passes on what it was not given");
    } else if (names == NULL) {
        lf_fail_memory(&a->problem);
    } else {
        for (uint32_t i = 0; i < n; i++)
            names[i] = words[i].name;
        a->world->ask->propagate(a->world, names, n, &a->problem);
    }
    luaflow_error_clear(&err);
    free(names);
    free(words);
}

static uint64_t after(uint64_t now, double seconds)
{
    return seconds < 1e9 ? now + (uint64_t)(seconds * 1e6) : UINT64_MAX;
}

static void on_failure(attempt *a, const lf_frame *f)
{
    lf_frame_failure said;
    if (!lf_frame_failure_get(f->head, &said)) {
        hang_up(a, LUAFLOW_ESTEP, "the step's process failed in no words");
        return;
    }
    a->failure.message = strndup((const char *)said.message.data, said.message.size);
    a->failure.traceback = strndup((const char *)said.traceback.data, said.traceback.size);
    a->failed = a->over = true;
}

static void on_frame(attempt *a, const lf_frame *f)
{
    if (!a->greeted) {
        a->greeted = true;
        if (f->kind != LF_FRAME_HELLO || lf_frame_hello_get(f->head, &a->problem) != LUAFLOW_OK)
            hang_up(a, LUAFLOW_ESTEP, "what was started is not the luaflow command");
        return;
    }
    switch (f->kind) {
    case LF_FRAME_BEGIN:
        if (a->stage != STARTING)
            break;
        a->stage = RUNNING;
        a->deadline = a->timeout > 0 ? after(lf_tick_us(), a->timeout) : UINT64_MAX;
        return;
    case LF_FRAME_FETCH:
    case LF_FRAME_LEVEL:
    case LF_FRAME_LOAD:
    case LF_FRAME_COLLECT:
    case LF_FRAME_PATH:
    case LF_FRAME_NAMES:
    case LF_FRAME_MERGE:
    case LF_FRAME_SYNC:
        on_question(a, f);
        return;
    case LF_FRAME_KEEP:
    case LF_FRAME_REMOVE:
        on_leaving(a, f);
        return;
    case LF_FRAME_PROPAGATE:
        on_propagate(a, f);
        return;
    case LF_FRAME_SUCCESS:
        check_names(a);
        a->succeeded = a->over = true;
        return;
    case LF_FRAME_FAILURE:
        on_failure(a, f);
        return;
    default:
        break;
    }
    hang_up(a, LUAFLOW_ESTEP, "the step's process says what makes no sense");
}

/* ---- until it is over ---- */

/* Hears what the child has said, answering one question at a time. Says whether there may be
 * more: a child that talks without end must not keep us from looking at the clock. */
static bool listen_to(attempt *a)
{
    lf_wire *wire = &a->c->wire;
    for (int i = 0; i < PIECES && !a->over; i++) {
        lf_frame f;
        if (!lf_wire_flush(wire))
            return false;
        int rc = lf_wire_next(wire, &f, &a->problem);
        if (rc == 1) {
            if (a->stage != ENDING)
                on_frame(a, &f);
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
static void on_deadline(attempt *a, uint64_t now)
{
    switch (a->stage) {
    case STARTING:
        hang_up(a, LUAFLOW_ESTEP, "the step's process did not get ready in 60 s");
        break;
    case RUNNING:
        a->timed_out = true;
        a->stage = ENDING;
        a->deadline = now + GRACE_US;
        lf_child_signal(a->c, SIGTERM);
        break;
    case ENDING:
        a->over = true;
        break;
    }
}

static int wait_ms(uint64_t now, uint64_t deadline)
{
    uint64_t ms = (deadline - now + 999) / 1000;
    return deadline == UINT64_MAX ? -1 : ms < INT32_MAX ? (int)ms : INT32_MAX;
}

static void converse(attempt *a)
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
        drain_both(a);
        more = listen_to(a);
        if (looks[3].revents != 0 && !more)
            a->over = true; /* it has ended, and all it said was heard */
    }
}

/* ---- how it ended ---- */

static bool is_silent(const attempt *a)
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

static void put_end(const attempt *a, lf_bytes *out, int status)
{
    const char *when = a->stage == STARTING ? "before the step began" : "before the step did";
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

/* Ends the process and all it has started, and says how it came to that. */
static void conclude(attempt *a)
{
    lf_child *c = a->c;
    int status;
    if (is_silent(a) && c->pidfd >= 0) {
        struct pollfd look = {.fd = c->pidfd, .events = POLLIN};
        if (poll(&look, 1, LAST_WORDS_MS) == 0)
            hang_up(a, LUAFLOW_ESTEP, "the step closed the descriptor by which its process talks to luaflow");
    }
    bool silent = is_silent(a), known = lf_child_end(c, &status);
    drain_both(a);
    if (!silent && !a->timed_out && a->problem.code == LUAFLOW_OK)
        return;
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

static void fini(attempt *a)
{
    for (uint32_t i = 0; i < a->n_names; i++)
        free((void *)(uintptr_t)a->names[i].data);
    free(a->names);
    lf_failure_fini(&a->failure);
    luaflow_error_clear(&a->problem);
    lf_bytes_fini(&a->head);
    lf_bytes_fini(&a->block);
    lf_child_free(a->c);
}

void lf_isolate_run(lf_isolate *iso, lf_child *c, lf_seal *seal, lf_task *t, lf_log *log)
{
    const lf_flow *flow = t->batch->facts->flow;
    const lf_attributes *attributes = &lf_graph_step(lf_flow_graph(flow), t->step)->attributes;
    attempt a = {.c = c, .world = lf_seal_world(seal), .log = log, .timeout = attributes->timeout,
                 .deadline = lf_tick_us() + START_US};
    lf_seal_begin(seal, t);
    lf_seal_who(seal, &a.who);
    tell_task(&a, flow, attributes);
    lf_wire_flush(&c->wire);
    replace(iso, c->surroundings);
    converse(&a);
    conclude(&a);
    lf_seal_finish(seal, a.failed ? &a.failure : NULL);
    fini(&a);
    pthread_mutex_lock(&iso->lock);
    iso->running--;
    pthread_mutex_unlock(&iso->lock);
}
