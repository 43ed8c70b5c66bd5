/* store.c -- one directory, one LMDB environment: made whole, opened once per process,
 * read in short views.
 *
 * The store is one room in several files: store_inside.h is what they share. Knows nothing
 * of Lua or libevent. Any thread: the registry of open stores and each store's idle views
 * have a leaf lock of their own; those of its readers and writers are no leaves, see
 * lf_turn_take. */
#include "store_inside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IDLE_VIEWS = 32 };

/* ---- who is inside ---- */

static _Thread_local volatile struct {
    unsigned depth;
    const char *dir;
} inside;

void lf_inside_enter(const lf_store *s)
{
    inside.dir = s->dir;
    inside.depth++;
}

void lf_inside_leave(void) { inside.depth--; }

const char *lf_store_inside(void) { return inside.depth > 0 ? inside.dir : NULL; }

/* ---- turns ---- */

/* None for opening: the registry lets one thread alone open a store. */
static pthread_mutex_t *lock_of(lf_store *s, lf_turn turn)
{
    return turn == LF_TURN_OPEN ? NULL : turn == LF_TURN_READER ? &s->readers : &s->writers;
}

void lf_turn_take(lf_store *s, lf_turn turn)
{
    pthread_mutex_t *lock = lock_of(s, turn);
    if (lock != NULL)
        pthread_mutex_lock(lock);
    lf_owner_take_turn(s->owner, turn);
}

void lf_turn_end(lf_store *s, lf_turn turn)
{
    pthread_mutex_t *lock = lock_of(s, turn);
    lf_owner_end_turn(s->owner, turn);
    if (lock != NULL)
        pthread_mutex_unlock(lock);
}

/* As long as LMDB makes it: a head and a line for each reader. */
enum { LOCK_SIZE = 192 + 64 * (LF_MAX_READERS - 1) };

/* ---- making a store ---- */

static void close_env(MDB_env *env)
{
    if (env != NULL)
        mdb_env_close(env);
}

/* LMDB opens data.mdb without close-on-exec. */
static int keep_from_children(MDB_env *env)
{
    int fd, rc = mdb_env_get_fd(env, &fd);
    return rc == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ? errno : rc;
}

/* LMDB writes lock.mdb through a map and would make it a file without blocks: on a full disk
 * that is a SIGBUS. So the blocks are there before. Only while this process does not have the
 * store open, since closing a file drops the process's locks on it; and a lock.mdb that is used
 * never grows, since others have mapped it as long as it is. An errno. */
static int allocate_lock(const char *dir)
{
    char *path;
    if (asprintf(&path, "%s/lock.mdb", dir) < 0)
        return ENOMEM;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), rc = fd < 0 ? errno : 0;
    free(path);
    struct stat st;
    if (rc == 0 && fstat(fd, &st) != 0)
        rc = errno;
    off_t size = rc == 0 && st.st_size > 0 ? st.st_size : LOCK_SIZE;
    if (rc == 0 && st.st_blocks * 512 < size && fallocate(fd, 0, 0, size) != 0 &&
        errno != EOPNOTSUPP)
        rc = errno;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* An empty file for its owner alone, whatever the umask. */
static int touch(int dir, const char *name)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int rc = fchmod(fd, 0600) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

static int make_tables(MDB_env *env)
{
    lf_store s = {.env = env};
    lf_write w = {.view = {.store = &s}};
    int rc = mdb_txn_begin(env, NULL, 0, &w.view.txn);
    if (rc != 0)
        return rc;
    for (int t = 0; rc == 0 && t < LF_TABLES; t++)
        rc = mdb_dbi_open(w.view.txn, lf_table_names[t], MDB_CREATE, &s.table[t]);
    if (rc == 0) rc = lf_meta_put(&w, "version", LF_STORE_VERSION);
    if (rc == 0)
        return mdb_txn_commit(w.view.txn);
    mdb_txn_abort(w.view.txn);
    return rc;
}

