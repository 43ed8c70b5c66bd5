/* Verifying a store: a sound one has no findings, and no damage that can be noticed has none. */
#include "unit.h"

#include "store.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_TASKS = 120, CASES = 300, PAGE = 4096 };

static char base[64], dir[96], file[128];
static bool has_large; /* whether one value lies in chunks */

static lf_slice text(const char *s) { return lf_slice_of(s, strlen(s)); }

/* ---- a store with some of everything ---- */

static lf_slice value_of(uint32_t task)
{
    static uint8_t bytes[6 << 20];
    size_t size = task == 7 && has_large ? (5 << 20) : task % 3 == 0 ? 40 : 300 + task * 37;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + task + (i >> 9));
    return lf_slice_of(bytes, size);
}

static lf_ref store_value(lf_write *w, lf_slice value)
{
    lf_ref ref = {.kind = LF_REF_INLINE, .bytes = value, .size = value.size};
    if (value.size <= LF_INLINE_MAX)
        return ref;
    ref = (lf_ref){
        .kind = LF_REF_KEY, .key = lf_key_of(0, value.data, value.size), .size = value.size};
    CHECK_INT(lf_write_blob(w, &ref.key, value, &ref.salt, NULL), LUAFLOW_OK);
    return ref;
}

static void store_task(lf_write *w, uint32_t run, uint32_t task)
{
    lf_bytes outputs = {0}, parents = {0}, record = {0}, entries = {0};
    lf_ref ref = store_value(w, value_of(task));
    lf_output_put(&outputs, text("x"), &ref);
    if (task > 1)
        lf_parents_put(&parents, &(uint32_t){task - 1}, 1);
    lf_task_record t = {.step = task % 2, .attempt = task % 10 == 0, .n_outputs = 1};
    t.outputs = lf_slice_of(outputs.data, outputs.size);
    t.parents = lf_slice_of(parents.data, parents.size);
    lf_task_record_put(&record, &t);
    lf_slice bytes = lf_slice_of(record.data, record.size);
    CHECK_INT(lf_write_task(w, run, task, bytes, NULL), LUAFLOW_OK);
    if (t.attempt > 0)
        CHECK_INT(lf_write_attempt(w, run, task, 0, bytes, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, run, task % 2, false, &task, 1, NULL), LUAFLOW_OK);
    lf_log_entry_put(&entries, 1, 1, text("a line\n"));
    lf_log_piece piece = {task % 2, lf_slice_of(entries.data, entries.size)};
    CHECK_INT(lf_write_log(w, run, task, 0, 0, &piece, NULL), LUAFLOW_OK);
    lf_bytes_fini(&outputs);
    lf_bytes_fini(&parents);
    lf_bytes_fini(&record);
    lf_bytes_fini(&entries);
}

static void put_state(lf_write *w, uint32_t run, uint64_t done)
{
    lf_bytes counts = {0};
    luaflow_counts half = {done / 2, done / 2, 0, 0};
    lf_counts_put(&counts, &half);
    lf_counts_put(&counts, &half);
    lf_run_state state = {.status = LUAFLOW_DONE, .total = {done, done, 0, 0}, .n_steps = 2};
    state.counts = lf_slice_of(counts.data, counts.size);
    CHECK_INT(lf_write_state(w, run, &state, NULL), LUAFLOW_OK);
    lf_bytes_fini(&counts);
}

static void make_store(void)
{
    strcpy(base, "/tmp/test_verify.XXXXXX");
    CHECK(mkdtemp(base) != NULL);
    snprintf(dir, sizeof dir, "%s/s", base);
    snprintf(file, sizeof file, "%s/data.mdb", dir);
    lf_store *s;
    CHECK_INT(lf_store_open(dir, true, &s, NULL), LUAFLOW_OK);
    lf_bytes tags = {0};
    lf_bytes_put_string(&tags, "good", 4);
    lf_run_record record = {
        .flow = text("Flow"), .n_tags = 1, .tags = lf_slice_of(tags.data, tags.size)};
    record.source = record.description = record.params =
        (lf_ref){.kind = LF_REF_INLINE, .bytes = text("\x80"), .size = 1};
    lf_run_state state = {.status = LUAFLOW_RUNNING};
    uint32_t run;
    for (uint32_t task = 0; task <= N_TASKS;
         task += 5) { /* many transactions, so that there are free pages */
        lf_write *w;
        CHECK_INT(lf_write_begin(s, &w, NULL), LUAFLOW_OK);
        if (task == 0)
            CHECK_INT(lf_write_run(w, &record, &state, &run, NULL), LUAFLOW_OK);
        for (uint32_t i = 4; task > 0 && i < 5; i--)
            store_task(w, run, task - i);
        put_state(w, run, task == N_TASKS ? N_TASKS : 0);
        CHECK_INT(lf_write_commit(w, NULL), LUAFLOW_OK);
    }
    lf_bytes_fini(&tags);
    lf_store_close(s);
}

static void drop_store(void)
{
    char line[160];
    snprintf(line, sizeof line, "rm -rf '%s'", base);
    CHECK_INT(system(line), 0);
}

