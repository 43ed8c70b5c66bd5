/* codec_bits.c -- what writing and reading values share: which bytes are UTF-8, and
 * the one NaN. Knows nothing of Lua. Any thread. */
#include "codec_inside.h"

const uint8_t lf_element_size[LF_ELEMENTS] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
const char *const lf_element_name[LF_ELEMENTS] = {"int8_t",  "uint8_t",  "int16_t", "uint16_t",
                                                  "int32_t", "uint32_t", "int64_t", "uint64_t",
                                                  "float",   "double"};

bool lf_is_utf8_beyond_ascii(lf_slice text)
{
    const uint8_t *s = text.data, *end = s + text.size;
    while (s < end) {
        uint64_t eight;
        if (end - s >= 8 && (memcpy(&eight, s, 8), (eight & UINT64_C(0x8080808080808080)) == 0)) {
            s += 8;
            continue;
        }
        uint8_t head = *s++;
        if (head < 0x80)
            continue;
        int more;
        uint8_t low = 0x80, high = 0xbf; /* of the byte after the head */
        if (head >= 0xc2 && head <= 0xdf) {
            more = 1;
        } else if (head >= 0xe0 && head <= 0xef) {
            more = 2;
            if (head == 0xe0) low = 0xa0;
            if (head == 0xed) high = 0x9f;
        } else if (head >= 0xf0 && head <= 0xf4) {
            more = 3;
            if (head == 0xf0) low = 0x90;
            if (head == 0xf4) high = 0x8f;
        } else {
            return false;
        }
        if (end - s < more)
            return false;
        for (; more > 0; more--, s++) {
            if (*s < low || *s > high)
                return false;
            low = 0x80;
            high = 0xbf;
        }
    }
    return true;
}

/* Element i of what may lie unaligned. */
static double double_at(const uint8_t *data, size_t i)
{
    double v;
    memcpy(&v, data + i * sizeof v, sizeof v);
    return v;
}

static float float_at(const uint8_t *data, size_t i)
{
    float v;
    memcpy(&v, data + i * sizeof v, sizeof v);
    return v;
}

/* Whether any of these elements is a NaN: a loop without a way out, so that it
 * runs at the speed of memory. */
static bool has_nan(unsigned element, const uint8_t *data, size_t size)
{
    unsigned found = 0;
    if (element == LF_ELEMENT_DOUBLE) {
        for (size_t i = 0; i < size / sizeof(double); i++)
            found |= double_at(data, i) != double_at(data, i);
    } else {
        for (size_t i = 0; i < size / sizeof(float); i++)
            found |= float_at(data, i) != float_at(data, i);
    }
    return found != 0;
}

/* Makes every NaN of `size` bytes the one NaN; tells whether that changed any. */
static bool settle_nans(unsigned element, uint8_t *data, size_t size)
{
    static const uint64_t nan_double = LF_NAN_DOUBLE;
    static const uint32_t nan_float = UINT32_C(0x7fc00000);
    bool is_double = element == LF_ELEMENT_DOUBLE, changed = false;
    const void *one = is_double ? (const void *)&nan_double : &nan_float;
    size_t width = lf_element_size[element];
    for (size_t i = 0; i < size / width; i++) {
        uint8_t *at = data + i * width;
        bool is_nan = is_double ? isnan(double_at(data, i)) : isnan(float_at(data, i));
        if (is_nan && memcmp(at, one, width) != 0) {
            memcpy(at, one, width);
            changed = true;
        }
    }
    return changed;
}

enum { BLOCK = 4096 }; /* is still in the first cache when it is looked at again */

static bool is_floating(unsigned element)
{
    return element == LF_ELEMENT_FLOAT || element == LF_ELEMENT_DOUBLE;
}

void lf_copy_elements(unsigned element, uint8_t *to, const uint8_t *from, size_t size)
{
    if (!is_floating(element)) {
        memcpy(to, from, size);
        return;
    }
    for (size_t at = 0; at < size; at += BLOCK) {
        size_t n = size - at < BLOCK ? size - at : BLOCK;
        memcpy(to + at, from + at, n);
        if (has_nan(element, to + at, n))
            settle_nans(element, to + at, n);
    }
}

bool lf_nans_are_settled(unsigned element, lf_slice elements)
{
    const uint8_t *data = elements.data;
    size_t size = elements.size;
    if (!is_floating(element))
        return true;
    for (size_t at = 0; at < size; at += BLOCK) {
        size_t n = size - at < BLOCK ? size - at : BLOCK;
        if (has_nan(element, data + at, n)) {
            uint8_t copy[BLOCK];
            memcpy(copy, data + at, n);
            if (settle_nans(element, copy, n))
                return false;
        }
    }
    return true;
}
