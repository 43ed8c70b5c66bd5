/* collide.c -- makes values that differ and share an XXH3-128 key, and says the key.
 *
 *   collide DIR COUNT   writes the files DIR/1 … DIR/COUNT
 *
 * Each is a string that is stored as 512 bytes, with the three before it that say what it is.
 * XXH3 adds up, over stripes of 64 bytes, products of the halves of (lane ^ secret): where the
 * low half of a lane is that of the secret, its high half counts in a sum alone, and what one
 * stripe has more another may have less. So no step is needed to find one: they are as many as
 * one wants. */
#include "key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STORED = 512, HEAD = 3, LANE = 8, STRIPE = 64, MOST = 1000000 };

static void put_u32(uint8_t *to, uint32_t n)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(n >> (8 * i));
}

static void fill(uint8_t bytes[STORED], uint32_t variant)
{
    memset(bytes, 'x', STORED);
    memcpy(bytes, "\xc5\x01\xfd", HEAD); /* MessagePack: 509 bytes that are not UTF-8 */
    memcpy(bytes + LANE, "\x7c\x01\x81\x2c", 4);
    put_u32(bytes + LANE + 4, 0x10000000 + variant);
    memcpy(bytes + STRIPE + LANE, "\xde\xd4\x6d\xe9", 4);
    put_u32(bytes + STRIPE + LANE + 4, 0x10000000 - variant);
}

static bool save(const char *dir, uint32_t number, const uint8_t bytes[STORED])
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%u", dir, number) >= sizeof path)
        return false;
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return false;
    bool good = fwrite(bytes + HEAD, 1, STORED - HEAD, file) == STORED - HEAD;
    return fclose(file) == 0 && good;
}

int main(int argc, char **argv)
{
    unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (count == 0 || count > MOST) {
        fprintf(stderr, "collide DIR COUNT, which is at most %d\n", MOST);
        return 2;
    }
    lf_key first = {{0}};
    for (uint32_t i = 1; i <= count; i++) {
        uint8_t bytes[STORED];
        fill(bytes, i);
        lf_key key = lf_key_of(0, bytes, sizeof bytes);
        if (i == 1)
            first = key;
        if (!lf_key_equal(&key, &first)) {
            fprintf(stderr, "collide: number %u has another key\n", i);
            return 1;
        }
        if (!save(argv[1], i, bytes)) {
            fprintf(stderr, "collide: cannot write to %s\n", argv[1]);
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof first.bytes; i++)
        printf("%02x", first.bytes[i]);
    putchar('\n');
    return 0;
}
