/* test_wire.c -- frames between the two ends of a socket, in whatever pieces they come. */
#include "unit.h"
#include "wire.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static lf_slice text(const char *s) { return lf_slice_of(s, strlen(s)); }

static lf_wire a, b;

static void begin(void)
{
    int pair[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    a = (lf_wire){.fd = pair[0]};
    b = (lf_wire){.fd = pair[1]};
}

static void end(void)
{
    lf_wire_fini(&a);
    lf_wire_fini(&b);
    close(a.fd);
    close(b.fd);
}

/* The next frame at `b`, while `a` sends what it still has. */
static lf_frame take(void)
{
    lf_frame f;
    int rc;
    while ((rc = lf_wire_next(&b, &f, NULL)) == 0) {
        lf_wire_flush(&a);
        CHECK(lf_wire_read(&b) >= 0);
    }
    CHECK_INT(rc, 1);
    return f;
}

static void check_frame(lf_frame_kind kind, const char *head, const char *payload)
{
    lf_frame f = take();
    CHECK_INT(f.kind, kind);
    CHECK(lf_slice_equal(f.head, text(head)));
    CHECK((f.payload != NULL) == (*payload != '\0'));
    if (f.payload != NULL)
        CHECK(lf_slice_equal(lf_buf_pending(f.payload), text(payload)));
    lf_wire_done(&b);
}

TEST(frames_arrive_in_order_and_whole)
{
    begin();
    CHECK(lf_wire_put(&a, LF_FRAME_KEEP, text("x"), text("value")));
    CHECK(lf_wire_put(&a, LF_FRAME_BEGIN, text(""), text("")));
    CHECK(lf_wire_put(&a, LF_FRAME_KEEP, text(""), text("another")));
    CHECK(!lf_wire_is_sent(&a));
    CHECK(lf_wire_flush(&a));
    CHECK(lf_wire_is_sent(&a));
    check_frame(LF_FRAME_KEEP, "x", "value");
    check_frame(LF_FRAME_BEGIN, "", "");
    check_frame(LF_FRAME_KEEP, "", "another");
    lf_frame f;
    CHECK_INT(lf_wire_next(&b, &f, NULL), 0);
    CHECK_INT(lf_wire_read(&b), 0);
    end();
}

TEST(frames_may_come_byte_by_byte)
{
    uint8_t bytes[LF_FRAME_HEADER + 6];
    begin();
    lf_frame_header_put(bytes, &(lf_frame_header){LF_FRAME_KEEP, 2, 4});
    memcpy(bytes + LF_FRAME_HEADER, "xxabcd", 6);
    for (int i = 0; i < 3; i++) {
        lf_frame f;
        for (size_t n = 0; n < sizeof bytes; n++) {
            CHECK_INT(lf_wire_next(&b, &f, NULL), 0);
            CHECK_INT(send(a.fd, bytes + n, 1, 0), 1);
            CHECK_INT(lf_wire_read(&b), 1);
        }
        check_frame(LF_FRAME_KEEP, "xx", "abcd");
    }
    end();
}

TEST(large_payloads_go_through_a_small_socket)
{
    enum { SIZE = 10000000 };
    begin();
    lf_buf *buf = lf_buf_new(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        buf->data[i] = (uint8_t)(i * 7 + i / 256);
    lf_buf *kept = lf_buf_ref(buf);
    CHECK(lf_wire_put(&a, LF_FRAME_BEGIN, text(""), text("")));
    CHECK(lf_wire_put_large(&a, LF_FRAME_ANSWER, text("head"), buf));
    CHECK(!lf_wire_flush(&a));
    check_frame(LF_FRAME_BEGIN, "", "");
    lf_frame f = take();
    CHECK(lf_slice_equal(f.head, text("head")));
    CHECK(lf_slice_equal(lf_buf_pending(f.payload), lf_buf_slice(kept)));
    lf_buf *adopted = lf_buf_adopt(f.payload);
    lf_wire_done(&b);
    CHECK_INT(adopted->size, SIZE);
    lf_buf_free(adopted);
    CHECK(lf_wire_is_sent(&a));
    CHECK_INT(atomic_load(&kept->refs), 1);
    lf_buf_free(kept);
    CHECK(lf_wire_put(&a, LF_FRAME_KEEP, text("after"), text("it")));
    check_frame(LF_FRAME_KEEP, "after", "it");
    end();
}

TEST(many_small_frames_go_through)
{
    begin();
    for (int i = 0; i < 100000; i++)
        CHECK(lf_wire_put(&a, LF_FRAME_KEEP, text("name"), text("a value")));
    for (int i = 0; i < 100000; i++)
        check_frame(LF_FRAME_KEEP, "name", "a value");
    CHECK(lf_wire_is_sent(&a));
    end();
}

TEST(what_is_no_frame_is_refused)
{
    lf_frame f;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    begin();
    CHECK_INT(send(a.fd, "usage: luaflow COMMAND [options]", 32, 0), 32);
    CHECK_INT(lf_wire_read(&b), 1);
    CHECK_INT(lf_wire_next(&b, &f, &err), LUAFLOW_EVALUE);
    luaflow_error_clear(&err);
    end();
}

TEST(a_promise_of_much_takes_no_memory)
{
    uint8_t bytes[LF_FRAME_HEADER];
    lf_frame f;
    begin();
    lf_frame_header_put(bytes, &(lf_frame_header){LF_FRAME_KEEP, 0, SIZE_MAX / 4});
    CHECK_INT(send(a.fd, bytes, sizeof bytes, 0), sizeof bytes);
    CHECK_INT(lf_wire_read(&b), 1);
    CHECK_INT(lf_wire_next(&b, &f, NULL), 0);
    CHECK_INT(lf_wire_read(&b), 0);
    CHECK(b.payload.room < 1 << 20);
    end();
}

TEST(the_end_is_told_behind_all_that_was_said)
{
    lf_frame f;
    begin();
    CHECK(lf_wire_put(&a, LF_FRAME_SUCCESS, text(""), text("")));
    CHECK(lf_wire_flush(&a));
    shutdown(a.fd, SHUT_RDWR);
    check_frame(LF_FRAME_SUCCESS, "", "");
    CHECK_INT(lf_wire_read(&b), -1);
    CHECK_INT(lf_wire_next(&b, &f, NULL), 0);
    CHECK(lf_wire_put(&b, LF_FRAME_TASK, text("nobody listens"), text("")));
    CHECK(lf_wire_flush(&b));
    CHECK(lf_wire_is_sent(&b));
    end();
}
