/* child_nursery.c -- a process that does nothing but fork others, which start with all that it had
 * ready. They are not its children but its parent's, who waits for them as for any other. */
#include "child_inside.h"
#include "error.h"
#include "nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Fills `given`. False when there is nobody to ask any more. */
static bool receive_request(int control, int given[LF_NURSERY_GIVEN])
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(LF_NURSERY_GIVEN * sizeof(int))];
    } more;
    char word;
    struct iovec data = {&word, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = more.bytes,
                             .msg_controllen = sizeof more.bytes};
    ssize_t n;
    do
        n = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    const struct cmsghdr *header = n == 1 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header == NULL || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(LF_NURSERY_GIVEN * sizeof(int)))
        return false;
    memcpy(given, CMSG_DATA(header), LF_NURSERY_GIVEN * sizeof(int));
    return true;
}

/* Like fork, but the new process is our parent's child. Where there is one thread, nothing need
 * be done before and after it. */
static int32_t fork_beside(void)
{
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
    return pid < 0 ? -errno : (int32_t)pid;
}

/* What was given is ours now, in its place. */
static bool settle(int control, const int given[LF_NURSERY_GIVEN])
{
    bool ok = setpgid(0, 0) == 0 && dup2(given[0], STDOUT_FILENO) >= 0 &&
              dup2(given[1], STDERR_FILENO) >= 0 && dup3(given[2], control, O_CLOEXEC) >= 0;
    for (int i = 0; i < LF_NURSERY_GIVEN; i++)
        close(given[i]);
    return ok;
}

int lf_nurse(int control, bool *is_forked, luaflow_error *err)
{
    int given[LF_NURSERY_GIVEN];
    while (receive_request(control, given)) {
        lf_nursery_answer answer = {LF_NURSERY_MARK, fork_beside()};
        if (answer.pid == 0) {
            *is_forked = true;
            return settle(control, given) ? LUAFLOW_OK
                                          : lf_fail(err, LUAFLOW_ESTEP, "cannot begin: %s", strerror(errno));
        }
        for (int i = 0; i < LF_NURSERY_GIVEN; i++)
            close(given[i]);
        if (send(control, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
            break;
    }
    return LUAFLOW_OK;
}
