/* collision.h -- values that share a key. */
#ifndef UNIT_COLLISION_H
#define UNIT_COLLISION_H

#include "key.h"

#include <stdlib.h>

/* One of `size` bytes (more than 240) that has the key of every other `variant`; the caller
 * frees its data. XXH3 multiplies the halves of (lane ^ secret), so where the low half is
 * zero the high one counts only in a sum over the stripes, and what one stripe has more
 * another may have less. */
static inline lf_slice colliding(size_t size, uint32_t variant)
{
    uint8_t *data = malloc(size);
    memset(data, 'x', size);
    memcpy(data, "\xb8\xfe\x6c\x39", 4);
    memcpy(data + 64, "\x7c\x01\x81\x2c", 4);
    uint32_t up = 0x10000000 + variant, down = 0x10000000 - variant;
    memcpy(data + 4, &up, 4);
    memcpy(data + 68, &down, 4);
    return lf_slice_of(data, size);
}

#endif
