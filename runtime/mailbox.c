/* mailbox.c -- many posters, one reader, one wake-up (an eventfd). */
#include "mailbox.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct lf_mailbox {
    pthread_mutex_t lock; /* a leaf; the descriptor changes under it, so that who has taken a
                             letter may free the box */
    lf_queue queue;
    int fd;
};

lf_mailbox *lf_mailbox_new(void)
{
    lf_mailbox *box = calloc(1, sizeof *box);
    if (box == NULL)
        return NULL;
    box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (box->fd < 0) {
        free(box);
        return NULL;
    }
    pthread_mutex_init(&box->lock, NULL);
    lf_queue_init(&box->queue);
    return box;
}

void lf_mailbox_free(lf_mailbox *box)
{
    if (box == NULL)
        return;
    close(box->fd);
    pthread_mutex_destroy(&box->lock);
    free(box);
}

static void wake(lf_mailbox *box)
{
    uint64_t one = 1;
    while (write(box->fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void lf_mailbox_post(lf_mailbox *box, lf_node *letter)
{
    pthread_mutex_lock(&box->lock);
    bool was_empty = lf_queue_empty(&box->queue);
    lf_queue_push(&box->queue, letter);
    if (was_empty)
        wake(box);
    pthread_mutex_unlock(&box->lock);
}

void lf_mailbox_post_all(lf_mailbox *box, lf_queue *letters)
{
    if (lf_queue_empty(letters))
        return;
    pthread_mutex_lock(&box->lock);
    bool was_empty = lf_queue_empty(&box->queue);
    lf_queue_join(&box->queue, letters);
    if (was_empty)
        wake(box);
    pthread_mutex_unlock(&box->lock);
}

void lf_mailbox_take(lf_mailbox *box, lf_queue *out)
{
    uint64_t count;
    pthread_mutex_lock(&box->lock);
    if (!lf_queue_empty(&box->queue))
        while (read(box->fd, &count, sizeof count) < 0 && errno == EINTR) {
        }
    lf_queue_join(out, &box->queue);
    pthread_mutex_unlock(&box->lock);
}

bool lf_mailbox_wait(lf_mailbox *box, double seconds, lf_queue *out)
{
    struct pollfd p = {box->fd, POLLIN, 0};
    if (!(seconds < 1e9)) /* also what is no number */
        seconds = -1;
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (ppoll(&p, 1, seconds < 0 ? NULL : &t, NULL) <= 0)
        return false;
    lf_mailbox_take(box, out);
    return true;
}

int lf_mailbox_fd(const lf_mailbox *box) { return box->fd; }
