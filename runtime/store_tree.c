/* store_tree.c -- of the store: its file, read page by page with pread.
 *
 * What is checked here is what LMDB itself never looks at: it follows a damaged pointer
 * wherever it leads. All that a flipped bit can change in a page in use is either checked by
 * its place (a page's own number, its kind, where its entries lie, their order between the
 * keys of the page above, how many there are in the whole tree) or is key and value of an
 * entry, which have a seal or a hash of their own. */
#include "store_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_HEAD = 16,
    PAGE_BRANCH = 1,
    PAGE_LEAF = 2,
    PAGE_OVERFLOW = 4,
    PAGE_META = 8,
    NODE_HEAD = 8,
    NODE_BIG = 1,
    NODE_TREE = 2,
    LARGEST_KEY = 511
};
#define NO_PAGE UINT64_MAX

/* Numbers in pages stand as the machine has them. */
static uint16_t u16_of(const uint8_t *at)
{
    uint16_t n;
    memcpy(&n, at, sizeof n);
    return n;
}
static uint32_t u32_of(const uint8_t *at)
{
    uint32_t n;
    memcpy(&n, at, sizeof n);
    return n;
}
static uint64_t u64_of(const uint8_t *at)
{
    uint64_t n;
    memcpy(&n, at, sizeof n);
    return n;
}

static bool read_fully(int fd, void *to, size_t size, uint64_t at)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, (uint8_t *)to + done, size - done, (off_t)(at + done));
        if (n <= 0 && !(n < 0 && errno == EINTR))
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* ---- heads ---- */

void lf_tree_get(const uint8_t *bytes, lf_tree *out)
{
    *out =
        (lf_tree){u32_of(bytes),      u16_of(bytes + 4),  u16_of(bytes + 6),  u64_of(bytes + 8),
                  u64_of(bytes + 16), u64_of(bytes + 24), u64_of(bytes + 32), u64_of(bytes + 40)};
}

static bool is_head(const uint8_t *bytes, uint64_t page, size_t page_size)
{
    return u64_of(bytes) == page && u16_of(bytes + 10) == PAGE_META &&
           u32_of(bytes + 16) == 0xBEEFC0DE && u32_of(bytes + 20) == 1 &&
           u32_of(bytes + 40) == page_size && u16_of(bytes + 44) == MDB_INTEGERKEY &&
           u32_of(bytes + 88) == 0 && u16_of(bytes + 92) == 0;
}

static void get_head(const uint8_t *bytes, lf_head *out)
{
    lf_tree_get(bytes + 40, &out->free);
    lf_tree_get(bytes + 88, &out->tables);
    out->last = u64_of(bytes + 136);
    out->txn = u64_of(bytes + 144);
}

/* Both as they were at one time: a commit writes one of them. */
static bool read_both(int fd, uint8_t bytes[2][LF_HEAD_BYTES], size_t *page_size)
{
    uint8_t before[2][LF_HEAD_BYTES];
    for (int tries = 0; tries < 1000; tries++) {
        if (!read_fully(fd, bytes[0], LF_HEAD_BYTES, 0))
            return false;
        *page_size = u32_of(bytes[0] + 40);
        if (*page_size < 512 || *page_size > 32768 || (*page_size & (*page_size - 1)) != 0)
            *page_size = 4096; /* let is_head() say so */
        if (!read_fully(fd, bytes[1], LF_HEAD_BYTES, *page_size))
            return false;
        if (tries > 0 && memcmp(before, bytes, sizeof before) == 0)
            return true;
        memcpy(before, bytes, sizeof before);
    }
    return true;
}

const char *lf_heads_read(int fd, lf_head heads[2], size_t *page_size)
{
    uint8_t bytes[2][LF_HEAD_BYTES];
    if (!read_both(fd, bytes, page_size))
        return "its head cannot be read";
    bool first = is_head(bytes[0], 0, *page_size), second = is_head(bytes[1], 1, *page_size);
    if (!first || !second)
        return first    ? "its second head is damaged"
               : second ? "its first head is damaged"
                        : "both its heads are damaged";
    get_head(bytes[0], &heads[0]);
    get_head(bytes[1], &heads[1]);
    /* Transactions count up and take the heads by turns. */
    uint64_t a = heads[0].txn, b = heads[1].txn;
    bool by_turns = (a == b + 1 || b == a + 1) && a % 2 == 0;
    return by_turns ? NULL : "its two heads do not follow each other";
}

/* ---- the pages of one snapshot ---- */

