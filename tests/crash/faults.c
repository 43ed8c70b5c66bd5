/* faults.c -- a library to preload: writes down what a program does to the files of a store,
 * and lets one of these calls go wrong. Built for the tests alone.
 *
 *   FAULTS_STORE    the store's directory, absolute; what its name begins is watched too (a
 *                   store is made beside its place), and syncs of the directory above it
 *   FAULTS_JOURNAL  a file for all calls that change the store, and what is said on stdout
 *   FAULTS_NOSYNC   any value: syncs say that they are done and do nothing
 *   FAULTS_AT       "NUMBER WHAT": the call with this number, from 1, ends the program
 *                   (before, within, after: half of a write is done within) or fails (with
 *                   ENOSPC, EIO, EDQUOT or as half a write: short); with a + behind it
 *                   (ENOSPC+) all calls from then on
 *
 * LMDB writes its files with calls; only lock.mdb is written through a map, and that one need
 * not outlive the machine. One lock around call and journal gives them one order. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE = 1, TRUNCATE, SYNC, MAKE, RENAME, REMOVE, SAY };
enum { IS_DURABLE = 1, IS_DIRECTORY = 2, FAILED = 4 }; /* flags of an entry */

/* An entry of the journal; `size` bytes follow: what was written or said, or names, each with
 * its NUL. `at` is an offset, or the size of a truncated file. */
struct entry {
    uint32_t kind, flags;
    uint64_t file, at, size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *store, *journal_name;
static int journal = -1;
static bool no_sync;

static struct {
    unsigned long number; /* 0: nothing goes wrong */
    bool from_then_on;
    int error;  /* 0: the program ends, or half a write is done */
    char when; /* 'b'efore, 'w'ithin, 'a'fter; 's'hort */
} fault;
static unsigned long n_calls;

static void read_fault(const char *text)
{
    static const struct { const char *name; int error; char when; } known[] = {
        {"before", 0, 'b'}, {"within", 0, 'w'}, {"after", 0, 'a'}, {"short", 0, 's'},
        {"ENOSPC", ENOSPC, 0}, {"EIO", EIO, 0}, {"EDQUOT", EDQUOT, 0},
    };
    char *what;
    fault.number = strtoul(text, &what, 10);
    what += *what == ' ';
    size_t size = strcspn(what, "+");
    fault.from_then_on = what[size] == '+';
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].name) == size && strncmp(known[i].name, what, size) == 0) {
            fault.error = known[i].error;
            fault.when = known[i].when;
            return;
        }
    fprintf(stderr, "faults: '%s' is nothing that can go wrong\n", text);
    abort();
}

__attribute__((constructor)) static void begin(void)
{
    store = getenv("FAULTS_STORE");
    journal_name = getenv("FAULTS_JOURNAL");
    no_sync = getenv("FAULTS_NOSYNC") != NULL;
    if (store != NULL && getenv("FAULTS_AT") != NULL)
        read_fault(getenv("FAULTS_AT"));
}

/* ---- what is watched ---- */

static bool is_watched_path(const char *path)
{
    return store != NULL && strncmp(path, store, strlen(store)) == 0;
}

static bool path_of(int fd, char path[PATH_MAX])
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n < 0 ? 0 : n] = 0;
    return n >= 0;
}

static bool is_watched(int fd)
{
    char path[PATH_MAX];
    int saved = errno;
    bool yes = store != NULL && path_of(fd, path) && is_watched_path(path);
    errno = saved;
    return yes;
}

/* A directory that holds the store, or what is in it. */
static bool is_watched_for_sync(int fd)
{
    char path[PATH_MAX];
    int saved = errno;
    bool yes = store != NULL && path_of(fd, path);
    if (yes && !is_watched_path(path)) {
        size_t n = strlen(path);
        yes = strncmp(path, store, n) == 0 && store[n] == '/' && strchr(store + n + 1, '/') == NULL;
    }
    errno = saved;
    return yes;
}

/* Where `name` in directory `at` is. */
static void full_path(int at, const char *name, char path[PATH_MAX])
{
    char dir[PATH_MAX] = "";
    if (name[0] != '/' && at != AT_FDCWD)
        path_of(at, dir);
    else if (name[0] != '/' && getcwd(dir, sizeof dir) == NULL)
        dir[0] = 0;
    if (snprintf(path, PATH_MAX, "%s%s%s", dir, dir[0] ? "/" : "", name) >= PATH_MAX)
        path[0] = 0;
}

/* ---- the journal ---- */

