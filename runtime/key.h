/* key.h -- what content is called: XXH3-128 of its bytes; and checksums of
 * records. The one room that knows xxHash. Any thread. */
#ifndef LF_KEY_H
#define LF_KEY_H

#include "bytes.h"

/* Sixteen bytes, the canonical (big-endian) form of XXH3-128. */
typedef struct lf_key {
    uint8_t bytes[16];
} lf_key;

static inline bool lf_key_equal(const lf_key *a, const lf_key *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* The key of `size` bytes of content in format `format`: XXH3-128 over the
 * format byte and the bytes (XXH3's seed carries the format, so that the bytes
 * need not be copied). */
lf_key lf_key_of(uint8_t format, const void *data, size_t size);

/* The same for content that arrives in pieces. NULL when out of memory. */
typedef struct lf_keying lf_keying;
lf_keying *lf_keying_new(uint8_t format);
void lf_keying_add(lf_keying *k, const void *data, size_t size);
lf_key lf_keying_end(lf_keying *k); /* frees `k` */

/* "0.8.1": of xxHash. */
const char *lf_key_library(void);

/* A 32-bit checksum of a record; finds damage, proves nothing against people. */
uint32_t lf_checksum(const void *data, size_t size);

/* A 64-bit hash of bytes under a seed: for tables, and for the seeds of tasks. */
uint64_t lf_hash(uint64_t seed, const void *data, size_t size);

#endif
