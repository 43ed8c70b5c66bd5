/* wire.c -- frames over a stream socket. */
#include "wire.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* At least so much is read at once, and never more room is made for what has not come yet
 * than has come already. */
enum { PIECE = 1 << 16 };

/* Buffers that have grown beyond this are not kept. */
enum { KEEP = 1 << 20 };

void lf_wire_fini(lf_wire *w)
{
    lf_bytes_fini(&w->in);
    lf_bytes_fini(&w->payload);
    lf_bytes_fini(&w->out);
    lf_buf_free(w->tail);
    w->tail = NULL;
}

/* ---- receiving ---- */

static size_t missing_payload(const lf_wire *w)
{
    return (size_t)w->header.payload - lf_buf_pending(&w->payload).size;
}

/* Reads the header of the next frame, if it is there. */
static int open_frame(lf_wire *w, luaflow_error *err)
{
    if (w->in.size - w->at < LF_FRAME_HEADER)
        return 0;
    if (!lf_frame_header_get(w->in.data + w->at, &w->header))
        return lf_fail(err, LUAFLOW_EVALUE, "what comes from the other side is not luaflow's");
    if (w->header.payload > 0 && !lf_buf_start(&w->payload))
        return lf_fail_memory(err);
    w->at += LF_FRAME_HEADER;
    w->has_header = true;
    return 1;
}

/* Copies what has come of the payload out of `in`. */
static void take_payload(lf_wire *w)
{
    size_t from = w->at + w->header.head + w->taken, n = w->in.size - from;
    if (n > missing_payload(w))
        n = missing_payload(w);
    lf_bytes_put(&w->payload, w->in.data + from, n);
    w->taken += n;
}

int lf_wire_next(lf_wire *w, lf_frame *out, luaflow_error *err)
{
    int rc = w->has_header ? 1 : open_frame(w, err);
    if (rc != 1 || w->in.size - w->at < w->header.head)
        return rc == 1 ? 0 : rc;
    *out = (lf_frame){w->header.kind, lf_slice_of(w->in.data + w->at, w->header.head), NULL};
    if (w->header.payload == 0)
        return 1;
    if (missing_payload(w) > 0)
        take_payload(w);
    if (w->payload.failed)
        return lf_fail_memory(err);
    out->payload = &w->payload;
    return missing_payload(w) == 0;
}

void lf_wire_done(lf_wire *w)
{
    if (!w->has_header)
        return;
    w->at += w->header.head + w->taken;
    w->taken = 0;
    w->has_header = false;
    if (w->payload.room > KEEP)
        lf_bytes_fini(&w->payload);
    if (w->at < w->in.size)
        return;
    w->at = 0;
    lf_bytes_clear(&w->in);
    if (w->in.room > KEEP)
        lf_bytes_fini(&w->in);
}

/* Into what the next bytes belong to: straight into a payload of which the first part came. */
static lf_bytes *receiver(lf_wire *w, size_t *wanted)
{
    *wanted = PIECE;
    bool in_payload = w->has_header && w->header.payload > 0 && w->in.size - w->at >= w->header.head;
    if (!in_payload || missing_payload(w) < PIECE)
        return &w->in;
    *wanted = w->payload.size > PIECE ? w->payload.size : PIECE;
    if (*wanted > missing_payload(w))
        *wanted = missing_payload(w);
    return &w->payload;
}

int lf_wire_read(lf_wire *w)
{
    if (w->at > PIECE && w->in.size > w->at) { /* a long row of small frames */
        memmove(w->in.data, w->in.data + w->at, w->in.size - w->at);
        w->in.size -= w->at;
        w->at = 0;
    }
    size_t wanted;
    lf_bytes *to = receiver(w, &wanted);
    uint8_t *room = lf_bytes_reserve(to, wanted);
    if (room == NULL)
        return -1;
    ssize_t n;
    do
        n = recv(w->fd, room, wanted, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    to->size += (size_t)n;
    return n > 0 ? 1 : -1;
}

/* ---- sending ---- */

static void put_frame(lf_wire *w, lf_frame_kind kind, lf_slice head, size_t payload)
{
    uint8_t header[LF_FRAME_HEADER];
    assert(w->tail == NULL);
    w->out.failed = w->out.failed || head.size > LF_FRAME_HEAD_MAX;
    lf_frame_header_put(header, &(lf_frame_header){kind, (uint32_t)head.size, payload});
    lf_bytes_put(&w->out, header, sizeof header);
    lf_bytes_put(&w->out, head.data, head.size);
}

bool lf_wire_put(lf_wire *w, lf_frame_kind kind, lf_slice head, lf_slice payload)
{
    put_frame(w, kind, head, payload.size);
    lf_bytes_put(&w->out, payload.data, payload.size);
    return !w->out.failed;
}

bool lf_wire_put_large(lf_wire *w, lf_frame_kind kind, lf_slice head, lf_buf *payload)
{
    put_frame(w, kind, head, payload->size);
    w->tail = payload;
    w->tail_sent = 0;
    return !w->out.failed;
}

bool lf_wire_is_sent(const lf_wire *w) { return w->sent == w->out.size && w->tail == NULL; }

static void forget_sent(lf_wire *w)
{
    w->sent = 0;
    lf_bytes_clear(&w->out);
    if (w->out.room > KEEP)
        lf_bytes_fini(&w->out);
    lf_buf_free(w->tail);
    w->tail = NULL;
}

/* Notes that `n` more bytes are gone. */
static void advance(lf_wire *w, size_t n)
{
    size_t left = w->out.size - w->sent;
    size_t first = n < left ? n : left;
    w->sent += first;
    w->tail_sent += n - first;
    if (w->sent == w->out.size && (w->tail == NULL || w->tail_sent == w->tail->size))
        forget_sent(w);
}

bool lf_wire_flush(lf_wire *w)
{
    while (!lf_wire_is_sent(w)) {
        struct iovec parts[2] = {{w->out.data + w->sent, w->out.size - w->sent}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1};
        if (w->tail != NULL) {
            parts[1] = (struct iovec){w->tail->data + w->tail_sent, w->tail->size - w->tail_sent};
            message.msg_iovlen = 2;
        }
        ssize_t n = sendmsg(w->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        if (n < 0)
            forget_sent(w);
        else
            advance(w, (size_t)n);
    }
    return true;
}