int lf_pages_init(lf_pages *p, const lf_head *head, luaflow_error *err)
{
    struct stat st;
    if (fstat(p->fd, &st) != 0)
        return lf_fail(err, LUAFLOW_ESTORE, "cannot read the size of data.mdb: %s",
                       strerror(errno));
    p->in_file = (uint64_t)st.st_size / p->size;
    p->n = head->last + 1;
    if (p->n < 2 || p->n > UINT64_MAX / p->size || p->n / 16 > p->in_file + 65536)
        return lf_fail(
            err, LUAFLOW_ESTORE,
            "data.mdb is truncated or its head is damaged: it should have %llu pages and has "
            "%llu; restore it from a copy",
            (unsigned long long)p->n, (unsigned long long)p->in_file);
    p->used = calloc(p->n / 8 + 1, 1);
    p->free = calloc(p->n / 8 + 1, 1);
    p->probe = malloc(p->size);
    return p->used == NULL || p->free == NULL || p->probe == NULL ? lf_fail_memory(err)
                                                                  : LUAFLOW_OK;
}

void lf_pages_fini(lf_pages *p)
{
    free(p->used);
    free(p->free);
    free(p->probe);
    for (size_t i = 0; i < LF_DEEPEST; i++)
        free(p->buffers[i]);
    lf_bytes_fini(&p->value);
}

/* Sets the bit; false if it was set. */
static bool take_bit(uint8_t *bits, uint64_t page)
{
    uint8_t bit = (uint8_t)(1u << page % 8);
    if (bits[page / 8] & bit)
        return false;
    bits[page / 8] |= bit;
    return true;
}

bool lf_pages_free(lf_pages *p, uint64_t page)
{
    return page >= 2 && page < p->n && take_bit(p->free, page);
}

uint64_t lf_pages_both(const lf_pages *p, uint64_t *page)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i <= p->n / 8; i++) {
        uint8_t both = p->used[i] & p->free[i];
        for (unsigned bit = 0; both >> bit != 0; bit++)
            if (both >> bit & 1 && n++ == 0)
                *page = i * 8 + bit;
    }
    return n;
}

/* ---- one page ---- */

struct node {
    lf_slice key;
    unsigned flags;
    size_t size;          /* of the value */
    const uint8_t *value; /* or, of a big one, where its page stands */
    uint64_t child;
    size_t takes; /* of the page */
};

static size_t nodes_of(const uint8_t *page) { return (u16_of(page + 12) - (size_t)PAGE_HEAD) / 2; }

/* False when it does not lie in its page. */
static bool get_node(const lf_pages *p, const uint8_t *page, size_t i, struct node *out)
{
    size_t at = u16_of(page + PAGE_HEAD + 2 * i), upper = u16_of(page + 14);
    if (at < upper || at % 2 != 0 || at + NODE_HEAD > p->size)
        return false;
    size_t key = u16_of(page + at + 6), held = 0;
    *out = (struct node){.key = {page + at + NODE_HEAD, key}};
    if (u16_of(page + 10) == PAGE_LEAF) {
        out->flags = u16_of(page + at + 4);
        out->size = u32_of(page + at);
        out->value = out->key.data + key;
        held = out->flags & NODE_BIG ? 8 : out->size;
    } else {
        out->child = u32_of(page + at) | (uint64_t)u16_of(page + at + 4) << 32;
    }
    out->takes = (NODE_HEAD + key + held + 1) & ~(size_t)1;
    return key <= LARGEST_KEY && held <= p->size && at + NODE_HEAD + key + held <= p->size;
}

/* What is wrong with the frame of a page that should be of this kind. */
static const char *check_frame(const lf_pages *p, const uint8_t *page, uint64_t number,
                               unsigned kind)
{
    if (u64_of(page) != number)
        return "it has the number of another page";
    if (u16_of(page + 10) != kind)
        return kind == PAGE_LEAF ? "it should be a leaf and is none"
                                 : "it should be a branch and is none";
    size_t lower = u16_of(page + 12), upper = u16_of(page + 14), took = 0;
    if (lower < PAGE_HEAD + 2 || lower % 2 != 0 || upper < lower || upper > p->size)
        return "its bounds are impossible";
    for (size_t i = 0; i < nodes_of(page); i++) {
        struct node node;
        if (!get_node(p, page, i, &node))
            return "an entry does not lie in it";
        took += node.takes;
    }
    return took == p->size - upper ? NULL : "its entries do not fill it";
}

/* ---- walking ---- */

typedef struct walk {
    lf_pages *pages;
    const lf_tree *tree;
    lf_walk_kind kind;
    lf_visit_fn visit;
    void *payload;
    uint64_t branches, leaves, overflows, entries, wounds;
} walk;

/* Where in the tree a page stands: which keys may be in it. */
struct place {
    uint64_t page;
    unsigned depth;
    const lf_slice *from, *until; /* NULL: open */
};

