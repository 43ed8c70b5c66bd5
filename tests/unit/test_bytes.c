/* test_bytes.c -- bytes are written as they were given, foreign ones are read no further
 * than they go, and a counted buffer lives as long as its last owner. */
#include "bytes.h"
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>

static void check_bytes(const lf_bytes *b, const char *wanted, size_t size)
{
    CHECK(!b->failed);
    CHECK_INT(b->size, size);
    CHECK_MEM(b->data, wanted, size);
}
#define CHECK_BYTES(b, literal) check_bytes(b, literal, sizeof(literal) - 1)
#define READ(literal) lf_reader_of(literal, sizeof(literal) - 1)

/* ---- writing ---- */

TEST(zeroed_memory_is_an_empty_one)
{
    lf_bytes b = {0};
    lf_bytes_put(&b, NULL, 0);
    CHECK_INT(b.size, 0);
    CHECK(!b.failed);
    lf_bytes_fini(&b);
    lf_bytes_fini(&b);
}

TEST(numbers_are_written_highest_byte_first)
{
    lf_bytes b = {0};
    lf_bytes_put_u8(&b, 0xfe);
    lf_bytes_put_u32be(&b, 0x01020304);
    lf_bytes_put_u64be(&b, 0x05060708090a0b0c);
    CHECK_BYTES(&b, "\xfe\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c");
    lf_bytes_fini(&b);
}

TEST(a_string_is_its_length_and_its_bytes)
{
    lf_bytes b = {0};
    lf_bytes_put_string(&b, "a\0b", 3);
    lf_bytes_put_string(&b, NULL, 0);
    CHECK_BYTES(&b, "\x03"
                    "a\0b"
                    "\x00");
    lf_bytes_fini(&b);
}

TEST(many_small_appends_arrive_in_order)
{
    lf_bytes b = {0};
    for (uint32_t i = 0; i < 10000; i++)
        lf_bytes_put_u32be(&b, i);
    CHECK_INT(b.size, 40000);
    lf_reader r = lf_reader_of(b.data, b.size);
    for (uint32_t i = 0; i < 10000; i++)
        CHECK_INT(lf_read_u32be(&r), i);
    CHECK_INT(lf_reader_left(&r), 0);
    lf_bytes_fini(&b);
}

TEST(making_room_does_not_change_the_size)
{
    lf_bytes b = {0};
    uint8_t *to = lf_bytes_reserve(&b, 1000);
    CHECK(to != NULL);
    memset(to, 'x', 1000);
    CHECK_INT(b.size, 0);
    CHECK(lf_bytes_reserve(&b, 1000) == to);
    lf_bytes_fini(&b);
}

TEST(formatted_text_is_appended_without_its_nul)
{
    lf_bytes b = {0};
    lf_bytes_printf(&b, "%s[%d]", "eval", 2);
    lf_bytes_printf(&b, "%s", "");
    lf_bytes_printf(&b, "[%d]", 1);
    CHECK_BYTES(&b, "eval[2][1]");
    lf_bytes_fini(&b);
}

TEST(the_nul_of_a_text_does_not_count)
{
    lf_bytes b = {0};
    CHECK_STR(lf_bytes_cstr(&b), "");
    lf_bytes_put(&b, "ab", 2);
    CHECK_STR(lf_bytes_cstr(&b), "ab");
    lf_bytes_put_u8(&b, 'c');
    CHECK_STR(lf_bytes_cstr(&b), "abc");
    CHECK_INT(b.size, 3);
    lf_bytes_fini(&b);
}

TEST(once_memory_ran_out_nothing_more_is_appended)
{
    lf_bytes b = {0};
    lf_bytes_put(&b, "kept", 4);
    CHECK(lf_bytes_grow(&b, SIZE_MAX) == NULL);
    CHECK(b.failed);
    lf_bytes_put(&b, "x", 1);
    lf_bytes_put_u8(&b, 1);
    lf_bytes_put_varint(&b, 1);
    lf_bytes_put_string(&b, "x", 1);
    lf_bytes_printf(&b, "%d", 1);
    CHECK(lf_bytes_cstr(&b) == NULL);
    CHECK(b.failed);
    CHECK_INT(b.size, 4);
    CHECK_MEM(b.data, "kept", 4);

    lf_bytes_clear(&b);
    lf_bytes_put(&b, "again", 5);
    CHECK_BYTES(&b, "again");
    lf_bytes_fini(&b);
}

/* ---- varints ---- */

