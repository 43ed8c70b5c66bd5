/* thread.c -- starting a thread of the house. */
#include "thread.h"

#include <signal.h>

int lf_thread_start(pthread_t *thread, void *(*run)(void *payload), void *payload)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread inherits the mask it is made under */
    int rc = pthread_create(thread, NULL, run, payload);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}
