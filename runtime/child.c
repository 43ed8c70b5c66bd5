/* child.c -- a process that runs one step: what its world answers, it asks the parent. Knows
 * neither the store nor the graph. Its main thread. */
#include "child_inside.h"
#include "step.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Values up to this are copied into the row of what is to be sent. */
enum { SMALL_BYTES = 64 * 1024 };

typedef struct child {
    lf_world world;
    lf_wire wire;
    lf_flow *flow;
    lf_stepper *stepper;
    lf_bytes head;           /* of what is to be sent */
    luaflow_error broken;    /* why the conversation cannot go on */
    int stream;              /* that was printed to last */
    /* answers that are needed again */
    lf_list *levels;         /* as many as the task is deep; their bytes follow */
    lf_level *told;
    uint32_t depth;
    lf_frame_words *names, *merged;
    uint32_t n_names, n_merged;
    lf_buf *names_bytes, *merged_bytes;
    /* the block of values that is being collected */
    lf_reader block;
    uint32_t block_next, block_end;
} child;

static child *child_of(lf_world *w) { return (child *)(void *)w; }

/* ---- asking ---- */

/* What is wrong with the conversation stays wrong. */
static int break_off(child *c, luaflow_error *err)
{
    return lf_fail_text(err, c->broken.code, luaflow_error_text(&c->broken));
}

static int lose_touch(child *c, const char *sentence, luaflow_error *err)
{
    if (c->broken.code == LUAFLOW_OK)
        lf_fail_text(&c->broken, LUAFLOW_ESTEP, sentence);
    return break_off(c, err);
}

/* The next frame, however long it takes. */
static int receive(child *c, lf_frame *out, luaflow_error *err)
{
    int rc;
    while ((rc = lf_wire_next(&c->wire, out, &c->broken)) == 0)
        if (lf_wire_read(&c->wire) < 0)
            return lose_touch(c, "luaflow itself has ended", err);
    return rc == 1 ? LUAFLOW_OK : break_off(c, err);
}

static int put(child *c, lf_frame_kind kind, luaflow_error *err)
{
    if (c->head.failed ||
        !lf_wire_put(&c->wire, kind, lf_slice_of(c->head.data, c->head.size), (lf_slice){NULL, 0}))
        return lf_fail_memory(err);
    return LUAFLOW_OK;
}

/* The answer, borrowed until the next question. */
static int ask(child *c, lf_frame_kind kind, uint32_t number, lf_slice name, lf_frame *out,
               luaflow_error *err)
{
    if (c->broken.code != LUAFLOW_OK)
        return break_off(c, err);
    lf_wire_done(&c->wire);
    c->block_next = c->block_end = 0;
    lf_bytes_clear(&c->head);
    lf_frame_words_put(&c->head, number, name);
    int rc = put(c, kind, err);
    lf_wire_flush(&c->wire);
    if (rc == LUAFLOW_OK)
        rc = receive(c, out, err);
    if (rc == LUAFLOW_OK && out->kind == LF_FRAME_PROBLEM)
        return lf_frame_problem_get(out->head, err);
    if (rc == LUAFLOW_OK && out->kind != LF_FRAME_ANSWER)
        return lose_touch(c, "luaflow answers what makes no sense", err);
    return rc;
}

static int misread(child *c, luaflow_error *err)
{
    return lose_touch(c, "luaflow's answer is damaged", err);
}

static int ask_value(child *c, lf_frame_kind kind, uint32_t slot, lf_slice name, lf_given *out,
                     luaflow_error *err)
{
    lf_frame f;
    *out = (lf_given){.found = false};
    int rc = ask(c, kind, slot, name, &f, err);
    if (rc != LUAFLOW_OK)
        return rc;
    out->found = f.payload != NULL;
    if (!out->found)
        return LUAFLOW_OK;
    if (lf_buf_pending(f.payload).size > SMALL_BYTES && (out->buf = lf_buf_adopt(f.payload)) == NULL)
        return lf_fail_memory(err);
    out->bytes = out->buf != NULL ? lf_buf_slice(out->buf) : lf_buf_pending(f.payload);
    return LUAFLOW_OK;
}

static int fetch(lf_world *w, lf_slice name, lf_given *out, luaflow_error *err)
{
    return ask_value(child_of(w), LF_FRAME_FETCH, 0, name, out, err);
}

