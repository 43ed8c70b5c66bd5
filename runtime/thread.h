/* thread.h -- starting a thread of the house. Any thread. */
#ifndef LF_THREAD_H
#define LF_THREAD_H

#include <pthread.h>

/* Starts `run(payload)` in a new thread that hears no signal: those are for the host's own.
 * 0, or an errno. The caller joins it. */
int lf_thread_start(pthread_t *thread, void *(*run)(void *payload), void *payload);

#endif
