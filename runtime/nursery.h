/* nursery.h -- what a nursery, a process from which others are forked, answers to each request:
 * one packet. A request is any packet of one byte with the three descriptors that the new process
 * is to have as standard output, standard error, and in the place of the nursery's socket. */
#ifndef LF_NURSERY_H
#define LF_NURSERY_H

#include <stdint.h>

enum { LF_NURSERY_GIVEN = 3 };

#define LF_NURSERY_MARK 0x6c666e31u /* nobody else says this */

typedef struct lf_nursery_answer {
    uint32_t mark;
    int32_t pid; /* of the new process; or an errno, below zero */
} lf_nursery_answer;

#endif
