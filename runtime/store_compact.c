/* store_compact.c -- of the store: its file is written anew without free pages, and the new one put
 * in its place.
 *
 * LMDB keeps a lock on the first byte of lock.mdb in every process that has the environment open,
 * and waits for it when it opens one. So whoever gets that lock for himself is alone, and those
 * that come meanwhile wait and then find the new file. */
#include "store_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRESH "data.mdb.new"

typedef struct compaction {
    const char *path; /* of the store */
    int dir, lock, fresh;
    MDB_env *env;
} compaction;

static int fail(const compaction *c, const char *what, int rc, luaflow_error *err)
{
    if (lf_disk_is_at_fault(rc))
        return lf_disk_fail(c->path, "write", FRESH, "try again", rc, err);
    return lf_fail(err, LUAFLOW_ESTORE, "cannot give space of %s back: %s: %s", c->path, what,
                   mdb_strerror(rc));
}

/* Whether nobody else has the environment open; from here on nobody can open it. */
static int lock_out(compaction *c, luaflow_error *err)
{
    struct flock first = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    c->lock = openat(c->dir, "lock.mdb", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (c->lock < 0)
        return fail(c, "lock.mdb", errno, err);
    if (fcntl(c->lock, F_SETLK, &first) == 0)
        return LUAFLOW_OK;
    if (errno != EAGAIN && errno != EACCES)
        return fail(c, "lock.mdb", errno, err);
    return lf_fail(
        err, LUAFLOW_ESTORE,
        "cannot give space of %s back while another process has it open; prune has done the "
        "rest, so later runs will use that space",
        c->path);
}

static int size_of(int dir, const char *name, uint64_t *size)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno;
    *size = (uint64_t)st.st_size;
    return 0;
}

/* A copy begins to count transactions anew. But who waits for our lock has the old count in
 * lock.mdb already, and by it would take the wrong one of the two heads: so the copy goes on with
 * the old count. */
static int keep_counting(const compaction *c)
{
    enum { PAGE_HEAD = 16, TXN = 144 };
    MDB_envinfo old;
    lf_head heads[2];
    size_t size;
    uint8_t bytes[2][LF_HEAD_BYTES];
    int rc = mdb_env_info(c->env, &old);
    if (rc != 0)
        return rc;
    if (lf_heads_read(c->fresh, heads, &size) != NULL || heads[1].txn != 1)
        return MDB_CORRUPTED;
    for (int i = 0; i < 2; i++)
        if (pread(c->fresh, bytes[i], LF_HEAD_BYTES, (off_t)(i * size)) != LF_HEAD_BYTES)
            return EIO;
    for (int i = 0; i < 2; i++) { /* the second head is the one with something in it */
        bool is_new = (uint64_t)i == old.me_last_txnid % 2;
        uint64_t txn = old.me_last_txnid - !is_new;
        uint8_t head[LF_HEAD_BYTES];
        memcpy(head, bytes[i], PAGE_HEAD);
        memcpy(head + PAGE_HEAD, bytes[is_new] + PAGE_HEAD, sizeof head - PAGE_HEAD);
        memcpy(head + TXN, &txn, sizeof txn);
        if (pwrite(c->fresh, head, sizeof head, (off_t)(i * size)) != (ssize_t)sizeof head)
            return EIO;
    }
    return 0;
}

/* Without LMDB's own lock, since nobody else is there. */
static int write_fresh(compaction *c, luaflow_error *err)
{
    int rc = mdb_env_create(&c->env);
    if (rc == 0)
        rc = mdb_env_open(c->env, c->path, MDB_RDONLY | MDB_NOLOCK, 0600);
    if (rc != 0)
        return lf_lmdb_fail(c->path, "open", rc, err);
    int fd;
    if (mdb_env_get_fd(c->env, &fd) == 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    c->fresh = openat(c->dir, FRESH, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (c->fresh < 0)
        return fail(c, FRESH, errno, err);
    rc = mdb_env_copyfd2(c->env, c->fresh, MDB_CP_COMPACT);
    if (rc == 0)
        rc = keep_counting(c);
    if (rc == 0 && fsync(c->fresh) != 0)
        rc = errno;
    return rc == 0 ? LUAFLOW_OK : fail(c, "writing " FRESH, rc, err);
}

static int replace(compaction *c, uint64_t *before, uint64_t *after, luaflow_error *err)
{
    int rc = lock_out(c, err);
    if (rc == LUAFLOW_OK)
        rc = write_fresh(c, err);
    if (rc != LUAFLOW_OK)
        return rc;
    int code = size_of(c->dir, "data.mdb", before);
    if (code == 0)
        code = size_of(c->dir, FRESH, after);
    if (code == 0 && renameat(c->dir, FRESH, c->dir, "data.mdb") != 0)
        code = errno;
    if (code == 0 && fsync(c->dir) != 0 && errno != EINVAL)
        code = errno;
    return code == 0 ? LUAFLOW_OK : fail(c, "data.mdb", code, err);
}

int lf_store_compact(const char *path, uint64_t *before, uint64_t *after, luaflow_error *err)
{
    lf_pin pin;
    compaction c = {path, -1, -1, -1, NULL};
    *before = *after = 0;
    int rc = lf_pin_open(path, &pin, err);
    if (rc == LUAFLOW_OK && !pin.is_alone)
        rc = lf_fail(err, LUAFLOW_ESTORE,
                     "cannot give space of %s back while this process has it open", path);
    if (rc == LUAFLOW_OK && (c.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        rc = fail(&c, "its directory", errno, err);
    if (rc == LUAFLOW_OK) {
        lf_turn_take(pin.store, LF_TURN_OPEN);
        lf_inside_enter(pin.store);
        rc = replace(&c, before, after, err);
        lf_inside_leave();
        lf_turn_end(pin.store, LF_TURN_OPEN);
    }
    if (c.env != NULL)
        mdb_env_close(c.env);
    if (c.fresh >= 0) {
        if (rc != LUAFLOW_OK)
            unlinkat(c.dir, FRESH, 0);
        close(c.fresh);
    }
    if (c.lock >= 0)
        close(c.lock);
    if (c.dir >= 0)
        close(c.dir);
    lf_pin_close(&pin);
    return rc;
}
