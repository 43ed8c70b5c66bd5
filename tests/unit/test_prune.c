/* Pruning a store: what nobody needs goes, in slices, whatever happens in between. */
#include "unit.h"

#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char base[64], dir[96];
static lf_store *store;
static uint32_t alive; /* the run that a process has, or 0 */

static lf_slice text(const char *s) { return lf_slice_of(s, strlen(s)); }

static void fresh_store(void)
{
    strcpy(base, "/tmp/test_prune.XXXXXX");
    CHECK(mkdtemp(base) != NULL);
    snprintf(dir, sizeof dir, "%s/s", base);
    CHECK_INT(lf_store_open(dir, true, &store, NULL), LUAFLOW_OK);
    alive = 0;
}

static void drop_store(void)
{
    char line[160];
    lf_store_close(store);
    snprintf(line, sizeof line, "rm -rf '%s'", base);
    CHECK_INT(system(line), 0);
}

static lf_write *begin(void)
{
    lf_write *w;
    CHECK_INT(lf_write_begin(store, &w, NULL), LUAFLOW_OK);
    return w;
}

static void commit(lf_write *w) { CHECK_INT(lf_write_commit(w, NULL), LUAFLOW_OK); }

/* ---- runs ---- */

static uint32_t make_run(const char *flow, uint32_t origin)
{
    lf_write *w = begin();
    lf_bytes counts = {0};
    lf_counts_put(&counts, &(luaflow_counts){0, 0, 0, 0});
    lf_run_record record = {.flow = text(flow), .origin = origin, .created_us = 1000};
    record.source = record.description = record.params =
        (lf_ref){.kind = LF_REF_INLINE, .bytes = text("\x80"), .size = 1};
    lf_run_state state = {
        .status = LUAFLOW_RUNNING, .n_steps = 1, .counts = lf_slice_of(counts.data, counts.size)};
    uint32_t run;
    CHECK_INT(lf_write_run(w, &record, &state, &run, NULL), LUAFLOW_OK);
    commit(w);
    lf_bytes_fini(&counts);
    return run;
}

/* A value that no other number has, larger than fits into a record. */
static lf_slice value_of(unsigned n)
{
    static char bytes[1000];
    memset(bytes, 'a', sizeof bytes);
    snprintf(bytes, sizeof bytes, "value %u", n);
    return lf_slice_of(bytes, sizeof bytes);
}

static lf_ref ref_of(unsigned n)
{
    lf_slice value = value_of(n);
    return (lf_ref){
        .kind = LF_REF_KEY, .key = lf_key_of(0, value.data, value.size), .size = value.size};
}

