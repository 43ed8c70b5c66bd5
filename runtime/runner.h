/* runner.h -- the question "who runs tasks?", as the scheduler asks it. Whoever answers
 * posts every batch back as LF_LETTER_SEALED to the mailbox it was given when it was opened. */
#ifndef LF_RUNNER_H
#define LF_RUNNER_H

#include "log.h"

typedef struct lf_runner {
    void *self;
    /* Takes `batch`. Never blocks. */
    void (*start)(void *self, lf_batch *batch);
    /* Hands over every batch that runs in which one task has run for `longer_us`: those before it
     * sealed, those after it unstarted; that one goes on in a batch of its own, and comes home
     * with that. */
    void (*divide)(void *self, uint64_t longer_us, void (*take)(void *payload, lf_batch *batch),
                   void *payload);
    /* At least so many batches may run at once from here on. */
    void (*grow)(void *self, uint32_t workers);
    /* Hands over what long running tasks, begun before `before_us`, printed so far. */
    void (*logs)(void *self, uint64_t before_us, void (*take)(void *payload, lf_log_letter *letter),
                 void *payload);
} lf_runner;

#endif
