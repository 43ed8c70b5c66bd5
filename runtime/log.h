/* log.h -- what the task that a worker runs has printed so far. The worker writes it; the
 * scheduler may take what has gathered while a long task runs, so that others can read it.
 * Whole lines are told as events at once. Knows nothing of Lua or the store. */
#ifndef LF_LOG_H
#define LF_LOG_H

#include "task.h"

typedef struct lf_log lf_log;

/* NULL when out of memory. */
lf_log *lf_log_new(void);
void lf_log_free(lf_log *log); /* accepts NULL */

/* Worker: from here on what is printed belongs to `t`, of the step called `step`. */
void lf_log_begin(lf_log *log, const lf_task *t, const char *step);

/* Worker: `stream` is 1 or 2. */
void lf_log_write(lf_log *log, int stream, const char *text, size_t size);

/* Worker: ends the task's log: unfinished lines are told, and what was not collected
 * yet goes into the arena of the task's batch. */
void lf_log_end(lf_log *log, lf_task *t);

/* A piece of a running task's log on its way to the writer. */
typedef struct lf_log_letter {
    lf_letter letter;
    lf_facts *facts; /* counted */
    uint32_t task, step, attempt, sequence;
    lf_bytes entries;
} lf_log_letter;

/* Scheduler: takes what gathered of a task that began before `before_us`, as a letter that
 * the caller owns, or NULL when there is nothing (or no memory: then it stays). */
lf_log_letter *lf_log_collect(lf_log *log, uint64_t before_us);
void lf_log_letter_free(lf_log_letter *l);

#endif