/* Makes the files of a new store in `dir` and sees them to the disk; an errno or LMDB's code. */
static int make_files(const char *dir)
{
    int fd = chmod(dir, 0700) == 0 ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0)
        return errno;
    MDB_env *env = NULL;
    int rc = touch(fd, "data.mdb");
    if (rc == 0) rc = touch(fd, "lock.mdb");
    if (rc == 0) rc = allocate_lock(dir);
    if (rc == 0) rc = mdb_env_create(&env);
    if (rc == 0) rc = mdb_env_set_maxdbs(env, LF_TABLES);
    if (rc == 0) rc = mdb_env_set_maxreaders(env, LF_MAX_READERS);
    if (rc == 0) rc = mdb_env_open(env, dir, MDB_NOTLS, 0600);
    if (rc == 0) rc = keep_from_children(env);
    if (rc == 0) rc = make_tables(env);
    if (rc == 0) rc = mdb_env_sync(env, 1);
    close_env(env);
    if (rc == 0 && fsync(fd) != 0 && errno != EINVAL) /* not every file system syncs directories */
        rc = errno;
    close(fd);
    return rc;
}

static void remove_files(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        unlinkat(fd, "data.mdb", 0);
        unlinkat(fd, "lock.mdb", 0);
        close(fd);
    }
    rmdir(dir);
}

static int sync_directory(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : errno; /* one may be allowed to write it and not to read it */
    int rc = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    close(fd);
    return rc;
}

static int fail_make(const char *dir, const char *parent, int rc, luaflow_error *err)
{
    if (lf_disk_is_at_fault(rc))
        return lf_disk_fail(parent, "make the store", dir, "try again", rc, err);
    switch (rc) {
    case ENOMEM: return lf_fail_memory(err);
    case ENOENT:
    case ENOTDIR:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot make the store %s: %s is no directory; name another place with --store",
                       dir, parent);
    case EACCES:
    case EPERM:
    case EROFS:
        return lf_fail(
            err, LUAFLOW_ESTORE,
            "cannot make the store %s: %s may not be written (%s); name another place with "
            "--store",
            dir, parent, strerror(rc));
    case EBUSY:
    case EXDEV:
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot make the store %s: it is a mount point; name a directory in it",
                       dir);
    default:
        return lf_fail(err, LUAFLOW_ESTORE, "cannot make the store %s: %s", dir, mdb_strerror(rc));
    }
}

static char *parent_of(const char *dir)
{
    const char *slash = strrchr(dir, '/');
    if (slash == NULL)
        return strdup(".");
    return slash == dir ? strdup("/") : strndup(dir, (size_t)(slash - dir));
}

/* Makes the directory and those above it, each safe before what goes into it. 0 or an errno. */
static int make_directory(const char *dir)
{
    if (mkdir(dir, 0777) != 0 && errno != ENOENT)
        return errno == EEXIST ? 0 : errno;
    char *parent = parent_of(dir);
    int rc = parent == NULL ? ENOMEM : 0;
    if (rc == 0 && access(dir, F_OK) != 0) {
        rc = strcmp(parent, dir) == 0 ? ENOENT : make_directory(parent);
        if (rc == 0 && mkdir(dir, 0777) != 0 && errno != EEXIST)
            rc = errno;
    }
    if (rc == 0)
        rc = sync_directory(parent);
    free(parent);
    return rc;
}

/* Builds the store beside its place and renames it there. Somebody who was faster wins:
 * that is no failure, there is a store now. `dir` has no slash at its end. */
static int make_store(const char *dir, luaflow_error *err)
{
    char *parent = parent_of(dir), *aside = NULL;
    if (parent == NULL || asprintf(&aside, "%s.new-XXXXXX", dir) < 0) {
        free(parent);
        return lf_fail_memory(err);
    }
    int rc = mkdtemp(aside) != NULL ? 0 : errno;
    if (rc == ENOENT && (rc = make_directory(parent)) == 0) {
        memset(aside + strlen(aside) - 6, 'X', 6);
        rc = mkdtemp(aside) != NULL ? 0 : errno;
    }
    if (rc == 0) {
        rc = make_files(aside);
        if (rc == 0 && rename(aside, dir) != 0)
            rc = errno;
        if (rc != 0)
            remove_files(aside);
        if (rc == ENOTEMPTY || rc == EEXIST)
            rc = 0;
        if (rc == 0) rc = sync_directory(parent);
    }
    if (rc != 0)
        fail_make(dir, parent, rc, err);
    free(aside);
    free(parent);
    return rc == 0 ? LUAFLOW_OK : rc == ENOMEM ? LUAFLOW_ENOMEM : LUAFLOW_ESTORE;
}

/* ---- opening ---- */

static bool forbidden(int rc) { return rc == EACCES || rc == EPERM || rc == EROFS; }

/* LMDB would print what it found, and abort then. */
static void end_quietly(MDB_env *env, const char *found)
{
    (void)env;
    (void)found;
    abort();
}