static void put_record(lf_write *w, uint32_t run, uint32_t task, lf_task_record *record,
                       const lf_ref *ref)
{
    lf_bytes outputs = {0}, bytes = {0};
    if (ref != NULL) {
        lf_output_put(&outputs, text("x"), ref);
        record->n_outputs = 1;
        record->outputs = lf_slice_of(outputs.data, outputs.size);
    }
    lf_task_record_put(&bytes, record);
    CHECK_INT(lf_write_task(w, run, task, lf_slice_of(bytes.data, bytes.size), NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_index(w, run, 0, false, &task, 1, NULL), LUAFLOW_OK);
    lf_bytes_fini(&outputs);
    lf_bytes_fini(&bytes);
}

/* A task that leaves the value `n`, standing on `base`, and prints. */
static void make_task(uint32_t run, uint32_t task, unsigned n, uint32_t base_task)
{
    lf_write *w = begin();
    lf_ref ref = ref_of(n);
    CHECK_INT(lf_write_blob(w, &ref.key, value_of(n), &ref.salt, NULL), LUAFLOW_OK);
    put_record(w, run, task, &(lf_task_record){.base = base_task}, &ref);
    lf_log_piece piece = {0, {NULL, 0}};
    CHECK_INT(lf_write_log(w, run, task, 0, 0, &piece, NULL), LUAFLOW_OK);
    commit(w);
}

static void reuse_task(uint32_t run, uint32_t task, uint32_t origin, uint32_t origin_task)
{
    lf_write *w = begin();
    put_record(w, run, task,
               &(lf_task_record){
                   .flags = LF_TASK_REUSED, .origin_run = origin, .origin_task = origin_task},
               NULL);
    commit(w);
}

/* ---- what is there ---- */

static bool has_value(unsigned n)
{
    lf_view *v;
    lf_ref ref = ref_of(n);
    bool same = false;
    CHECK_INT(lf_view_begin(store, &v, NULL), LUAFLOW_OK);
    CHECK_INT(lf_view_blob_equal(v, &ref, lf_parts_of(value_of(n)), &same, NULL), LUAFLOW_OK);
    lf_view_end(v);
    return same;
}

static bool has_task(uint32_t run, uint32_t task)
{
    lf_view *v;
    lf_task_record record;
    CHECK_INT(lf_view_begin(store, &v, NULL), LUAFLOW_OK);
    int rc = lf_view_task(v, run, task, &record, NULL);
    lf_view_end(v);
    return rc == LUAFLOW_OK;
}

static bool has_run(uint32_t run)
{
    lf_view *v;
    lf_run_state state;
    CHECK_INT(lf_view_begin(store, &v, NULL), LUAFLOW_OK);
    int rc = lf_view_run(v, run, NULL, &state, NULL);
    lf_view_end(v);
    return rc == LUAFLOW_OK;
}

static void hear(void *payload, const lf_finding *f)
{
    (void)payload;
    if (strstr(f->text, "numbers of its tasks") == NULL) /* which these tests do not keep */
        fail_msg("run %u, task %u: %s", f->run, f->task, f->text);
}

static uint64_t bytes_left(void)
{
    luaflow_verified sum;
    CHECK_INT(lf_store_verify(dir, hear, NULL, &sum, NULL), LUAFLOW_OK);
    return sum.bytes;
}

/* ---- pruning, step by step ---- */

static bool is_alive(void *payload, uint32_t run)
{
    (void)payload;
    return run == alive;
}

static lf_prune_rule rule(uint64_t keep)
{
    return (lf_prune_rule){keep, NULL, UINT64_MAX, is_alive, NULL};
}

static luaflow_pruned sum;

static void start(void)
{
    for (bool done = false; !done;) {
        lf_write *w = begin();
        CHECK_INT(lf_prune_begin(w, &done, NULL), LUAFLOW_OK);
        commit(w);
    }
}

static void unlink_runs(lf_prune_rule r)
{
    lf_view *v;
    uint32_t *runs;
    size_t n;
    CHECK_INT(lf_view_begin(store, &v, NULL), LUAFLOW_OK);
    CHECK_INT(lf_prune_choose(v, &r, &runs, &n, NULL), LUAFLOW_OK);
    lf_view_end(v);
    lf_write *w = begin();
    CHECK_INT(lf_prune_unlink(w, &r, runs, n, &sum, NULL), LUAFLOW_OK);
    commit(w);
    free(runs);
}

static lf_needed *mark(void)
{
    lf_view *v;
    lf_needed *needed;
    CHECK_INT(lf_view_begin(store, &v, NULL), LUAFLOW_OK);
    CHECK_INT(lf_needed_new(v, NULL, 0, &needed, NULL), LUAFLOW_OK);
    lf_view_end(v);
    return needed;
}

static void sweep(lf_needed *needed)
{
    for (lf_sweep at = {0}; !at.done;) {
        lf_write *w = begin();
        CHECK_INT(lf_prune_sweep(w, needed, &at, &sum, NULL), LUAFLOW_OK);
        commit(w);
    }
    lf_needed_free(needed);
}

static void end(void)
{
    for (bool done = false; !done;) {
        lf_write *w = begin();
        CHECK_INT(lf_prune_end(w, &done, NULL), LUAFLOW_OK);
        commit(w);
    }
}

static void prune(uint64_t keep)
{
    sum = (luaflow_pruned){0};
    start();
    unlink_runs(rule(keep));
    sweep(mark());
    end();
}

TEST(the_newest_of_each_flow_stay_and_the_values_they_share)
{
    fresh_store();
    for (uint32_t i = 1; i <= 3; i++) {
        CHECK_INT(make_run("A", 0), 2 * i - 1);
        CHECK_INT(make_run("B", 0), 2 * i);
        make_task(2 * i - 1, 1, 100, 0);
        make_task(2 * i - 1, 2, i, 1);
    }
    prune(1);
    CHECK_INT(sum.runs, 4);
    CHECK_INT(sum.tasks, 4);
    CHECK_INT(sum.blobs, 2);
    CHECK(!has_run(1) && !has_run(4) && has_run(5) && has_run(6));
    CHECK(!has_task(3, 1) && has_task(5, 1) && has_task(5, 2));
    CHECK(!has_value(1) && !has_value(2) && has_value(3) && has_value(100));
    prune(1);
    CHECK_INT(sum.runs + sum.tasks + sum.blobs + sum.bytes, 0);
    prune(0);
    CHECK(bytes_left() < 100);
    CHECK_INT(make_run("A", 0), 7);
    drop_store();
}

TEST(what_others_reuse_stays_with_what_it_stands_on)
{
    fresh_store();
    make_run("A", 0);
    make_task(1, 1, 1, 0);
    make_task(1, 2, 2, 1);
    make_task(1, 3, 3, 0);
    make_run("A", 1);
    reuse_task(2, 1, 1, 2);
    prune(1);
    CHECK(!has_run(1) && has_task(1, 1) && has_task(1, 2) && !has_task(1, 3));
    CHECK(has_value(1) && has_value(2) && !has_value(3));
    bytes_left();
    prune(0);
    CHECK(bytes_left() < 100);
    drop_store();
}

TEST(what_runs_stays_and_what_it_was_resumed_from)
{
    fresh_store();
    make_run("A", 0);
    make_run("A", 0);
    make_run("A", 1);
    alive = 3;
    prune(0);
    CHECK(has_run(1) && !has_run(2) && has_run(3));
    alive = 0;
    prune(1);
    CHECK(!has_run(1) && has_run(3));
    drop_store();
}

TEST(a_run_that_is_resumed_at_the_last_moment_stays)
{
    fresh_store();
    make_run("A", 0);
    make_task(1, 1, 1, 0);
    lf_prune_rule r = rule(0);
    uint32_t *runs;
    size_t n;
    lf_view *v;
    CHECK_INT(lf_view_begin(store, &v, NULL), LUAFLOW_OK);
    CHECK_INT(lf_prune_choose(v, &r, &runs, &n, NULL), LUAFLOW_OK);
    lf_view_end(v);
    CHECK_INT(n, 1);
    alive = make_run("A", 1);
    start();
    lf_write *w = begin();
    CHECK_INT(lf_prune_unlink(w, &r, runs, n, &sum, NULL), LUAFLOW_OK);
    commit(w);
    free(runs);
    sweep(mark());
    end();
    CHECK(has_run(1) && has_task(1, 1) && has_value(1));
    drop_store();
}

TEST(a_value_that_is_found_again_while_it_is_swept_stays)
{
    fresh_store();
    make_run("A", 0);
    for (uint32_t task = 1; task <= 50; task++)
        make_task(1, task, task, 0);
    uint32_t live = alive = make_run("A", 0);
    start();
    unlink_runs(rule(0));
    lf_needed *needed = mark();
    make_task(live, 1, 17, 0); /* which is there and not needed by anybody so far */
    make_task(live, 2, 99, 0); /* which is new */
    sweep(needed);
    CHECK(has_value(17) && has_value(99) && !has_value(16));
    end();
    bytes_left();
    make_task(live, 3, 16, 0);
    alive = 0;
    prune(0);
    CHECK(bytes_left() < 100);
    drop_store();
}

TEST(stopped_anywhere_it_has_done_no_harm_and_the_next_one_finishes)
{
    for (int stop = 0; stop < 4; stop++) {
        fresh_store();
        make_run("A", 0);
        for (uint32_t task = 1; task <= 20; task++)
            make_task(1, task, task, task > 1);
        make_run("A", 1);
        reuse_task(2, 1, 1, 5);
        start();
        make_task(2, 2, 6, 0); /* noted */
        if (stop > 0)
            unlink_runs(rule(1));
        if (stop > 1) {
            lf_needed *needed = mark();
            lf_sweep at = {0};
            lf_write *w = begin();
            CHECK_INT(lf_prune_sweep(w, needed, &at, &sum, NULL), LUAFLOW_OK);
            if (stop == 2)
                lf_write_abort(w);
            else
                commit(w);
            lf_needed_free(needed);
        }
        bytes_left();
        CHECK(has_task(1, 5) && has_task(1, 1) && has_value(5) && has_value(6) && has_value(1));
        prune(1);
        CHECK(has_task(1, 5) && !has_task(1, 6) && has_value(6) && !has_value(7));
        prune(0);
        CHECK(bytes_left() < 100);
        drop_store();
    }
}

TEST(many_records_take_many_short_transactions)
{
    fresh_store();
    make_run("A", 0);
    lf_write *w = begin();
    for (uint32_t task = 1; task <= 20000; task++)
        put_record(w, 1, task, &(lf_task_record){.step = 0}, NULL);
    commit(w);
    start();
    unlink_runs(rule(0));
    lf_needed *needed = mark();
    int n = 0;
    sum = (luaflow_pruned){0};
    for (lf_sweep at = {0}; !at.done; n++) {
        w = begin();
        CHECK_INT(lf_prune_sweep(w, needed, &at, &sum, NULL), LUAFLOW_OK);
        commit(w);
    }
    lf_needed_free(needed);
    end();
    CHECK(n >= 5 && n < 400);
    CHECK_INT(sum.tasks, 20000);
    CHECK(bytes_left() < 100);
    drop_store();
}

TEST(a_damaged_record_lets_nothing_be_swept)
{
    fresh_store();
    make_run("A", 0);
    reuse_task(1, 1, 77, 1); /* which never was */
    lf_view *v;
    lf_needed *needed;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_view_begin(store, &v, NULL), LUAFLOW_OK);
    CHECK_INT(lf_needed_new(v, NULL, 0, &needed, &err), LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&err), "task 1 of run 77, which another needs") != NULL);
    luaflow_error_clear(&err);
    lf_view_end(v);
    drop_store();
}

