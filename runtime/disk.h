/* disk.h -- a disk that is full or fails, in words. Knows nothing of what is written
 * to it. Any thread. */
#ifndef LF_DISK_H
#define LF_DISK_H

#include "error.h"

#include <stdbool.h>

/* A disk with less room than this counts as full when it tells of an input/output error only. */
#define LF_DISK_NEARLY_FULL ((uint64_t)4 << 20)

/* Whether an errno tells of a full or failing disk: ENOSPC, EDQUOT, EFBIG or EIO, which is how LMDB
 * reports a full one. */
bool lf_disk_is_at_fault(int rc);

/* "cannot `doing` `what`", for such an errno; `then` tells what to do when the disk, that of `dir`,
 * is well again. LUAFLOW_ESTORE. */
int lf_disk_fail(const char *dir, const char *doing, const char *what, const char *then, int rc,
                 luaflow_error *err);

#endif
