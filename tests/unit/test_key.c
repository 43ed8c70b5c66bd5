/* test_key.c -- a key is the same on every machine and for ever: stores are full of them. */
#include "key.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static void check_key(lf_key key, const char *hex)
{
    char text[33];
    for (size_t i = 0; i < sizeof key.bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", key.bytes[i]);
    CHECK_STR(text, hex);
}

/* The caller frees. */
static uint8_t *sample(size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7);
    return bytes;
}

TEST(keys_are_what_they_always_were)
{
    uint8_t *bytes = sample(100000);
    check_key(lf_key_of(0, "", 0), "99aa06d3014798d86001c324468d497f");
    check_key(lf_key_of(1, "luaflow", 7), "370b4776b3047f3202b34030bc1214c3");
    check_key(lf_key_of(1, bytes, 100000), "81222869ea8a55084f47f02eecfcedef");
    free(bytes);
}

TEST(checksums_and_hashes_are_what_they_always_were)
{
    CHECK(lf_checksum("luaflow", 7) == 0xca7c9307);
    CHECK(lf_hash(42, "luaflow", 7) == 0xcfb03286f05c0748);
}

TEST(equal_content_has_equal_keys)
{
    char one[] = "content", two[] = "content";
    lf_key a = lf_key_of(1, one, 7), b = lf_key_of(1, two, 7);
    CHECK(lf_key_equal(&a, &b));
}

TEST(a_flipped_bit_gives_another_key_and_checksum)
{
    uint8_t *bytes = sample(300);
    lf_key before = lf_key_of(1, bytes, 300);
    uint32_t sum = lf_checksum(bytes, 300);
    for (size_t bit = 0; bit < 300 * 8; bit += 37) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        lf_key after = lf_key_of(1, bytes, 300);
        CHECK(!lf_key_equal(&before, &after));
        CHECK(lf_checksum(bytes, 300) != sum);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(bytes);
}

TEST(the_same_bytes_in_another_format_have_another_key)
{
    lf_key one = lf_key_of(1, "content", 7), two = lf_key_of(2, "content", 7);
    CHECK(!lf_key_equal(&one, &two));
}

TEST(the_same_bytes_under_another_seed_have_another_hash)
{
    CHECK(lf_hash(1, "train[2]", 8) != lf_hash(2, "train[2]", 8));
    CHECK(lf_hash(1, "train[2]", 8) != lf_hash(1, "train[3]", 8));
}

TEST(no_content_needs_no_address)
{
    lf_key none = lf_key_of(1, NULL, 0), empty = lf_key_of(1, "", 0);
    CHECK(lf_key_equal(&none, &empty));
    CHECK(lf_checksum(NULL, 0) == lf_checksum("", 0));
    CHECK(lf_hash(3, NULL, 0) == lf_hash(3, "", 0));
}

TEST(content_in_pieces_has_the_key_of_the_whole)
{
    enum { SIZE = 300000 };
    static const size_t pieces[] = {1, 63, 64, 240, 241, 1024, 65536, SIZE};
    uint8_t *bytes = sample(SIZE);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        lf_key whole = lf_key_of(1, bytes, SIZE);
        lf_keying *k = lf_keying_new(1);
        CHECK(k != NULL);
        for (size_t at = 0; at < SIZE; at += pieces[i])
            lf_keying_add(k, bytes + at, pieces[i] < SIZE - at ? pieces[i] : SIZE - at);
        lf_key joined = lf_keying_end(k);
        CHECK(lf_key_equal(&whole, &joined));
    }
    free(bytes);
}

TEST(pieces_of_no_length_change_nothing)
{
    lf_keying *k = lf_keying_new(1);
    CHECK(k != NULL);
    lf_keying_add(k, "lua", 3);
    lf_keying_add(k, NULL, 0);
    lf_keying_add(k, "flow", 4);
    check_key(lf_keying_end(k), "370b4776b3047f3202b34030bc1214c3");

    lf_keying *nothing = lf_keying_new(0);
    CHECK(nothing != NULL);
    check_key(lf_keying_end(nothing), "99aa06d3014798d86001c324468d497f");
}
