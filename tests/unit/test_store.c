/* The store: what was committed is there, bit for bit, and what is wrong is said in words. */
#include "unit.h"

#include "collision.h"
#include "owner.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MB ((size_t)1 << 20)

/* ---- a world in one line ---- */

static char base[64]; /* a directory of its own for each test */
static char dir[96];  /* where its store is, or will be */

static void fresh_place(void)
{
    strcpy(base, "/tmp/test_store.XXXXXX");
    CHECK(mkdtemp(base) != NULL);
    snprintf(dir, sizeof dir, "%s/s", base);
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    CHECK_INT(system(line), 0);
}

static void drop_place(void) { shell("rm -rf '%s'", base); }

static lf_store *open_at(const char *where, bool create)
{
    lf_store *s = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_store_open(where, create, &s, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return s;
}

static lf_store *fresh_store(void)
{
    fresh_place();
    return open_at(dir, true);
}

static void drop_store(lf_store *s)
{
    lf_store_close(s);
    drop_place();
}

static void check_says(luaflow_error *err, const char *words)
{
    if (strstr(luaflow_error_text(err), words) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(err), words);
    luaflow_error_clear(err);
}

/* That opening fails so. */
static void check_refuses(bool create, int code, const char *words)
{
    lf_store *s = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_store_open(dir, create, &s, &err), code);
    CHECK(strstr(luaflow_error_text(&err), base) != NULL);
    check_says(&err, words);
}

static lf_write *write_to(lf_store *s)
{
    lf_write *w = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_write_begin(s, &w, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return w;
}

static void commit(lf_write *w) { CHECK_INT(lf_write_commit(w, NULL), LUAFLOW_OK); }

static lf_view *view_of(lf_store *s)
{
    lf_view *v = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_view_begin(s, &v, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return v;
}

static lf_slice text(const char *s) { return lf_slice_of(s, strlen(s)); }

static lf_slice noise(size_t size, uint32_t seed)
{
    uint8_t *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (uint8_t)(seed >> 24);
    }
    return lf_slice_of(data, size);
}

static lf_ref ref_of(lf_slice bytes, uint8_t salt)
{
    return (lf_ref){.kind = LF_REF_KEY,
                    .key = lf_key_of(0, bytes.data, bytes.size),
                    .salt = salt,
                    .size = bytes.size};
}

static uint8_t put_in(lf_write *w, lf_slice bytes)
{
    lf_key key = lf_key_of(0, bytes.data, bytes.size);
    uint8_t salt = 99;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_write_blob(w, &key, bytes, &salt, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return salt;
}

/* In a transaction of its own. */
static uint8_t put(lf_store *s, lf_slice bytes)
{
    lf_write *w = write_to(s);
    uint8_t salt = put_in(w, bytes);
    commit(w);
    return salt;
}

static bool has(lf_store *s, lf_slice bytes, uint8_t salt)
{
    lf_view *v = view_of(s);
    lf_ref ref = ref_of(bytes, salt);
    lf_buf *buf = NULL;
    bool same =
        lf_view_blob(v, &ref, &buf, NULL) == LUAFLOW_OK && lf_slice_equal(lf_buf_slice(buf), bytes);
    lf_buf_free(buf);
    lf_view_end(v);
    return same;
}

/* That reading it fails as damage, naming its key. */
static void check_unreadable(lf_store *s, lf_slice bytes, const char *words)
{
    lf_view *v = view_of(s);
    lf_ref ref = ref_of(bytes, 0);
    lf_buf *buf = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_blob(v, &ref, &buf, &err), LUAFLOW_ESTORE);
    char hex[33];
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", ref.key.bytes[i]);
    CHECK(strstr(luaflow_error_text(&err), hex) != NULL);
    CHECK(strstr(luaflow_error_text(&err), "luaflow verify") != NULL);
    check_says(&err, words);
    lf_view_end(v);
}

/* Replaces bytes of data.mdb wherever they stand, while no one has it open. */
static int patch(const char *what, size_t size, const char *with)
{
    char path[128];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    FILE *f = fopen(path, "r+b");
    fseek(f, 0, SEEK_END);
    size_t length = (size_t)ftell(f);
    char *all = malloc(length);
    rewind(f);
    CHECK_INT(fread(all, 1, length, f), length);
    int n = 0;
    for (char *at = all; (at = memmem(at, length - (size_t)(at - all), what, size)) != NULL;
         at += size, n++)
        memcpy(at, with, size);
    rewind(f);
    CHECK_INT(fwrite(all, 1, length, f), length);
    fclose(f);
    free(all);
    return n;
}

static off_t file_size(void)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    CHECK_INT(stat(path, &st), 0);
    return st.st_size;
}

static void truncate_to(off_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    CHECK_INT(truncate(path, size), 0);
}

static int wait_for(pid_t child)
{
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

/* Runs `body` in a child process; what it returns is its exit status. */
static int in_child(int (*body)(void))
{
    pid_t child = fork();
    if (child == 0)
        _exit(body());
    return wait_for(child);
}

/* ---- making and opening ---- */

TEST(a_new_store_is_for_its_owner_alone_whatever_the_umask)
{
    static const mode_t masks[] = {0, 0777, 022};
    for (size_t i = 0; i < 3; i++) {
        fresh_place();
        mode_t old = umask(masks[i]);
        lf_store *s = open_at(dir, true);
        umask(old);
        struct stat st;
        char path[128];
        CHECK_INT(stat(dir, &st), 0);
        CHECK_INT(st.st_mode & 07777, 0700);
        snprintf(path, sizeof path, "%s/data.mdb", dir);
        CHECK_INT(stat(path, &st), 0);
        CHECK_INT(st.st_mode & 07777, 0600);
        snprintf(path, sizeof path, "%s/lock.mdb", dir);
        CHECK_INT(stat(path, &st), 0);
        CHECK_INT(st.st_mode & 07777, 0600);
        CHECK_STR(lf_store_dir(s), dir);
        lf_store_close(s);
        shell("test $(ls -A '%s') = s", base); /* nothing is left beside it */
        drop_place();
    }
}

TEST(without_create_a_missing_store_is_not_found_and_not_made)
{
    fresh_place();
    check_refuses(false, LUAFLOW_ENOTFOUND, "there is no store in");
    shell("test ! -e '%s'", dir);
    CHECK_INT(mkdir(dir, 0700), 0);
    check_refuses(false, LUAFLOW_ENOTFOUND, "there is no store in");
    drop_place();
}

TEST(missing_parents_are_made)
{
    lf_store *s;
    fresh_place();
    strcat(dir, "/deep/er");
    CHECK_INT(lf_store_open(dir, true, &s, NULL), LUAFLOW_OK);
    lf_store_close(s);
    shell("test -d '%s'", dir);
    drop_place();
}

TEST(a_parent_that_is_no_directory_is_named)
{
    fresh_place();
    shell("touch '%s'", dir);
    strcat(dir, "/er");
    check_refuses(true, LUAFLOW_ESTORE, "/s/er: Not a directory");
    drop_place();
}

TEST(an_empty_directory_becomes_a_store)
{
    fresh_place();
    CHECK_INT(mkdir(dir, 0755), 0);
    lf_store_close(open_at(dir, true));
    shell("test -s '%s/data.mdb'", dir);
    shell("rm -r '%s'; mkdir '%s/real'; ln -s real '%s'", dir, base, dir);
    lf_store_close(open_at(dir, true));
    shell("test -s '%s/real/data.mdb' -a -h '%s'", base, dir);
    drop_place();
}

TEST(what_is_no_store_is_left_alone)
{
    fresh_place();
    shell("mkdir '%s'; echo mine > '%s/file'", dir, dir);
    check_refuses(true, LUAFLOW_ESTORE, "is not a luaflow store (no data.mdb)");
    shell("test $(ls -A '%s') = file; rm -r '%s'; echo mine > '%s'", dir, dir, dir);
    check_refuses(true, LUAFLOW_ESTORE, "is not a directory");
    shell("rm '%s'; mkdir -p '%s/data.mdb'", dir, dir);
    check_refuses(true, LUAFLOW_ESTORE, "is not a regular file");
    drop_place();
    lf_store *s = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_store_open("", true, &s, &err), LUAFLOW_ESTORE);
    check_says(&err, "name a directory");
}

TEST(opening_again_gives_the_same_environment_counted)
{
    lf_store *s = fresh_store();
    char other[128];
    snprintf(other, sizeof other, "%s/./../%s/s//", base, strrchr(base, '/') + 1);
    shell("ln -s s '%s/link'", base);
    lf_store *again = open_at(other, false);
    CHECK(again == s);
    snprintf(other, sizeof other, "%s/link", base);
    CHECK(open_at(other, false) == s);
    lf_store_close(s);
    lf_store_close(s);
    CHECK_INT(put(again, text("still here")), 0);
    lf_store_close(again);
    lf_store_close(NULL);
    s = open_at(dir, false);
    CHECK(has(s, text("still here"), 0));
    drop_store(s);
}

