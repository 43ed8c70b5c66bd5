/* isolate_nursery.c -- the process from which those for isolated steps are forked: this side of
 * it. The other is child_nursery.c. */
#include "isolate_inside.h"
#include "nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* It has so long for an answer. */
enum { PATIENCE_MS = 10000 };

struct lf_nursery {
    pthread_mutex_t lock;  /* held while it forks: no other lock is taken inside */
    pid_t pid;             /* 0: it is not there */
    int control;
    uint64_t surroundings;
    bool proved, given_up; /* it has forked; it cannot here: processes are started one by one */
};

struct lf_nursery *lf_nursery_new(void)
{
    struct lf_nursery *n = calloc(1, sizeof *n);
    if (n != NULL) {
        pthread_mutex_init(&n->lock, NULL);
        n->control = -1;
    }
    return n;
}

static void end(struct lf_nursery *n)
{
    if (n->pid == 0)
        return;
    close(n->control);
    n->control = -1;
    kill(n->pid, SIGKILL);
    while (waitpid(n->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    n->pid = 0;
}

void lf_nursery_free(struct lf_nursery *n)
{
    if (n == NULL)
        return;
    end(n);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

static void close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

/* It runs nobody's code, so what it says goes nowhere. */
static int begin(struct lf_nursery *n, const char *executable, uint64_t surroundings)
{
    int pair[2], silence[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return errno;
    if (pipe2(silence, O_CLOEXEC) != 0) {
        int rc = errno;
        close_pair(pair);
        return rc;
    }
    int rc = lf_child_raise(pair) && lf_child_raise(silence) ? 0 : errno;
    if (rc == 0)
        rc = lf_child_spawn(executable, (int[]){silence[1], silence[1], pair[1]}, &n->pid);
    close_pair(silence);
    if (rc != 0) {
        close_pair(pair);
        n->pid = 0;
        return rc;
    }
    close(pair[1]);
    n->control = pair[0];
    n->surroundings = surroundings;
    return 0;
}

static bool send_descriptors(int control, const int fds[LF_NURSERY_GIVEN])
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(LF_NURSERY_GIVEN * sizeof(int))];
    } more = {.bytes = {0}};
    struct iovec word = {(char[]){0}, 1};
    struct msghdr message = {.msg_iov = &word, .msg_iovlen = 1, .msg_control = more.bytes,
                             .msg_controllen = sizeof more.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(LF_NURSERY_GIVEN * sizeof(int));
    memcpy(CMSG_DATA(header), fds, LF_NURSERY_GIVEN * sizeof(int));
    ssize_t sent;
    do
        sent = sendmsg(control, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == 1;
}

static bool receive_answer(int control, lf_nursery_answer *answer)
{
    struct pollfd look = {.fd = control, .events = POLLIN};
    int ready;
    do
        ready = poll(&look, 1, PATIENCE_MS);
    while (ready < 0 && errno == EINTR);
    return ready == 1 && recv(control, answer, sizeof *answer, MSG_TRUNC) == sizeof *answer &&
           answer->mark == LF_NURSERY_MARK;
}

static int fork_there(struct lf_nursery *n, const char *executable, uint64_t surroundings,
                      const int theirs[3], pid_t *pid)
{
    lf_nursery_answer answer;
    if (n->pid != 0 && n->surroundings != surroundings)
        end(n);
    int rc = n->pid != 0 ? 0 : begin(n, executable, surroundings);
    if (rc != 0)
        return rc;
    if (!send_descriptors(n->control, theirs) || !receive_answer(n->control, &answer)) {
        end(n);
        return ECHILD;
    }
    if (answer.pid <= 0)
        return -answer.pid;
    *pid = answer.pid;
    return 0;
}

int lf_nursery_fork(struct lf_nursery *n, const char *executable, uint64_t surroundings,
                    const int theirs[3], pid_t *pid)
{
    pthread_mutex_lock(&n->lock);
    int rc = n->given_up ? ENOTSUP : fork_there(n, executable, surroundings, theirs, pid);
    n->proved = n->proved || rc == 0;
    n->given_up = !n->proved;
    pthread_mutex_unlock(&n->lock);
    return rc;
}