/* ---- looking at it ---- */

static char first[512]; /* the first finding */

static void hear(void *payload, const lf_finding *f)
{
    int *n = payload;
    if ((*n)++ == 0)
        snprintf(first, sizeof first, "run %u, task %u, '%.*s': %s", f->run, f->task,
                 (int)f->name.size, f->name.size > 0 ? (const char *)f->name.data : "", f->text);
}

/* How many findings there are; -1: it could not be looked at. */
static int verify(void)
{
    int n = 0;
    luaflow_verified sum;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    first[0] = 0;
    int rc = lf_store_verify(dir, hear, &n, &sum, &err);
    if (rc != LUAFLOW_OK)
        snprintf(first, sizeof first, "%s", luaflow_error_text(&err));
    luaflow_error_clear(&err);
    return rc == LUAFLOW_OK ? n : -1;
}

static bool hear_piece(void *payload, uint32_t task, uint32_t attempt, const lf_log_piece *piece)
{
    (void)task;
    (void)attempt;
    *(size_t *)payload += piece->entries.size;
    return true;
}

enum { WHOLE = 0, NOT_WHOLE = 3, WRONG = 4 };

/* Reads what `task` left: whole, or said to be damaged, or wrong. */
static int read_task(lf_view *v, uint32_t task)
{
    lf_task_record record, attempt;
    lf_ref ref;
    lf_buf *buf = NULL;
    bool found;
    size_t log = 0;
    if (lf_view_task(v, 1, task, &record, NULL) != LUAFLOW_OK ||
        lf_view_output(v, 1, &record, text("x"), &ref, &found, NULL) != LUAFLOW_OK || !found ||
        lf_view_blob(v, &ref, &buf, NULL) != LUAFLOW_OK)
        return NOT_WHOLE;
    bool same = lf_slice_equal(lf_buf_slice(buf), value_of(task)) && record.step == task % 2;
    lf_buf_free(buf);
    if (!same)
        return WRONG;
    if (record.attempt > 0 && lf_view_attempt(v, 1, task, 0, &attempt, NULL) != LUAFLOW_OK)
        return NOT_WHOLE;
    return lf_view_log(v, 1, task, hear_piece, &log, NULL) == LUAFLOW_OK && log > 0 ? WHOLE
                                                                                    : NOT_WHOLE;
}

/* Everything, in a process that may die of it. */
static int read_all(void)
{
    lf_store *s;
    lf_view *v;
    lf_run_record record;
    lf_run_state state;
    uint32_t numbers[2 * N_TASKS], run = 0;
    size_t n;
    setrlimit(RLIMIT_CPU, &(struct rlimit){20, RLIM_INFINITY}); /* of whoever never ends */
    if (lf_store_open(dir, false, &s, NULL) != LUAFLOW_OK ||
        lf_view_begin(s, &v, NULL) != LUAFLOW_OK)
        return NOT_WHOLE;
    if (lf_view_run(v, 1, &record, &state, NULL) != LUAFLOW_OK ||
        lf_view_runs(v, "Flow", "good", 0, &run, 1, &n, NULL) != LUAFLOW_OK || n != 1)
        return NOT_WHOLE;
    if (state.total.done != N_TASKS || !lf_slice_equal(record.flow, text("Flow")) || run != 1)
        return WRONG;
    for (uint32_t step = 0; step < 2; step++)
        if (lf_view_tasks(v, 1, step, false, 0, numbers, 2 * N_TASKS, &n, NULL) != LUAFLOW_OK ||
            n != N_TASKS / 2)
            return NOT_WHOLE;
    if (lf_view_tasks(v, 1, LF_ANY, false, 0, numbers, 2 * N_TASKS, &n, NULL) != LUAFLOW_OK ||
        n != N_TASKS)
        return NOT_WHOLE;
    int worst = WHOLE;
    for (uint32_t task = 1; task <= N_TASKS; task++) {
        int how = read_task(v, task);
        worst = how > worst ? how : worst;
    }
    return worst;
}

static int read_in_child(void)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        CHECK(freopen("/dev/null", "w", stderr) != NULL); /* what LMDB says of it */
        _exit(read_all());
    }
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(!(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU));
    return WIFEXITED(status) ? WEXITSTATUS(status) : NOT_WHOLE;
}

/* ---- damage ---- */

static uint8_t *sound;
static size_t size;

static void remember(void)
{
    FILE *f = fopen(file, "rb");
    CHECK(f != NULL && fseek(f, 0, SEEK_END) == 0);
    size = (size_t)ftell(f);
    sound = malloc(size);
    rewind(f);
    CHECK_INT(fread(sound, 1, size, f), size);
    fclose(f);
}

static void write_file(const uint8_t *bytes, size_t n)
{
    char lock[128];
    snprintf(lock, sizeof lock, "%s/lock.mdb", dir);
    unlink(lock);
    FILE *f = fopen(file, "r+b"); /* what "wb" writes goes to the disk at once */
    CHECK(f != NULL);
    CHECK_INT(fwrite(bytes, 1, n, f), n);
    CHECK_INT(fclose(f), 0);
    CHECK_INT(truncate(file, (off_t)n), 0);
}