static void *open_often(void *payload)
{
    (void)payload;
    for (int i = 0; i < 40; i++) {
        lf_store *s = NULL;
        if (lf_store_open(dir, true, &s, NULL) != LUAFLOW_OK)
            return "open";
        lf_view *v;
        if (lf_view_begin(s, &v, NULL) != LUAFLOW_OK)
            return "view";
        lf_view_end(v);
        lf_store_close(s);
    }
    return NULL;
}

TEST(threads_may_make_open_and_close_one_store_at_once)
{
    fresh_place();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, open_often, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *problem;
        pthread_join(threads[i], &problem);
        CHECK(problem == NULL);
    }
    shell("test $(ls -A '%s') = s", base);
    drop_place();
}

static int make_and_count(void)
{
    lf_store *s = NULL;
    lf_write *w = NULL;
    uint32_t run;
    lf_run_record record = {.flow = text("F")};
    lf_run_state state = {0};
    if (lf_store_open(dir, true, &s, NULL) != LUAFLOW_OK)
        return 1;
    for (int i = 0; i < 10; i++) {
        if (lf_write_begin(s, &w, NULL) != LUAFLOW_OK)
            return 2;
        if (lf_write_run(w, &record, &state, &run, NULL) != LUAFLOW_OK)
            return 3;
        if (lf_write_commit(w, NULL) != LUAFLOW_OK)
            return 4;
    }
    lf_store_close(s);
    return 0;
}

TEST(processes_that_make_a_store_at_once_end_up_in_one)
{
    for (int round = 0; round < 5; round++) {
        fresh_place();
        pid_t children[6];
        for (int i = 0; i < 6; i++)
            if ((children[i] = fork()) == 0)
                _exit(make_and_count());
        for (int i = 0; i < 6; i++)
            CHECK_INT(wait_for(children[i]), 0);
        shell("test $(ls -A '%s') = s", base);
        lf_store *s = open_at(dir, false);
        lf_view *v = view_of(s);
        uint32_t runs[100];
        size_t n;
        CHECK_INT(lf_view_runs(v, NULL, NULL, 0, runs, 100, &n, NULL), LUAFLOW_OK);
        CHECK_INT(n, 60);
        for (uint32_t i = 0; i < 60; i++)
            CHECK_INT(runs[i], 60 - i);
        lf_view_end(v);
        drop_store(s);
    }
}

TEST(killed_while_it_is_made_a_store_is_there_whole_or_not_at_all)
{
    int whole = 0, absent = 0;
    for (unsigned i = 0; i < 60; i++) {
        fresh_place();
        pid_t child = fork();
        if (child == 0)
            _exit(make_and_count());
        usleep(100 * i);
        kill(child, SIGKILL);
        wait_for(child);
        lf_store *s = NULL;
        int rc = lf_store_open(dir, false, &s, NULL);
        CHECK(rc == LUAFLOW_OK || rc == LUAFLOW_ENOTFOUND);
        *(rc == LUAFLOW_OK ? &whole : &absent) += 1;
        lf_store_close(s);
        CHECK_INT(make_and_count(), 0);
        drop_place();
    }
    CHECK(whole + absent == 60);
}

/* Opens the store and finds in it what is there. */
static bool opens(void)
{
    lf_store *s = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_store_open(dir, false, &s, &err) != LUAFLOW_OK) {
        fprintf(stderr, "%s\n", luaflow_error_text(&err));
        return false;
    }
    bool good = has(s, text("x"), 0);
    lf_store_close(s);
    return good;
}

/* A store whose last transaction is in the second head: who takes LMDB's new lock file for a used
 * one reads the first. */
static void fresh_odd_store(void)
{
    lf_store *s = fresh_store();
    put(s, text("w"));
    put(s, text("x"));
    lf_store_close(s);
}

TEST(killed_while_it_is_opened_a_store_opens_for_the_next)
{
    fresh_odd_store();
    for (unsigned i = 0; i < 60; i++) {
        pid_t victim = fork();
        if (victim == 0)
            for (;;)
                opens();
        pid_t next = fork();
        if (next == 0) {
            bool good = true;
            for (int k = 0; k < 5; k++)
                good = good && opens();
            _exit(good ? 0 : 1);
        }
        usleep(50 * i);
        kill(victim, SIGKILL);
        wait_for(victim);
        CHECK_INT(wait_for(next), 0);
    }
    drop_place();
}

TEST(children_inherit_no_descriptor)
{
    lf_store *s = fresh_store();
    int found = 0;
    for (int fd = 3; fd < 256; fd++) {
        char link[64], to[256];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, to, sizeof to - 1);
        if (n < 0)
            continue;
        to[n] = 0;
        if (strstr(to, base) != NULL) {
            found++;
            CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        }
    }
    CHECK(found >= 2);
    drop_store(s);
}

/* ---- damaged and foreign files ---- */

TEST(an_emptied_or_foreign_file_is_refused_in_words)
{
    lf_store_close(fresh_store());
    truncate_to(0);
    check_refuses(true, LUAFLOW_ESTORE, "is truncated: it has 0 bytes");
    truncate_to(100);
    check_refuses(true, LUAFLOW_ESTORE, "is not the file of a store");
    shell("head -c 100000 /dev/zero | tr '\\0' x > '%s/data.mdb'", dir);
    check_refuses(true, LUAFLOW_ESTORE, "is not the file of a store");
    drop_place();
}

TEST(a_truncated_file_is_refused_at_every_length)
{
    lf_store *s = fresh_store();
    lf_slice bytes = noise(200000, 1);
    put(s, bytes);
    put(s, text("small"));
    lf_store_close(s);
    shell("cp '%s/data.mdb' '%s/whole'", dir, base);
    off_t whole = file_size();
    for (off_t size = whole - 1; size > 8192; size -= 4096) {
        truncate_to(size);
        check_refuses(true, LUAFLOW_ESTORE, "restore it from a copy");
    }
    shell("cp '%s/whole' '%s/data.mdb'", base, dir);
    s = open_at(dir, false);
    CHECK(has(s, bytes, 0));
    free((void *)bytes.data);
    drop_store(s);
}

TEST(a_file_that_lacks_only_free_pages_is_sound)
{
    lf_store *s = fresh_store();
    lf_key key = {{1, 2, 3}}; /* nobody's: what is under it counts as damaged and is dropped */
    lf_slice big = noise(3 * MB, 1), small = noise(3000, 1);
    uint8_t salt;
    for (uint32_t i = 1; i <= 10;
         i++) { /* the first ones make free pages, where lists of more go */
        lf_write *w = write_to(s);
        CHECK_INT(lf_write_task(w, 1, i, text("record"), NULL), LUAFLOW_OK);
        if (i >= 8) {
            CHECK_INT(lf_write_blob(w, &key, big, &salt, NULL), LUAFLOW_OK);
            CHECK_INT(lf_write_blob(w, &key, small, &salt, NULL), LUAFLOW_OK);
        }
        commit(w);
    }
    put(s, text("kept"));
    lf_store_close(s);
    CHECK(file_size() < (off_t)MB); /* the pages of `big` were taken and never written */
    s = open_at(dir, false);
    CHECK(has(s, text("kept"), 0));
    lf_store_close(s);
    bool sound = true; /* until a page goes that is not free */
    while (sound) {
        truncate_to(file_size() - 4096);
        sound = lf_store_open(dir, false, &s, NULL) == LUAFLOW_OK;
        if (sound) {
            CHECK(has(s, text("kept"), 0));
            lf_store_close(s);
        }
    }
    check_refuses(false, LUAFLOW_ESTORE, "is truncated");
    free((void *)big.data);
    free((void *)small.data);
    drop_place();
}

/* The entry of the store's version as it stands in the file: key, seal, number. */
static lf_bytes version_entry(uint8_t sealed, uint8_t number)
{
    lf_bytes b = {0};
    uint8_t value[4] = {0, 0, 0, sealed};
    lf_bytes_put(&b, "version", 7);
    lf_bytes_put_u32be(&b, (uint32_t)lf_hash(lf_hash(8, "version", 7), value, 4));
    value[3] = number;
    lf_bytes_put(&b, value, 4);
    return b;
}

TEST(a_newer_store_is_refused_in_words)
{
    lf_store_close(fresh_store());
    lf_bytes ours = version_entry(2, 2), next = version_entry(3, 3), flipped = version_entry(3, 2);
    CHECK_INT(patch((char *)ours.data, ours.size, (char *)next.data), 1);
    check_refuses(true, LUAFLOW_ESTORE, "is a store of version 3");
    CHECK_INT(patch((char *)next.data, next.size, (char *)flipped.data), 1);
    check_refuses(true, LUAFLOW_ESTORE, "an entry of the table 'meta'");
    CHECK_INT(patch("version", 7, "Version"), 1);
    check_refuses(true, LUAFLOW_ESTORE, "the version in");
    lf_bytes_fini(&ours);
    lf_bytes_fini(&next);
    lf_bytes_fini(&flipped);
    drop_place();
}

