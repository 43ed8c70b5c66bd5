/* owner.c -- which runs have a living process, and whose turn it is: locks on bytes of a file.
 *
 * The lock is an open file description's (F_OFD_SETLK), so that two runtimes of one
 * process exclude each other too, and closing some other descriptor of the file drops
 * nothing. A description never conflicts with itself: questions go through a second
 * one, which sees the claims of the first like anybody's.
 * Knows nothing of LMDB. Any thread: nothing here changes once it is open. */
#include "owner.h"
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* So long a claim of another process is waited for: it may be dying. */
enum { DYING_MS = 2000 };

/* The bytes of turns lie where no run's number comes to. */
#define FIRST_TURN ((off_t)1 << 62)

struct lf_owner {
    char *path;
    int claims; /* -1 where the file may not be written */
    int asks;   /* -1 where there is none and it may not be made */
};

static bool forbidden(int e) { return e == EACCES || e == EPERM || e == EROFS; }

/* A new file is for its owner alone, whatever the umask. */
static int open_claims(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        if (fchmod(fd, 0600) == 0)
            return fd;
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return errno == EEXIST ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
}

static int open_files(lf_owner *o)
{
    o->claims = open_claims(o->path);
    if (o->claims < 0 && !forbidden(errno))
        return -1;
    o->asks = open(o->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (o->asks < 0 && !(o->claims < 0 && (errno == ENOENT || forbidden(errno))))
        return -1;
    return 0;
}

int lf_owner_open(const char *dir, lf_owner **out, luaflow_error *err)
{
    lf_owner *o = calloc(1, sizeof *o);
    if (o == NULL)
        return lf_fail_memory(err);
    o->claims = o->asks = -1;
    if (asprintf(&o->path, "%s/owners", dir) < 0) {
        o->path = NULL;
        lf_owner_close(o);
        return lf_fail_memory(err);
    }
    if (open_files(o) != 0) {
        int problem = errno;
        int rc = lf_disk_is_at_fault(problem)
                     ? lf_disk_fail(dir, "make", o->path, "try again", problem, err)
                     : lf_fail(err, LUAFLOW_ESTORE,
                               "cannot open %s, which tells the runs that have a process: %s",
                               o->path, strerror(problem));
        lf_owner_close(o);
        return rc;
    }
    *out = o;
    return LUAFLOW_OK;
}

void lf_owner_close(lf_owner *o)
{
    if (o == NULL)
        return;
    if (o->claims >= 0)
        close(o->claims);
    if (o->asks >= 0)
        close(o->asks);
    free(o->path);
    free(o);
}

static struct flock byte_of(off_t number, short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = number, .l_len = 1};
}

int lf_owner_claim(lf_owner *o, uint32_t run, luaflow_error *err)
{
    if (o->claims < 0)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot claim run %u: %s may not be written; use a store of your own", run,
                       o->path);
    struct flock lock = byte_of(run, F_WRLCK);
    const struct timespec moment = {0, 1000000};
    int problem = 0;
    for (int i = 0; i < DYING_MS; i++) {
        if (fcntl(o->claims, F_OFD_SETLK, &lock) == 0)
            return LUAFLOW_OK;
        problem = errno;
        if (problem != EAGAIN && problem != EACCES)
            break;
        nanosleep(&moment, NULL);
    }
    if (problem == EAGAIN || problem == EACCES)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "run %u belongs to a process that is running it; wait for it or end it",
                       run);
    return lf_fail(err, LUAFLOW_ESTORE, "cannot lock byte %u of %s: %s; is it on a local disk?",
                   run, o->path, strerror(problem));
}

void lf_owner_release(lf_owner *o, uint32_t run)
{
    struct flock lock = byte_of(run, F_UNLCK);
    if (o->claims >= 0)
        fcntl(o->claims, F_OFD_SETLK, &lock); /* giving up a lock, held or not, cannot fail */
}

bool lf_owner_alive(lf_owner *o, uint32_t run)
{
    if (o->asks < 0)
        return false;
    struct flock lock = byte_of(run, F_WRLCK);
    /* Where the kernel cannot tell, nobody may take the run for dead. */
    return fcntl(o->asks, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* Where the kernel gives no lock, LMDB's own locks are what there is: they exclude, but may forget
 * to wake somebody when a process is killed. */
void lf_owner_take_turn(lf_owner *o, lf_turn turn)
{
    struct flock lock = byte_of(FIRST_TURN + turn, F_WRLCK);
    while (o->claims >= 0 && fcntl(o->claims, F_OFD_SETLKW, &lock) != 0 && errno == EINTR)
        ;
}

void lf_owner_end_turn(lf_owner *o, lf_turn turn)
{
    struct flock lock = byte_of(FIRST_TURN + turn, F_UNLCK);
    if (o->claims >= 0)
        fcntl(o->claims, F_OFD_SETLK, &lock);
}