static int load(lf_world *w, uint32_t slot, lf_slice name, lf_given *out, luaflow_error *err)
{
    return ask_value(child_of(w), LF_FRAME_LOAD, slot, name, out, err);
}

static int collect(lf_world *w, uint32_t slot, lf_slice name, lf_given *out, luaflow_error *err)
{
    child *c = child_of(w);
    if (slot == 0 || slot != c->block_next || slot >= c->block_end) {
        lf_frame f;
        lf_frame_words words;
        int rc = ask(c, LF_FRAME_COLLECT, slot, name, &f, err);
        if (rc != LUAFLOW_OK)
            return rc;
        if (!lf_frame_words_get(f.head, &words) || f.payload == NULL)
            return misread(c, err);
        lf_slice bytes = lf_buf_pending(f.payload);
        c->block = lf_reader_of(bytes.data, bytes.size);
        c->block_next = slot;
        c->block_end = slot + words.number;
    }
    c->block_next++;
    return lf_frame_block_next(&c->block, out) ? LUAFLOW_OK : misread(c, err);
}

static int path(lf_world *w, uint32_t slot, lf_bytes *out, luaflow_error *err)
{
    lf_frame f;
    lf_frame_words words;
    int rc = ask(child_of(w), LF_FRAME_PATH, slot, (lf_slice){NULL, 0}, &f, err);
    if (rc == LUAFLOW_OK && !lf_frame_words_get(f.head, &words))
        rc = misread(child_of(w), err);
    if (rc == LUAFLOW_OK)
        lf_bytes_put(out, words.name.data, words.name.size);
    return rc;
}

/* Asks for names with numbers, and keeps them. */
static int ask_names(child *c, lf_frame_kind kind, lf_buf **bytes, lf_frame_words **names,
                     uint32_t *n, luaflow_error *err)
{
    lf_frame f;
    int rc = ask(c, kind, 0, (lf_slice){NULL, 0}, &f, err);
    if (rc != LUAFLOW_OK)
        return rc;
    *bytes = lf_buf_copy(f.head.data, f.head.size);
    if (*bytes == NULL)
        return lf_fail_memory(err);
    return lf_frame_names_get(lf_buf_slice(*bytes), names, n, err);
}

static int input_name(lf_world *w, uint32_t i, lf_slice *name, uint32_t *slot, luaflow_error *err)
{
    child *c = child_of(w);
    int rc = c->names != NULL
                 ? LUAFLOW_OK
                 : ask_names(c, LF_FRAME_NAMES, &c->names_bytes, &c->names, &c->n_names, err);
    *name = (lf_slice){NULL, 0};
    if (rc != LUAFLOW_OK || i >= c->n_names)
        return rc;
    *name = c->names[i].name;
    *slot = c->names[i].number;
    return LUAFLOW_OK;
}

static int merge(lf_world *w, uint32_t *n, luaflow_error *err)
{
    child *c = child_of(w);
    int rc = c->merged != NULL
                 ? LUAFLOW_OK
                 : ask_names(c, LF_FRAME_MERGE, &c->merged_bytes, &c->merged, &c->n_merged, err);
    *n = c->n_merged;
    return rc;
}

static void merged(lf_world *w, uint32_t i, lf_slice *name, bool *conflict)
{
    *name = child_of(w)->merged[i].name;
    *conflict = child_of(w)->merged[i].number != 0;
}

/* Keeps what is said of level `n`. The list of one element is checked as it is cut. */
static int learn_level(child *c, uint32_t n, const lf_frame_level *said, luaflow_error *err)
{
    lf_list *list = &c->levels[n];
    if (said->list.size == 0) {
        *list = (lf_list){.kind = LF_LIST_RANGE, .size = said->size};
        c->told[n] = (lf_level){NULL, said->index, said->size, list, said->index};
    } else {
        lf_buf *bytes = lf_buf_copy(said->list.data, said->list.size); /* until the process ends */
        if (bytes == NULL)
            return lf_fail_memory(err);
        int rc = lf_list_init(list, lf_buf_slice(bytes), err);
        if (rc != LUAFLOW_OK)
            return rc;
        c->told[n] = (lf_level){NULL, said->index, said->size, list, 1};
    }
    c->told[n].step = strdup(said->step);
    return c->told[n].step != NULL ? LUAFLOW_OK : lf_fail_memory(err);
}