TEST(a_database_of_some_other_program_is_refused)
{
    lf_store_close(fresh_store());
    CHECK_INT(patch("meta", 4, "mine"), 1);
    check_refuses(true, LUAFLOW_ESTORE, "belongs to some other program");
    drop_place();
}

/* ---- blobs ---- */

TEST(blobs_of_every_size_come_back_bit_for_bit)
{
    static const size_t sizes[] = {1,      300,        4096,   4 * MB - 1,
                                   4 * MB, 4 * MB + 1, 8 * MB, 20 * MB + 7};
    lf_store *s = fresh_store();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        lf_slice bytes = noise(sizes[i], (uint32_t)i);
        CHECK_INT(put(s, bytes), 0);
        CHECK(has(s, bytes, 0));
        off_t size = file_size();
        CHECK_INT(put(s, bytes), 0); /* there already */
        CHECK(file_size() < size + (off_t)MB);
        free((void *)bytes.data);
    }
    drop_store(s);
}

TEST(an_inline_value_needs_no_blob)
{
    lf_store *s = fresh_store();
    lf_view *v = view_of(s);
    lf_ref ref = {.kind = LF_REF_INLINE, .bytes = text("x"), .size = 1};
    lf_buf *buf;
    CHECK_INT(lf_view_blob(v, &ref, &buf, NULL), LUAFLOW_OK);
    CHECK(lf_slice_equal(lf_buf_slice(buf), text("x")));
    lf_buf_free(buf);
    lf_view_end(v);
    drop_store(s);
}

TEST(a_very_large_blob_is_stored_in_several_transactions)
{
    lf_store *s = fresh_store();
    lf_slice bytes = noise(150 * MB + 3, 5);
    lf_write *w = write_to(s);
    put_in(w, text("before"));
    CHECK_INT(put_in(w, bytes), 0);
    put_in(w, text("after"));
    CHECK_INT(lf_write_task(w, 1, 1, text("record"), NULL), LUAFLOW_OK);
    commit(w);
    CHECK(has(s, bytes, 0));
    CHECK(has(s, text("before"), 0));
    CHECK(has(s, text("after"), 0));
    free((void *)bytes.data);
    drop_store(s);
}

typedef struct put_job {
    lf_store *store;
    lf_slice bytes;
} put_job;

static void *put_often(void *payload)
{
    const put_job *job = payload;
    for (int i = 0; i < 2; i++)
        if (put(job->store, job->bytes) != 0)
            return "another's salt";
    return NULL;
}

TEST(writers_of_very_large_blobs_may_come_between_each_others_transactions)
{
    lf_store *s = fresh_store();
    lf_slice one = noise(140 * MB, 1), other = noise(70 * MB, 2);
    put_job jobs[] = {{s, one}, {s, one}, {s, other}};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, put_often, &jobs[i]), 0);
    for (int i = 0; i < 3; i++) {
        void *problem;
        CHECK_INT(pthread_join(threads[i], &problem), 0);
        CHECK(problem == NULL);
    }
    CHECK(has(s, one, 0));
    CHECK(has(s, other, 0));
    free((void *)one.data);
    free((void *)other.data);
    drop_store(s);
}

TEST(a_missing_blob_or_one_of_another_size_is_named)
{
    lf_store *s = fresh_store();
    check_unreadable(s, text("never put"), "missing");
    put(s, text("five5"));
    lf_view *v = view_of(s);
    lf_ref ref = ref_of(text("five5"), 0);
    ref.size = 6;
    lf_buf *buf;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_blob(v, &ref, &buf, &err), LUAFLOW_ESTORE);
    check_says(&err, "damaged");
    lf_view_end(v);
    drop_store(s);
}

TEST(values_whose_keys_collide_are_all_kept)
{
    static const size_t sizes[] = {512, 5 * MB};
    for (size_t k = 0; k < 2; k++) {
        lf_store *s = fresh_store();
        lf_slice values[4];
        for (uint32_t i = 0; i < 4; i++) {
            values[i] = colliding(sizes[k], i);
            lf_ref a = ref_of(values[0], 0), b = ref_of(values[i], 0);
            CHECK(lf_key_equal(&a.key, &b.key));
            CHECK_INT(put(s, values[i]), i);
        }
        for (uint8_t i = 0; i < 4; i++) {
            CHECK_INT(put(s, values[i]), i);
            CHECK(has(s, values[i], i));
            CHECK(!has(s, values[i], (i + 1) % 4));
            free((void *)values[i].data);
        }
        drop_store(s);
    }
}

TEST(a_key_with_too_many_values_is_an_error)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    for (uint32_t i = 0; i <= 256; i++) {
        lf_slice value = colliding(512, i);
        lf_key key = lf_key_of(0, value.data, value.size);
        uint8_t salt;
        luaflow_error err = LUAFLOW_ERROR_INIT;
        CHECK_INT(lf_write_blob(w, &key, value, &salt, &err),
                  i < 256 ? LUAFLOW_OK : LUAFLOW_ESTORE);
        if (i < 256)
            CHECK_INT(salt, i);
        else
            check_says(&err, "no accident");
        free((void *)value.data);
    }
    lf_write_abort(w);
    drop_store(s);
}

TEST(a_damaged_blob_is_never_read_and_is_mended_by_the_next_put)
{
    static const size_t sizes[] = {1000, 3 * MB, 9 * MB};
    for (size_t i = 0; i < 3; i++) {
        lf_store *s = fresh_store();
        lf_slice bytes = noise(sizes[i], 77);
        put(s, bytes);
        lf_store_close(s);
        char was[16], now[16];
        memcpy(was, bytes.data + sizes[i] / 2 + 100, 16);
        memcpy(now, was, 16);
        now[5] ^= 4;
        CHECK_INT(patch(was, 16, now), 1);
        s = open_at(dir, false);
        check_unreadable(s, bytes, "damaged");
        CHECK_INT(put(s, bytes), 0);
        CHECK(has(s, bytes, 0));
        free((void *)bytes.data);
        drop_store(s);
    }
}

/* ---- tasks ---- */

static void put_task(lf_write *w, uint32_t run, uint32_t task, const lf_task_record *record)
{
    lf_bytes b = {0};
    lf_task_record_put(&b, record);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_write_task(w, run, task, lf_slice_of(b.data, b.size), &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    lf_bytes_fini(&b);
}

TEST(tasks_are_found_by_run_and_number_whatever_their_order)
{
    static const uint32_t order[][2] = {{2, 5}, {2, 6}, {1, 1},         {2, 3},
                                        {3, 1}, {1, 2}, {3, 0x01020304}};
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    for (uint32_t i = 0; i < 7; i++)
        put_task(w, order[i][0], order[i][1], &(lf_task_record){.step = i, .message = text("m")});
    commit(w);
    lf_view *v = view_of(s);
    lf_task_record t;
    for (uint32_t i = 0; i < 7; i++) {
        CHECK_INT(lf_view_task(v, order[i][0], order[i][1], &t, NULL), LUAFLOW_OK);
        CHECK_INT(t.step, i);
        CHECK(lf_slice_equal(t.message, text("m")));
    }
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_task(v, 2, 4, &t, &err), LUAFLOW_ENOTFOUND);
    check_says(&err, "run 2 has no finished task 4");
    lf_view_end(v);
    drop_store(s);
}

TEST(a_finished_task_is_never_written_again)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    put_task(w, 1, 1, &(lf_task_record){.step = 1});
    put_task(w, 1, 2, &(lf_task_record){.step = 1});
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_write_task(w, 1, 2, text("x"), &err), LUAFLOW_ESTORE);
    check_says(&err, "task 2 of run 1");
    CHECK_INT(lf_write_task(w, 1, 1, text("x"), &err), LUAFLOW_ESTORE);
    luaflow_error_clear(&err);
    lf_write_abort(w);
    drop_store(s);
}

TEST(a_damaged_or_misplaced_record_is_named)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    put_task(w, 0x0a0b0c0d, 0x01020304, &(lf_task_record){.message = text("the one message")});
    commit(w);
    lf_store_close(s);
    shell("cp '%s/data.mdb' '%s/whole'", dir, base);
    CHECK_INT(patch("one message", 11, "two message"), 1);
    s = open_at(dir, false);
    lf_view *v = view_of(s);
    lf_task_record t;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_task(v, 0x0a0b0c0d, 0x01020304, &t, &err), LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&err), "luaflow verify") != NULL);
    check_says(&err, "the record of task 16909060 of run 168496141");
    lf_view_end(v);
    lf_store_close(s);

    shell("cp '%s/whole' '%s/data.mdb'", base, dir);
    CHECK_INT(patch("\x0a\x0b\x0c\x0d\1\2\3\4", 8, "\x0a\x0b\x0c\x0d\1\2\3\5"), 1);
    s = open_at(dir, false);
    v = view_of(s);
    CHECK_INT(lf_view_task(v, 0x0a0b0c0d, 0x01020305, &t, NULL), LUAFLOW_ESTORE);
    lf_view_end(v);
    drop_store(s);
}