TEST(a_varint_takes_a_byte_for_every_seven_bits)
{
    lf_bytes b = {0};
    lf_bytes_put_varint(&b, 0);
    lf_bytes_put_varint(&b, 127);
    lf_bytes_put_varint(&b, 128);
    lf_bytes_put_varint(&b, 300);
    CHECK_BYTES(&b, "\x00\x7f\x80\x01\xac\x02");
    lf_bytes_clear(&b);
    lf_bytes_put_varint(&b, UINT64_MAX);
    CHECK_BYTES(&b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    lf_bytes_fini(&b);
}

TEST(a_varint_is_read_as_it_was_written)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t power = UINT64_C(1) << bit;
        uint64_t values[] = {power - 1, power, power + 1};
        for (size_t i = 0; i < 3; i++) {
            lf_bytes b = {0};
            lf_bytes_put_varint(&b, values[i]);
            lf_reader r = lf_reader_of(b.data, b.size);
            CHECK(lf_read_varint(&r) == values[i]);
            CHECK(!r.bad);
            CHECK_INT(lf_reader_left(&r), 0);
            lf_bytes_fini(&b);
        }
    }
}

static void check_refused(lf_reader r)
{
    CHECK_INT(lf_read_varint(&r), 0);
    CHECK(r.bad);
    CHECK_INT(lf_reader_left(&r), 0);
}

TEST(an_overlong_varint_is_refused)
{
    check_refused(READ("\x80\x00"));
    check_refused(READ("\x81\x00"));
    check_refused(READ("\xff\x80\x00"));
    check_refused(READ("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"));
}

