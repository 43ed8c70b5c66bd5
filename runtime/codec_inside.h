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
bool lf_is_utf8(lf_slice s);

/* Copies elements of an FFI array, every NaN as the one NaN. */
void lf_copy_elements(unsigned element, uint8_t *to, const uint8_t *from, size_t size);

/* Whether every NaN among them is the one NaN. */
bool lf_nans_are_settled(unsigned element, lf_slice elements);

/* The order of two encoded keys. MessagePack's values are no beginnings of each
 * other, so the shorter size decides all. */
static inline int lf_compare_keys(lf_slice a, lf_slice b)
{
    return memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
}

/* Pushes the registry's table of the codec, made if need be.  [-0, +1, raises] */
LF_RAISES void lf_codec_push_room(lua_State *L);

/* Its name, and its slots. */
#define LF_CODEC_ROOM "luaflow.codec"
enum {
    LF_ROOM_KIND = 1,      /* cdata -> ext, size; or nil, what it is */
    LF_ROOM_NEW,           /* ext, number of elements -> cdata */
    LF_ROOM_BY_NAME,       /* name of a class -> metatable */
    LF_ROOM_BY_METATABLE,  /* the other way round; weak */
    LF_ROOM_UNKNOWN        /* table -> class, of instances whose class nobody had registered when
                              they were decoded; weak; nil before the first */
};

#endif