static lf_slice outputs_of(lf_bytes *b, const char *const *names, const lf_ref *refs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lf_output_put(b, text(names[i]), &refs[i]);
    return lf_slice_of(b->data, b->size);
}

TEST(what_a_task_passes_on_is_its_own_or_its_bases)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    lf_bytes own = {0}, behind = {0};
    lf_ref one = {.kind = LF_REF_INLINE, .bytes = text("1"), .size = 1},
           two = {.kind = LF_REF_INLINE, .bytes = text("2"), .size = 1}, gone = {0};
    put_task(w, 1, 1,
             &(lf_task_record){.n_outputs = 3,
                               .outputs = outputs_of(&behind, (const char *[]){"a", "b", "c"},
                                                     (lf_ref[]){one, one, one}, 3)});
    put_task(w, 1, 2,
             &(lf_task_record){.base = 1,
                               .n_outputs = 2,
                               .outputs = outputs_of(&own, (const char *[]){"a", "b"},
                                                     (lf_ref[]){two, gone}, 2)});
    put_task(w, 1, 3, &(lf_task_record){.base = 9});
    commit(w);
    lf_view *v = view_of(s);
    lf_task_record t;
    lf_ref ref;
    bool found;
    CHECK_INT(lf_view_task(v, 1, 2, &t, NULL), LUAFLOW_OK);
    CHECK_INT(lf_view_output(v, 1, &t, text("a"), &ref, &found, NULL), LUAFLOW_OK);
    CHECK(found && lf_ref_equal(&ref, &two));
    CHECK_INT(lf_view_output(v, 1, &t, text("b"), &ref, &found, NULL), LUAFLOW_OK);
    CHECK(!found);
    CHECK_INT(lf_view_output(v, 1, &t, text("c"), &ref, &found, NULL), LUAFLOW_OK);
    CHECK(found && lf_ref_equal(&ref, &one));
    CHECK_INT(lf_view_output(v, 1, &t, text("d"), &ref, &found, NULL), LUAFLOW_OK);
    CHECK(!found);
    CHECK_INT(lf_view_task(v, 1, 3, &t, NULL), LUAFLOW_OK);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_output(v, 1, &t, text("a"), &ref, &found, &err), LUAFLOW_ESTORE);
    check_says(&err, "task 9 of run 1");
    lf_view_end(v);
    lf_bytes_fini(&own);
    lf_bytes_fini(&behind);
    drop_store(s);
}

/* ---- tasks that are reused, and those that were tried before ---- */

static const lf_ref ONE = {.kind = LF_REF_INLINE, .bytes = {(const uint8_t *)"1", 1}, .size = 1},
                    TWO = {.kind = LF_REF_INLINE, .bytes = {(const uint8_t *)"2", 1}, .size = 1};

/* Run 1: task 1 left a and b, task 2 another b in front of them. Run 2 reuses both, and its
 * task 3 left c in front of what task 1 of run 1 left. */
static void put_reused(lf_store *s)
{
    lf_write *w = write_to(s);
    lf_bytes first = {0}, second = {0}, third = {0};
    put_task(w, 1, 1, &(lf_task_record){.n_outputs = 2, .started_us = 5,
                                        .outputs = outputs_of(&first, (const char *[]){"a", "b"},
                                                              (lf_ref[]){ONE, ONE}, 2)});
    put_task(w, 1, 2, &(lf_task_record){.base = 1, .n_outputs = 1,
                                        .outputs = outputs_of(&second, (const char *[]){"b"}, (lf_ref[]){TWO}, 1)});
    put_task(w, 2, 1, &(lf_task_record){.flags = LF_TASK_REUSED, .step = 3, .origin_run = 1, .origin_task = 1});
    put_task(w, 2, 2, &(lf_task_record){.flags = LF_TASK_REUSED, .step = 4, .origin_run = 1, .origin_task = 2});
    put_task(w, 2, 3, &(lf_task_record){.flags = LF_TASK_FAR, .base = 1, .base_run = 1, .n_outputs = 1,
                                        .outputs = outputs_of(&third, (const char *[]){"c"}, (lf_ref[]){TWO}, 1)});
    commit(w);
    lf_bytes_fini(&first);
    lf_bytes_fini(&second);
    lf_bytes_fini(&third);
}

/* What the task passes on of a, b and c: '1', '2' or '-' each. */
static const char *passed_on(lf_view *v, uint32_t run, uint32_t task)
{
    static char letters[4];
    lf_task_record t;
    CHECK_INT(lf_view_task(v, run, task, &t, NULL), LUAFLOW_OK);
    for (int i = 0; i < 3; i++) {
        lf_ref ref;
        bool found;
        CHECK_INT(lf_view_output(v, run, &t, lf_slice_of(&"abc"[i], 1), &ref, &found, NULL), LUAFLOW_OK);
        letters[i] = found ? (char)ref.bytes.data[0] : '-';
    }
    return letters;
}

TEST(a_reused_task_passes_on_what_it_left_where_it_ran)
{
    lf_store *s = fresh_store();
    put_reused(s);
    lf_view *v = view_of(s);
    CHECK_STR(passed_on(v, 1, 1), "11-");
    CHECK_STR(passed_on(v, 1, 2), "12-");
    CHECK_STR(passed_on(v, 2, 1), "11-");
    CHECK_STR(passed_on(v, 2, 2), "12-");
    CHECK_STR(passed_on(v, 2, 3), "112");
    lf_view_end(v);
    drop_store(s);
}

TEST(a_record_is_resolved_to_that_of_where_the_task_ran)
{
    lf_store *s = fresh_store();
    put_reused(s);
    lf_view *v = view_of(s);
    lf_task_record t, behind;
    uint32_t run = 2;
    CHECK_INT(lf_view_task(v, 2, 2, &t, NULL), LUAFLOW_OK);
    CHECK_INT(lf_view_resolve(v, &run, &t, NULL), LUAFLOW_OK);
    CHECK_INT(run, 1);
    CHECK_INT(t.flags, 0);
    CHECK_INT(t.n_outputs, 1);
    CHECK_INT(lf_view_base(v, run, &t, &behind, NULL), LUAFLOW_OK);
    CHECK_INT(behind.started_us, 5);
    CHECK_INT(lf_view_resolve(v, &run, &t, NULL), LUAFLOW_OK); /* one that ran is its own */
    CHECK_INT(run, 1);
    run = 2;
    CHECK_INT(lf_view_task(v, 2, 3, &t, NULL), LUAFLOW_OK);
    CHECK_INT(lf_view_resolve(v, &run, &t, NULL), LUAFLOW_OK);
    CHECK_INT(run, 2);
    CHECK_INT(lf_view_base(v, run, &t, &behind, NULL), LUAFLOW_OK);
    CHECK_INT(behind.started_us, 5); /* which is a task of another run */
    lf_view_end(v);
    drop_store(s);
}

TEST(a_reused_task_that_leads_nowhere_is_damage_that_is_named)
{
    static const struct { lf_task_record record; const char *words; } tasks[] = {
        {{.flags = LF_TASK_REUSED, .origin_run = 7, .origin_task = 1}, "task 1 of run 7, which another reuses,"},
        {{.flags = LF_TASK_REUSED, .origin_run = 1, .origin_task = 9}, "task 9 of run 1, which another reuses,"},
        {{.flags = LF_TASK_REUSED, .origin_run = 2, .origin_task = 1}, "task 1 of run 2, which another reuses,"},
        {{.flags = LF_TASK_REUSED, .origin_run = 2, .origin_task = 9}, "task 9 of run 2, which another reuses,"},
        {{.flags = LF_TASK_FAR, .base = 1, .base_run = 8}, "task 1 of run 8, on which another stands,"},
        {{.flags = LF_TASK_FAR, .base = 2, .base_run = 1}, "task 2 of run 1, on which another stands,"},
        {{.flags = LF_TASK_FAR, .base = 1, .base_run = 2}, "task 1 of run 2, on which another stands,"},
        {{.flags = LF_TASK_FAR, .base = 9, .base_run = 2}, "task 9 of run 2, on which another stands,"},
    };
    enum { N = sizeof tasks / sizeof tasks[0] };
    lf_store *s = fresh_store();
    put_reused(s);
    lf_write *w = write_to(s);
    put_task(w, 2, 9, &(lf_task_record){.flags = LF_TASK_FAILED});
    for (uint32_t i = 0; i < N; i++)
        put_task(w, 3, i + 1, &tasks[i].record);
    commit(w);
    lf_view *v = view_of(s);
    for (uint32_t i = 0; i < N; i++) {
        lf_task_record t;
        lf_ref ref;
        bool found;
        luaflow_error err = LUAFLOW_ERROR_INIT;
        CHECK_INT(lf_view_task(v, 3, i + 1, &t, NULL), LUAFLOW_OK);
        CHECK_INT(lf_view_output(v, 3, &t, text("a"), &ref, &found, &err), LUAFLOW_ESTORE);
        CHECK(strstr(luaflow_error_text(&err), "luaflow verify") != NULL);
        check_says(&err, tasks[i].words);
    }
    lf_view_end(v);
    drop_store(s);
}

