/* store_pages.c -- of the store: a file that is shorter than it says.
 *
 * Reading past the end of a map's file is a SIGBUS, so a truncated file must be found
 * before it is read. But LMDB leaves pages at the end unwritten that the transaction
 * which took them freed again: a short file is sound if all that is missing is in the
 * list of free pages. That list is a tree of its own, read here with pread, from a
 * snapshot that an open read transaction keeps. */
#include "store_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(size_t) == 8, "pages are laid out as on 64-bit machines");

enum { PAGE_HEAD = 16, PAGE_BRANCH = 1, PAGE_LEAF = 2, NODE_HEAD = 8, NODE_BIG = 1, DEEPEST = 32 };

struct tail {
    int fd;
    size_t page_size;
    uint64_t from, to; /* the missing pages: [from, to) */
    uint64_t free;     /* how many of them are known to be free */
    uint64_t visits;   /* of a sound tree: fewer than there are pages */
};

/* Numbers in pages stand as the machine has them. */
static uint16_t u16_of(const uint8_t *at) { uint16_t n; memcpy(&n, at, sizeof n); return n; }
static uint32_t u32_of(const uint8_t *at) { uint32_t n; memcpy(&n, at, sizeof n); return n; }
static uint64_t u64_of(const uint8_t *at) { uint64_t n; memcpy(&n, at, sizeof n); return n; }

static bool read_at(const struct tail *t, uint64_t page, size_t offset, void *to, size_t size)
{
    return page < t->from &&
           pread(t->fd, to, size, (off_t)(page * t->page_size + offset)) == (ssize_t)size;
}

static void tally(struct tail *t, const uint8_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t page = u64_of(ids + 8 * i);
        t->free += page >= t->from && page < t->to;
    }
}

/* A list too long for its leaf: a count, then the pages. */
static bool tally_far(struct tail *t, uint64_t page, size_t size)
{
    uint8_t ids[4096];
    for (size_t at = 0; at < size; at += sizeof ids) {
        size_t part = size - at < sizeof ids ? size - at : sizeof ids;
        if (!read_at(t, page, PAGE_HEAD + at, ids, part))
            return false;
        size_t skip = at == 0 ? 8 : 0;
        tally(t, ids + skip, (part - skip) / 8);
    }
    return true;
}

static bool tally_node(struct tail *t, const uint8_t *page, size_t at)
{
    if (at + NODE_HEAD > t->page_size)
        return false;
    size_t size = u32_of(page + at), value = at + NODE_HEAD + u16_of(page + at + 6);
    if (u16_of(page + at + 4) & NODE_BIG)
        return value + 8 <= t->page_size && size >= 8 && tally_far(t, u64_of(page + value), size);
    if (size < 8 || value + size > t->page_size)
        return false;
    tally(t, page + value + 8, size / 8 - 1);
    return true;
}

static bool tally_tree(struct tail *t, uint64_t root, unsigned depth)
{
    uint8_t *page = depth < DEEPEST && t->visits++ < t->from ? malloc(t->page_size) : NULL;
    bool good = page != NULL && read_at(t, root, 0, page, t->page_size);
    unsigned kind = good ? u16_of(page + 10) : 0;
    size_t n = good ? u16_of(page + 12) : 0; /* where the list of nodes ends */
    good =
        good && (kind == PAGE_BRANCH || kind == PAGE_LEAF) && n >= PAGE_HEAD && n <= t->page_size;
    for (size_t i = PAGE_HEAD; good && i + 2 <= n; i += 2) {
        size_t at = u16_of(page + i);
        if (kind == PAGE_LEAF)
            good = tally_node(t, page, at);
        else
            good =
                at + NODE_HEAD <= t->page_size &&
                tally_tree(t, u32_of(page + at) | (uint64_t)u16_of(page + at + 4) << 32, depth + 1);
    }
    free(page);
    return good;
}

/* The newer of the two heads of the file: root of the free list, last page. */
static bool read_head(const struct tail *t, uint64_t *root, uint64_t *last)
{
    enum { ROOT = PAGE_HEAD + 64, LAST = PAGE_HEAD + 120, TXN = PAGE_HEAD + 128, SIZE = TXN + 8 };
    uint8_t head[2][SIZE];
    if (!read_at(t, 0, 0, head[0], SIZE) || !read_at(t, 1, 0, head[1], SIZE))
        return false;
    const uint8_t *newer = head[u64_of(head[0] + TXN) < u64_of(head[1] + TXN)];
    *root = u64_of(newer + ROOT);
    *last = u64_of(newer + LAST);
    return true;
}

int lf_pages_check(const lf_store *s, luaflow_error *err)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat st;
    int fd, rc = mdb_env_info(s->env, &info);
    if (rc == 0)
        rc = mdb_env_stat(s->env, &pages);
    if (rc == 0)
        rc = mdb_env_get_fd(s->env, &fd);
    if (rc == 0 && fstat(fd, &st) != 0)
        rc = errno;
    if (rc != 0)
        return lf_lmdb_fail(s->dir, "open", rc, err);
    size_t size = pages.ms_psize;
    if ((uint64_t)st.st_size / size > info.me_last_pgno)
        return LUAFLOW_OK;

    struct tail t = {.fd = fd, .page_size = size, .from = (uint64_t)st.st_size / size};
    uint64_t root, last;
    if (read_head(&t, &root, &last)) {
        t.to = last + 1;
        if (fstat(fd, &st) == 0) /* again: this head may be newer, and its file longer */
            t.from = (uint64_t)st.st_size / size;
        if (t.from >= t.to ||
            (root != UINT64_MAX && tally_tree(&t, root, 0) && t.free == t.to - t.from))
            return LUAFLOW_OK;
    }
    return lf_fail(
        err, LUAFLOW_ESTORE,
        "%s/data.mdb is truncated: it has %llu bytes and should have %llu; restore it from "
        "a copy, or name another store with --store",
        s->dir, (unsigned long long)st.st_size, ((unsigned long long)info.me_last_pgno + 1) * size);
}