/* Whether there is so much address space. LMDB would find out itself, but only after it has made
 * its lock file anew. */
static bool can_map(size_t size)
{
    void *map = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return map != MAP_FAILED && munmap(map, size) == 0;
}

/* The map is only address space; it cannot be made larger under a living reader, so it is
 * as large from the start as the machine lets it be. */
static int open_env(lf_store *s, unsigned flags)
{
#ifdef LF_SANITIZE
    static const unsigned char bits[] = {34, 32};
#else
    static const unsigned char bits[] = {40, 38, 36, 34, 32};
#endif
    int rc = flags & MDB_NOLOCK ? 0 : allocate_lock(s->dir);
    if (rc != 0)
        return rc;
    rc = ENOMEM;
    for (size_t i = 0; i < sizeof bits && (rc == ENOMEM || rc == EINVAL); i++) {
        if (!can_map((size_t)1 << bits[i]))
            continue;
        MDB_env *env = NULL;
        rc = mdb_env_create(&env);
        if (rc == 0) rc = mdb_env_set_maxdbs(env, LF_TABLES);
        if (rc == 0) rc = mdb_env_set_maxreaders(env, LF_MAX_READERS);
        if (rc == 0) rc = mdb_env_set_mapsize(env, (size_t)1 << bits[i]);
        if (rc == 0) rc = mdb_env_set_assert(env, end_quietly);
        if (rc == 0) rc = mdb_env_open(env, s->dir, MDB_NOTLS | flags, 0600);
        if (rc == 0) rc = keep_from_children(env);
        if (rc == 0)
            s->env = env;
        else
            close_env(env);
    }
    s->readonly = (flags & MDB_RDONLY) != 0;
    return rc;
}

static int open_as_allowed(lf_store *s)
{
    lf_turn_take(s, LF_TURN_OPEN);
    int rc = open_env(s, 0);
    if (forbidden(rc))
        rc = open_env(s, MDB_RDONLY);
    if (forbidden(rc))
        rc = open_env(s, MDB_RDONLY | MDB_NOLOCK); /* lock.mdb may not be written */
    lf_turn_end(s, LF_TURN_OPEN);
    return rc;
}

static int begin_reading(lf_store *s, MDB_txn **txn)
{
    lf_turn_take(s, LF_TURN_READER);
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, txn);
    if (rc == MDB_READERS_FULL && mdb_reader_check(s->env, NULL) == 0)
        rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, txn);
    lf_turn_end(s, LF_TURN_READER);
    return rc;
}

/* Gives the places of readers that died to others. */
static int check_readers(lf_store *s)
{
    lf_turn_take(s, LF_TURN_READER);
    int rc = mdb_reader_check(s->env, NULL);
    lf_turn_end(s, LF_TURN_READER);
    return rc;
}

static int open_table(lf_store *s, MDB_txn *txn, int t, luaflow_error *err)
{
    int rc = mdb_dbi_open(txn, lf_table_names[t], 0, &s->table[t]);
    if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s/data.mdb belongs to some other program: it has no table '%s'; name "
                       "another store with --store",
                       s->dir, lf_table_names[t]);
    return rc == 0 ? LUAFLOW_OK : lf_lmdb_fail(s->dir, "open", rc, err);
}

/* The version first: it tells which other tables there are. */
static int open_tables(lf_store *s, MDB_txn *txn, luaflow_error *err)
{
    lf_view v = {.store = s, .txn = txn};
    uint32_t version;
    int rc = open_table(s, txn, LF_META, err);
    if (rc == LUAFLOW_OK) rc = lf_meta_get(&v, "version", &version, err);
    if (rc == LUAFLOW_OK && version == 0)
        return lf_damage_fail(&v, err, "the version");
    if (rc == LUAFLOW_OK && version != LF_STORE_VERSION)
        rc = lf_fail(err, LUAFLOW_ESTORE,
                     "%s is a store of version %u, and this luaflow %s knows version %d; use a "
                     "newer luaflow",
                     s->dir, version, LUAFLOW_VERSION, LF_STORE_VERSION);
    for (int t = 0; rc == LUAFLOW_OK && t < LF_META; t++)
        rc = open_table(s, txn, t, err);
    return rc;
}

