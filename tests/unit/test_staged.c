/* test_staged.c -- bytes in flight are read from memory until they are committed, and are
 * counted as long as they are there. */
#include "staged.h"
#include "unit.h"

#include <pthread.h>

static lf_blob *blob_of(lf_staged *s, const char *text)
{
    lf_key key = lf_key_of(0, text, strlen(text));
    return lf_blob_new(s, &key, lf_buf_copy(text, strlen(text)));
}

TEST(a_handle_knows_its_key_and_its_bytes)
{
    lf_staged *s = lf_staged_new();
    lf_blob *b = blob_of(s, "hello");
    lf_key key = lf_key_of(0, "hello", 5);
    CHECK(lf_key_equal(lf_blob_key(b), &key));
    CHECK_INT(lf_blob_salt(b), 0);
    lf_buf *bytes = lf_blob_bytes(b);
    CHECK(lf_slice_equal(lf_buf_slice(bytes), lf_slice_of("hello", 5)));
    lf_buf_free(bytes);
    lf_blob_free(b);
    lf_staged_free(s);
}

TEST(bytes_in_flight_are_counted_until_they_are_committed_or_freed)
{
    lf_staged *s = lf_staged_new();
    CHECK_INT(lf_staged_bytes(s), 0);
    lf_blob *a = blob_of(s, "12345"), *b = blob_of(s, "123");
    CHECK_INT(lf_staged_bytes(s), 8);
    lf_blob_committed(a);
    CHECK_INT(lf_staged_bytes(s), 3);
    lf_blob_free(b);
    CHECK_INT(lf_staged_bytes(s), 0);
    lf_blob_free(a);
    CHECK_INT(lf_staged_bytes(s), 0);
    lf_staged_free(s);
}

TEST(committed_bytes_are_let_go_and_committing_again_is_nothing)
{
    lf_staged *s = lf_staged_new();
    lf_blob *b = blob_of(s, "hello");
    lf_blob_committed(b);
    CHECK(lf_blob_bytes(b) == NULL);
    lf_blob_committed(b);
    CHECK(lf_blob_bytes(b) == NULL);
    CHECK_INT(lf_staged_bytes(s), 0);
    lf_blob_free(b);
    lf_staged_free(s);
}

TEST(who_reads_the_bytes_keeps_them_past_the_commit_and_the_handle)
{
    lf_staged *s = lf_staged_new();
    lf_blob *b = blob_of(s, "hello");
    lf_buf *bytes = lf_blob_bytes(b);
    lf_blob_committed(b);
    lf_blob_free(b);
    CHECK(lf_slice_equal(lf_buf_slice(bytes), lf_slice_of("hello", 5)));
    lf_buf_free(bytes);
    lf_staged_free(s);
}

TEST(the_last_holder_frees_the_handle)
{
    lf_staged *s = lf_staged_new();
    lf_blob *b = blob_of(s, "hello");
    CHECK(lf_blob_ref(b) == b);
    lf_blob_free(b);
    CHECK_INT(lf_staged_bytes(s), 5);
    lf_blob_free(b);
    CHECK_INT(lf_staged_bytes(s), 0);
    lf_staged_free(s);
}

TEST(the_salt_is_the_one_that_was_settled)
{
    lf_staged *s = lf_staged_new();
    lf_blob *b = blob_of(s, "hello");
    lf_blob_settle(b, 3);
    CHECK_INT(lf_blob_salt(b), 3);
    lf_blob_committed(b);
    CHECK_INT(lf_blob_salt(b), 3);
    lf_blob_free(b);
    lf_staged_free(s);
}

TEST(empty_bytes_are_bytes_too)
{
    lf_staged *s = lf_staged_new();
    lf_blob *b = blob_of(s, "");
    lf_buf *bytes = lf_blob_bytes(b);
    CHECK(bytes != NULL && bytes->size == 0);
    lf_buf_free(bytes);
    lf_blob_free(b);
    lf_staged_free(s);
}

TEST(nobody_is_a_holder_too)
{
    CHECK(lf_blob_ref(NULL) == NULL);
    lf_blob_free(NULL);
    lf_staged_free(NULL);
}

/* ---- read while it is committed ---- */

enum { READERS = 3, BLOBS = 200 };

typedef struct reader {
    pthread_t thread;
    lf_blob **blobs;
    bool wrong;
} reader;

static void *read_all(void *payload)
{
    reader *r = payload;
    for (int i = 0; i < BLOBS; i++) {
        lf_buf *bytes = lf_blob_bytes(r->blobs[i]);
        if (bytes == NULL) /* its salt was settled before */
            r->wrong = r->wrong || lf_blob_salt(r->blobs[i]) != 1;
        else
            r->wrong = r->wrong || !lf_slice_equal(lf_buf_slice(bytes), lf_slice_of("hello", 5));
        lf_buf_free(bytes);
        lf_blob_free(r->blobs[i]);
    }
    return NULL;
}

TEST(readers_find_the_bytes_whole_or_the_commit_behind_them)
{
    lf_staged *s = lf_staged_new();
    lf_blob *blobs[BLOBS];
    reader readers[READERS];
    for (int i = 0; i < BLOBS; i++) {
        blobs[i] = blob_of(s, "hello");
        for (int k = 0; k < READERS; k++)
            lf_blob_ref(blobs[i]);
    }
    for (int k = 0; k < READERS; k++) {
        readers[k] = (reader){.blobs = blobs};
        CHECK_INT(pthread_create(&readers[k].thread, NULL, read_all, &readers[k]), 0);
    }
    for (int i = BLOBS; i-- > 0;) { /* towards the readers */
        lf_blob_settle(blobs[i], 1);
        lf_blob_committed(blobs[i]);
        lf_blob_free(blobs[i]);
    }
    for (int k = 0; k < READERS; k++) {
        pthread_join(readers[k].thread, NULL);
        CHECK(!readers[k].wrong);
    }
    CHECK_INT(lf_staged_bytes(s), 0);
    lf_staged_free(s);
}
