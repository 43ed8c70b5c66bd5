/* target_frame.c -- any bytes from the other side of an isolated task's socket: its heads are
 * refused, or read in bounds and written again as they were; its stream comes out in the same
 * frames however it is cut. The first byte chooses. */
#include "fuzz.h"
#include "wire.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void check_inside(lf_slice bytes, lf_slice part)
{
    MUST(part.size == 0 || (part.data >= bytes.data && part.data + part.size <= bytes.data + bytes.size));
}

/* What was read from `head` is written again as `again`. */
static void check_again(lf_slice head, lf_bytes *again)
{
    MUST(!again->failed && lf_slice_equal(lf_slice_of(again->data, again->size), head));
    lf_bytes_fini(again);
}

static void check_error(int rc, luaflow_error *err)
{
    MUST(rc < LUAFLOW_OK && (err->message != NULL || rc == LUAFLOW_ENOMEM));
    luaflow_error_clear(err);
}

static void check_hello(lf_slice head)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int rc = lf_frame_hello_get(head, &err);
    if (rc != LUAFLOW_OK)
        check_error(rc, &err);
}

static void check_task(lf_slice head)
{
    lf_frame_task task = {0};
    if (!lf_frame_task_get(head, &task))
        return;
    const char *name, *value;
    lf_reader r = lf_reader_of(task.env.data, task.env.size);
    for (uint32_t i = 0; i < task.n_env; i++)
        MUST(lf_frame_env_next(&r, &name, &value) && strlen(name) + strlen(value) < head.size);
    r = lf_reader_of(task.who.tags.data, task.who.tags.size);
    for (uint32_t i = 0; i < task.who.n_tags; i++)
        check_inside(head, lf_read_string(&r));
    MUST(!r.bad);
    check_inside(head, task.source);
    check_inside(head, task.description);
    lf_bytes again = {0};
    lf_frame_task_put(&again, &task);
    check_again(head, &again);
}

static void check_words(lf_slice head)
{
    lf_frame_words words;
    if (!lf_frame_words_get(head, &words))
        return;
    check_inside(head, words.name);
    lf_bytes again = {0};
    lf_frame_words_put(&again, words.number, words.name);
    check_again(head, &again);
}

static void check_names(lf_slice head)
{
    lf_frame_words *names;
    uint32_t n;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int rc = lf_frame_names_get(head, &names, &n, &err);
    if (rc != LUAFLOW_OK) {
        check_error(rc, &err);
        return;
    }
    lf_bytes again = {0};
    lf_frame_names_begin(&again, n);
    for (uint32_t i = 0; i < n; i++) {
        check_inside(head, names[i].name);
        lf_frame_names_add(&again, names[i].name, names[i].number);
    }
    free(names);
    check_again(head, &again);
}

static void check_level(lf_slice head)
{
    lf_frame_level level;
    if (!lf_frame_level_get(head, &level))
        return;
    check_inside(head, level.list);
    MUST(strlen(level.step) < head.size);
    lf_list list;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int rc = lf_list_init(&list, level.list, &err);
    if (rc != LUAFLOW_OK)
        check_error(rc, &err);
    else
        lf_list_fini(&list);
}

static void check_failure(lf_slice head)
{
    lf_frame_failure failure;
    if (!lf_frame_failure_get(head, &failure))
        return;
    check_inside(head, failure.message);
    check_inside(head, failure.traceback);
}

static void check_problem(lf_slice head)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    check_error(lf_frame_problem_get(head, &err), &err);
}

static void check_block(lf_slice payload)
{
    lf_reader r = lf_reader_of(payload.data, payload.size);
    lf_given given;
    while (lf_reader_left(&r) > 0 && lf_frame_block_next(&r, &given))
        if (given.found) {
            check_inside(payload, given.bytes);
            lf_bytes again = {0};
            lf_frame_block_add(&again, &given);
            check_again(lf_slice_of(r.at - again.size, again.size), &again);
        }
}

/* ---- the stream ---- */

/* Takes the frames that have come; false once what comes is none. */
static bool take_frames(lf_wire *w, lf_bytes *seen)
{
    lf_frame frame;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int rc;
    while ((rc = lf_wire_next(w, &frame, &err)) == 1) {
        lf_bytes_put_u8(seen, (uint8_t)frame.kind);
        lf_bytes_put_string(seen, frame.head.data, frame.head.size);
        lf_slice payload = frame.payload != NULL ? lf_buf_pending(frame.payload) : (lf_slice){NULL, 0};
        lf_bytes_put_string(seen, payload.data, payload.size);
        if (frame.payload != NULL && payload.size % 2 == 0)
            lf_buf_free(lf_buf_adopt(frame.payload));
        lf_wire_done(w);
    }
    if (rc == 0)
        return true;
    check_error(rc, &err);
    return false;
}

/* Sends `bytes` in pieces of `piece`, and appends what comes out to `seen`. */
static void receive(lf_slice bytes, size_t piece, lf_bytes *seen)
{
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    lf_wire w = {.fd = ends[0]};
    bool goes_on = true;
    for (size_t at = 0; at < bytes.size && goes_on; at += piece) {
        size_t n = bytes.size - at < piece ? bytes.size - at : piece;
        MUST(send(ends[1], bytes.data + at, n, 0) == (ssize_t)n);
        while (goes_on && lf_wire_read(&w) == 1)
            goes_on = take_frames(&w, seen);
    }
    close(ends[1]);
    if (goes_on)
        MUST(lf_wire_read(&w) == -1);
    lf_wire_fini(&w);
    close(ends[0]);
}

static void check_stream(lf_slice bytes)
{
    lf_bytes whole = {0}, cut = {0};
    if (bytes.size == 0)
        return;
    receive(bytes, 1 << 16, &whole);
    receive(bytes, bytes.data[0] % 40 + 1, &cut);
    MUST(!whole.failed && !cut.failed);
    MUST(lf_slice_equal(lf_slice_of(whole.data, whole.size), lf_slice_of(cut.data, cut.size)));
    lf_bytes_fini(&whole);
    lf_bytes_fini(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(lf_slice) = {check_hello, check_task, check_words, check_names, check_level,
                                               check_failure, check_problem, check_block, check_stream};
    if (size == 0 || size > 1 << 15)
        return 0;
    checks[data[0] % (sizeof checks / sizeof *checks)](lf_slice_of(data + 1, size - 1));
    return 0;
}
