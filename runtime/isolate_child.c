/* isolate_child.c -- the processes themselves: started with nothing of the host but a directory
 * and an environment, and ended with all they have started. */
#include "isolate_inside.h"
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Descriptors that a child is given; ours stand above them, whatever the host has closed. */
enum { CHILD_SOCKET = 3, OURS = 10 };

/* Where it talks: as much as the system allows without asking. */
enum { SOCKET_ROOM = 1 << 20 };

static void close_at(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

bool lf_child_raise(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= OURS)
            continue;
        int fd = fcntl(pair[i], F_DUPFD_CLOEXEC, OURS);
        if (fd < 0)
            return false;
        close(pair[i]);
        pair[i] = fd;
    }
    return true;
}

static bool do_not_block(int fd) { return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0; }

static bool open_pipe(int pair[2])
{
    return pipe2(pair, O_CLOEXEC) == 0 && lf_child_raise(pair) && do_not_block(pair[0]);
}

static bool open_socket(int pair[2])
{
    int room = SOCKET_ROOM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || !lf_child_raise(pair) ||
        !do_not_block(pair[0]))
        return false;
    for (int i = 0; i < 2; i++) /* what is not granted is not needed */
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    return true;
}

int lf_child_spawn(const char *executable, const int theirs[3], pid_t *pid)
{
    char *const argv[] = {"luaflow", LUAFLOW_SERVE, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        return rc;
    rc = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = posix_spawn_file_actions_adddup2(&files, theirs[i], STDOUT_FILENO + i);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&files, CHILD_SOCKET + 1);
    if (rc == 0 && (rc = posix_spawnattr_init(&attributes)) == 0) {
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setpgroup(&attributes, 0);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                  POSIX_SPAWN_SETPGROUP);
        rc = posix_spawn(pid, executable, &files, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

int lf_child_start(struct lf_nursery *nursery, const char *executable, uint64_t surroundings,
                   lf_child **out, luaflow_error *err)
{
    int pairs[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}; /* stdout, stderr, the socket */
    lf_child *c = calloc(1, sizeof *c);
    if (c == NULL)
        return lf_fail_memory(err);
    c->pidfd = c->wire.fd = c->out[0] = c->out[1] = -1;
    c->surroundings = surroundings;
    int rc = open_pipe(pairs[0]) && open_pipe(pairs[1]) && open_socket(pairs[2]) ? 0 : errno;
    int theirs[3] = {pairs[0][1], pairs[1][1], pairs[2][1]};
    if (rc == 0 && lf_nursery_fork(nursery, executable, surroundings, theirs, &c->pid) != 0)
        rc = lf_child_spawn(executable, theirs, &c->pid);
    c->out[0] = pairs[0][0];
    c->out[1] = pairs[1][0];
    c->wire.fd = pairs[2][0];
    for (int i = 0; i < 3; i++)
        close_at(&pairs[i][1]);
    if (rc != 0) {
        lf_child_free(c);
        return lf_fail(err, LUAFLOW_ESTEP, "cannot start %s: %s", executable, strerror(rc));
    }
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    *out = c;
    return LUAFLOW_OK;
}

uint64_t lf_child_surroundings(void)
{
    char directory[4096];
    uint64_t hash = 0;
    if (getcwd(directory, sizeof directory) != NULL)
        hash = lf_hash(0, directory, strlen(directory));
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++)
        hash = lf_hash(hash, *entry, strlen(*entry));
    return hash;
}

bool lf_child_is_gone(const lf_child *c)
{
    struct pollfd looks[2] = {{.fd = c->wire.fd}, {.fd = c->pidfd, .events = POLLIN}};
    return poll(looks, 2, 0) > 0; /* a hang-up is always told */
}

void lf_child_signal(const lf_child *c, int signal_number) { kill(-c->pid, signal_number); }

void lf_child_kill(const lf_child *c)
{
    /* Until it is waited for its number, and so its group's, belongs to nobody else. */
    kill(-c->pid, SIGKILL);
    kill(c->pid, SIGKILL); /* it may have left the group */
}

bool lf_child_end(lf_child *c, int *status)
{
    lf_child_kill(c);
    pid_t rc;
    do
        rc = waitpid(c->pid, status, 0);
    while (rc < 0 && errno == EINTR);
    return rc == c->pid;
}

bool lf_child_wait(const lf_child *c, bool patiently)
{
    pid_t rc;
    do
        rc = waitpid(c->pid, NULL, patiently ? 0 : WNOHANG);
    while (rc < 0 && errno == EINTR);
    return rc != 0;
}

void lf_child_shut(lf_child *c)
{
    close_at(&c->out[0]);
    close_at(&c->out[1]);
    close_at(&c->pidfd);
    close_at(&c->wire.fd);
    lf_wire_fini(&c->wire);
    c->wire = (lf_wire){.fd = -1};
}

void lf_child_free(lf_child *c)
{
    if (c == NULL)
        return;
    lf_child_shut(c);
    free(c);
}