static int check_file(const char *dir, luaflow_error *err)
{
    char *path;
    if (asprintf(&path, "%s/data.mdb", dir) < 0)
        return lf_fail_memory(err);
    struct stat st;
    int rc = LUAFLOW_OK;
    if (lstat(path, &st) != 0)
        rc = lf_lmdb_fail(dir, "open", errno, err);
    else if (!S_ISREG(st.st_mode))
        rc = lf_fail(err, LUAFLOW_ESTORE,
                     "%s is not a regular file; name another store with --store", path);
    else if (st.st_size == 0) /* LMDB would silently make it a new, empty store */
        rc = lf_fail(
            err, LUAFLOW_ESTORE,
            "%s is truncated: it has 0 bytes; restore it from a copy, or name another store "
            "with --store",
            path);
    free(path);
    return rc;
}

static int open_store(lf_store *s, luaflow_error *err)
{
    int rc = check_file(s->dir, err);
    if (rc == LUAFLOW_OK)
        rc = lf_owner_open(s->dir, &s->owner, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = open_as_allowed(s);
    if (rc == ENOMEM)
        return lf_fail(err, LUAFLOW_ENOMEM,
                       "not enough memory or address space (ulimit -v) to open %s/data.mdb", s->dir);
    MDB_txn *txn = NULL;
    if (rc == 0) rc = check_readers(s);
    if (rc == 0) rc = begin_reading(s, &txn);
    if (rc != 0)
        return lf_lmdb_fail(s->dir, "open", rc, err);
    rc = lf_pages_check(s, err);
    if (rc == LUAFLOW_OK)
        rc = open_tables(s, txn, err);
    if (rc != LUAFLOW_OK) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn); /* keeps the tables open */
    return rc == 0 ? LUAFLOW_OK : lf_lmdb_fail(s->dir, "open", rc, err);
}

static void free_view(lf_view *v)
{
    if (v->tasks != NULL)
        mdb_cursor_close(v->tasks);
    mdb_txn_abort(v->txn);
    free(v);
}

static void shut_store(lf_store *s)
{
    while (s->idle != NULL) {
        lf_view *v = s->idle;
        s->idle = v->next;
        free_view(v);
    }
    if (s->env != NULL) {
        lf_turn_take(s, LF_TURN_OPEN);
        mdb_env_close(s->env);
        lf_turn_end(s, LF_TURN_OPEN);
    }
    s->env = NULL;
}

static void free_store(lf_store *s)
{
    lf_owner_close(s->owner);
    pthread_mutex_destroy(&s->readers);
    pthread_mutex_destroy(&s->writers);
    pthread_mutex_destroy(&s->idle_lock);
    free(s->dir);
    free(s);
}

static lf_store *new_store(const char *dir, const struct stat *st)
{
    lf_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->dir = strdup(dir);
    if (s->dir == NULL) {
        free(s);
        return NULL;
    }
    s->dev = st->st_dev;
    s->ino = st->st_ino;
    s->pid = getpid();
    pthread_mutex_init(&s->readers, NULL);
    pthread_mutex_init(&s->writers, NULL);
    pthread_mutex_init(&s->idle_lock, NULL);
    return s;
}

/* ---- the registry: LMDB must not open one file twice in a process ---- */

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t registry_changed = PTHREAD_COND_INITIALIZER;
static lf_store *registry;

/* Under the lock. What a fork() left in the child's memory is the parent's. */
static lf_store *registered(const lf_store *like)
{
    for (lf_store *s = registry; s != NULL; s = s->next)
        if (s->dev == like->dev && s->ino == like->ino && s->pid == like->pid)
            return s;
    return NULL;
}

/* Under the lock. */
static void unregister(lf_store *s)
{
    lf_store **at = &registry;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

/* Takes `fresh`. The store that is open already, counted; or `fresh`, which others wait for from
 * here on, until it has users or leaves. */
static lf_store *enter(lf_store *fresh, bool *is_new)
{
    lf_store *s;
    pthread_mutex_lock(&registry_lock);
    while ((s = registered(fresh)) != NULL && s->users == 0)
        pthread_cond_wait(&registry_changed, &registry_lock);
    *is_new = s == NULL;
    if (s != NULL) {
        s->users++;
    } else {
        fresh->next = registry;
        registry = fresh;
    }
    pthread_mutex_unlock(&registry_lock);
    if (s != NULL)
        free_store(fresh);
    return s != NULL ? s : fresh;
}

/* Shuts and frees one that has no users. */
static void leave(lf_store *s)
{
    shut_store(s); /* still registered: who opens it now waits */
    pthread_mutex_lock(&registry_lock);
    unregister(s);
    pthread_cond_broadcast(&registry_changed);
    pthread_mutex_unlock(&registry_lock);
    free_store(s);
}

/* Takes `fresh`. The store that is open already, or `fresh`, opened. */
static int share_store(lf_store *fresh, lf_store **out, luaflow_error *err)
{
    bool is_new;
    lf_store *s = enter(fresh, &is_new);
    lf_inside_enter(s);
    int rc = is_new ? open_store(s, err) : LUAFLOW_OK;
    lf_inside_leave();
    if (rc != LUAFLOW_OK) {
        leave(s);
        return rc;
    }
    if (is_new) {
        pthread_mutex_lock(&registry_lock);
        s->users = 1;
        pthread_cond_broadcast(&registry_changed);
        pthread_mutex_unlock(&registry_lock);
    }
    *out = s;
    return LUAFLOW_OK;
}

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return false;
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(d)) != NULL;)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    return empty;
}