static void hurt(walk *w, const struct place *at, const char *how)
{
    w->wounds++;
    if (w->kind != LF_WALK_AGAIN)
        w->pages->hurt(w->pages->payload, at->page, how, at->from, at->until);
}

static int compare(const walk *w, lf_slice a, lf_slice b)
{
    if (w->kind != LF_WALK_NUMBERS)
        return lf_slice_compare(a, b);
    uint64_t x = u64_of(a.data), y = u64_of(b.data);
    return (x > y) - (x < y);
}

/* Takes pages for the tree; what is wrong with that. */
static const char *take_pages(walk *w, uint64_t first, uint64_t n)
{
    lf_pages *p = w->pages;
    if (first < 2 || n == 0 || first >= p->n || n > p->n - first)
        return "it is said to be where no page is";
    if (first + n > p->in_file)
        return "it lies past the end of the file, which is truncated";
    bool twice = false;
    for (uint64_t i = first; i < first + n && w->kind != LF_WALK_AGAIN; i++)
        twice = !take_bit(p->used, i) || twice;
    return twice ? "it is in use twice" : NULL;
}

static const char *read_big(lf_pages *p, walk *w, uint64_t page, size_t size, lf_bytes *to)
{
    uint8_t head[PAGE_HEAD];
    if (page < 2 || page >= p->n || page >= p->in_file)
        return "it is said to be where no page is";
    if (!read_fully(p->fd, head, sizeof head, page * p->size))
        return "it cannot be read";
    if (u64_of(head) != page || u16_of(head + 10) != PAGE_OVERFLOW)
        return "it should be the first of a large value and is not";
    uint64_t n = u32_of(head + 12);
    const char *wrong = w != NULL ? take_pages(w, page, n) : NULL;
    if (w != NULL)
        w->overflows += n;
    if (wrong != NULL || n > p->in_file - page || size > n * p->size - PAGE_HEAD)
        return wrong != NULL ? wrong : "its size is impossible";
    uint8_t *at = lf_bytes_reserve(to, size);
    if (at == NULL)
        return NULL; /* `failed` says so */
    if (!read_fully(p->fd, at, size, page * p->size + PAGE_HEAD))
        return "it cannot be read";
    to->size += size;
    return NULL;
}

static int visit_entry(walk *w, const struct place *at, const struct node *node, luaflow_error *err)
{
    unsigned allowed = w->kind == LF_WALK_TABLES ? NODE_TREE : 0;
    w->entries++;
    if ((node->flags & ~NODE_BIG) != allowed ||
        (w->kind == LF_WALK_TABLES && (node->flags & NODE_BIG || node->size != LF_TREE_BYTES))) {
        hurt(w, at, "an entry in it is of an impossible kind");
        return LUAFLOW_OK;
    }
    lf_slice value = lf_slice_of(node->value, node->size);
    if (node->flags & NODE_BIG) {
        lf_pages *p = w->pages;
        lf_bytes_clear(&p->value);
        struct place far = {u64_of(node->value), at->depth, &node->key, &node->key};
        const char *wrong = read_big(p, w, far.page, node->size, &p->value);
        if (p->value.failed)
            return lf_fail_memory(err);
        if (wrong != NULL) {
            hurt(w, &far, wrong);
            return LUAFLOW_OK;
        }
        value = lf_slice_of(p->value.data, p->value.size);
    }
    return w->visit(w->payload, node->key, value, err);
}

static int walk_page(walk *w, struct place at, luaflow_error *err);

/* The key of each entry must lie between its neighbours, and what is above says how far. */
static bool in_order(const walk *w, const struct place *at, const lf_slice *before, lf_slice key)
{
    if (w->kind == LF_WALK_NUMBERS && key.size != 8)
        return false;
    return (before == NULL || compare(w, *before, key) < 0) &&
           (at->from == NULL || compare(w, *at->from, key) <= 0) &&
           (at->until == NULL || compare(w, key, *at->until) < 0);
}

static int walk_leaf(walk *w, const struct place *at, const uint8_t *page, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    lf_slice before;
    bool sorted = true;
    w->leaves++;
    for (size_t i = 0; rc == LUAFLOW_OK && i < nodes_of(page); i++) {
        struct node node;
        get_node(w->pages, page, i, &node);
        sorted = sorted && in_order(w, at, i > 0 ? &before : NULL, node.key);
        before = node.key;
        rc = visit_entry(w, at, &node, err);
    }
    if (!sorted)
        hurt(w, at, "its keys are out of order");
    return rc;
}

