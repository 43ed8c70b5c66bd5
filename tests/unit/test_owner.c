/* Claims on runs, which die with their process. */
#include "unit.h"

#include "owner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static void fresh_dir(void)
{
    strcpy(dir, "/tmp/test_owner.XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
}

static const char *file(void)
{
    static char path[96];
    snprintf(path, sizeof path, "%s/owners", dir);
    return path;
}

static void drop_dir(void)
{
    chmod(dir, 0700);
    unlink(file());
    CHECK_INT(rmdir(dir), 0);
}

static lf_owner *owner(void)
{
    lf_owner *o = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_owner_open(dir, &o, &err), LUAFLOW_OK);
    return o;
}

TEST(a_claimed_run_is_alive_until_it_is_released)
{
    fresh_dir();
    lf_owner *o = owner();
    CHECK(!lf_owner_alive(o, 3));
    CHECK_INT(lf_owner_claim(o, 3, NULL), LUAFLOW_OK);
    CHECK(lf_owner_alive(o, 3));
    CHECK(!lf_owner_alive(o, 2));
    CHECK(!lf_owner_alive(o, 4));
    lf_owner_release(o, 3);
    CHECK(!lf_owner_alive(o, 3));
    lf_owner_release(o, 3); /* once more does no harm */
    CHECK_INT(lf_owner_claim(o, UINT32_MAX, NULL), LUAFLOW_OK);
    CHECK(lf_owner_alive(o, UINT32_MAX));
    lf_owner_close(o);
    lf_owner_close(NULL);
    drop_dir();
}

TEST(two_runtimes_of_one_process_exclude_each_other)
{
    fresh_dir();
    lf_owner *a = owner(), *b = owner();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_owner_claim(a, 7, &err), LUAFLOW_OK);
    CHECK_INT(lf_owner_claim(b, 7, &err), LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&err), "run 7") != NULL);
    CHECK(lf_owner_alive(b, 7));
    CHECK_INT(lf_owner_claim(b, 8, NULL), LUAFLOW_OK);
    CHECK(lf_owner_alive(a, 8));
    lf_owner_close(b); /* closing one drops its claims and no others */
    CHECK(!lf_owner_alive(a, 8));
    b = owner();
    CHECK(lf_owner_alive(b, 7));
    lf_owner_close(a);
    CHECK_INT(lf_owner_claim(b, 7, NULL), LUAFLOW_OK);
    lf_owner_close(b);
    luaflow_error_clear(&err);
    drop_dir();
}