static int fail_no_store(const char *dir, luaflow_error *err)
{
    return lf_fail(err, LUAFLOW_ENOTFOUND,
                   "there is no store in %s; `luaflow run` makes one, --store names another", dir);
}

/* Tells whether `dir` has a store now; makes one where there is nothing and `create` says so. */
static int find_store(const char *dir, bool create, struct stat *st, luaflow_error *err)
{
    if (stat(dir, st) != 0) {
        if (errno != ENOENT)
            return lf_fail(err, LUAFLOW_ESTORE, "cannot open the store %s: %s", dir,
                           strerror(errno));
        int rc = create ? make_store(dir, err) : fail_no_store(dir, err);
        if (rc != LUAFLOW_OK || stat(dir, st) == 0)
            return rc;
        return lf_fail(err, LUAFLOW_ESTORE, "cannot open the store %s: %s", dir, strerror(errno));
    }
    if (!S_ISDIR(st->st_mode))
        return lf_fail(err, LUAFLOW_ESTORE,
                       "%s is not a directory; name the directory of a store with --store", dir);
    char *file, *real = NULL;
    struct stat there;
    if (asprintf(&file, "%s/data.mdb", dir) < 0)
        return lf_fail_memory(err);
    int rc = LUAFLOW_OK;
    if (lstat(file, &there) == 0)
        ; /* what it is, open_store() will tell */
    else if (errno != ENOENT)
        rc = lf_lmdb_fail(dir, "open", errno, err);
    else if (!is_empty(dir))
        rc = lf_fail(err, LUAFLOW_ESTORE,
                     "%s is not a luaflow store (no data.mdb); name another directory with --store",
                     dir);
    else if (!create)
        rc = fail_no_store(dir, err);
    else if ((real = realpath(dir, NULL)) == NULL)
        rc = lf_fail(err, LUAFLOW_ESTORE, "cannot make the store %s: %s", dir, strerror(errno));
    else if ((rc = make_store(real, err)) == LUAFLOW_OK && stat(dir, st) != 0)
        rc = lf_fail(err, LUAFLOW_ESTORE, "cannot open the store %s: %s", dir, strerror(errno));
    free(real);
    free(file);
    return rc;
}

/* Makes the handle of the store in `dir`, not opened. */
static int find_handle(const char *dir, bool create, lf_store **out, luaflow_error *err)
{
    size_t size = strlen(dir);
    if (size == 0)
        return lf_fail(err, LUAFLOW_ESTORE, "the name of the store is empty; name a directory");
    while (size > 1 && dir[size - 1] == '/')
        size--;
    char *plain = strndup(dir, size);
    if (plain == NULL)
        return lf_fail_memory(err);
    struct stat st;
    int rc = find_store(plain, create, &st, err);
    if (rc == LUAFLOW_OK && (*out = new_store(plain, &st)) == NULL)
        rc = lf_fail_memory(err);
    free(plain);
    return rc;
}

int lf_store_open(const char *dir, bool create, lf_store **out, luaflow_error *err)
{
    lf_store *fresh;
    int rc = find_handle(dir, create, &fresh, err);
    return rc == LUAFLOW_OK ? share_store(fresh, out, err) : rc;
}

void lf_store_close(lf_store *s)
{
    if (s == NULL || s->pid != getpid()) /* after fork() it is the parent's to close */
        return;
    pthread_mutex_lock(&registry_lock);
    bool last = --s->users == 0;
    pthread_mutex_unlock(&registry_lock);
    if (!last)
        return;
    leave(s);
}

const char *lf_store_dir(const lf_store *s) { return s->dir; }

