/* store_blob.c -- of the store: values by key, in one entry or in chunks, compared when they
 * are put and checked when they are read. */
#include "store_inside.h"

#include <assert.h>
#include <stdio.h>

#define PLAIN   LF_BLOB_PLAIN
#define CHUNKED LF_BLOB_CHUNKED
#define CHUNK   LF_BLOB_CHUNK
#define AT_ONCE LF_BLOB_AT_ONCE

static void key_blob(lf_entry_key *k, const lf_key *key, uint8_t salt)
{
    memcpy(k->bytes, key->bytes, sizeof key->bytes);
    k->size = sizeof key->bytes;
    key_u8(k, salt);
}

/* ---- reading ---- */

/* A stored blob, read piece by piece: its bytes, or its chunks. */
struct blob {
    lf_view *view;
    lf_entry_key key;
    uint64_t size, at; /* `at`: how much of it was read */
    lf_slice plain;
    bool chunked;
    bool broken; /* not as a writer wrote it */
};

/* LUAFLOW_ENOTFOUND without a sentence when there is none. */
static int find_blob(lf_view *v, const lf_key *key, uint8_t salt, struct blob *b,
                     luaflow_error *err)
{
    *b = (struct blob){.view = v};
    key_blob(&b->key, key, salt);
    MDB_val k = val_of(&b->key), data;
    int rc = mdb_get(v->txn, v->store->table[LF_BLOBS], &k, &data);
    if (rc == MDB_NOTFOUND)
        return LUAFLOW_ENOTFOUND;
    if (rc != 0)
        return lf_view_fail(v, rc, err);
    lf_reader r = lf_reader_of(data.mv_data, data.mv_size);
    uint8_t type = lf_read_u8(&r);
    if (!r.bad && type == PLAIN) {
        b->size = lf_reader_left(&r);
        b->plain = lf_read(&r, b->size);
    } else {
        b->chunked = true;
        b->size = lf_read_u64be(&r);
        b->broken =
            r.bad || type != CHUNKED || lf_reader_left(&r) != 0 || b->size / CHUNK >= UINT32_MAX;
    }
    return LUAFLOW_OK;
}

static int get_chunk(struct blob *b, uint32_t n, lf_slice *out, luaflow_error *err)
{
    lf_entry_key k = b->key;
    key_u32(&k, n);
    MDB_val key = val_of(&k), data;
    int rc = mdb_get(b->view->txn, b->view->store->table[LF_BLOBS], &key, &data);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return lf_view_fail(b->view, rc, err);
    uint64_t left = b->size - (uint64_t)n * CHUNK;
    b->broken = rc == MDB_NOTFOUND || data.mv_size != (left < CHUNK ? left : CHUNK);
    *out = b->broken ? (lf_slice){NULL, 0} : lf_slice_of(data.mv_data, data.mv_size);
    return LUAFLOW_OK;
}

/* The next piece; an empty one at the end, and where the blob is broken. */
static int next_piece(struct blob *b, lf_slice *piece, luaflow_error *err)
{
    *piece = (lf_slice){NULL, 0};
    if (b->broken || b->at == b->size)
        return LUAFLOW_OK;
    int rc = LUAFLOW_OK;
    if (b->chunked)
        rc = get_chunk(b, (uint32_t)(b->at / CHUNK), piece, err);
    else
        *piece = b->plain;
    b->at += piece->size;
    return rc;
}

