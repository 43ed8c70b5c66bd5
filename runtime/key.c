/* key.c -- what content is called: XXH3-128 of its bytes; and checksums. */
#include "key.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

struct lf_keying {
    XXH3_state_t state;
};

static lf_key key_from(XXH128_hash_t h)
{
    XXH128_canonical_t canonical;
    lf_key key;
    XXH128_canonicalFromHash(&canonical, h);
    memcpy(key.bytes, canonical.digest, sizeof key.bytes);
    return key;
}

lf_key lf_key_of(uint8_t format, const void *data, size_t size)
{
    return key_from(XXH3_128bits_withSeed(data, size, format));
}

lf_keying *lf_keying_new(uint8_t format)
{
    lf_keying *k = (lf_keying *)XXH3_createState(); /* aligned as XXH3 wants it */
    if (k != NULL)
        XXH3_128bits_reset_withSeed(&k->state, format);
    return k;
}

void lf_keying_add(lf_keying *k, const void *data, size_t size)
{
    XXH3_128bits_update(&k->state, data, size);
}

lf_key lf_keying_end(lf_keying *k)
{
    lf_key key = key_from(XXH3_128bits_digest(&k->state));
    XXH3_freeState(&k->state);
    return key;
}

uint32_t lf_checksum(const void *data, size_t size) { return (uint32_t)XXH3_64bits(data, size); }

uint64_t lf_hash(uint64_t seed, const void *data, size_t size)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *lf_key_library(void)
{
    return TEXT(XXH_VERSION_MAJOR) "." TEXT(XXH_VERSION_MINOR) "." TEXT(XXH_VERSION_RELEASE);
}