static void put_attempt(lf_write *w, uint32_t run, uint32_t task, uint32_t attempt, const char *message)
{
    lf_bytes b = {0};
    lf_task_record_put(&b, &(lf_task_record){.flags = LF_TASK_FAILED, .attempt = attempt, .message = text(message)});
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_write_attempt(w, run, task, attempt, lf_slice_of(b.data, b.size), &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    lf_bytes_fini(&b);
}

TEST(attempts_are_kept_beside_the_task)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    put_attempt(w, 1, 2, 1, "second");
    put_attempt(w, 1, 2, 0, "first");
    put_attempt(w, 1, 3, 0, "of another task");
    put_attempt(w, 2, 2, 0, "of another run");
    put_task(w, 1, 2, &(lf_task_record){.attempt = 2, .message = text("third")});
    commit(w);
    lf_view *v = view_of(s);
    lf_task_record t;
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_INT(lf_view_attempt(v, 1, 2, i, &t, NULL), LUAFLOW_OK);
        CHECK_INT(t.attempt, i);
        CHECK(lf_slice_equal(t.message, text(i == 0 ? "first" : "second")));
    }
    CHECK_INT(lf_view_task(v, 1, 2, &t, NULL), LUAFLOW_OK);
    CHECK(lf_slice_equal(t.message, text("third")));
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_attempt(v, 1, 2, 2, &t, &err), LUAFLOW_ENOTFOUND);
    check_says(&err, "task 2 of run 1 has no attempt 2");
    uint32_t numbers[4];
    size_t n;
    CHECK_INT(lf_view_tasks(v, 1, LF_ANY, false, 0, numbers, 4, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 1); /* an attempt is no task */
    lf_view_end(v);
    drop_store(s);
}

TEST(an_attempt_is_never_written_again)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    put_attempt(w, 1, 2, 3, "once");
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_write_attempt(w, 1, 2, 3, text("x"), &err), LUAFLOW_ESTORE);
    check_says(&err, "attempt 3 of task 2 of run 1");
    lf_write_abort(w);
    drop_store(s);
}

TEST(a_damaged_attempt_is_noticed)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    put_attempt(w, 1, 2, 0, "the first attempt");
    commit(w);
    lf_store_close(s);
    CHECK_INT(patch("first attempt", 13, "fifth attempt"), 1);
    s = open_at(dir, false);
    lf_view *v = view_of(s);
    lf_task_record t;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_attempt(v, 1, 2, 0, &t, &err), LUAFLOW_ESTORE);
    check_says(&err, "luaflow verify");
    lf_view_end(v);
    drop_store(s);
}

/* ---- lists of tasks ---- */