static int fail_blob(const lf_view *v, const lf_ref *ref, const char *what, luaflow_error *err)
{
    char hex[2 * sizeof ref->key.bytes + 1];
    for (size_t i = 0; i < sizeof ref->key.bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", ref->key.bytes[i]);
    return lf_fail(err, LUAFLOW_ESTORE,
                   "the blob %s in %s/data.mdb is %s: run `luaflow verify` to see what it hurts",
                   hex, v->store->dir, what);
}

/* Copies all pieces to `to`, hashing what was copied while it is still in the cache. Tells the
 * key of the copy, of `*copied` bytes. */
static int copy_pieces(struct blob *b, uint8_t *to, uint64_t *copied, lf_key *key,
                       luaflow_error *err)
{
    enum { AT_A_TIME = 256 << 10 };
    lf_keying *keying = lf_keying_new(0);
    if (keying == NULL)
        return lf_fail_memory(err);
    lf_slice piece;
    int rc;
    *copied = 0;
    while ((rc = next_piece(b, &piece, err)) == LUAFLOW_OK && piece.size > 0)
        for (size_t at = 0, n; at < piece.size; at += n, *copied += n) {
            n = piece.size - at < AT_A_TIME ? piece.size - at : AT_A_TIME;
            memcpy(to + *copied, piece.data + at, n);
            lf_keying_add(keying, to + *copied, n);
        }
    *key = lf_keying_end(keying);
    return rc;
}

/* Copies first and checks the copy: what was checked is what the caller gets. */
static int copy_blob(struct blob *b, const lf_ref *ref, lf_buf **out, luaflow_error *err)
{
    lf_slice piece;
    if (b->chunked && !b->broken && b->size > 0) { /* before believing the size */
        int rc = get_chunk(b, (uint32_t)((b->size - 1) / CHUNK), &piece, err);
        if (rc != LUAFLOW_OK)
            return rc;
    }
    if (b->broken || b->size != ref->size)
        return fail_blob(b->view, ref, "damaged", err);
    lf_buf *buf = lf_buf_new(b->size);
    if (buf == NULL)
        return lf_fail_memory(err);
    int rc = LUAFLOW_OK;
    uint64_t copied = b->size;
    lf_key key;
    if (b->chunked) {
        rc = copy_pieces(b, buf->data, &copied, &key, err);
    } else {
        if (b->size > 0)
            memcpy(buf->data, b->plain.data, b->size);
        key = lf_key_of(0, buf->data, buf->size);
    }
    if (rc == LUAFLOW_OK && (copied != buf->size || !lf_key_equal(&key, &ref->key)))
        rc = fail_blob(b->view, ref, "damaged", err);
    if (rc != LUAFLOW_OK) {
        lf_buf_free(buf);
        return rc;
    }
    *out = buf;
    return LUAFLOW_OK;
}

int lf_view_blob(lf_view *v, const lf_ref *ref, lf_buf **out, luaflow_error *err)
{
    assert(ref->kind != LF_REF_REMOVED);
    if (ref->kind == LF_REF_INLINE) {
        *out = lf_buf_copy(ref->bytes.data, ref->bytes.size);
        return *out == NULL ? lf_fail_memory(err) : LUAFLOW_OK;
    }
    struct blob b;
    int rc = find_blob(v, &ref->key, ref->salt, &b, err);
    if (rc == LUAFLOW_ENOTFOUND)
        return fail_blob(v, ref, "missing", err);
    return rc == LUAFLOW_OK ? copy_blob(&b, ref, out, err) : rc;
}

/* Whether the stored blob is these bytes. */
static int same_bytes(struct blob *b, lf_parts bytes, bool *same, luaflow_error *err)
{
    *same = false;
    if (b->broken || b->size != lf_parts_size(bytes))
        return LUAFLOW_OK;
    b->at = 0;
    for (;;) {
        uint64_t at = b->at;
        lf_slice piece;
        int rc = next_piece(b, &piece, err);
        if (rc != LUAFLOW_OK)
            return rc;
        if (piece.size == 0)
            break;
        if (!lf_parts_have(bytes, at, piece))
            return LUAFLOW_OK;
    }
    *same = !b->broken;
    return LUAFLOW_OK;
}

int lf_view_blob_equal(lf_view *v, const lf_ref *ref, lf_parts bytes, bool *same,
                       luaflow_error *err)
{
    struct blob b;
    int rc = find_blob(v, &ref->key, ref->salt, &b, err);
    *same = false;
    if (rc == LUAFLOW_ENOTFOUND)
        return LUAFLOW_OK;
    return rc == LUAFLOW_OK ? same_bytes(&b, bytes, same, err) : rc;
}

/* Whether the stored blob is what its key says. */
static int is_sound(struct blob *b, const lf_key *key, bool *sound, luaflow_error *err)
{
    lf_keying *keying = lf_keying_new(0);
    if (keying == NULL)
        return lf_fail_memory(err);
    lf_slice piece;
    int rc;
    b->at = 0;
    while ((rc = next_piece(b, &piece, err)) == LUAFLOW_OK && piece.size > 0)
        lf_keying_add(keying, piece.data, piece.size);
    lf_key found = lf_keying_end(keying);
    *sound = !b->broken && lf_key_equal(&found, key);
    return rc;
}

/* ---- putting ---- */

static int reserve(lf_write *w, const lf_entry_key *k, size_t size, uint8_t **to,
                   luaflow_error *err)
{
    MDB_val key = val_of(k), data = {size, NULL};
    int rc = mdb_put(w->view.txn, w->view.store->table[LF_BLOBS], &key, &data, MDB_RESERVE);
    if (rc != 0)
        return lf_write_fail(w, rc, err);
    *to = data.mv_data;
    return LUAFLOW_OK;
}

/* Puts chunk after chunk. Where that took several transactions, and another writer came between
 * them, that one may have been at the same chunks or at the whole blob: `*again` says to look
 * anew. */
static int put_chunks(lf_write *w, const lf_entry_key *k, lf_slice bytes, bool *again,
                      luaflow_error *err)
{
    lf_slice left = bytes;
    size_t pending = 0;
    bool alone = true; /* nobody wrote in between */
    int kept = lf_keep_blob(w, k, err);
    if (kept != LUAFLOW_OK)
        return kept;
    for (uint32_t n = 0; left.size > 0; n++) {
        lf_entry_key chunk = *k;
        key_u32(&chunk, n);
        size_t size = left.size < CHUNK ? left.size : CHUNK;
        uint8_t *to;
        int rc = reserve(w, &chunk, size, &to, err);
        if (rc != LUAFLOW_OK)
            return rc;
        memcpy(to, left.data, size);
        left = lf_slice_of(left.data + size, left.size - size);
        pending += size;
        if (pending < AT_ONCE || left.size == 0)
            continue;
        pending = 0;
        size_t txn = mdb_txn_id(w->view.txn);
        rc = lf_write_renew(w, err);
        if (rc != LUAFLOW_OK)
            return rc;
        if (mdb_txn_id(w->view.txn) == txn + 1)
            continue;
        alone = false;
        MDB_val head = val_of(k), data;
        int found = mdb_get(w->view.txn, w->view.store->table[LF_BLOBS], &head, &data);
        *again = found == 0;
        if (found != MDB_NOTFOUND)
            return found == 0 ? LUAFLOW_OK : lf_write_fail(w, found, err);
    }
    struct blob b = {.view = &w->view, .key = *k, .size = bytes.size, .chunked = true};
    bool same = true;
    int rc = alone ? LUAFLOW_OK : same_bytes(&b, lf_parts_of(bytes), &same, err);
    *again = !same;
    return rc;
}

static int put_blob(lf_write *w, const lf_entry_key *k, lf_slice bytes, bool *again,
                    luaflow_error *err)
{
    *again = false;
    bool chunked = bytes.size > CHUNK;
    int rc = chunked ? put_chunks(w, k, bytes, again, err) : LUAFLOW_OK;
    if (rc != LUAFLOW_OK || *again)
        return rc;
    uint8_t *to;
    rc = reserve(w, k, 1 + (chunked ? 8 : bytes.size), &to, err);
    if (rc != LUAFLOW_OK)
        return rc;
    *to++ = chunked ? CHUNKED : PLAIN;
    if (chunked) { /* last of all: a blob is there when its head is */
        put_u32(to, (uint32_t)((uint64_t)bytes.size >> 32));
        put_u32(to + 4, (uint32_t)bytes.size);
    } else if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return LUAFLOW_OK;
}

/* The head and all chunks. */
static int drop_blob(lf_write *w, const lf_entry_key *k, luaflow_error *err)
{
    MDB_cursor *c;
    int rc = lf_cursor_open(&w->view, LF_BLOBS, &c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    for (;;) {
        MDB_val key = val_of(k), data;
        rc = mdb_cursor_get(c, &key, &data, MDB_SET_RANGE);
        if (rc != 0 || !starts_with(key, k))
            break;
        rc = mdb_cursor_del(c, 0);
        if (rc != 0)
            break;
    }
    return lf_cursor_end(&w->view, c, rc, err);
}

/* One look at what is under key and salt: `*done` when the bytes are there now, `*again`
 * to look once more; neither when other bytes own the place. */
static int settle_blob(lf_write *w, const lf_key *key, uint8_t salt, lf_slice bytes, bool *done,
                       bool *again, luaflow_error *err)
{
    struct blob b;
    *done = *again = false;
    int rc = find_blob(&w->view, key, salt, &b, err);
    if (rc == LUAFLOW_OK) {
        rc = same_bytes(&b, lf_parts_of(bytes), done, err);
        if (rc != LUAFLOW_OK || *done)
            return rc;
        bool sound = false;
        rc = is_sound(&b, key, &sound, err);
        if (rc != LUAFLOW_OK || sound)
            return rc;
        rc = drop_blob(w, &b.key, err);
    } else if (rc == LUAFLOW_ENOTFOUND) {
        rc = LUAFLOW_OK;
    }
    if (rc == LUAFLOW_OK)
        rc = put_blob(w, &b.key, bytes, again, err);
    *done = !*again;
    return rc;
}

int lf_write_blob(lf_write *w, const lf_key *key, lf_slice bytes, uint8_t *salt, luaflow_error *err)
{
    for (unsigned n = 0; n <= UINT8_MAX; n++) {
        bool done = false, again = true;
        while (again) {
            int rc = settle_blob(w, key, (uint8_t)n, bytes, &done, &again, err);
            if (rc != LUAFLOW_OK)
                return rc;
        }
        if (done) {
            lf_entry_key name = {0};
            key_blob(&name, key, (uint8_t)n);
            w->any_blob = true;
            *salt = (uint8_t)n;
            return lf_keep_blob(w, &name, err);
        }
    }
    return lf_fail(err, LUAFLOW_ESTORE,
                   "cannot store a value in %s: 256 others have its key, which is no accident",
                   w->view.store->dir);
}
