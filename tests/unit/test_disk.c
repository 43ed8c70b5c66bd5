/* Disks that are full or fail, in words. */
#include "unit.h"

#include "disk.h"

#include <errno.h>

static void check_says(int rc, const char *words)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK(lf_disk_is_at_fault(rc));
    CHECK_INT(lf_disk_fail("/tmp", "write", "/tmp/a file", "try again", rc, &err), LUAFLOW_ESTORE);
    if (strstr(luaflow_error_text(&err), words) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(&err), words);
    luaflow_error_clear(&err);
}

TEST(each_way_to_be_full_names_the_file_and_the_cure)
{
    check_says(ENOSPC, "disk full: cannot write /tmp/a file, ");
    check_says(ENOSPC, " bytes free; make room, then try again");
    check_says(EDQUOT, "disk quota used up: cannot write /tmp/a file; make room, then try again");
    check_says(EFBIG, "cannot write /tmp/a file: it would pass the largest file size allowed; raise "
                      "the limit (ulimit -f), then try again");
}

TEST(a_disk_that_fails_with_room_on_it_is_not_called_full)
{
    check_says(EIO, "input/output error: cannot write /tmp/a file; check the disk, then try again");
}

TEST(a_disk_that_is_not_there_has_no_bytes_free)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_disk_fail("/no such place", "make", "x", "try again", ENOSPC, &err);
    CHECK_STR(luaflow_error_text(&err), "disk full: cannot make x, 0 bytes free; make room, then try again");
    luaflow_error_clear(&err);
}

TEST(other_errors_are_not_the_disks)
{
    CHECK(!lf_disk_is_at_fault(0));
    CHECK(!lf_disk_is_at_fault(ENOENT));
    CHECK(!lf_disk_is_at_fault(EACCES));
    CHECK(!lf_disk_is_at_fault(ENOMEM));
}
