/* disk.c -- a disk that is full or fails, in words. Knows nothing of what is written to it. Any
 * thread. */
#include "disk.h"

#include <errno.h>
#include <sys/statvfs.h>

bool lf_disk_is_at_fault(int rc)
{
    return rc == ENOSPC || rc == EDQUOT || rc == EFBIG || rc == EIO;
}

int lf_disk_fail(const char *dir, const char *doing, const char *what, const char *then, int rc,
                 luaflow_error *err)
{
    struct statvfs fs;
    uint64_t left = statvfs(dir, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
    if (rc == ENOSPC || (rc == EIO && left < LF_DISK_NEARLY_FULL))
        return lf_fail(err, LUAFLOW_ESTORE,
                       "disk full: cannot %s %s, %llu bytes free; make room, then %s", doing, what,
                       left == UINT64_MAX ? 0 : (unsigned long long)left, then);
    if (rc == EDQUOT)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "disk quota used up: cannot %s %s; make room, then %s", doing, what, then);
    if (rc == EFBIG)
        return lf_fail(err, LUAFLOW_ESTORE,
                       "cannot %s %s: it would pass the largest file size allowed; raise the limit "
                       "(ulimit -f), then %s",
                       doing, what, then);
    return lf_fail(err, LUAFLOW_ESTORE,
                   "input/output error: cannot %s %s; check the disk, then %s", doing, what, then);
}