const char *lf_store_shared(long type)
{
    static const struct {
        long type;
        const char *name;
    } shared[] = {
        {0x6969, "NFS"},        {0x517b, "SMB"},        {(long)0xff534d42, "CIFS"},
        {(long)0xfe534d42, "SMB"}, {0x01021997, "9p"},  {0x65735546, "FUSE"},
        {0x00c36400, "Ceph"},   {0x5346414f, "AFS"},    {0x0bd00bd0, "Lustre"},
        {0x47504653, "GPFS"},   {0x01161970, "GFS2"},   {0x7461636f, "OCFS2"},
    };
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (type == shared[i].type)
            return shared[i].name;
    return NULL;
}

const char *lf_store_library(void) { return mdb_version(NULL, NULL, NULL); }

/* ---- its file, for those who read it page by page ---- */

int lf_pin_open(const char *dir, lf_pin *out, luaflow_error *err)
{
    *out = (lf_pin){.fd = -1};
    lf_store *fresh;
    int rc = find_handle(dir, false, &fresh, err);
    if (rc != LUAFLOW_OK)
        return rc;
    out->store = enter(fresh, &out->is_alone);
    if (!out->is_alone) {
        int code = mdb_env_get_fd(out->store->env, &out->fd);
        return code == 0 ? LUAFLOW_OK : lf_lmdb_fail(out->store->dir, "open", code, err);
    }
    rc = check_file(out->store->dir, err);
    if (rc == LUAFLOW_OK)
        rc = lf_owner_open(out->store->dir, &out->store->owner, err);
    if (rc != LUAFLOW_OK)
        return rc;
    char *path;
    if (asprintf(&path, "%s/data.mdb", out->store->dir) < 0)
        return lf_fail_memory(err);
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    return out->fd >= 0 ? LUAFLOW_OK : lf_lmdb_fail(out->store->dir, "open", errno, err);
}

int lf_pin_begin(lf_pin *p, uint64_t *txn, luaflow_error *err)
{
    int rc = p->store->env != NULL ? 0 : open_as_allowed(p->store);
    if (rc == 0 && p->txn != NULL) {
        mdb_txn_abort(p->txn);
        p->txn = NULL;
    }
    if (rc == 0)
        rc = begin_reading(p->store, &p->txn);
    if (rc != 0)
        return lf_lmdb_fail(p->store->dir, "open", rc, err);
    *txn = mdb_txn_id(p->txn);
    return LUAFLOW_OK;
}

void lf_pin_close(lf_pin *p)
{
    if (p->txn != NULL)
        mdb_txn_abort(p->txn);
    if (p->is_alone && p->fd >= 0)
        close(p->fd);
    if (p->is_alone)
        leave(p->store);
    else
        lf_store_close(p->store); /* accepts NULL */
}

/* ---- views ---- */

static lf_view *take_idle(lf_store *s)
{
    pthread_mutex_lock(&s->idle_lock);
    lf_view *v = s->idle;
    if (v != NULL) {
        s->idle = v->next;
        s->n_idle--;
    }
    pthread_mutex_unlock(&s->idle_lock);
    return v;
}

int lf_view_begin(lf_store *s, lf_view **out, luaflow_error *err)
{
    int rc = lf_process_check(s, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_view *v = take_idle(s);
    if (v == NULL && (v = calloc(1, sizeof *v)) == NULL)
        return lf_fail_memory(err);
    lf_inside_enter(s);
    if (v->store != NULL) {
        rc = mdb_txn_renew(v->txn);
    } else {
        v->store = s;
        v->is_reading = true;
        rc = begin_reading(s, &v->txn);
    }
    if (rc == 0 && v->tasks != NULL)
        rc = mdb_cursor_renew(v->txn, v->tasks);
    v->next_task = 0;
    if (rc != 0) {
        lf_inside_leave();
        free_view(v);
        return lf_lmdb_fail(s->dir, "read", rc, err);
    }
    *out = v;
    return LUAFLOW_OK;
}

void lf_view_end(lf_view *v)
{
    if (v == NULL)
        return;
    lf_store *s = v->store;
    lf_inside_leave();
    mdb_txn_reset(v->txn);
    pthread_mutex_lock(&s->idle_lock);
    bool keep = s->n_idle < IDLE_VIEWS;
    if (keep) {
        v->next = s->idle;
        s->idle = v;
        s->n_idle++;
    }
    pthread_mutex_unlock(&s->idle_lock);
    if (!keep)
        free_view(v);
}