TEST(a_compacted_store_is_smaller_and_whole)
{
    fresh_store();
    make_run("A", 0);
    make_run("A", 0);
    for (uint32_t task = 1; task <= 300; task++)
        make_task(task % 10 == 0 ? 2 : 1, task, task, 0);
    prune(1);
    uint64_t before, after;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_store_compact(dir, &before, &after, &err), LUAFLOW_ESTORE);
    CHECK(strstr(luaflow_error_text(&err), "while this process has it open") != NULL);
    luaflow_error_clear(&err);
    for (int i = 0; i < 4; i++) { /* whichever of its heads is the newer one */
        lf_store_close(store);
        CHECK_INT(lf_store_compact(dir, &before, &after, NULL), LUAFLOW_OK);
        CHECK(after <= before);
        CHECK(i > 0 || after < before / 2);
        bytes_left();
        CHECK_INT(lf_store_open(dir, false, &store, NULL), LUAFLOW_OK);
        CHECK(has_value(300) && has_task(2, 10) && !has_value(1));
        make_task(2, 1000 + (uint32_t)i, 1000, 0);
    }
    drop_store();
}

static luaflow_run *start_run(luaflow *rt, luaflow_flow *flow)
{
    luaflow_run_options o = LUAFLOW_RUN_OPTIONS_INIT;
    luaflow_run *run;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    o.max_workers = 2;
    if (luaflow_start(rt, flow, &o, &run, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return run;
}

TEST(a_process_prunes_beside_its_own_runs)
{
    static const char source[] =
        "return { name = 'Same', steps = {"
        "  start = { next = 'a', foreach = 'n', function(self) self.n = 60 end },"
        "  a = { next = 'b', function(self) self.x = ('x' .. self.index % 7):rep(400) end },"
        "  b = { next = 'finish', function(self) self.y = self.x .. ('y'):rep(500) end },"
        "  finish = function(self, inputs) self.all = table.concat(inputs:collect 'y') end } }";
    fresh_store();
    luaflow_options options = LUAFLOW_OPTIONS_INIT;
    luaflow *rt;
    luaflow_flow *flow;
    options.store = dir;
    CHECK_INT(luaflow_open(&options, &rt, NULL), LUAFLOW_OK);
    CHECK_INT(luaflow_flow_load_string(source, sizeof source - 1, "same.lua", NULL, &flow, NULL),
              LUAFLOW_OK);
    luaflow_prune_options all = LUAFLOW_PRUNE_OPTIONS_INIT;
    luaflow_pruned pruned;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    uint64_t n = 0;
    for (int i = 0; i < 6; i++) {
        luaflow_run *run = start_run(rt, flow);
        while (!luaflow_wait(run, 0)) {
            if (luaflow_prune(rt, &all, &pruned, &err) != LUAFLOW_OK)
                fail_msg("%s", luaflow_error_text(&err));
            n += pruned.runs;
        }
        CHECK_INT(luaflow_run_status(run), LUAFLOW_DONE);
        bytes_left(); /* finds nothing wrong */
        luaflow_run_close(run);
    }
    CHECK(n >= 4);
    CHECK_INT(luaflow_prune(rt, &all, &pruned, NULL), LUAFLOW_OK);
    CHECK(bytes_left() < 100);
    luaflow_flow_close(flow);
    luaflow_close(rt);
    drop_store();
}