TEST(a_varint_beyond_64_bits_is_refused)
{
    check_refused(READ("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));
    check_refused(READ("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
    check_refused(READ("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01"));
    check_refused(READ("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
}

TEST(a_varint_cut_short_is_refused)
{
    check_refused(READ(""));
    check_refused(READ("\x80"));
    check_refused(READ("\xff\xff\xff"));
}

/* ---- reading ---- */

TEST(a_reader_gives_back_what_was_written)
{
    lf_bytes b = {0};
    lf_bytes_put_u8(&b, 0x80);
    lf_bytes_put_u32be(&b, 0xfffefdfc);
    lf_bytes_put_u64be(&b, 0xfffefdfcfbfaf9f8);
    lf_bytes_put_string(&b, "title", 5);
    lf_bytes_put_string(&b, "", 0);

    lf_reader r = lf_reader_of(b.data, b.size);
    CHECK_INT(lf_read_u8(&r), 0x80);
    CHECK(lf_read_u32be(&r) == 0xfffefdfc);
    CHECK(lf_read_u64be(&r) == 0xfffefdfcfbfaf9f8);
    CHECK(lf_slice_equal(lf_read_string(&r), lf_slice_of("title", 5)));
    CHECK_INT(lf_read_string(&r).size, 0);
    CHECK(!r.bad);
    CHECK_INT(lf_reader_left(&r), 0);
    lf_bytes_fini(&b);
}

TEST(what_is_read_is_borrowed_not_copied)
{
    static const char text[] = "abcdef";
    lf_reader r = READ(text);
    lf_read_u8(&r);
    lf_slice s = lf_read(&r, 3);
    CHECK(s.data == (const uint8_t *)text + 1);
    CHECK_INT(s.size, 3);
    CHECK_INT(lf_reader_left(&r), 2);
}

TEST(reading_nothing_is_never_bad)
{
    lf_reader r = READ("");
    CHECK_INT(lf_read(&r, 0).size, 0);
    CHECK(!r.bad);
}

TEST(what_does_not_fit_is_bad_and_ends_the_reading)
{
    lf_reader r = READ("\x01\x02\x03");
    CHECK_INT(lf_read_u32be(&r), 0);
    CHECK(r.bad);
    CHECK_INT(lf_reader_left(&r), 0);
    CHECK_INT(lf_read_u8(&r), 0);
    CHECK_INT(lf_read_u64be(&r), 0);
    CHECK_INT(lf_read_varint(&r), 0);
    CHECK_INT(lf_read_string(&r).size, 0);
    CHECK(lf_read(&r, 0).data == NULL);
    CHECK(r.bad);
}

TEST(half_a_number_is_bad)
{
    lf_reader r = READ("\x01\x02\x03\x04\x05\x06\x07");
    lf_read_u64be(&r);
    CHECK(r.bad);
    CHECK_INT(lf_reader_left(&r), 0);
}

TEST(a_string_longer_than_what_is_left_is_bad)
{
    lf_reader one_short = READ("\x03"
                               "ab");
    CHECK_INT(lf_read_string(&one_short).size, 0);
    CHECK(one_short.bad);

    lf_reader huge = READ("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                          "ab");
    CHECK_INT(lf_read_string(&huge).size, 0);
    CHECK(huge.bad);
}

TEST(slices_are_equal_when_their_bytes_are)
{
    CHECK(lf_slice_equal(lf_slice_of("abc", 3), lf_slice_of("abcd", 3)));
    CHECK(!lf_slice_equal(lf_slice_of("abc", 3), lf_slice_of("abcd", 4)));
    CHECK(!lf_slice_equal(lf_slice_of("a\0b", 3), lf_slice_of("a\0c", 3)));
    CHECK(lf_slice_equal(lf_slice_of(NULL, 0), lf_slice_of("", 0)));
}

/* ---- counted buffers ---- */

TEST(a_copied_buffer_holds_the_bytes)
{
    char text[] = "shared";
    lf_buf *buf = lf_buf_copy(text, 6);
    text[0] = 'x';
    CHECK(lf_slice_equal(lf_buf_slice(buf), lf_slice_of("shared", 6)));
    lf_buf_free(buf);
}

TEST(a_buffer_may_be_empty_and_none_at_all)
{
    lf_buf *buf = lf_buf_copy(NULL, 0);
    CHECK(buf != NULL);
    CHECK_INT(lf_buf_slice(buf).size, 0);
    lf_buf_free(buf);
    CHECK(lf_buf_ref(NULL) == NULL);
    CHECK(lf_buf_slice(NULL).data == NULL);
    CHECK_INT(lf_buf_slice(NULL).size, 0);
    lf_buf_free(NULL);
}

TEST(a_buffer_of_an_impossible_size_is_refused)
{
    CHECK(lf_buf_new(SIZE_MAX) == NULL);
}

TEST(a_buffer_lives_until_its_last_owner_lets_go)
{
    lf_buf *buf = lf_buf_copy("abc", 3);
    CHECK(lf_buf_ref(buf) == buf);
    lf_buf_free(buf);
    CHECK_MEM(buf->data, "abc", 3); /* the sanitizer's turn, had it been freed */
    lf_buf_free(buf);
}

TEST(bytes_in_two_places_are_compared_as_one)
{
    lf_parts p = {lf_slice_of("abc", 3), lf_slice_of("defg", 4)};
    CHECK_INT(lf_parts_size(p), 7);
    for (size_t from = 0; from <= 7; from++)
        for (size_t to = from; to <= 7; to++) {
            char text[] = "abcdefg";
            CHECK(lf_parts_have(p, from, lf_slice_of(text + from, to - from)));
            for (size_t at = from; at < to; at++) {
                text[at]++;
                CHECK(!lf_parts_have(p, from, lf_slice_of(text + from, to - from)));
                text[at]--;
            }
        }
    CHECK(lf_parts_have(lf_parts_of(lf_slice_of("xyz", 3)), 1, lf_slice_of("yz", 2)));
}

TEST(a_buffer_of_one_owner_becomes_plain_memory)
{
    static const size_t sizes[] = {0, 1, 100, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        lf_buf *buf = lf_buf_new(sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++)
            buf->data[at] = (uint8_t)(at * 7);
        uint8_t *plain = lf_buf_release(buf);
        for (size_t at = 0; at < sizes[i]; at++)
            CHECK_INT(plain[at], (uint8_t)(at * 7));
        free(plain);
    }
}

static void *own_for_a_while(void *payload)
{
    lf_buf *buf = payload;
    for (int i = 0; i < 2000; i++) {
        lf_buf *mine = lf_buf_ref(buf);
        if (mine->data[0] != 'x')
            return NULL;
        lf_buf_free(mine);
    }
    lf_buf_free(buf);
    return payload;
}

TEST(owners_on_several_threads_need_no_lock)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    lf_buf *buf = lf_buf_copy("x", 1);
    for (int i = 0; i < THREADS; i++) {
        lf_buf_ref(buf);
        CHECK_INT(pthread_create(&threads[i], NULL, own_for_a_while, buf), 0);
    }
    lf_buf_free(buf);
    for (int i = 0; i < THREADS; i++) {
        void *saw_the_byte;
        CHECK_INT(pthread_join(threads[i], &saw_the_byte), 0);
        CHECK(saw_the_byte != NULL);
    }
}