static int level(lf_world *w, uint32_t n, lf_level *out, luaflow_error *err)
{
    child *c = child_of(w);
    int rc = LUAFLOW_OK;
    if (c->told[n].step == NULL) {
        lf_frame f;
        lf_frame_level said;
        rc = ask(c, LF_FRAME_LEVEL, n, (lf_slice){NULL, 0}, &f, err);
        if (rc == LUAFLOW_OK)
            rc = lf_frame_level_get(f.head, &said) ? learn_level(c, n, &said, err) : misread(c, err);
    }
    *out = c->told[n];
    return rc;
}

/* ---- telling ---- */

static int propagate(lf_world *w, const lf_slice *names, size_t n, luaflow_error *err)
{
    child *c = child_of(w);
    lf_bytes_clear(&c->head);
    lf_frame_names_begin(&c->head, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        lf_frame_names_add(&c->head, names[i], 0);
    return put(c, LF_FRAME_PROPAGATE, err);
}

/* It is the parent who has what was there before, and compares what is kept with it. */
static int is_same(lf_world *w, lf_slice name, lf_parts bytes, bool *same, luaflow_error *err)
{
    (void)w, (void)name, (void)bytes, (void)err;
    *same = false;
    return LUAFLOW_OK;
}

static int keep(lf_world *w, lf_slice name, lf_bytes *value, luaflow_error *err)
{
    child *c = child_of(w);
    lf_slice bytes = lf_buf_pending(value);
    lf_bytes_clear(&c->head);
    lf_frame_words_put(&c->head, 0, name);
    lf_slice head = lf_slice_of(c->head.data, c->head.size);
    bool ok = !c->head.failed;
    if (ok && bytes.size <= SMALL_BYTES) {
        ok = lf_wire_put(&c->wire, LF_FRAME_KEEP, head, bytes);
    } else if (ok) {
        lf_buf *buf = lf_buf_adopt(value);
        ok = buf != NULL && lf_wire_put_large(&c->wire, LF_FRAME_KEEP, head, buf);
    }
    if (c->wire.tail != NULL || c->wire.out.size > SMALL_BYTES)
        lf_wire_flush(&c->wire);
    return ok ? LUAFLOW_OK : lf_fail_memory(err);
}

static int drop(lf_world *w, lf_slice name, luaflow_error *err)
{
    child *c = child_of(w);
    lf_bytes_clear(&c->head);
    lf_frame_words_put(&c->head, 0, name);
    return put(c, LF_FRAME_REMOVE, err);
}

/* Waits until the parent has read all that was printed: between two streams nothing else keeps
 * the order. This may come while an answer is looked at (a finalizer prints), so it is read
 * past it: nothing but the answer can come now. */
static void sync_output(child *c)
{
    uint8_t raw[LF_FRAME_HEADER];
    lf_frame_header header;
    lf_bytes head = {0};
    lf_frame_words_put(&head, 0, (lf_slice){NULL, 0});
    if (!head.failed && lf_wire_put(&c->wire, LF_FRAME_SYNC, lf_slice_of(head.data, head.size), (lf_slice){NULL, 0}) &&
        lf_wire_flush(&c->wire) &&
        (recv(c->wire.fd, raw, sizeof raw, MSG_WAITALL) != sizeof raw ||
         !lf_frame_header_get(raw, &header) || header.kind != LF_FRAME_ANSWER || header.head != 0))
        lose_touch(c, "luaflow's answer is damaged", NULL);
    lf_bytes_fini(&head);
}

static void print(lf_world *w, int stream, const char *text, size_t size)
{
    child *c = child_of(w);
    if (c->stream != stream && c->stream != 0 && c->broken.code == LUAFLOW_OK)
        sync_output(c);
    c->stream = stream;
    while (size > 0) {
        ssize_t n = write(stream, text, size);
        if (n < 0 && errno != EINTR)
            return; /* the step has closed it */
        text += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

static const lf_answers answers = {
    .fetch = fetch,
    .level = level,
    .load = load,
    .collect = collect,
    .path = path,
    .input_name = input_name,
    .merge = merge,
    .merged = merged,
    .propagate = propagate,
    .is_same = is_same,
    .keep = keep,
    .remove = drop,
    .print = print,
};

/* ---- the process ---- */

static int watched; /* the socket */

/* Ends the process, and all it has started, when the parent is gone: in whatever endless loop
 * or blocking call the step may be. Async-signal-safe. */
static void look_around(int signal_number)
{
    (void)signal_number;
    int before = errno;
    struct pollfd look = {.fd = watched}; /* a hang-up is always told */
    if (poll(&look, 1, 0) > 0 && (look.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        if (getpgrp() == getpid())
            kill(0, SIGKILL);
        kill(getpid(), SIGKILL);
    }
    errno = before;
}

#ifdef LF_SANITIZE_THREAD
/* ThreadSanitizer holds signals back from code that calls nothing: there a thread looks. */
#include "thread.h"

static void *look_always(void *payload)
{
    struct pollfd look = {.fd = watched};
    for (;; look_around(SIGIO))
        poll(&look, 1, -1);
    return payload;
}

static bool watch(int fd)
{
    pthread_t watcher;
    watched = fd;
    return (errno = lf_thread_start(&watcher, look_always, NULL)) == 0;
}
#else
/* From here on a signal tells of whatever happens at the other end of the socket. */
static bool watch(int fd)
{
    struct sigaction action = {.sa_handler = look_around, .sa_flags = SA_RESTART};
    watched = fd;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGIO, &action, NULL) != 0 || fcntl(fd, F_SETOWN, getpid()) != 0 ||
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC) != 0)
        return false;
    look_around(SIGIO); /* it may have happened already */
    return true;
}
#endif

/* A crash ends the process by its signal, whatever a library has made of that. */
static void crash_plainly(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
}

static int greet(child *c, luaflow_error *err)
{
    lf_bytes_clear(&c->head);
    lf_frame_hello_put(&c->head);
    int rc = put(c, LF_FRAME_HELLO, err);
    lf_wire_flush(&c->wire);
    return rc;
}

static int be_greeted(child *c, luaflow_error *err)
{
    lf_frame f;
    int rc = receive(c, &f, err);
    if (rc == LUAFLOW_OK && f.kind != LF_FRAME_HELLO)
        rc = misread(c, err);
    if (rc == LUAFLOW_OK)
        rc = lf_frame_hello_get(f.head, err);
    lf_wire_done(&c->wire);
    return rc;
}

/* What the task is; `*bytes` (counted, the caller's) is what it borrows from. `*parcel` (so too) is
 * that of a flow which was given as a table. */
static int receive_task(child *c, lf_buf **bytes, lf_buf **parcel, lf_frame_task *task, luaflow_error *err)
{
    lf_frame f;
    int rc = receive(c, &f, err);
    if (rc == LUAFLOW_OK && f.kind != LF_FRAME_TASK)
        rc = misread(c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    *bytes = lf_buf_copy(f.head.data, f.head.size);
    *parcel = f.payload != NULL ? lf_buf_adopt(f.payload) : NULL;
    bool is_kept = *bytes != NULL && (*parcel != NULL || f.payload == NULL);
    lf_wire_done(&c->wire);
    if (!is_kept)
        return lf_fail_memory(err);
    return lf_frame_task_get(lf_buf_slice(*bytes), task) ? LUAFLOW_OK : misread(c, err);
}

/* What the task need not ask for. */
static int take_near(child *c, lf_frame_task *task, luaflow_error *err)
{
    lf_frame_level said;
    if (task->near.size == 0 || c->depth == 0)
        return LUAFLOW_OK;
    if (!lf_frame_level_get(task->near, &said))
        return misread(c, err);
    int rc = learn_level(c, 0, &said, err);
    task->who.near = c->told[0].list;
    task->who.near_at = c->told[0].at;
    return rc;
}

static int set_environment(const lf_frame_task *task, luaflow_error *err)
{
    lf_reader r = lf_reader_of(task->env.data, task->env.size);
    const char *name, *value;
    for (uint32_t i = 0; i < task->n_env && lf_frame_env_next(&r, &name, &value); i++)
        if (setenv(name, value, 1) != 0)
            return lf_fail(err, LUAFLOW_ESTEP, "cannot set the environment variable '%s': %s", name,
                           strerror(errno));
    return LUAFLOW_OK;
}

/* Runs the task; how it failed is in `failure`. */
static int run_step(child *c, lf_frame_task *task, lf_buf *parcel, lf_failure *failure)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow_told told = {task->path, task->flow, task->source, parcel, task->description};
    c->depth = task->who.depth;
    c->levels = calloc(c->depth + (size_t)1, sizeof *c->levels);
    c->told = calloc(c->depth + (size_t)1, sizeof *c->told);
    int rc = c->levels == NULL || c->told == NULL ? lf_fail_memory(&err) : set_environment(task, &err);
    if (rc == LUAFLOW_OK)
        rc = take_near(c, task, &err);
    if (rc == LUAFLOW_OK)
        rc = lf_flow_known(&told, &c->flow, &err);
    if (rc == LUAFLOW_OK)
        rc = lf_stepper_enter(c->stepper, c->flow, true, &err);
    lf_bytes_clear(&c->head);
    if (rc == LUAFLOW_OK)
        rc = put(c, LF_FRAME_BEGIN, &err);
    lf_wire_flush(&c->wire);
    if (rc == LUAFLOW_OK)
        return lf_stepper_run(c->stepper, &task->who, &c->world, failure);
    failure->message = strdup(luaflow_error_text(&err));
    luaflow_error_clear(&err);
    return rc;
}

/* The last words: all output is written before them. */
static int take_leave(child *c, int rc, const lf_failure *failure, luaflow_error *err)
{
    fflush(NULL);
    lf_bytes_clear(&c->head);
    if (rc != LUAFLOW_OK)
        lf_frame_failure_put(&c->head, failure->message != NULL ? failure->message : "not enough memory",
                             failure->traceback);
    rc = put(c, rc == LUAFLOW_OK ? LF_FRAME_SUCCESS : LF_FRAME_FAILURE, err);
    lf_wire_flush(&c->wire);
    return rc;
}

static int serve(child *c, luaflow_error *err)
{
    lf_failure failure = {.message = NULL};
    lf_frame_task task;
    lf_buf *bytes = NULL, *parcel = NULL;
    int rc = greet(c, err);
    if (rc == LUAFLOW_OK && c->stepper == NULL)
        rc = lf_stepper_prepare(&c->stepper, err); /* while nobody waits for it */
    if (rc == LUAFLOW_OK)
        rc = be_greeted(c, err);
    if (rc == LUAFLOW_OK)
        rc = receive_task(c, &bytes, &parcel, &task, err);
    if (rc == LUAFLOW_OK) {
        rc = run_step(c, &task, parcel, &failure);
        rc = take_leave(c, rc, &failure, err);
    }
    lf_failure_fini(&failure);
    lf_buf_free(bytes);
    lf_buf_free(parcel);
    return rc;
}

/* All but the state: its finalizers may wait for programs, which end with this process. */
static void fini(child *c)
{
    for (uint32_t i = 0; i < c->depth && c->told != NULL && c->levels != NULL; i++) {
        lf_list_fini(&c->levels[i]);
        free((void *)(uintptr_t)c->told[i].step);
    }
    free(c->levels);
    free(c->told);
    free(c->names);
    free(c->merged);
    lf_buf_free(c->names_bytes);
    lf_buf_free(c->merged_bytes);
    lf_flow_free(c->flow);
    lf_wire_fini(&c->wire);
    lf_bytes_fini(&c->head);
    luaflow_error_clear(&c->broken);
}

int luaflow_serve(int fd, luaflow_error *err)
{
    child c = {.world = {&answers}, .wire = {.fd = fd}};
    int type, rc;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return lf_fail(err, LUAFLOW_EUSAGE, "only luaflow itself starts luaflow so");
    crash_plainly();
    setvbuf(stdout, NULL, _IOLBF, 0); /* what C code prints is told by the line */
    if (type == SOCK_SEQPACKET) {
        bool is_forked = false;
        rc = lf_stepper_prepare(&c.stepper, err);
        if (rc == LUAFLOW_OK)
            rc = lf_nurse(fd, &is_forked, err);
        if (!is_forked || rc != LUAFLOW_OK) {
            lf_stepper_free(c.stepper);
            return rc;
        }
    }
    if (watch(fd))
        rc = serve(&c, err);
    else
        rc = lf_fail(err, LUAFLOW_ESTEP, "cannot watch for the end of luaflow: %s", strerror(errno));
    fini(&c);
    return rc;
}
