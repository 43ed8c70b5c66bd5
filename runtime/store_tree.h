/* store_tree.h -- of the store: its file, read page by page with pread. Asks LMDB and its map
 * nothing, so no damage can harm the reader: whatever a page says is looked at before it is
 * believed. Only files of the store include it. Any thread, one at a time. */
#ifndef LF_STORE_TREE_H
#define LF_STORE_TREE_H

#include "store_inside.h"

/* What the file says of one of its trees. */
typedef struct lf_tree {
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t branches, leaves, overflows, entries, root;
} lf_tree;

enum { LF_TREE_BYTES = 48, LF_HEAD_BYTES = 152 };
void lf_tree_get(const uint8_t *bytes, lf_tree *out);

/* One of the two heads of the file. */
typedef struct lf_head {
    lf_tree free, tables;
    uint64_t last; /* page */
    uint64_t txn;  /* that wrote it */
} lf_head;

/* Reads both heads. NULL when they are sound, else what is wrong with which. */
const char *lf_heads_read(int fd, lf_head heads[2], size_t *page_size);

/* ---- the pages of one snapshot ---- */

enum { LF_DEEPEST = 32 };

/* Hears that `page` is hurt: how, and which keys it held (either end may be open: NULL). */
typedef void (*lf_hurt_fn)(void *payload, uint64_t page, const char *how, const lf_slice *from,
                           const lf_slice *until);

typedef struct lf_pages {
    int fd;      /* borrowed */
    size_t size; /* of a page */
    uint64_t n, in_file;
    lf_hurt_fn hurt;
    void *payload;
    /* private */
    uint8_t *used, *free; /* a bit for each page */
    uint8_t *buffers[LF_DEEPEST], *probe;
    lf_bytes value;
} lf_pages;

/* Fills `p`, zeroed but for fd, size, hurt and payload. */
int lf_pages_init(lf_pages *p, const lf_head *head, luaflow_error *err);
void lf_pages_fini(lf_pages *p);

/* Hears an entry; the slices are good until it returns. Anything but LUAFLOW_OK ends the walk. */
typedef int (*lf_visit_fn)(void *payload, lf_slice key, lf_slice value, luaflow_error *err);

typedef enum lf_walk_kind {
    LF_WALK_TABLE,
    LF_WALK_NUMBERS, /* the keys are numbers as the machine has them */
    LF_WALK_TABLES,  /* the values are trees */
    LF_WALK_AGAIN    /* a table that was walked already: no damage is told */
} lf_walk_kind;

/* Visits all entries of a tree in order, and tells `hurt` of all that is wrong with its pages:
 * bounds, types, order, counts, pages used twice. What can still be read is visited. */
int lf_pages_walk(lf_pages *p, const lf_tree *tree, lf_walk_kind kind, lf_visit_fn visit,
                  void *payload, luaflow_error *err);

/* Appends the value behind `key` of a table to `value`; false when it cannot be read. */
bool lf_pages_find(lf_pages *p, const lf_tree *tree, lf_slice key, lf_bytes *value);

/* Notes that `page` is in the list of free ones; false if it is already or cannot be. */
bool lf_pages_free(lf_pages *p, uint64_t page);

/* How many pages are in use and in the list of free ones at once; one of them in `*page`. */
uint64_t lf_pages_both(const lf_pages *p, uint64_t *page);

#endif
