/* bytes.c -- growable bytes, a bounded reader, counted buffers. */
#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int lf_slice_compare(lf_slice a, lf_slice b)
{
    size_t least = a.size < b.size ? a.size : b.size;
    int order = least > 0 ? memcmp(a.data, b.data, least) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

bool lf_parts_have(lf_parts p, size_t at, lf_slice piece)
{
    size_t in_head = at < p.head.size ? p.head.size - at : 0;
    size_t first = in_head < piece.size ? in_head : piece.size;
    if (first > 0 && memcmp(p.head.data + at, piece.data, first) != 0)
        return false;
    if (first == piece.size)
        return true;
    return memcmp(p.rest.data + (at + first - p.head.size), piece.data + first, piece.size - first) == 0;
}

void lf_bytes_fini(lf_bytes *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}

uint8_t *lf_bytes_grow(lf_bytes *b, size_t n)
{
    if (b->failed || n > SIZE_MAX / 2 - b->size) {
        b->failed = true;
        return NULL;
    }
    if (b->room - b->size < n) {
        size_t room = b->size + n;
        if (room < b->room + b->room / 2)
            room = b->room + b->room / 2;
        if (room < 64)
            room = 64;
        uint8_t *data = realloc(b->data, room);
        if (data == NULL) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->room = room;
    }
    return b->data + b->size;
}

void lf_bytes_put_u32be(lf_bytes *b, uint32_t v)
{
    uint8_t raw[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    lf_bytes_put(b, raw, sizeof raw);
}

void lf_bytes_put_u64be(lf_bytes *b, uint64_t v)
{
    lf_bytes_put_u32be(b, (uint32_t)(v >> 32));
    lf_bytes_put_u32be(b, (uint32_t)v);
}

void lf_bytes_put_long_varint(lf_bytes *b, uint64_t v)
{
    uint8_t *to = lf_bytes_reserve(b, 10);
    if (to == NULL)
        return;
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    b->size = (size_t)(to - b->data);
}

void lf_bytes_put_string(lf_bytes *b, const void *data, size_t n)
{
    lf_bytes_put_varint(b, n);
    lf_bytes_put(b, data, n);
}

void lf_bytes_printf(lf_bytes *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    uint8_t *to = n < 0 ? NULL : lf_bytes_reserve(b, (size_t)n + 1);
    if (to == NULL) {
        b->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf((char *)to, (size_t)n + 1, format, args);
    va_end(args);
    b->size += (size_t)n;
}

char *lf_bytes_cstr(lf_bytes *b)
{
    uint8_t *to = lf_bytes_reserve(b, 1);
    if (to == NULL)
        return NULL;
    *to = 0;
    return (char *)b->data;
}

uint8_t lf_read_u8(lf_reader *r)
{
    lf_slice s = lf_read(r, 1);
    return s.size == 1 ? s.data[0] : 0;
}

uint32_t lf_read_u32be(lf_reader *r)
{
    lf_slice s = lf_read(r, 4);
    if (s.size != 4)
        return 0;
    return (uint32_t)s.data[0] << 24 | (uint32_t)s.data[1] << 16 | (uint32_t)s.data[2] << 8 |
           s.data[3];
}

uint64_t lf_read_u64be(lf_reader *r)
{
    uint64_t high = lf_read_u32be(r), low = lf_read_u32be(r);
    return r->bad ? 0 : high << 32 | low;
}

uint64_t lf_read_long_varint(lf_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0))
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return v;
    }
    lf_reader_fail(r);
    return 0;
}

lf_buf *lf_buf_new(size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    lf_buf *buf = malloc(sizeof *buf + size);
    if (buf == NULL)
        return NULL;
    atomic_init(&buf->refs, 1);
    buf->size = size;
    return buf;
}

lf_buf *lf_buf_copy(const void *data, size_t size)
{
    lf_buf *buf = lf_buf_new(size);
    if (buf != NULL && size > 0)
        memcpy(buf->data, data, size);
    return buf;
}

bool lf_buf_start(lf_bytes *b)
{
    lf_bytes_clear(b);
    if (lf_bytes_reserve(b, sizeof(lf_buf)) == NULL)
        return false;
    b->size = sizeof(lf_buf);
    return true;
}

lf_buf *lf_buf_adopt(lf_bytes *b)
{
    if (b->failed)
        return NULL;
    if (b->room - b->size > 4096) {
        uint8_t *data = realloc(b->data, b->size); /* a shrink that fails leaves it as it was */
        if (data != NULL)
            b->data = data;
    }
    lf_buf *buf = (lf_buf *)(void *)b->data;
    atomic_init(&buf->refs, 1);
    buf->size = b->size - sizeof(lf_buf);
    memset(b, 0, sizeof *b);
    return buf;
}

lf_slice lf_buf_pending(const lf_bytes *b)
{
    return (lf_slice){b->data + sizeof(lf_buf), b->size - sizeof(lf_buf)};
}

void *lf_buf_release(lf_buf *buf)
{
    return memmove(buf, buf->data, buf->size);
}

lf_buf *lf_buf_ref(lf_buf *buf)
{
    if (buf != NULL)
        atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
    return buf;
}

void lf_buf_free(lf_buf *buf)
{
    if (buf != NULL && atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) == 1)
        free(buf);
}
