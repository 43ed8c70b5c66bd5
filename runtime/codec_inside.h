/* codec_inside.h -- what the files of the codec share. Only they include it. */
#ifndef LF_CODEC_INSIDE_H
#define LF_CODEC_INSIDE_H

#include "codec.h"

#include <math.h>

enum { LF_EXT_INT64 = 1, LF_EXT_UINT64 = 2, LF_EXT_CLASS = 3, LF_EXT_ARRAY = 16 };

/* Elements of FFI arrays. */
enum {
    LF_ELEMENT_INT64 = 6,
    LF_ELEMENT_UINT64 = 7,
    LF_ELEMENT_FLOAT = 8,
    LF_ELEMENT_DOUBLE = 9,
    LF_ELEMENTS
};
extern const uint8_t lf_element_size[LF_ELEMENTS];
extern const char *const lf_element_name[LF_ELEMENTS];

static inline bool lf_is_array_ext(unsigned ext)
{
    return ext >= LF_EXT_ARRAY && ext < LF_EXT_ARRAY + LF_ELEMENTS;
}

#define LF_NAN_DOUBLE UINT64_C(0x7ff8000000000000) /* the one NaN */
#define LF_WHOLE_MAX 9007199254740992.0 /* 2^53 */

/* Whether `n` is written as an integer. */
static inline bool lf_is_integer(double n)
{
    return n >= -LF_WHOLE_MAX && n <= LF_WHOLE_MAX && n == (double)(int64_t)n &&
           !(n == 0 && signbit(n));
}

/* Strict: no surrogates, nothing overlong, nothing past U+10FFFF. */
bool lf_is_utf8_beyond_ascii(lf_slice s);

/* Reads short strings whole, and the end of longer ones once more with what is before it. */
static inline bool lf_is_ascii(const uint8_t *s, size_t size)
{
    uint64_t all = 0, eight;
    if (size >= sizeof eight) {
        for (size_t at = 0; at < size - sizeof eight; at += sizeof eight) {
            memcpy(&eight, s + at, sizeof eight);
            all |= eight;
        }
        memcpy(&eight, s + size - sizeof eight, sizeof eight);
        all |= eight;
    } else if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, s, sizeof first);
        memcpy(&last, s + size - sizeof last, sizeof last);
        all = first | last;
    } else if (size > 0) {
        all = s[0] | s[size / 2] | s[size - 1];
    }
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

static inline bool lf_is_utf8(lf_slice s)
{
    return lf_is_ascii(s.data, s.size) || lf_is_utf8_beyond_ascii(s);
}

/* Copies elements of an FFI array, every NaN as the one NaN. */
void lf_copy_elements(unsigned element, uint8_t *to, const uint8_t *from, size_t size);

/* Whether every NaN among them is the one NaN. */
bool lf_nans_are_settled(unsigned element, lf_slice elements);

/* The first eight bytes of an encoded key as a number that orders as they do, a shorter key
 * having zeros behind it. */
static inline uint64_t lf_key_order(lf_slice key)
{
    const uint8_t *k = key.data;
    size_t size = key.size;
    if (size >= 8) {
        uint64_t eight;
        memcpy(&eight, k, sizeof eight);
        return __builtin_bswap64(eight);
    }
    if (size >= 4) { /* the two halves may overlap: the same bytes in the same place */
        uint32_t first, last;
        memcpy(&first, k, sizeof first);
        memcpy(&last, k + size - sizeof last, sizeof last);
        return (uint64_t)__builtin_bswap32(first) << 32 |
               (uint64_t)__builtin_bswap32(last) << 8 * (8 - size);
    }
    return (uint64_t)k[0] << 56 | (uint64_t)k[size / 2] << (56 - 8 * (size / 2)) |
           (uint64_t)k[size - 1] << (56 - 8 * (size - 1));
}

/* The order of two encoded keys, given the numbers of their first bytes. MessagePack's values
 * are no beginnings of each other, so the shorter size decides all. */
static inline int lf_compare_keys(uint64_t order_a, lf_slice a, uint64_t order_b, lf_slice b)
{
    if (order_a != order_b)
        return order_a < order_b ? -1 : 1;
    return memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
}

/* Pushes the registry's table of the codec, made if need be.  [-0, +1, raises] */
LF_RAISES void lf_codec_push_room(lua_State *L);

/* Where it is in the registry, far from the numbers that luaL_ref gives and found faster than by
 * a name; and its slots. */
enum { LF_CODEC_ROOM = 0x6c660011 };
enum {
    LF_ROOM_KIND = 1,      /* cdata -> ext, size; or nil, what it is */
    LF_ROOM_NEW,           /* ext, number of elements -> cdata */
    LF_ROOM_BY_NAME,       /* name of a class -> metatable */
    LF_ROOM_BY_METATABLE,  /* the other way round; weak */
    LF_ROOM_UNKNOWN        /* table -> class, of instances whose class nobody had registered when
                              they were decoded; weak; nil before the first */
};

#endif
