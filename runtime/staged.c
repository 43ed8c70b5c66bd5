/* staged.c -- artifacts in flight. */
#include "staged.h"

#include <pthread.h>
#include <stdlib.h>

struct lf_staged {
    pthread_mutex_t lock; /* a leaf: guards `buf` of every handle */
    atomic_uint_fast64_t bytes;
};

struct lf_blob {
    atomic_uint refs;
    atomic_uchar salt;
    lf_staged *home;
    lf_key key;
    lf_buf *buf;
};

lf_staged *lf_staged_new(void)
{
    lf_staged *s = calloc(1, sizeof *s);
    if (s != NULL)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

void lf_staged_free(lf_staged *s)
{
    if (s == NULL)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

uint64_t lf_staged_bytes(const lf_staged *s) { return atomic_load(&s->bytes); }

lf_blob *lf_blob_new(lf_staged *s, const lf_key *key, lf_buf *bytes)
{
    lf_blob *b = malloc(sizeof *b);
    if (b == NULL) {
        lf_buf_free(bytes);
        return NULL;
    }
    atomic_init(&b->refs, 1);
    atomic_init(&b->salt, 0);
    b->home = s;
    b->key = *key;
    b->buf = bytes;
    atomic_fetch_add(&s->bytes, bytes->size);
    return b;
}

lf_blob *lf_blob_ref(lf_blob *b)
{
    if (b != NULL)
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

/* Takes the bytes away from the handle. */
static void let_go(lf_blob *b)
{
    pthread_mutex_lock(&b->home->lock);
    lf_buf *buf = b->buf;
    b->buf = NULL;
    pthread_mutex_unlock(&b->home->lock);
    if (buf != NULL)
        atomic_fetch_sub(&b->home->bytes, buf->size);
    lf_buf_free(buf);
}

void lf_blob_free(lf_blob *b)
{
    if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    let_go(b);
    free(b);
}

lf_buf *lf_blob_bytes(lf_blob *b)
{
    pthread_mutex_lock(&b->home->lock);
    lf_buf *buf = lf_buf_ref(b->buf);
    pthread_mutex_unlock(&b->home->lock);
    return buf;
}

const lf_key *lf_blob_key(const lf_blob *b) { return &b->key; }

uint8_t lf_blob_salt(const lf_blob *b) { return atomic_load(&b->salt); }

void lf_blob_settle(lf_blob *b, uint8_t salt) { atomic_store(&b->salt, salt); }

void lf_blob_committed(lf_blob *b) { let_go(b); }
