/* isolate_talk.c -- what is said between an attempt and its process: the task, questions and
 * answers, and what the step leaves. What the process says is not trusted. */
#include "isolate_inside.h"
#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Blocks of collected values are about so large. */
enum { BLOCK_BYTES = 256 * 1024 };

/* Payloads up to this are copied behind their head, to be sent in one piece with it. */
enum { SMALL_BYTES = 16 * 1024 };

/* So many pieces of output are read before anything else is looked at. */
enum { PIECES = 64, PIECE_BYTES = 16 * 1024 };

static void drain(lf_attempt *a, int stream)
{
    char piece[PIECE_BYTES];
    int *fd = &a->c->out[stream - 1];
    for (int i = 0; i < PIECES && *fd >= 0; i++) {
        ssize_t n = read(*fd, piece, sizeof piece);
        if (n > 0)
            lf_log_write(a->log, stream, piece, (size_t)n);
        else if (n < 0 && errno == EAGAIN)
            return;
        else if (n == 0 || errno != EINTR) {
            close(*fd);
            *fd = -1;
        }
    }
}

void lf_attempt_drain(lf_attempt *a)
{
    drain(a, 1);
    drain(a, 2);
}

void lf_attempt_hang_up(lf_attempt *a, int code, const char *sentence)
{
    if (a->problem.code == LUAFLOW_OK)
        lf_fail_text(&a->problem, code, sentence);
    a->over = true;
}

static void put(lf_attempt *a, lf_frame_kind kind, lf_slice payload)
{
    lf_slice head = lf_slice_of(a->head.data, a->head.size);
    if (a->head.failed || !lf_wire_put(&a->c->wire, kind, head, payload))
        lf_attempt_hang_up(a, LUAFLOW_ENOMEM, "out of memory");
}

/* The same with a payload that is sent from where it lies. Takes `payload`. */
static void put_large(lf_attempt *a, lf_frame_kind kind, lf_buf *payload)
{
    lf_slice head = lf_slice_of(a->head.data, a->head.size);
    if (a->head.failed) {
        lf_buf_free(payload);
        lf_attempt_hang_up(a, LUAFLOW_ENOMEM, "out of memory");
    } else if (!lf_wire_put_large(&a->c->wire, kind, head, payload)) {
        lf_attempt_hang_up(a, LUAFLOW_ENOMEM, "out of memory");
    }
}

/* ---- what it is told at first ---- */

/* Appends the level of the task's own element, unless that is large or the task has none. */
static void put_near(const lf_who *who, lf_world *world, lf_bytes *out)
{
    lf_level level;
    if (who->near != NULL && !who->is_join && lf_list_is_cheap(who->near, who->near_at) &&
        world->ask->level(world, 0, &level, NULL) == LUAFLOW_OK)
        lf_frame_level_put(out, &level);
}

void lf_attempt_tell(lf_attempt *a, const lf_flow *flow, const lf_attributes *attributes)
{
    static const lf_slice nothing = {NULL, 0};
    lf_buf *parcel = lf_flow_parcel(flow);
    lf_bytes env = {0}, near = {0};
    lf_frame_hello_put(&a->head);
    put(a, LF_FRAME_HELLO, nothing);
    for (size_t i = 0; i < attributes->n_env; i++)
        lf_frame_env_put(&env, attributes->env[i].name, attributes->env[i].value);
    put_near(&a->who, a->world, &near);
    lf_frame_task task = {
        .who = a->who,
        .path = lf_flow_path(flow),
        .flow = lf_flow_name(flow),
        .source = parcel == NULL ? lf_flow_source(flow) : nothing,
        .description = lf_flow_description(flow),
        .n_env = (uint32_t)attributes->n_env,
        .env = lf_slice_of(env.data, env.size),
        .near = lf_slice_of(near.data, near.size),
    };
    lf_bytes_clear(&a->head);
    lf_frame_task_put(&a->head, &task);
    if (env.failed || near.failed)
        a->head.failed = true;
    if (parcel == NULL)
        put(a, LF_FRAME_TASK, nothing);
    else
        put_large(a, LF_FRAME_TASK, lf_buf_ref(parcel));
    lf_bytes_fini(&env);
    lf_bytes_fini(&near);
}

/* ---- its questions ---- */

static void answer_problem(lf_attempt *a, luaflow_error *err)
{
    lf_bytes_clear(&a->head);
    lf_frame_problem_put(&a->head, err);
    luaflow_error_clear(err);
    put(a, LF_FRAME_PROBLEM, (lf_slice){NULL, 0});
}

static void answer(lf_attempt *a) { put(a, LF_FRAME_ANSWER, (lf_slice){NULL, 0}); }

/* One value, as it lies there if it is large. */
static void answer_given(lf_attempt *a, lf_given *given)
{
    lf_bytes_put_u8(&a->head, given->found);
    if (given->buf == NULL || given->bytes.size <= SMALL_BYTES) {
        put(a, LF_FRAME_ANSWER, given->found ? given->bytes : (lf_slice){NULL, 0});
        lf_buf_free(given->buf);
    } else {
        put_large(a, LF_FRAME_ANSWER, given->buf);
    }
}