/* The first key of a branch says nothing; each other one is the least of its child. */
static int walk_branch(walk *w, const struct place *at, const uint8_t *page, luaflow_error *err)
{
    size_t n = nodes_of(page);
    w->branches++;
    if (n < 2)
        hurt(w, at, "it has a single child");
    bool sorted = true;
    for (size_t i = 1; i < n; i++) {
        struct node node, last;
        get_node(w->pages, page, i, &node);
        get_node(w->pages, page, i - 1, &last);
        sorted = sorted && in_order(w, at, i > 1 ? &last.key : NULL, node.key);
    }
    if (!sorted) {
        hurt(w, at, "its keys are out of order");
        return LUAFLOW_OK;
    }
    int rc = LUAFLOW_OK;
    for (size_t i = 0; rc == LUAFLOW_OK && i < n; i++) {
        struct node node, next;
        get_node(w->pages, page, i, &node);
        if (i + 1 < n)
            get_node(w->pages, page, i + 1, &next);
        struct place child = {node.child, at->depth + 1, i > 0 ? &node.key : at->from,
                              i + 1 < n ? &next.key : at->until};
        rc = walk_page(w, child, err);
    }
    return rc;
}

static int walk_page(walk *w, struct place at, luaflow_error *err)
{
    lf_pages *p = w->pages;
    if (w->branches + w->leaves > p->n) /* only where damage made circles */
        return LUAFLOW_OK;
    unsigned kind = at.depth + 1 == w->tree->depth ? PAGE_LEAF : PAGE_BRANCH;
    const char *wrong = take_pages(w, at.page, 1);
    uint8_t **buffer = &p->buffers[at.depth];
    if (*buffer == NULL && (*buffer = malloc(p->size)) == NULL)
        return lf_fail_memory(err);
    if (wrong == NULL && !read_fully(p->fd, *buffer, p->size, at.page * p->size))
        wrong = "it cannot be read";
    if (wrong == NULL)
        wrong = check_frame(p, *buffer, at.page, kind);
    if (wrong != NULL) {
        hurt(w, &at, wrong);
        return LUAFLOW_OK;
    }
    return kind == PAGE_LEAF ? walk_leaf(w, &at, *buffer, err) : walk_branch(w, &at, *buffer, err);
}

static bool counts_fit(const walk *w)
{
    const lf_tree *t = w->tree;
    return w->entries == t->entries && w->branches == t->branches && w->leaves == t->leaves &&
           w->overflows == t->overflows;
}

int lf_pages_walk(lf_pages *p, const lf_tree *tree, lf_walk_kind kind, lf_visit_fn visit,
                  void *payload, luaflow_error *err)
{
    walk w = {.pages = p, .tree = tree, .kind = kind, .visit = visit, .payload = payload};
    struct place root = {tree->root, 0, NULL, NULL};
    int rc = LUAFLOW_OK;
    if ((tree->root == NO_PAGE) != (tree->depth == 0) || tree->depth > LF_DEEPEST)
        hurt(&w, &root, "the root of its table is impossible");
    else if (tree->root != NO_PAGE)
        rc = walk_page(&w, root, err);
    if (rc == LUAFLOW_OK && w.wounds == 0 && !counts_fit(&w))
        hurt(&w, &root, "below it there are more entries or fewer than there should be");
    return rc;
}

/* ---- finding one entry ---- */

/* The last node whose key is not above `key`; the first one of a branch has none. */
static size_t choose(const lf_pages *p, const uint8_t *page, lf_slice key)
{
    size_t low = 0, high = nodes_of(page);
    while (high - low > 1) {
        struct node node;
        size_t middle = low + (high - low) / 2;
        get_node(p, page, middle, &node);
        if (lf_slice_compare(node.key, key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool lf_pages_find(lf_pages *p, const lf_tree *tree, lf_slice key, lf_bytes *value)
{
    uint64_t page = tree->root;
    for (unsigned depth = 0; depth < tree->depth && depth < LF_DEEPEST; depth++) {
        bool is_leaf = depth + 1 == tree->depth;
        if (page < 2 || page >= p->n || page >= p->in_file ||
            !read_fully(p->fd, p->probe, p->size, page * p->size) ||
            check_frame(p, p->probe, page, is_leaf ? PAGE_LEAF : PAGE_BRANCH) != NULL)
            return false;
        struct node node;
        get_node(p, p->probe, choose(p, p->probe, key), &node);
        page = node.child;
        if (!is_leaf)
            continue;
        if (!lf_slice_equal(node.key, key) || node.flags & ~NODE_BIG)
            return false;
        if (node.flags & NODE_BIG)
            return read_big(p, NULL, u64_of(node.value), node.size, value) == NULL &&
                   !value->failed;
        lf_bytes_put(value, node.value, node.size);
        return !value->failed;
    }
    return false;
}
