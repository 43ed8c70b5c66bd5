/* handovers.c -- so many times from one thread to another and back, each asleep meanwhile.
 *
 *     handovers TIMES                   prints: seconds */
#include "bench.h"

#include <pthread.h>
#include <stdbool.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_theirs; /* under the lock: whose turn it is */

static void take_turns(bool theirs, size_t times)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < times; i++) {
        while (is_theirs != theirs)
            pthread_cond_wait(&changed, &lock);
        is_theirs = !theirs;
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
}

static void *other(void *times)
{
    take_turns(true, *(size_t *)times);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: handovers TIMES\n");
        return 2;
    }
    size_t times = number_of(argv[1]);
    pthread_t thread;
    double started = now();
    check(pthread_create(&thread, NULL, other, &times), "start a thread");
    take_turns(false, times);
    pthread_join(thread, NULL);
    printf("%.9f\n", now() - started);
    return 0;
}
