/* wire.h -- frames over a stream socket, either way, blocking or not. Knows nothing of what
 * they mean. One thread at a time. */
#ifndef LF_WIRE_H
#define LF_WIRE_H

#include "frame.h"

/* Zeroed but for `fd`, which it borrows, it is ready. */
typedef struct lf_wire {
    int fd;
    /* private */
    lf_bytes in;             /* what came and was not let go of */
    size_t at;               /* where in it the frame begins, behind its header */
    bool has_header;
    lf_frame_header header;
    size_t taken;            /* of what follows its head, as payload */
    lf_bytes payload;        /* of the frame; begun with lf_buf_start */
    lf_bytes out;
    size_t sent;
    lf_buf *tail;            /* goes after `out` */
    size_t tail_sent;
} lf_wire;

void lf_wire_fini(lf_wire *w);

typedef struct lf_frame {
    lf_frame_kind kind;
    lf_slice head;
    lf_bytes *payload;       /* begun with lf_buf_start, may be adopted; NULL when empty */
} lf_frame;

/* Gives the next frame: 1, borrowed until lf_wire_done; 0, more must be read first; or
 * LUAFLOW_EVALUE (no frames come here) or LUAFLOW_ENOMEM. */
int lf_wire_next(lf_wire *w, lf_frame *out, luaflow_error *err);
void lf_wire_done(lf_wire *w);

/* Reads once. 1; 0 when nothing is there (of a socket that does not block); -1 at the end. */
int lf_wire_read(lf_wire *w);

/* Appends a frame to what is to be sent; false when out of memory. The second takes `payload`,
 * and nothing may follow it until all is sent. */
bool lf_wire_put(lf_wire *w, lf_frame_kind kind, lf_slice head, lf_slice payload);
bool lf_wire_put_large(lf_wire *w, lf_frame_kind kind, lf_slice head, lf_buf *payload);

bool lf_wire_is_sent(const lf_wire *w);
/* Sends. False when the rest must wait (of a socket that does not block). What nobody takes any
 * more is dropped: the end of what comes will tell. */
bool lf_wire_flush(lf_wire *w);

#endif