static void check_tasks(lf_view *v, uint32_t step, bool failed, uint32_t after, size_t max,
                        const uint32_t *wanted, size_t n_wanted)
{
    uint32_t numbers[64];
    size_t n;
    CHECK_INT(lf_view_tasks(v, 4, step, failed, after, numbers, max, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, n_wanted);
    if (n > 0)
        CHECK_MEM(numbers, wanted, n * sizeof *numbers);
}
#define NUMBERS(...) (uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)

TEST(tasks_are_listed_by_step_and_failure_in_pages)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    for (uint32_t i = 1; i <= 12; i++)
        put_task(w, 4, i, &(lf_task_record){0});
    put_task(w, 3, 100, &(lf_task_record){0});
    put_task(w, 5, 1, &(lf_task_record){0});
    CHECK_INT(lf_write_index(w, 4, 0, false, (uint32_t[]){1}, 1, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, 4, 1, false, (uint32_t[]){2, 5, 9}, 3, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, 4, 1, false, (uint32_t[]){3, 4, 10}, 3, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, 4, 1, true, (uint32_t[]){6, 8}, 2, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, 4, 2, true, (uint32_t[]){7}, 1, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, 4, 2, false, (uint32_t[]){11, 12}, 2, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, 4, 2, false, NULL, 0, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, 4, 2, false, (uint32_t[]){11}, 1, NULL), LUAFLOW_ESTORE);
    lf_bytes counts = {0};
    for (int i = 0; i < 3; i++)
        lf_counts_put(&counts, &(luaflow_counts){0});
    lf_run_state state = {.n_steps = 3, .counts = lf_slice_of(counts.data, counts.size)};
    CHECK_INT(lf_write_state(w, 4, &state, NULL), LUAFLOW_OK);
    commit(w);

    lf_view *v = view_of(s);
    check_tasks(v, LF_ANY, false, 0, 64, NUMBERS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    check_tasks(v, LF_ANY, false, 3, 2, NUMBERS(4, 5));
    check_tasks(v, LF_ANY, false, 12, 64, NULL, 0);
    check_tasks(v, LF_ANY, false, UINT32_MAX, 64, NULL, 0);
    check_tasks(v, LF_ANY, true, 0, 64, NUMBERS(6, 7, 8));
    check_tasks(v, LF_ANY, true, 6, 1, NUMBERS(7));
    check_tasks(v, 1, false, 0, 64, NUMBERS(2, 3, 4, 5, 6, 8, 9, 10));
    check_tasks(v, 1, false, 0, 2, NUMBERS(2, 3));
    check_tasks(v, 1, false, 3, 3, NUMBERS(4, 5, 6));
    check_tasks(v, 1, false, 8, 3, NUMBERS(9, 10));
    check_tasks(v, 1, true, 6, 64, NUMBERS(8));
    check_tasks(v, 0, true, 0, 64, NULL, 0);
    check_tasks(v, 9, false, 0, 64, NULL, 0);
    check_tasks(v, 1, false, 0, 0, NULL, 0);
    lf_view_end(v);
    lf_bytes_fini(&counts);
    drop_store(s);
}

TEST(many_overlapping_batches_of_one_step_are_merged)
{
    enum { N = 20000, PAGE = 700 };
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    uint32_t batch[100], numbers[PAGE];
    for (uint32_t b = 0; b < N / 100; b++) { /* four workers in turn, out of order */
        for (uint32_t i = 0; i < 100; i++)
            batch[i] = 1 + b / 4 * 400 + 4 * i + (b * 7 + b / 4) % 4;
        CHECK_INT(lf_write_index(w, 1, 3, false, batch, 100, NULL), LUAFLOW_OK);
    }
    lf_view *v = lf_write_view(w);
    uint32_t after = 0;
    size_t n;
    do {
        CHECK_INT(lf_view_tasks(v, 1, 3, false, after, numbers, PAGE, &n, NULL), LUAFLOW_OK);
        for (size_t i = 0; i < n; i++)
            CHECK_INT(numbers[i], after + 1 + i);
        after += (uint32_t)n;
    } while (n > 0);
    CHECK_INT(after, N);
    lf_write_abort(w);
    drop_store(s);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

TEST(a_hundred_thousand_records_fit_one_transaction)
{
    enum { N = 100000 };
    lf_store *s = fresh_store();
    lf_bytes b = {0};
    lf_task_record_put(&b, &(lf_task_record){.started_us = 1795000000000000, .base = 70000});
    double start = seconds();
    lf_write *w = write_to(s);
    for (uint32_t i = 1; i <= N; i++)
        if (lf_write_task(w, 1, i, lf_slice_of(b.data, b.size), NULL) != LUAFLOW_OK)
            fail();
    commit(w);
    print_message("  %.0f records a second\n", N / (seconds() - start));
    lf_view *v = view_of(s);
    lf_task_record t;
    CHECK_INT(lf_view_task(v, 1, 1, &t, NULL), LUAFLOW_OK);
    CHECK_INT(lf_view_task(v, 1, N, &t, NULL), LUAFLOW_OK);
    uint32_t *numbers = malloc(N * sizeof *numbers);
    size_t n;
    CHECK_INT(lf_view_tasks(v, 1, LF_ANY, false, 0, numbers, N, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, N);
    free(numbers);
    lf_view_end(v);
    lf_bytes_fini(&b);
    drop_store(s);
}

TEST(a_view_begins_in_no_time)
{
    enum { N = 200000 };
    lf_store *s = fresh_store();
    double start = seconds();
    for (int i = 0; i < N; i++) {
        lf_view *v;
        if (lf_view_begin(s, &v, NULL) != LUAFLOW_OK)
            fail();
        lf_view_end(v);
    }
    print_message("  %.0f ns a view\n", (seconds() - start) / N * 1e9);
    drop_store(s);
}

/* ---- runs ---- */

static uint32_t put_run(lf_store *s, const char *flow, const char *tags)
{
    lf_bytes b = {0};
    uint32_t n = 0, run = 0, next = 0;
    for (const char *t = tags; *t != 0; t++, n++)
        lf_bytes_put_string(&b, t, 1);
    lf_write *w = write_to(s);
    lf_run_record record = {.flow = text(flow),
                            .n_tags = n,
                            .tags = lf_slice_of(b.data, b.size),
                            .created_us = 5,
                            .seed = 6};
    CHECK_INT(lf_write_next_run(w, &next, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_run(w, &record, &(lf_run_state){0}, &run, NULL), LUAFLOW_OK);
    CHECK_INT(run, next);
    commit(w);
    lf_bytes_fini(&b);
    return run;
}

static void check_runs(lf_store *s, const char *flow, const char *tag, uint32_t before, size_t max,
                       const uint32_t *wanted, size_t n_wanted)
{
    uint32_t runs[64];
    size_t n;
    lf_view *v = view_of(s);
    CHECK_INT(lf_view_runs(v, flow, tag, before, runs, max, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, n_wanted);
    if (n > 0)
        CHECK_MEM(runs, wanted, n * sizeof *runs);
    lf_view_end(v);
}

TEST(runs_count_up_and_are_listed_newest_first)
{
    lf_store *s = fresh_store();
    check_runs(s, NULL, NULL, 0, 64, NULL, 0);
    CHECK_INT(put_run(s, "A", "xy"), 1);
    CHECK_INT(put_run(s, "B", "x"), 2);
    CHECK_INT(put_run(s, "A", ""), 3);
    CHECK_INT(put_run(s, "AB", "y"), 4);
    CHECK_INT(put_run(s, "A", "x"), 5);
    check_runs(s, NULL, NULL, 0, 64, NUMBERS(5, 4, 3, 2, 1));
    check_runs(s, NULL, NULL, 4, 2, NUMBERS(3, 2));
    check_runs(s, NULL, NULL, 1, 64, NULL, 0);
    check_runs(s, NULL, NULL, 100, 1, NUMBERS(5));
    check_runs(s, "A", NULL, 0, 64, NUMBERS(5, 3, 1));
    check_runs(s, "A", NULL, 5, 64, NUMBERS(3, 1));
    check_runs(s, "AB", NULL, 0, 64, NUMBERS(4));
    check_runs(s, "B", NULL, 2, 64, NULL, 0);
    check_runs(s, "C", NULL, 0, 64, NULL, 0);
    check_runs(s, "", NULL, 0, 64, NULL, 0);
    check_runs(s, NULL, "x", 0, 64, NUMBERS(5, 2, 1));
    check_runs(s, NULL, "y", 4, 64, NUMBERS(1));
    check_runs(s, "A", "x", 0, 64, NUMBERS(5, 1));
    check_runs(s, "A", "x", 0, 1, NUMBERS(5));
    check_runs(s, "AB", "x", 0, 64, NULL, 0);
    drop_store(s);
}

TEST(a_run_comes_back_with_its_record_and_state)
{
    lf_store *s = fresh_store();
    uint32_t run = put_run(s, "A", "x");
    lf_run_state state = {.status = LUAFLOW_DONE, .finished_us = 77};
    lf_write *w = write_to(s);
    CHECK_INT(lf_write_state(w, run, &state, NULL), LUAFLOW_OK);
    commit(w);
    lf_view *v = view_of(s);
    lf_run_record record;
    CHECK_INT(lf_view_run(v, run, &record, &state, NULL), LUAFLOW_OK);
    CHECK(lf_slice_equal(record.flow, text("A")));
    CHECK_INT(record.seed, 6);
    CHECK_INT(state.status, LUAFLOW_DONE);
    CHECK_INT(state.finished_us, 77);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_run(v, 9, &record, &state, &err), LUAFLOW_ENOTFOUND);
    check_says(&err, "there is no run 9");
    lf_view_end(v);
    drop_store(s);
}

TEST(tags_are_replaced)
{
    lf_store *s = fresh_store();
    uint32_t run = put_run(s, "A", "xy");
    lf_write *w = write_to(s);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_write_tags(w, run, 2, lf_slice_of("\1y\1z", 4), NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_tags(w, 9, 2, lf_slice_of("\1y\1z", 4), &err), LUAFLOW_ENOTFOUND);
    luaflow_error_clear(&err);
    commit(w);
    check_runs(s, NULL, "x", 0, 64, NULL, 0);
    check_runs(s, NULL, "y", 0, 64, NUMBERS(1));
    check_runs(s, NULL, "z", 0, 64, NUMBERS(1));
    lf_view *v = view_of(s);
    lf_run_record record;
    CHECK_INT(lf_view_run(v, run, &record, NULL, NULL), LUAFLOW_OK);
    CHECK_INT(record.n_tags, 2);
    CHECK(lf_slice_equal(record.tags, lf_slice_of("\1y\1z", 4)));
    CHECK_INT(record.seed, 6);
    lf_view_end(v);
    w = write_to(s);
    CHECK_INT(lf_write_tags(w, run, 0, (lf_slice){NULL, 0}, NULL), LUAFLOW_OK);
    commit(w);
    check_runs(s, NULL, "y", 0, 64, NULL, 0);
    char longest[129];
    memset(longest, 'n', 128);
    longest[128] = 0;
    CHECK_INT(put_run(s, longest, ""), 2);
    check_runs(s, longest, NULL, 0, 64, NUMBERS(2));
    w = write_to(s);
    CHECK_INT(lf_write_tags(w, run, 1, lf_slice_of("\0", 1), &err), LUAFLOW_EUSAGE);
    luaflow_error_clear(&err);
    lf_write_abort(w);
    drop_store(s);
}

/* ---- logs ---- */

struct heard {
    int n, stop_at;
    char order[32];
};

static bool hear(void *payload, uint32_t task, uint32_t attempt, const lf_log_piece *piece)
{
    struct heard *h = payload;
    CHECK_INT(task, 2);
    CHECK_INT(piece->step, 5);
    h->order[2 * h->n] = (char)('0' + attempt);
    h->order[2 * h->n + 1] = (char)piece->entries.data[0];
    return ++h->n != h->stop_at;
}

TEST(a_log_is_told_in_the_order_it_was_written)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    static const struct {
        uint32_t run, task, attempt, sequence;
        const char *entries;
    } rows[] = {
        {1, 2, 1, 0, "d"}, {1, 2, 0, 1, "b"}, {1, 2, 0, 0, "a"}, {1, 2, 0, 256, "c"},
        {1, 1, 0, 0, "-"}, {1, 7, 0, 0, "-"}, {2, 2, 0, 0, "-"}, {1, UINT32_MAX, 0, 0, "-"},
    };
    for (size_t i = 0; i < 8; i++) {
        lf_log_piece piece = {.step = rows[i].task + 3, .entries = text(rows[i].entries)};
        CHECK_INT(lf_write_log(w, rows[i].run, rows[i].task, rows[i].attempt, rows[i].sequence,
                               &piece, NULL),
                  LUAFLOW_OK);
    }
    commit(w);
    lf_view *v = view_of(s);
    struct heard all = {0}, some = {.stop_at = 2};
    CHECK_INT(lf_view_log(v, 1, 2, hear, &all, NULL), LUAFLOW_OK);
    CHECK_STR(all.order, "0a0b0c1d");
    CHECK_INT(lf_view_log(v, 1, 2, hear, &some, NULL), LUAFLOW_OK);
    CHECK_STR(some.order, "0a0b");
    CHECK_INT(lf_view_log(v, 1, 3, hear, &all, NULL), LUAFLOW_OK);
    CHECK_INT(all.n, 4);

    uint32_t tasks[8], steps[8];
    size_t n;
    CHECK_INT(lf_view_logs(v, 1, 0, tasks, steps, 8, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 4);
    CHECK_MEM(tasks, ((uint32_t[]){1, 2, 7, UINT32_MAX}), 4 * sizeof *tasks);
    CHECK_MEM(steps, ((uint32_t[]){4, 5, 10, 2}), 4 * sizeof *steps);
    CHECK_INT(lf_view_logs(v, 1, 1, tasks, steps, 1, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 1);
    CHECK_INT(tasks[0], 2);
    CHECK_INT(lf_view_logs(v, 1, UINT32_MAX, tasks, steps, 8, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 0);
    CHECK_INT(lf_view_logs(v, 3, 0, tasks, steps, 8, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 0);
    lf_view_end(v);
    drop_store(s);
}

/* ---- transactions ---- */

TEST(what_is_aborted_was_never_there)
{
    lf_store *s = fresh_store();
    lf_write *w = write_to(s);
    put_in(w, text("lost"));
    put_task(w, 1, 1, &(lf_task_record){0});
    lf_write_abort(w);
    lf_write_abort(NULL);
    CHECK(!has(s, text("lost"), 0));
    lf_view *v = view_of(s);
    lf_task_record t;
    CHECK_INT(lf_view_task(v, 1, 1, &t, NULL), LUAFLOW_ENOTFOUND);
    lf_view_end(v);
    lf_view_end(NULL);
    drop_store(s);
}

TEST(a_view_is_a_snapshot_and_a_writers_view_is_ahead)
{
    lf_store *s = fresh_store();
    lf_view *v = view_of(s);
    lf_write *w = write_to(s);
    put_task(w, 1, 1, &(lf_task_record){.step = 3});
    lf_task_record t;
    CHECK_INT(lf_view_task(lf_write_view(w), 1, 1, &t, NULL), LUAFLOW_OK);
    CHECK_INT(t.step, 3);
    commit(w);
    CHECK_INT(lf_view_task(v, 1, 1, &t, NULL), LUAFLOW_ENOTFOUND);
    lf_view_end(v);
    v = view_of(s);
    CHECK_INT(lf_view_task(v, 1, 1, &t, NULL), LUAFLOW_OK);
    lf_view_end(v);
    drop_store(s);
}

TEST(a_process_may_hold_many_views)
{
    lf_store *s = fresh_store();
    lf_view *views[200];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 200; i++)
            views[i] = view_of(s);
        for (int i = 0; i < 200; i++)
            lf_view_end(views[i]);
    }
    drop_store(s);
}

/* ---- several processes ---- */

TEST(a_child_must_open_the_store_anew)
{
    lf_store *s = fresh_store();
    put(s, text("of the parent"));
    pid_t child = fork();
    if (child == 0) {
        lf_view *v;
        lf_write *w;
        luaflow_error err = LUAFLOW_ERROR_INIT;
        if (lf_view_begin(s, &v, &err) != LUAFLOW_ESTORE ||
            strstr(luaflow_error_text(&err), "fork") == NULL)
            _exit(1);
        if (lf_write_begin(s, &w, &err) != LUAFLOW_ESTORE)
            _exit(2);
        lf_store_close(s);
        lf_store *mine = NULL;
        if (lf_store_open(dir, false, &mine, &err) != LUAFLOW_OK || mine == s)
            _exit(3);
        if (!has(mine, text("of the parent"), 0))
            _exit(4);
        put(mine, text("of the child"));
        lf_store_close(mine);
        _exit(0);
    }
    CHECK_INT(wait_for(child), 0);
    CHECK(has(s, text("of the child"), 0));
    drop_store(s);
}

TEST(killed_readers_block_nobody)
{
    lf_store *s = fresh_store();
    put(s, text("x"));
    int ready[2];
    CHECK_INT(pipe(ready), 0);
    pid_t children[5];
    for (int i = 0; i < 5; i++)
        if ((children[i] = fork()) == 0) {
            lf_store *mine = NULL;
            lf_view *v;
            if (lf_store_open(dir, false, &mine, NULL) == LUAFLOW_OK)
                for (int k = 0; k < 250 && lf_view_begin(mine, &v, NULL) == LUAFLOW_OK;)
                    k++;
            if (write(ready[1], "r", 1) == 1)
                pause();
            _exit(1);
        }
    char answer;
    for (int i = 0; i < 5; i++)
        CHECK_INT(read(ready[0], &answer, 1), 1);
    lf_view *v = NULL, *views[100];
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int n = 0;
    while (n < 100 && lf_view_begin(s, &views[n], &err) == LUAFLOW_OK)
        n++;
    CHECK(n < 100); /* the living ones hold theirs */
    check_says(&err, "1024 readers");
    for (int i = 0; i < 5; i++) {
        kill(children[i], SIGKILL);
        wait_for(children[i]);
    }
    CHECK_INT(lf_view_begin(s, &v, NULL), LUAFLOW_OK);
    lf_view_end(v);
    while (n > 0)
        lf_view_end(views[--n]);
    CHECK(has(s, text("x"), 0));
    close(ready[0]);
    close(ready[1]);
    drop_store(s);
}

TEST(a_writer_killed_at_any_moment_leaves_a_prefix)
{
    fresh_place();
    uint32_t last = 0;
    for (unsigned round = 0; round < 25; round++) {
        pid_t child = fork();
        if (child == 0) {
            lf_store *mine = open_at(dir, true);
            for (uint32_t i = last + 1;; i++) {
                lf_slice bytes = noise(5000, i);
                lf_write *w = write_to(mine);
                put_in(w, bytes);
                put_task(w, 1, i, &(lf_task_record){.step = i});
                commit(w);
                free((void *)bytes.data);
            }
        }
        usleep(3000 + 700 * round);
        kill(child, SIGKILL);
        wait_for(child);
        lf_store *s = open_at(dir, true);
        lf_view *v = view_of(s);
        uint32_t *numbers = malloc(1000000 * sizeof *numbers);
        size_t n;
        CHECK_INT(lf_view_tasks(v, 1, LF_ANY, false, last, numbers, 1000000, &n, NULL), LUAFLOW_OK);
        lf_view_end(v);
        for (size_t i = 0; i < n; i++) {
            CHECK_INT(numbers[i], last + 1 + i);
            lf_slice bytes = noise(5000, numbers[i]);
            CHECK(has(s, bytes, 0));
            free((void *)bytes.data);
        }
        last += (uint32_t)n;
        free(numbers);
        lf_store_close(s);
    }
    CHECK(last > 0);
    drop_place();
}

/* Waits until the children wait for something, or have ended. */
static void until_asleep(const pid_t *children, int n)
{
    for (int i = 0; i < n;) {
        char path[64], state = 'R';
        snprintf(path, sizeof path, "/proc/%d/stat", (int)children[i]);
        FILE *f = fopen(path, "r");
        CHECK(f != NULL && fscanf(f, "%*d %*s %c", &state) == 1);
        fclose(f);
        if (state == 'S' || state == 'Z')
            i++;
        else
            usleep(100);
    }
}

/* Children that wait for the writers' turn, and then put a blob each. */
static void start_writers(pid_t *children, int n)
{
    for (int i = 0; i < n; i++)
        if ((children[i] = fork()) == 0) {
            char bytes[16];
            snprintf(bytes, sizeof bytes, "w%d", i);
            put(open_at(dir, false), text(bytes));
            _exit(0);
        }
    until_asleep(children, n);
}

/* Not for LMDB's own lock, which would be free here. */
TEST(who_writes_waits_for_his_turn)
{
    lf_store *s = fresh_store();
    lf_owner *o = NULL;
    pid_t child;
    CHECK_INT(lf_owner_open(dir, &o, NULL), LUAFLOW_OK);
    lf_owner_take_turn(o, LF_TURN_WRITER);
    start_writers(&child, 1);
    CHECK(!has(s, text("w0"), 0));
    lf_owner_end_turn(o, LF_TURN_WRITER);
    CHECK_INT(wait_for(child), 0);
    CHECK(has(s, text("w0"), 0));
    lf_owner_close(o);
    drop_store(s);
}

TEST(the_turn_to_write_ends_with_each_transaction_however_it_ends)
{
    lf_store *s = fresh_store();
    pid_t child;
    for (int i = 0; i < 3; i++) {
        lf_write *w = write_to(s);
        if (i == 2)
            CHECK_INT(lf_write_task(w, 1, 1, text("a"), NULL), LUAFLOW_OK);
        if (i == 2)
            CHECK_INT(lf_write_task(w, 1, 1, text("a"), NULL), LUAFLOW_ESTORE);
        if (i == 0)
            commit(w);
        else
            lf_write_abort(w);
    }
    start_writers(&child, 1);
    CHECK_INT(wait_for(child), 0);
    drop_store(s);
}

TEST(when_one_that_waits_to_write_is_killed_the_others_go_on)
{
    enum { WRITERS = 4, ROUNDS = 40 };
    lf_store *s = fresh_store();
    for (int round = 0; round < ROUNDS; round++) {
        pid_t children[WRITERS];
        lf_write *w = write_to(s);
        start_writers(children, WRITERS);
        if (round % 2 == 0)
            kill(children[round / 2 % WRITERS], SIGKILL);
        commit(w);
        if (round % 2 == 1)
            kill(children[round / 2 % WRITERS], SIGKILL);
        for (int i = 0; i < WRITERS; i++) {
            int rc = wait_for(children[i]);
            CHECK(i == round / 2 % WRITERS || rc == 0);
        }
    }
    drop_store(s);
}

typedef struct counting {
    lf_store *store;
    uint32_t run, n;
} counting;

static void *write_often(void *payload)
{
    counting *c = payload;
    for (; c->n < 50; c->n++) {
        lf_write *w = NULL;
        if (lf_write_begin(c->store, &w, NULL) != LUAFLOW_OK ||
            lf_write_task(w, c->run, c->n + 1, text("a record"), NULL) != LUAFLOW_OK ||
            lf_write_commit(w, NULL) != LUAFLOW_OK)
            break;
    }
    return NULL;
}

TEST(threads_of_one_process_write_in_turns)
{
    lf_store *s = fresh_store();
    counting c[3];
    pthread_t threads[3];
    for (uint32_t i = 0; i < 3; i++) {
        c[i] = (counting){s, i + 1, 0};
        CHECK_INT(pthread_create(&threads[i], NULL, write_often, &c[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(c[i].n, 50);
    }
    drop_store(s);
}

/* ---- what may only be read, and what is full ---- */

static int only_reads(void)
{
    lf_store *s = NULL;
    lf_write *w;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_store_open(dir, true, &s, &err) != LUAFLOW_OK) {
        fprintf(stderr, "%s\n", luaflow_error_text(&err));
        return 1;
    }
    if (!has(s, text("to be read"), 0))
        return 2;
    if (lf_write_begin(s, &w, &err) != LUAFLOW_ESTORE ||
        strstr(luaflow_error_text(&err), "may only be read") == NULL)
        return 3;
    luaflow_error_clear(&err);
    lf_store_close(s);
    return 0;
}

static int as_stranger(void)
{
    if (geteuid() == 0 && setuid(65534) != 0)
        return 50;
    return only_reads();
}

TEST(a_store_of_somebody_else_is_read)
{
    lf_store *s = fresh_store();
    put(s, text("to be read"));
    lf_store_close(s);
    shell("chmod 0555 '%s' '%s'; chmod 0444 '%s'/*.mdb", base, dir, dir);
    CHECK_INT(in_child(as_stranger), 0);
    shell("chmod 0700 '%s' '%s'; rm '%s/lock.mdb'; chmod 0555 '%s' '%s'", base, dir, dir, base,
          dir);
    CHECK_INT(in_child(as_stranger), 0);
    shell("chmod 0700 '%s' '%s'", base, dir);
    drop_place();
}

static int as_stranger_refused(void)
{
    lf_store *s = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (geteuid() == 0 && setuid(65534) != 0)
        return 50;
    if (lf_store_open(dir, true, &s, &err) != LUAFLOW_ESTORE)
        return 1;
    int rc = strstr(luaflow_error_text(&err), dir) != NULL &&
                     strstr(luaflow_error_text(&err), "ermission") != NULL
                 ? 0
                 : 2;
    luaflow_error_clear(&err);
    return rc;
}

TEST(what_may_not_be_read_is_refused_in_words)
{
    lf_store_close(fresh_store());
    shell("chmod 0711 '%s' '%s'; chmod 0000 '%s'/*.mdb", base, dir, dir);
    CHECK_INT(in_child(as_stranger_refused), 0);
    shell("chmod 0000 '%s'", dir);
    CHECK_INT(in_child(as_stranger_refused), 0);
    shell("chmod 0700 '%s'; rm -rf '%s'; chmod 0555 '%s'", dir, dir, base);
    CHECK_INT(in_child(as_stranger_refused), 0);
    shell("chmod 0700 '%s'", base);
    drop_place();
}

enum { CANNOT_MOUNT = 77 };

static bool write_file(const char *path, const char *words)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, words, strlen(words)) == (ssize_t)strlen(words);
    if (fd >= 0)
        close(fd);
    return good;
}

/* Its user and group, and no others, in a namespace where they may mount. */
static bool own_users(void)
{
    char uid[32], gid[32];
    snprintf(uid, sizeof uid, "0 %u 1", (unsigned)geteuid());
    snprintf(gid, sizeof gid, "0 %u 1", (unsigned)getegid());
    return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", uid) && write_file("/proc/self/gid_map", gid);
}

/* A child's own mounts; needs no privilege where user namespaces are allowed. */
static bool own_mounts(void)
{
    return (geteuid() == 0 || own_users()) && unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int on_read_only_mount(void)
{
    if (!own_mounts() || mount(base, base, NULL, MS_BIND, NULL) != 0 ||
        mount(NULL, base, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0)
        return CANNOT_MOUNT;
    return only_reads();
}

TEST(a_store_on_a_read_only_mount_is_read)
{
    lf_store *s = fresh_store();
    put(s, text("to be read"));
    lf_store_close(s);
    int rc = in_child(on_read_only_mount);
    drop_place();
    if (rc == CANNOT_MOUNT)
        skip();
    CHECK_INT(rc, 0);
}

/* Puts blobs until it fails; how many were committed. */
static uint32_t fill(lf_store *s, luaflow_error *err)
{
    for (uint32_t i = 0;; i++) {
        lf_slice bytes = noise(100000, i);
        lf_key key = lf_key_of(0, bytes.data, bytes.size);
        uint8_t salt;
        lf_write *w;
        int rc = lf_write_begin(s, &w, err);
        if (rc == LUAFLOW_OK) {
            rc = lf_write_blob(w, &key, bytes, &salt, err);
            if (rc == LUAFLOW_OK)
                rc = lf_write_commit(w, err);
            else
                lf_write_abort(w);
        }
        free((void *)bytes.data);
        if (rc != LUAFLOW_OK)
            return i;
    }
}

static bool has_all(lf_store *s, uint32_t n)
{
    bool good = true;
    for (uint32_t i = 0; i < n; i++) {
        lf_slice bytes = noise(100000, i);
        good = good && has(s, bytes, 0);
        free((void *)bytes.data);
    }
    return good;
}

static int on_full_disk(void)
{
    char ballast[128];
    if (!own_mounts() || mount("tmpfs", base, "tmpfs", 0, "size=3m") != 0)
        return CANNOT_MOUNT;
    snprintf(ballast, sizeof ballast, "dd if=/dev/zero of=%s/ballast bs=1k count=512 2>/dev/null",
             base);
    if (system(ballast) != 0)
        return 1;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_store *s = open_at(dir, true);
    uint32_t n = fill(s, &err);
    if (n == 0 || err.code != LUAFLOW_ESTORE)
        return 2;
    if (strstr(luaflow_error_text(&err), "disk full") == NULL ||
        strstr(luaflow_error_text(&err), "bytes free") == NULL ||
        strstr(luaflow_error_text(&err), dir) == NULL)
        return 3;
    luaflow_error_clear(&err);
    if (!has_all(s, n))
        return 4;
    snprintf(ballast, sizeof ballast, "%s/ballast", base);
    unlink(ballast);
    lf_slice more = noise(50000, 999);
    if (put(s, more) != 0 || !has(s, more, 0)) /* there is room again: the same process goes on */
        return 5;
    lf_store_close(s);
    s = open_at(dir, false);
    return has_all(s, n) && has(s, more, 0) ? 0 : 6;
}

TEST(a_full_disk_is_said_in_words_and_loses_nothing)
{
    fresh_place();
    int rc = in_child(on_full_disk);
    drop_place();
    if (rc == CANNOT_MOUNT)
        skip();
    CHECK_INT(rc, 0);
}

static int on_full_disk_new(void)
{
    if (!own_mounts() || mount("tmpfs", base, "tmpfs", 0, "size=8k") != 0)
        return CANNOT_MOUNT;
    lf_store *s = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_store_open(dir, true, &s, &err) != LUAFLOW_ESTORE)
        return 1;
    if (strstr(luaflow_error_text(&err), "disk full") == NULL)
        return 2;
    char line[128];
    snprintf(line, sizeof line, "test -z \"$(ls -A %s)\"", base);
    return system(line) == 0 ? 0 : 3;
}

TEST(on_a_full_disk_no_half_a_store_is_left)
{
    fresh_place();
    int rc = in_child(on_full_disk_new);
    drop_place();
    if (rc == CANNOT_MOUNT)
        skip();
    CHECK_INT(rc, 0);
}

static int under_a_file_size_limit(void)
{
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {2 * MB, 2 * MB};
    lf_store *s = open_at(dir, true);
    setrlimit(RLIMIT_FSIZE, &limit);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    uint32_t n = fill(s, &err);
    if (n == 0 || strstr(luaflow_error_text(&err), "data.mdb") == NULL)
        return 1;
    return has_all(s, n) ? 0 : 2;
}

TEST(a_limit_of_file_size_loses_nothing)
{
    fresh_place();
    CHECK_INT(in_child(under_a_file_size_limit), 0);
    drop_place();
}

#ifndef LF_SANITIZE
static int in_little_address_space(void)
{
    struct rlimit limit = {(rlim_t)12 << 30, (rlim_t)12 << 30};
    setrlimit(RLIMIT_AS, &limit);
    lf_store *s = open_at(dir, true);
    put(s, text("x"));
    bool good = has(s, text("x"), 0);
    lf_store_close(s);
    return good ? 0 : 1;
}

TEST(with_little_address_space_the_map_is_smaller)
{
    lf_store_close(fresh_store());
    CHECK_INT(in_child(in_little_address_space), 0);
    drop_place();
}

TEST(processes_with_little_address_space_open_a_store_at_once)
{
    fresh_odd_store();
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        if ((children[i] = fork()) == 0) {
            struct rlimit limit = {(rlim_t)12 << 30, (rlim_t)12 << 30};
            bool good = setrlimit(RLIMIT_AS, &limit) == 0;
            for (int k = 0; k < 100; k++)
                good = good && opens();
            _exit(good ? 0 : 1);
        }
    for (int i = 0; i < 4; i++)
        CHECK_INT(wait_for(children[i]), 0);
    drop_place();
}
#endif

TEST(the_library_has_a_name) { CHECK(strncmp(lf_store_library(), "LMDB 0.9.", 9) == 0); }

TEST(file_systems_that_other_machines_share_are_named)
{
    CHECK_STR(lf_store_shared(0x6969), "NFS");
    CHECK_STR(lf_store_shared((long)0xff534d42), "CIFS");
    CHECK(lf_store_shared(0xef53) == NULL);     /* ext4 */
    CHECK(lf_store_shared(0x01021994) == NULL); /* tmpfs */
}