static void put(const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = syscall(SYS_write, journal, at, size);
        if (n < 0)
            abort();
        at += n;
        size -= (size_t)n;
    }
}

static void note(enum kind kind, uint32_t flags, uint64_t file, uint64_t at, const struct iovec *v,
                 int n, size_t size)
{
    int saved = errno;
    if (journal < 0 && journal_name != NULL)
        journal = (int)syscall(SYS_openat, AT_FDCWD, journal_name,
                               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal >= 0) {
        struct entry e = {kind, flags, file, at, size};
        put(&e, sizeof e);
        for (int i = 0; i < n && size > 0; i++) {
            size_t part = v[i].iov_len < size ? v[i].iov_len : size;
            put(v[i].iov_base, part);
            size -= part;
        }
    }
    errno = saved;
}

static void note_name(enum kind kind, uint32_t flags, uint64_t file, const char *name)
{
    struct iovec v = {(void *)name, strlen(name) + 1};
    note(kind, flags, file, 0, &v, 1, v.iov_len);
}

static uint64_t number_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* ---- what goes wrong ---- */

static _Noreturn void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Counts a call, under the lock. True when it is to fail, with errno, or to be done by half. */
static bool goes_wrong(bool *by_half)
{
    n_calls++;
    *by_half = false;
    if (fault.number == 0 || n_calls < fault.number ||
        (n_calls > fault.number && !fault.from_then_on))
        return false;
    if (fault.when == 'b')
        die();
    *by_half = fault.when == 'w' || fault.when == 's';
    errno = fault.error;
    return fault.error != 0;
}

static void after(void)
{
    if (n_calls == fault.number && (fault.when == 'a' || fault.when == 'w'))
        die();
}

/* ---- writing ---- */

static ssize_t write_really(int fd, const struct iovec *v, int n, off_t at)
{
    return at < 0 ? syscall(SYS_writev, fd, v, n) : syscall(SYS_pwritev, fd, v, n, at, 0);
}

/* The first half of what there is: whole parts of it, or half of the only one. */
static ssize_t write_half(int fd, const struct iovec *v, int n, off_t at)
{
    struct iovec first = {v[0].iov_base, v[0].iov_len / 2};
    return n > 1 ? write_really(fd, v, n / 2, at) : write_really(fd, &first, 1, at);
}

/* `at` < 0: where the file stands. */
static ssize_t do_write(int fd, const struct iovec *v, int n, off_t at)
{
    bool says = fd == STDOUT_FILENO && journal_name != NULL, by_half;
    if (!says && !is_watched(fd))
        return write_really(fd, v, n, at);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    if (says) {
        done = write_really(fd, v, n, at);
        if (done > 0)
            note(SAY, 0, 0, 0, v, n, (size_t)done);
    } else if (goes_wrong(&by_half)) {
        note(WRITE, FAILED, number_of(fd), 0, v, n, 0);
    } else {
        off_t from = at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
        bool durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
        done = by_half ? write_half(fd, v, n, at) : write_really(fd, v, n, at);
        if (done >= 0)
            note(WRITE, durable ? IS_DURABLE : 0, number_of(fd), (uint64_t)from, v, n, (size_t)done);
        after();
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    return do_write(fd, &(struct iovec){(void *)data, size}, 1, -1);
}

ssize_t writev(int fd, const struct iovec *v, int n) { return do_write(fd, v, n, -1); }

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return do_write(fd, &(struct iovec){(void *)data, size}, 1, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) { return do_write(fd, v, n, at); }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
    __attribute__((alias("pwrite")));
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at)
    __attribute__((alias("pwritev")));

/* ---- sizes and syncs ---- */

static int resize(int fd, off_t to, long done)
{
    if (done == 0)
        note(TRUNCATE, 0, number_of(fd), (uint64_t)to, NULL, 0, 0);
    return (int)done;
}