static uint32_t chance;

static size_t below(size_t n)
{
    chance = chance * 1664525u + 1013904223u;
    return (size_t)(((uint64_t)chance * n) >> 32);
}

/* A page that is more than the inside of a large value. */
static size_t any_page(void)
{
    for (;;) {
        size_t page = below(size / PAGE);
        uint16_t kind;
        memcpy(&kind, sound + page * PAGE + 10, sizeof kind);
        if (kind == 1 || kind == 2 || kind == 4 || kind == 8)
            return page;
    }
}

/* Damages `bytes` in one place; returns how long they are. */
static size_t damage(uint8_t *bytes, char *what)
{
    size_t page = any_page(), other = any_page(), kind = below(10);
    size_t at = page * PAGE + (below(2) ? below(64) : below(PAGE));
    if (kind < 6) {
        bytes[at] ^= (uint8_t)(1u << below(8));
        sprintf(what, "a bit of byte %zu", at);
    } else if (kind == 6) {
        memset(bytes + page * PAGE, 0, PAGE);
        sprintf(what, "page %zu is zeroed", page);
    } else if (kind == 7) {
        memcpy(bytes + page * PAGE, sound + other * PAGE, PAGE);
        memcpy(bytes + other * PAGE, sound + page * PAGE, PAGE);
        sprintf(what, "pages %zu and %zu are swapped", page, other);
    } else if (kind == 8) {
        memcpy(bytes + page * PAGE, sound + other * PAGE, PAGE);
        sprintf(what, "page %zu is over page %zu", other, page);
    } else {
        size_t n = below(size);
        sprintf(what, "cut to %zu bytes", n);
        return n;
    }
    return size;
}

TEST(a_sound_store_has_no_findings)
{
    make_store();
    int n = verify();
    if (n != 0)
        fail_msg("%s", first);
    CHECK_INT(read_in_child(), WHOLE);
    remember();
    drop_store();
    free(sound);
}

TEST(whatever_damage_can_be_noticed_is_found_and_nothing_wrong_is_read)
{
    make_store();
    remember();
    uint8_t *bytes = malloc(size);
    int n_found = 0;
    for (chance = 1; n_found < CASES * 2 / 3;) {
        char what[80];
        memcpy(bytes, sound, size);
        size_t n = damage(bytes, what);
        write_file(bytes, n);
        int found = verify(), read = read_in_child();
        if (read == WRONG)
            fail_msg("wrong bytes are read: %s", what);
        if (read != WHOLE && found == 0)
            fail_msg("it is not found: %s", what);
        n_found += found != 0;
    }
    free(bytes);
    free(sound);
    drop_store();
}

/* A head is read by everybody. */
TEST(each_bit_of_the_heads_that_matters_is_looked_at)
{
    make_store();
    remember();
    for (size_t i = 0; i < 2 * 152 * 8; i += 5) {
        size_t at = i / (152 * 8) * PAGE + i / 8 % 152;
        sound[at] ^= (uint8_t)(1u << i % 8);
        write_file(sound, size);
        int found = verify();
        if (found == 0 && read_in_child() != WHOLE)
            fail_msg("bit %zu of byte %zu is not found", i % 8, at);
        sound[at] ^= (uint8_t)(1u << i % 8);
    }
    free(sound);
    drop_store();
}

/* Changes a bit of these bytes wherever they stand: in free pages too. */
static void flip(lf_slice bytes)
{
    int n = 0;
    for (uint8_t *at = sound;
         (at = memmem(at, size - (size_t)(at - sound), bytes.data, bytes.size)) != NULL; n++)
        at[bytes.size / 2] ^= 1;
    CHECK(n > 0);
    write_file(sound, size);
}

TEST(a_damaged_value_is_told_with_its_task_and_its_name)
{
    make_store();
    remember();
    flip(value_of(31));
    CHECK_INT(verify(), 1);
    CHECK(strstr(first, "run 1, task 31, 'x': its blob ") == first &&
          strstr(first, " is damaged") != NULL);
    free(sound);
    drop_store();
}

TEST(a_damaged_chunk_of_a_large_value_is_told_too)
{
    has_large = true;
    make_store();
    CHECK_INT(verify(), 0);
    remember();
    lf_slice value = value_of(7);
    flip(lf_slice_of(value.data + (1 << 20), 2000));
    CHECK_INT(verify(), 1);
    CHECK(strstr(first, "run 1, task 7, 'x': its blob ") == first &&
          strstr(first, " is damaged") != NULL);
    has_large = false;
    free(sound);
    drop_store();
}

TEST(a_store_that_this_process_has_open_is_verified_too)
{
    make_store();
    lf_store *s;
    lf_write *w;
    CHECK_INT(lf_store_open(dir, false, &s, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_begin(s, &w, NULL), LUAFLOW_OK);
    CHECK_INT(verify(), 0);
    lf_write_abort(w);
    CHECK_INT(verify(), 0);
    lf_store_close(s);
    drop_store();
    CHECK_INT(verify(), -1);
    CHECK(strstr(first, "there is no store in") != NULL);
}