TEST(a_claim_dies_with_its_process)
{
    fresh_dir();
    lf_owner *o = owner();
    int ready[2];
    CHECK_INT(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        lf_owner *mine = NULL;
        bool good = lf_owner_open(dir, &mine, NULL) == LUAFLOW_OK &&
                    lf_owner_claim(mine, 5, NULL) == LUAFLOW_OK;
        if (write(ready[1], good ? "y" : "n", 1) == 1)
            pause();
        _exit(1);
    }
    char answer;
    CHECK_INT(read(ready[0], &answer, 1), 1);
    CHECK_INT(answer, 'y');
    CHECK(lf_owner_alive(o, 5));
    CHECK_INT(lf_owner_claim(o, 5, NULL), LUAFLOW_ESTORE);
    CHECK_INT(kill(child, SIGKILL), 0);
    CHECK_INT(lf_owner_claim(o, 5, NULL), LUAFLOW_OK); /* whether or not it is dead already */
    CHECK_INT(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
    lf_owner_close(o);
    drop_dir();
}

TEST(the_file_is_for_its_owner_alone_and_closed_in_children)
{
    fresh_dir();
    mode_t old = umask(0);
    lf_owner *o = owner();
    umask(old);
    struct stat st;
    CHECK_INT(stat(file(), &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    lf_owner_close(o);
    unlink(file());
    old = umask(0777);
    o = owner();
    umask(old);
    CHECK_INT(stat(file(), &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    int found = 0;
    for (int fd = 3; fd < 64; fd++) {
        char link[64], to[96];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, to, sizeof to - 1);
        if (n < 0)
            continue;
        to[n] = 0;
        if (strcmp(to, file()) == 0) {
            found++;
            CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        }
    }
    CHECK_INT(found, 2);
    lf_owner_close(o);
    drop_dir();
}

/* Runs `body` as somebody who may not write the directory. */
static int as_stranger(int (*body)(void))
{
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(100);
        _exit(body());
    }
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

static int reads_only(void)
{
    lf_owner *o = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_owner_open(dir, &o, &err) != LUAFLOW_OK)
        return 1;
    if (!lf_owner_alive(o, 1) || lf_owner_alive(o, 2))
        return 2;
    if (lf_owner_claim(o, 2, &err) != LUAFLOW_ESTORE ||
        strstr(luaflow_error_text(&err), dir) == NULL)
        return 3;
    luaflow_error_clear(&err);
    lf_owner_take_turn(o, LF_TURN_READER);
    lf_owner_end_turn(o, LF_TURN_READER);
    lf_owner_release(o, 1);
    if (!lf_owner_alive(o, 1))
        return 4;
    lf_owner_close(o);
    return 0;
}

TEST(where_one_may_only_read_claims_are_seen_and_not_made)
{
    fresh_dir();
    lf_owner *o = owner();
    CHECK_INT(lf_owner_claim(o, 1, NULL), LUAFLOW_OK);
    lf_owner_take_turn(o, LF_TURN_READER); /* for which who only reads does not wait */
    CHECK_INT(chmod(file(), 0444), 0);
    CHECK_INT(chmod(dir, 0555), 0);
    CHECK_INT(as_stranger(reads_only), 0);
    lf_owner_close(o);
    drop_dir();
}

static int sees_nobody(void)
{
    lf_owner *o = NULL;
    if (lf_owner_open(dir, &o, NULL) != LUAFLOW_OK)
        return 1;
    int rc = lf_owner_alive(o, 1) ? 2 : 0;
    lf_owner_close(o);
    return rc;
}

TEST(without_a_file_that_may_be_made_nobody_is_alive)
{
    fresh_dir();
    CHECK_INT(chmod(dir, 0555), 0);
    CHECK_INT(as_stranger(sees_nobody), 0);
    drop_dir();
}

/* ---- turns ---- */

static void interrupt(int signal) { (void)signal; }

/* A child that takes the writers' turn, and tells whether it was free by then. */
static pid_t take_turn_in_child(const atomic_bool *is_free)
{
    pid_t child = fork();
    if (child == 0) {
        struct sigaction act = {.sa_handler = interrupt}; /* no SA_RESTART */
        lf_owner *mine = NULL;
        if (sigaction(SIGUSR1, &act, NULL) != 0 || lf_owner_open(dir, &mine, NULL) != LUAFLOW_OK)
            _exit(2);
        lf_owner_take_turn(mine, LF_TURN_WRITER);
        _exit(atomic_load(is_free) ? 0 : 1);
    }
    return child;
}

TEST(who_takes_a_turn_waits_for_its_end_whatever_signals_come)
{
    fresh_dir();
    atomic_bool *is_free =
        mmap(NULL, sizeof *is_free, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(is_free != MAP_FAILED);
    lf_owner *mine = owner();
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old; /* until the child can take them */
    CHECK_INT(sigaction(SIGUSR1, &ignore, &old), 0);
    lf_owner_take_turn(mine, LF_TURN_WRITER);
    pid_t child = take_turn_in_child(is_free);
    for (int i = 0; i < 20; i++) {
        usleep(1000);
        CHECK_INT(kill(child, SIGUSR1), 0);
    }
    atomic_store(is_free, true);
    lf_owner_end_turn(mine, LF_TURN_WRITER);
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    sigaction(SIGUSR1, &old, NULL);
    munmap(is_free, sizeof *is_free);
    lf_owner_close(mine);
    drop_dir();
}

TEST(turns_are_neither_each_others_nor_any_runs)
{
    fresh_dir();
    lf_owner *a = owner(), *b = owner();
    lf_owner_take_turn(a, LF_TURN_OPEN);
    lf_owner_take_turn(b, LF_TURN_READER);
    lf_owner_take_turn(a, LF_TURN_WRITER);
    CHECK(!lf_owner_alive(b, 0) && !lf_owner_alive(b, UINT32_MAX));
    CHECK_INT(lf_owner_claim(b, 0, NULL), LUAFLOW_OK);
    lf_owner_end_turn(a, LF_TURN_OPEN);
    lf_owner_take_turn(b, LF_TURN_OPEN);
    CHECK(lf_owner_alive(a, 0)); /* whose claim is not lost with a turn */
    lf_owner_close(a);           /* which ends its turns */
    lf_owner_take_turn(b, LF_TURN_WRITER);
    lf_owner_close(b);
    drop_dir();
}

TEST(a_turn_ends_with_its_process)
{
    fresh_dir();
    int ready[2];
    CHECK_INT(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        lf_owner *mine = NULL;
        if (lf_owner_open(dir, &mine, NULL) != LUAFLOW_OK)
            _exit(1);
        lf_owner_take_turn(mine, LF_TURN_WRITER);
        if (write(ready[1], "y", 1) == 1)
            pause();
        _exit(1);
    }
    char answer;
    CHECK_INT(read(ready[0], &answer, 1), 1);
    lf_owner *o = owner();
    CHECK_INT(kill(child, SIGKILL), 0);
    lf_owner_take_turn(o, LF_TURN_WRITER);
    CHECK_INT(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
    lf_owner_close(o);
    drop_dir();
}

TEST(a_missing_directory_is_named)
{
    lf_owner *o = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_owner_open("/tmp/no such directory", &o, &err), LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&err), "/tmp/no such directory/owners") != NULL);
    luaflow_error_clear(&err);
}
