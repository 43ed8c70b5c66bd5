/* writer.h -- the thread that makes things durable. It takes all that waits, writes it in
 * one transaction, and posts everything home when the transaction is committed, so the
 * batches grow by themselves when the disk is slow. What is on disk is always a prefix of
 * what was posted: after something of a run could not be stored nothing later of it is, but
 * its final state, which then says so. Knows nothing of Lua or of plans. */
#ifndef LF_WRITER_H
#define LF_WRITER_H

#include "log.h"
#include "mailbox.h"
#include "staged.h"
#include "store.h"

typedef struct lf_writer lf_writer;

/* A run's state to be stored: counts as of what is committed then, and more tasks begun.
 * A final one comes home; others are freed. */
typedef struct lf_state_letter {
    lf_letter letter;
    lf_facts *facts;         /* counted */
    bool final;
    int status;              /* enum luaflow_status */
    char *problem;           /* malloc'ed, or NULL */
    uint64_t *started;       /* by step, malloc'ed, or NULL when that is not known */
    luaflow_error error;     /* home: why it could not be stored */
} lf_state_letter;

lf_state_letter *lf_state_letter_new(lf_facts *facts); /* NULL when out of memory */
void lf_state_letter_free(lf_state_letter *l);         /* accepts NULL */

/* Starts the thread. Committed letters go to `home`. Borrows `store` and `home`. */
int lf_writer_open(lf_store *store, lf_mailbox *home, lf_writer **out, luaflow_error *err);

/* Writes what waits, then ends the thread. Accepts NULL. */
void lf_writer_close(lf_writer *w);

/* Any thread. Takes all letters (LF_LETTER_BATCH, _LOG, _STATE). */
void lf_writer_post(lf_writer *w, lf_queue *letters);

/* Any thread but the writer's. Runs `work` in a transaction of its own on the writer's
 * thread, and returns once it is durable, or with the error of `work` or the commit. Calls keep
 * their order among themselves, but do not wait behind letters, of which there may be many: only
 * those that are just being written are committed before. So `work` must not rely on what was
 * posted and is not home yet. */
typedef int (*lf_work_fn)(void *payload, lf_write *txn, luaflow_error *err);
int lf_writer_call(lf_writer *w, lf_work_fn work, void *payload, luaflow_error *err);

#endif
