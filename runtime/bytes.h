/* bytes.h -- growable bytes, a bounded reader over foreign ones, and counted
 * buffers that several owners read. Knows nothing of what they mean. */
#ifndef LF_BYTES_H
#define LF_BYTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A stretch of bytes that somebody else owns. */
typedef struct lf_slice {
    const uint8_t *data;
    size_t size;
} lf_slice;

static inline lf_slice lf_slice_of(const void *data, size_t size)
{
    return (lf_slice){(const uint8_t *)data, size};
}

static inline bool lf_slice_equal(lf_slice a, lf_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* As memcmp, a beginning before what goes on. */
int lf_slice_compare(lf_slice a, lf_slice b);

/* Bytes that lie in two places, one behind the other. */
typedef struct lf_parts {
    lf_slice head, rest;
} lf_parts;

static inline lf_parts lf_parts_of(lf_slice whole) { return (lf_parts){{NULL, 0}, whole}; }
static inline size_t lf_parts_size(lf_parts p) { return p.head.size + p.rest.size; }

/* Whether `piece` is what they have from `at` on; it is no longer than that. */
bool lf_parts_have(lf_parts p, size_t at, lf_slice piece);

/* ---- writing ---- */

/* Zeroed memory is an empty one. Once memory ran out `failed` is set, and
 * further appends do nothing: check it once, at the end. */
typedef struct lf_bytes {
    uint8_t *data;
    size_t size, room;
    bool failed;
} lf_bytes;

void lf_bytes_fini(lf_bytes *b);
static inline void lf_bytes_clear(lf_bytes *b) { b->size = 0; b->failed = false; }

/* Makes room for `n` more bytes and returns where they go, or NULL (and
 * `failed`). Does not change the size. */
uint8_t *lf_bytes_grow(lf_bytes *b, size_t n);

static inline uint8_t *lf_bytes_reserve(lf_bytes *b, size_t n)
{
    if (!b->failed && b->room - b->size >= n)
        return b->data + b->size;
    return lf_bytes_grow(b, n);
}

static inline void lf_bytes_put(lf_bytes *b, const void *data, size_t n)
{
    if (n == 0)
        return;
    uint8_t *to = lf_bytes_reserve(b, n);
    if (to != NULL) {
        memcpy(to, data, n);
        b->size += n;
    }
}

static inline void lf_bytes_put_u8(lf_bytes *b, uint8_t v)
{
    uint8_t *to = lf_bytes_reserve(b, 1);
    if (to != NULL) {
        *to = v;
        b->size += 1;
    }
}

void lf_bytes_put_u32be(lf_bytes *b, uint32_t v);
void lf_bytes_put_u64be(lf_bytes *b, uint64_t v);

/* LEB128: seven bits a byte, lowest first, at most ten bytes. Most take one. */
void lf_bytes_put_long_varint(lf_bytes *b, uint64_t v);
static inline void lf_bytes_put_varint(lf_bytes *b, uint64_t v)
{
    if (v < 0x80)
        lf_bytes_put_u8(b, (uint8_t)v);
    else
        lf_bytes_put_long_varint(b, v);
}

/* The same to `to`, which has room for LF_VARINT_MAX bytes. Returns where it ends. */
enum { LF_VARINT_MAX = 10 };
static inline uint8_t *lf_varint_write(uint8_t *to, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

/* A varint length, then the bytes. */
void lf_bytes_put_string(lf_bytes *b, const void *data, size_t n);

/* Formats into the end of `b`, without a NUL. */
void lf_bytes_printf(lf_bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends with a NUL that does not count, and returns the text; NULL if `failed`. */
char *lf_bytes_cstr(lf_bytes *b);

/* ---- reading ---- */

/* Reads on until the end or the first thing that does not fit; from then on
 * `bad` is set and everything reads as zero or empty. */
typedef struct lf_reader {
    const uint8_t *at, *end;
    bool bad;
} lf_reader;

static inline lf_reader lf_reader_of(const void *data, size_t size)
{
    const uint8_t *at = data;
    return (lf_reader){at, size > 0 ? at + size : at, false};
}

static inline size_t lf_reader_left(const lf_reader *r) { return (size_t)(r->end - r->at); }

static inline void lf_reader_fail(lf_reader *r)
{
    r->bad = true;
    r->at = r->end;
}

/* `n` bytes, borrowed from what is read; empty and `bad` when there are fewer. */
static inline lf_slice lf_read(lf_reader *r, uint64_t n)
{
    if (r->bad || n > lf_reader_left(r)) {
        lf_reader_fail(r);
        return (lf_slice){NULL, 0};
    }
    lf_slice s = {r->at, (size_t)n};
    r->at += n;
    return s;
}
uint8_t lf_read_u8(lf_reader *r);
uint32_t lf_read_u32be(lf_reader *r);
uint64_t lf_read_u64be(lf_reader *r);
/* Refuses more than ten bytes and overlong forms. */
uint64_t lf_read_long_varint(lf_reader *r);
static inline uint64_t lf_read_varint(lf_reader *r)
{
    return r->at < r->end && *r->at < 0x80 ? *r->at++ : lf_read_long_varint(r);
}

static inline lf_slice lf_read_string(lf_reader *r) { return lf_read(r, lf_read_varint(r)); }

/* ---- counted buffers ---- */

/* Bytes with several owners: written before they are shared, read by all, from
 * any thread. */
typedef struct lf_buf {
    atomic_uint refs;
    size_t size;
    uint8_t data[];
} lf_buf;

/* One of `size` bytes with one owner, or NULL. */
lf_buf *lf_buf_new(size_t size);
/* The same with a copy of `data`. */
lf_buf *lf_buf_copy(const void *data, size_t size);
/* One made of what was appended to `b`, without copying, leaving `b` empty: `b` must have
 * been started with lf_buf_start. NULL when `b` failed. */
bool lf_buf_start(lf_bytes *b);
lf_buf *lf_buf_adopt(lf_bytes *b);
/* What was appended since lf_buf_start. */
lf_slice lf_buf_pending(const lf_bytes *b);
/* Makes plain memory for free() of a buffer that has one owner, without other memory. */
void *lf_buf_release(lf_buf *buf);
/* Another owner; returns `buf`, which may be NULL. */
lf_buf *lf_buf_ref(lf_buf *buf);
/* An owner less; the last one frees. Accepts NULL. */
void lf_buf_free(lf_buf *buf);

static inline lf_slice lf_buf_slice(const lf_buf *buf)
{
    return (lf_slice){buf ? buf->data : NULL, buf ? buf->size : 0};
}

#endif
