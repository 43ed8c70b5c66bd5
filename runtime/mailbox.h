/* mailbox.h -- many posters, one reader, one wake-up. Knows nothing of what is
 * in the letters. The reader waits on the descriptor, or in lf_mailbox_wait. */
#ifndef LF_MAILBOX_H
#define LF_MAILBOX_H

#include "error.h"
#include "queue.h"

typedef struct lf_mailbox lf_mailbox;

/* NULL when out of memory or descriptors. */
lf_mailbox *lf_mailbox_new(void);

/* Letters still inside are not freed. Accepts NULL. */
void lf_mailbox_free(lf_mailbox *box);

/* Any thread. Takes `letter`. Never fails, never blocks. Wakes the reader only
 * when the box was empty. */
void lf_mailbox_post(lf_mailbox *box, lf_node *letter);

/* The same for a whole queue of letters, which is empty afterwards. */
void lf_mailbox_post_all(lf_mailbox *box, lf_queue *letters);

/* Reader only. Appends all letters to `out`, in the order they were posted, and
 * clears the wake-up. Does not wait. */
void lf_mailbox_take(lf_mailbox *box, lf_queue *out);

/* Reader only. Waits until there is a letter, at most `seconds` (negative: without
 * end), and takes all. False when the time is over or a signal handler ran. */
bool lf_mailbox_wait(lf_mailbox *box, double seconds, lf_queue *out);

/* Readable when letters wait; owned by the box. */
int lf_mailbox_fd(const lf_mailbox *box);

#endif
