/* tasks.h -- for tests of the rooms that tasks travel through: a store in a directory of its
 * own, a run in it, and tasks sealed by hand. */
#ifndef UNIT_TASKS_H
#define UNIT_TASKS_H

#include "staged.h"
#include "store.h"
#include "task.h"
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static inline lf_slice text(const char *s) { return lf_slice_of(s, strlen(s)); }

static inline bool is_text(lf_slice bytes, const char *s) { return lf_slice_equal(bytes, text(s)); }

/* ---- a store ---- */

static char place[64]; /* its directory */

static inline lf_store *new_store(void)
{
    lf_store *s = NULL;
    strcpy(place, "/tmp/test_tasks.XXXXXX");
    CHECK(mkdtemp(place) != NULL);
    CHECK_INT(lf_store_open(place, true, &s, NULL), LUAFLOW_OK);
    return s;
}

static inline void drop_store(lf_store *s)
{
    char line[96];
    lf_store_close(s);
    snprintf(line, sizeof line, "rm -rf '%s'", place);
    CHECK_INT(system(line), 0);
}

static inline lf_view *view_of(lf_store *s)
{
    lf_view *v = NULL;
    CHECK_INT(lf_view_begin(s, &v, NULL), LUAFLOW_OK);
    return v;
}

/* While the disk is full nothing can be committed: files do not grow past the store's first
 * two pages. */
static inline void set_disk_full(bool full)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = full ? 8192 : limit.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* ---- a run ---- */

/* Enters the run in the store. */
static inline void store_run(lf_store *s, lf_facts *facts)
{
    lf_bytes counts = {0};
    lf_write *w = NULL;
    for (uint32_t i = 0; i < facts->n_steps; i++)
        lf_counts_put(&counts, &facts->tally[i]);
    lf_ref nothing = {.kind = LF_REF_INLINE};
    lf_run_record record = {.flow = text("F"), .source = nothing, .description = nothing,
                            .params = nothing};
    lf_run_state state = {.status = LUAFLOW_RUNNING, .n_steps = facts->n_steps,
                          .counts = {counts.data, counts.size}};
    CHECK_INT(lf_write_begin(s, &w, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_run(w, &record, &state, &facts->run, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_commit(w, NULL), LUAFLOW_OK);
    lf_bytes_fini(&counts);
}

static inline lf_facts *new_run(lf_store *s, uint32_t n_steps)
{
    lf_facts *facts = lf_facts_new(n_steps);
    CHECK(facts != NULL);
    store_run(s, facts);
    return facts;
}

/* ---- tasks ---- */

static inline lf_blob *new_blob(lf_staged *s, lf_slice bytes)
{
    lf_key key = lf_key_of(0, bytes.data, bytes.size);
    return lf_blob_new(s, &key, lf_buf_copy(bytes.data, bytes.size));
}

/* Seals a task as a worker does; unless `blob` (taken) is NULL, with an artifact x of `size`
 * bytes in it. */
static inline void seal_with(lf_task *t, lf_outcome outcome, lf_blob *blob, size_t size, bool own)
{
    lf_batch *b = t->batch;
    lf_bytes at = {0}, parents = {0}, outputs = {0};
    lf_task_record record = {.step = t->step, .attempt = t->attempt, .worker = t->worker,
                             .width = (uint32_t)t->width, .choice = t->choice};
    lf_task_place(t, &at);
    if (t->join != NULL)
        lf_parents_put(&parents, t->join->numbers, t->join->n);
    else if (t->parent != NULL)
        lf_parents_put(&parents, &t->parent->number, 1);
    if (blob != NULL) {
        lf_ref ref = {.kind = LF_REF_KEY, .key = *lf_blob_key(blob), .size = size};
        t->held_at = b->n_held;
        t->n_held = 1;
        CHECK(lf_batch_hold(b, blob, lf_output_put(&outputs, text("x"), &ref), own));
    }
    if (outcome == LF_BROKE) {
        record.flags = LF_TASK_FAILED;
        record.message = text("it broke");
        record.traceback = text("here");
    }
    record.place = lf_slice_of(at.data, at.size);
    record.parents = lf_slice_of(parents.data, parents.size);
    record.n_outputs = t->n_held;
    record.outputs = lf_slice_of(outputs.data, outputs.size);
    t->outcome = outcome;
    t->record_at = b->arena.size;
    size_t outputs_at = lf_task_record_put(&b->arena, &record);
    t->record_size = b->arena.size - t->record_at;
    t->outputs_at = t->record_at + outputs_at;
    t->outputs_size = outputs.size;
    if (blob != NULL)
        b->held[t->held_at].salt_at += outputs_at;
    lf_bytes_fini(&at);
    lf_bytes_fini(&parents);
    lf_bytes_fini(&outputs);
    if (outcome != LF_BROKE) /* the scheduler may want to give them back */
        lf_task_release_inputs(t);
}

static inline void seal(lf_task *t, lf_outcome outcome) { seal_with(t, outcome, NULL, 0, false); }

#endif
