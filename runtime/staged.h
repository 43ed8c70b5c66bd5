/* staged.h -- artifacts in flight: counted handles on bytes that are sealed but perhaps
 * not committed yet. Whoever holds the handle can read the bytes from memory until the
 * commit, and from the store after it. Knows nothing of Lua. Any thread. */
#ifndef LF_STAGED_H
#define LF_STAGED_H

#include "key.h"
#include "record.h"

/* How many bytes are in flight, and the lock of all its handles. */
typedef struct lf_staged lf_staged;
lf_staged *lf_staged_new(void); /* NULL when out of memory */
void lf_staged_free(lf_staged *s); /* after all handles; accepts NULL */
uint64_t lf_staged_bytes(const lf_staged *s);

typedef struct lf_blob lf_blob;

/* A handle on `bytes` (taken, even on failure) under `key`; NULL when out of memory. */
lf_blob *lf_blob_new(lf_staged *s, const lf_key *key, lf_buf *bytes);
lf_blob *lf_blob_ref(lf_blob *b);
void lf_blob_free(lf_blob *b); /* a holder less; accepts NULL */

/* The bytes, counted for the caller, or NULL when they were committed and let go. */
lf_buf *lf_blob_bytes(lf_blob *b);

const lf_key *lf_blob_key(const lf_blob *b);
uint8_t lf_blob_salt(const lf_blob *b); /* settled by the commit */

/* Writer only: settles the salt before the commit, lets the bytes go after it. */
void lf_blob_settle(lf_blob *b, uint8_t salt);
void lf_blob_committed(lf_blob *b);

#endif