int ftruncate(int fd, off_t size)
{
    if (!is_watched(fd))
        return (int)syscall(SYS_ftruncate, fd, size);
    bool by_half;
    pthread_mutex_lock(&lock);
    int rc = -1;
    if (!goes_wrong(&by_half)) {
        rc = resize(fd, size, syscall(SYS_ftruncate, fd, size));
        after();
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int ftruncate64(int fd, off64_t size) __attribute__((alias("ftruncate")));

int fallocate(int fd, int mode, off_t from, off_t size)
{
    if (!is_watched(fd))
        return (int)syscall(SYS_fallocate, fd, mode, from, size);
    bool by_half;
    struct stat st;
    pthread_mutex_lock(&lock);
    int rc = -1;
    if (!goes_wrong(&by_half)) {
        rc = (int)syscall(SYS_fallocate, fd, mode, from, size);
        if (rc == 0 && fstat(fd, &st) == 0)
            resize(fd, st.st_size, 0);
        after();
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int fallocate64(int fd, int mode, off64_t from, off64_t size) __attribute__((alias("fallocate")));

static int do_sync(int fd, long call)
{
    if (!is_watched_for_sync(fd))
        return (int)syscall(call, fd);
    bool by_half;
    pthread_mutex_lock(&lock);
    int rc = -1;
    if (!goes_wrong(&by_half)) {
        rc = no_sync ? 0 : (int)syscall(call, fd);
        if (rc == 0 && !no_sync)
            note(SYNC, 0, number_of(fd), 0, NULL, 0, 0);
        after();
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int fsync(int fd) { return do_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }

/* ---- names ---- */

static int do_open(int at, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    if (no_sync)
        flags &= ~(O_SYNC | O_DSYNC);
    full_path(at, name, path);
    if (!(flags & O_CREAT) || !is_watched_path(path))
        return (int)syscall(SYS_openat, at, name, flags, mode);
    bool by_half;
    pthread_mutex_lock(&lock);
    int fd = (int)syscall(SYS_openat, at, name, flags & ~O_CREAT & ~O_EXCL, mode);
    if (fd >= 0 && (flags & O_EXCL)) {
        close(fd);
        fd = -1;
        errno = EEXIST;
    } else if (fd < 0 && errno == ENOENT && !goes_wrong(&by_half)) {
        fd = (int)syscall(SYS_openat, at, name, flags, mode);
        if (fd >= 0)
            note_name(MAKE, 0, number_of(fd), path);
        after();
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int open(const char *name, int flags, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? (mode_t)__builtin_va_arg(args, int) : 0;
    __builtin_va_end(args);
    return do_open(AT_FDCWD, name, flags, mode);
}

int openat(int at, const char *name, int flags, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? (mode_t)__builtin_va_arg(args, int) : 0;
    __builtin_va_end(args);
    return do_open(at, name, flags, mode);
}

int open64(const char *name, int flags, ...) __attribute__((alias("open")));
int openat64(int at, const char *name, int flags, ...) __attribute__((alias("openat")));

char *mkdtemp(char *name)
{
    char *(*real)(char *) = (char *(*)(char *))dlsym(RTLD_NEXT, "mkdtemp");
    char path[PATH_MAX];
    full_path(AT_FDCWD, name, path);
    if (!is_watched_path(path))
        return real(name);
    bool by_half;
    struct stat st;
    pthread_mutex_lock(&lock);
    char *made = goes_wrong(&by_half) ? NULL : real(name);
    if (made != NULL && stat(made, &st) == 0) {
        full_path(AT_FDCWD, made, path);
        note_name(MAKE, IS_DIRECTORY, st.st_ino, path);
        after();
    }
    pthread_mutex_unlock(&lock);
    return made;
}

int rename(const char *from, const char *to)
{
    char names[2 * PATH_MAX], second[PATH_MAX];
    full_path(AT_FDCWD, from, names);
    full_path(AT_FDCWD, to, second);
    if (!is_watched_path(names))
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    bool by_half;
    pthread_mutex_lock(&lock);
    int rc = -1;
    if (!goes_wrong(&by_half)) {
        rc = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
        if (rc == 0) {
            size_t first = strlen(names) + 1, size = first + strlen(second) + 1;
            memcpy(names + first, second, size - first);
            note(RENAME, 0, 0, 0, &(struct iovec){names, size}, 1, size);
        }
        after();
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static int do_remove(int at, const char *name, int flags)
{
    char path[PATH_MAX];
    full_path(at, name, path);
    if (!is_watched_path(path))
        return (int)syscall(SYS_unlinkat, at, name, flags);
    bool by_half;
    pthread_mutex_lock(&lock);
    goes_wrong(&by_half); /* what is removed needs no room */
    int rc = (int)syscall(SYS_unlinkat, at, name, flags);
    if (rc == 0)
        note_name(REMOVE, 0, 0, path);
    after();
    pthread_mutex_unlock(&lock);
    return rc;
}

int unlinkat(int at, const char *name, int flags) { return do_remove(at, name, flags); }
int unlink(const char *name) { return do_remove(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return do_remove(AT_FDCWD, name, AT_REMOVEDIR); }