/* What as many inputs have as fill a block. */
static int collect(lf_attempt *a, const lf_frame_words *q, luaflow_error *err)
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

static int answer_path(lf_attempt *a, uint32_t slot, luaflow_error *err)
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

static int answer_names(lf_attempt *a, luaflow_error *err)
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

static int answer_merge(lf_attempt *a, luaflow_error *err)
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

static int answer_level(lf_attempt *a, uint32_t n, luaflow_error *err)
{
    lf_level level;
    int rc = a->world->ask->level(a->world, n, &level, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_frame_level_put(&a->head, &level);
    answer(a);
    return LUAFLOW_OK;
}

static int answer_value(lf_attempt *a, lf_frame_kind kind, const lf_frame_words *q, luaflow_error *err)
{
    lf_given given;
    int rc = kind == LF_FRAME_FETCH ? a->world->ask->fetch(a->world, q->name, &given, err)
                                    : a->world->ask->load(a->world, q->number, q->name, &given, err);
    if (rc == LUAFLOW_OK)
        answer_given(a, &given);
    return rc;
}

/* Whether a question about inputs makes sense for this task. */
static bool is_askable(const lf_attempt *a, lf_frame_kind kind, const lf_frame_words *q)
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

static void on_question(lf_attempt *a, const lf_frame *f)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_frame_words q;
    int rc = LUAFLOW_OK;
    lf_bytes_clear(&a->head);
    if (!lf_frame_words_get(f->head, &q) || !is_askable(a, f->kind, &q)) {
        lf_attempt_hang_up(a, LUAFLOW_ESTEP, "the step's process asks what makes no sense");
        return;
    }
    switch (f->kind) {
    case LF_FRAME_LEVEL: rc = answer_level(a, q.number, &err); break;
    case LF_FRAME_COLLECT: rc = collect(a, &q, &err); break;
    case LF_FRAME_PATH: rc = answer_path(a, q.number, &err); break;
    case LF_FRAME_NAMES: rc = answer_names(a, &err); break;
    case LF_FRAME_MERGE: rc = answer_merge(a, &err); break;
    case LF_FRAME_SYNC: lf_attempt_drain(a); answer(a); break;
    default: rc = answer_value(a, f->kind, &q, &err); break;
    }
    if (rc != LUAFLOW_OK)
        answer_problem(a, &err);
}

/* ---- what it leaves ---- */

/* Makes `name` a copy of itself that lives as long as the attempt. */
static bool remember_name(lf_attempt *a, lf_slice *name)
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
static void on_leaving(lf_attempt *a, const lf_frame *f)
{
    lf_frame_words q;
    bool keeps = f->kind == LF_FRAME_KEEP;
    if (!lf_frame_words_get(f->head, &q) || keeps != (f->payload != NULL) ||
        (keeps && !lf_frame_is_value(lf_buf_pending(f->payload)))) {
        lf_attempt_hang_up(a, LUAFLOW_ESTEP, "the step's process leaves what is no value");
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
static void check_names(lf_attempt *a)
{
    if (a->n_names > 1)
        qsort(a->names, a->n_names, sizeof *a->names, compare_names);
    for (uint32_t i = 1; i < a->n_names; i++)
        if (lf_slice_equal(a->names[i - 1], a->names[i]))
            lf_attempt_hang_up(a, LUAFLOW_ESTEP, "the step's process leaves an artifact twice");
}

static void on_propagate(lf_attempt *a, const lf_frame *f)
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
        lf_attempt_hang_up(a, LUAFLOW_ESTEP, "the step's process passes on what it was not given");
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

static void on_failure(lf_attempt *a, const lf_frame *f)
{
    lf_frame_failure said;
    if (!lf_frame_failure_get(f->head, &said)) {
        lf_attempt_hang_up(a, LUAFLOW_ESTEP, "the step's process failed in no words");
        return;
    }
    a->failure.message = strndup((const char *)said.message.data, said.message.size);
    a->failure.traceback = strndup((const char *)said.traceback.data, said.traceback.size);
    a->failed = a->over = true;
}

static uint64_t after(uint64_t now, double seconds)
{
    return seconds < 1e9 ? now + (uint64_t)(seconds * 1e6) : UINT64_MAX;
}

void lf_attempt_hear(lf_attempt *a, const lf_frame *f)
{
    if (!a->greeted) {
        a->greeted = true;
        if (f->kind != LF_FRAME_HELLO || lf_frame_hello_get(f->head, &a->problem) != LUAFLOW_OK)
            lf_attempt_hang_up(a, LUAFLOW_ESTEP, "what was started is not the luaflow command");
        return;
    }
    switch (f->kind) {
    case LF_FRAME_BEGIN:
        if (a->stage != LF_STARTING)
            break;
        a->stage = LF_BEGUN;
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
    lf_attempt_hang_up(a, LUAFLOW_ESTEP, "the step's process says what makes no sense");
}
