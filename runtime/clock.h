/* clock.h -- what time it is: for people, and for measuring. Any thread. */
#ifndef LF_CLOCK_H
#define LF_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t lf_clock_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Microseconds since 1970. May jump. */
static inline uint64_t lf_now_us(void) { return lf_clock_us(CLOCK_REALTIME); }

/* Microseconds since some moment. Never goes back. */
static inline uint64_t lf_tick_us(void) { return lf_clock_us(CLOCK_MONOTONIC); }

#endif
