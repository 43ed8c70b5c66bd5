/* seal.c -- what a task left, turned into its record. */
#include "seal_inside.h"
#include "clock.h"

#include <stdlib.h>

/* A base this small is not worth a second look-up: its outputs are copied instead. */
enum { BASE_MIN = 16 };

static void forget_leaving(lf_seal *s)
{
    for (uint32_t i = 0; i < s->n_leaving; i++)
        lf_blob_free(s->leaving[i].blob);
    s->n_leaving = 0;
}

static void forget_merge(lf_seal *s)
{
    lf_merged_free(s->merged);
    s->merged = NULL;
    s->n_propagated = 0;
}

/* ---- what leaves ---- */

/* Takes `l.blob`, even on failure. */
static int add(lf_seal *s, lf_leaving l, luaflow_error *err)
{
    if (s->n_leaving == s->leaving_room) {
        uint32_t room = s->leaving_room ? s->leaving_room * 2 : 16;
        lf_leaving *grown = realloc(s->leaving, room * sizeof *grown);
        if (grown == NULL) {
            lf_blob_free(l.blob);
            return lf_fail_memory(err);
        }
        s->leaving = grown;
        s->leaving_room = room;
    }
    s->leaving[s->n_leaving++] = l;
    return LUAFLOW_OK;
}

static lf_leaving *find_leaving(lf_seal *s, lf_slice name)
{
    for (uint32_t i = 0; i < s->n_leaving; i++)
        if (lf_slice_equal(s->leaving[i].name, name))
            return &s->leaving[i];
    return NULL;
}

/* What a leaving entry says, with the slices that may be taken only now. */
static lf_found found_of(const lf_seal *s, const lf_leaving *l)
{
    lf_found found = {l->ref, l->blob};
    if (l->own && l->ref.kind == LF_REF_INLINE)
        found.ref.bytes.data = s->values.data + l->at;
    return found;
}

/* Unless it is what was there before. */
int lf_seal_keep(lf_seal *s, lf_slice name, lf_bytes *value, luaflow_error *err)
{
    lf_slice bytes = lf_buf_pending(value);
    lf_leaving l = {.name = name, .own = true};
    lf_found before;
    l.ref.size = bytes.size;
    if (bytes.size <= LF_INLINE_MAX) {
        l.ref.kind = LF_REF_INLINE;
        l.ref.bytes = bytes;
    } else {
        l.ref.kind = LF_REF_KEY;
        l.ref.key = lf_key_of(0, bytes.data, bytes.size);
    }
    if (lf_seal_find(s, name, &before) && lf_ref_equal(&before.ref, &l.ref)) {
        bool same;
        int rc = lf_inputs_same(s->store, &before, lf_parts_of(bytes), &same, err);
        if (rc != LUAFLOW_OK || same)
            return rc;
    }
    if (l.ref.kind == LF_REF_INLINE) {
        l.at = s->values.size;
        lf_bytes_put(&s->values, bytes.data, bytes.size);
        if (s->values.failed)
            return lf_fail_memory(err);
    } else {
        lf_buf *buf = lf_buf_adopt(value);
        l.blob = buf == NULL ? NULL : lf_blob_new(s->staged, &l.ref.key, buf);
        if (l.blob == NULL)
            return lf_fail_memory(err);
    }
    return add(s, l, err);
}

/* Only what was there can be removed. */
int lf_seal_remove(lf_seal *s, lf_slice name, luaflow_error *err)
{
    lf_found before;
    if (!lf_seal_find(s, name, &before))
        return LUAFLOW_OK;
    return add(s, (lf_leaving){.name = name, .own = true, .ref = {.kind = LF_REF_REMOVED}}, err);
}

/* ---- what the graph wants to know ---- */

static lf_slice bytes_slice(const lf_bytes *b) { return lf_slice_of(b->data, b->size); }

/* The bytes of the artifact or parameter that decides, counted; NULL with a problem. */
static lf_buf *deciding(lf_seal *s, const lf_step *step)
{
    lf_slice name = lf_slice_of(step->over, strlen(step->over));
    const lf_facts *facts = s->task->batch->facts;
    const lf_leaving *l = find_leaving(s, name);
    lf_found found;
    lf_buf *buf = NULL;
    bool there = l != NULL ? l->ref.kind != LF_REF_REMOVED : lf_seal_find(s, name, &found);
    if (there) {
        if (l != NULL)
            found = found_of(s, l);
        lf_inputs_load(s->store, &found, &buf, &s->problem);
        return buf;
    }
    lf_slice value = lf_inputs_param(lf_buf_slice(facts->params), name);
    if (value.size == 0)
        lf_fail(&s->problem, LUAFLOW_ESTEP, "flow %s has no artifact '%s' in step %s, which its %s needs",
                lf_flow_name(facts->flow), step->over, step->name,
                step->kind == LF_FOREACH ? "foreach" : "switch");
    else if ((buf = lf_buf_copy(value.data, value.size)) == NULL)
        lf_fail_memory(&s->problem);
    return buf;
}

static const char *word_for(const lf_seal *s, const char *over)
{
    lf_slice params = lf_buf_slice(s->task->batch->facts->params);
    bool is_param = lf_inputs_param(params, lf_slice_of(over, strlen(over))).size > 0;
    return is_param ? "parameter" : "artifact";
}

static bool decide_foreach(lf_seal *s, const lf_step *step)
{
    lf_task *t = s->task;
    char kind[LF_KIND_MAX];
    lf_buf *buf = lf_buf_ref(deciding(s, step));
    if (buf == NULL)
        return false;
    t->opened = lf_split_new(buf, &s->problem);
    if (t->opened == NULL && s->problem.code != LUAFLOW_ENOMEM)
        lf_fail(&s->problem, LUAFLOW_ESTEP,
                "foreach %s '%s' is %s; it must be a list (without holes), an FFI array or a whole "
                "number from 0", word_for(s, step->over), step->over, lf_codec_kind(lf_buf_slice(buf), kind, sizeof kind));
    lf_buf_free(buf);
    if (t->opened == NULL)
        return false;
    t->opened->step = t->step;
    t->opened->up = lf_split_ref(t->split);
    t->opened->up_index = t->split_index;
    t->width = t->opened->list.size;
    uint64_t limit = t->batch->facts->max_num_splits;
    if (t->width <= limit)
        return true;
    lf_fail(&s->problem, LUAFLOW_ESTEP,
            "foreach over '%s' splits into %llu tasks, more than the limit of %llu (--max-num-splits)",
            step->over, (unsigned long long)t->width, (unsigned long long)limit);
    return false;
}

/* The text of a canonical string, or false. */
static bool string_of(lf_slice value, lf_slice *text)
{
    uint8_t head = value.data[0];
    size_t skip = (head & 0xe0) == 0xa0           ? 1
                  : head == 0xd9 || head == 0xc4 ? 2
                  : head == 0xda || head == 0xc5 ? 3
                  : head == 0xdb || head == 0xc6 ? 5
                                                 : 0;
    *text = lf_slice_of(value.data + skip, value.size - skip);
    return skip > 0;
}

enum { QUOTED_MAX = 60 };

/* Appends a string, quoted, its control characters shown, cut when long. */
static void put_quoted(lf_bytes *out, lf_slice text)
{
    lf_bytes_put_u8(out, '"');
    for (size_t i = 0; i < text.size && i < QUOTED_MAX; i++)
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            lf_bytes_printf(out, "\\%03d", text.data[i]);
        else
            lf_bytes_put_u8(out, text.data[i]);
    if (text.size > QUOTED_MAX)
        lf_bytes_printf(out, "…\" (%zu bytes)", text.size);
    else
        lf_bytes_put_u8(out, '"');
}

/* Appends what may be the key of a case as a user writes it; anything else in words. */
static void put_key(lf_bytes *out, lf_slice value)
{
    static const char *const nouns[] = {"the number ", "the boolean "};
    char buffer[LF_KIND_MAX];
    lf_slice text;
    if (string_of(value, &text)) {
        put_quoted(out, text);
        return;
    }
    const char *words = lf_codec_kind(value, buffer, sizeof buffer);
    for (int i = 0; i < 2; i++)
        if (strncmp(words, nouns[i], strlen(nouns[i])) == 0)
            words += strlen(nouns[i]);
    lf_bytes_put(out, words, strlen(words));
}

static bool decide_switch(lf_seal *s, const lf_step *step)
{
    static const uint8_t minus_zero[] = {0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0}, zero[] = {0};
    lf_buf *buf = deciding(s, step);
    if (buf == NULL)
        return false;
    lf_slice value = lf_buf_slice(buf);
    if (lf_slice_equal(value, lf_slice_of(minus_zero, sizeof minus_zero)))
        value = lf_slice_of(zero, sizeof zero); /* as a key of a table it is the same */
    s->task->choice = lf_step_case(step, value);
    if (s->task->choice != LF_NONE) {
        lf_buf_free(buf);
        return true;
    }
    lf_bytes_clear(&s->text);
    put_key(&s->text, lf_buf_slice(buf));
    lf_buf_free(buf);
    lf_bytes_printf(&s->text, ", for which step %s has no case; its cases are ", step->name);
    for (uint32_t i = 0; i < step->n_next; i++) {
        lf_bytes_printf(&s->text, "%s", i > 0 ? ", " : "");
        put_key(&s->text, step->cases[i].key);
    }
    const char *text = lf_bytes_cstr(&s->text);
    if (text != NULL)
        lf_fail(&s->problem, LUAFLOW_ESTEP, "switch %s '%s' is %s", word_for(s, step->over), step->over, text);
    else
        lf_fail_memory(&s->problem);
    return false;
}

static bool decide(lf_seal *s, const lf_step *step)
{
    if (step->kind == LF_FOREACH)
        return decide_foreach(s, step);
    return step->kind != LF_SWITCH || decide_switch(s, step);
}

/* ---- the record ---- */

static int by_name(const void *a, const void *b)
{
    return lf_slice_compare(((const lf_leaving *)a)->name, ((const lf_leaving *)b)->name);
}

static bool pass_on(lf_seal *s, uint32_t n_own, lf_slice name, const lf_found *found)
{
    for (uint32_t i = 0; i < n_own; i++)
        if (lf_slice_equal(s->leaving[i].name, name))
            return true;
    lf_leaving l = {.name = name, .ref = found->ref, .blob = lf_blob_ref(found->blob)};
    return add(s, l, &s->problem) == LUAFLOW_OK;
}

/* With no base there is nothing to hide. */
static void drop_removals(lf_seal *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->n_leaving; i++)
        if (s->leaving[i].ref.kind != LF_REF_REMOVED)
            s->leaving[kept++] = s->leaving[i];
    s->n_leaving = kept;
}

/* Everything the parent passes on; then nothing needs to stand behind this task. */
static bool pass_on_all(lf_seal *s, uint32_t n_own)
{
    lf_walk w = lf_inputs_walk(s->task);
    lf_slice name;
    lf_found found;
    while (lf_inputs_next(&w, &name, &found))
        if (!pass_on(s, n_own, name, &found))
            return false;
    drop_removals(s);
    return true;
}

/* Only what the parent itself wrote over its base, removals included. */
static bool pass_on_parents_own(lf_seal *s, uint32_t n_own)
{
    const lf_task *parent = s->task->parent;
    lf_slice outputs = lf_task_outputs(parent), name;
    lf_reader r = lf_reader_of(outputs.data, outputs.size);
    lf_found found;
    uint32_t held = 0;
    while (lf_output_next(&r, &name, &found.ref)) {
        found.blob = NULL;
        if (found.ref.kind == LF_REF_KEY && held++ < parent->n_held)
            found.blob = parent->batch->held[parent->held_at + held - 1].blob;
        if (!pass_on(s, n_own, name, &found))
            return false;
    }
    return true;
}

/* Decides how the record says what is passed on. It may stand on a base, an earlier task
 * whose outputs lie behind its own, so that a wide foreach or a long chain does not repeat
 * them; but never on more than one, so that a reader looks at two records at most. */
static bool inherit(lf_seal *s)
{
    lf_task *t = s->task, *parent = t->parent;
    uint32_t n_own = s->n_leaving;
    for (uint32_t i = 0; i < s->n_propagated; i++) {
        lf_found found = {s->propagated[i]->ref, s->propagated[i]->blob};
        if (!pass_on(s, n_own, s->propagated[i]->name, &found))
            return false;
    }
    if (parent == NULL) {
        drop_removals(s);
        return true;
    }
    lf_task *base = parent->base != NULL ? parent->base : parent;
    size_t delta = parent->base != NULL ? parent->outputs_size : 0;
    for (uint32_t i = 0; i < n_own; i++)
        delta += s->leaving[i].name.size + 4 +
                 (s->leaving[i].ref.kind == LF_REF_KEY ? 24 : s->leaving[i].ref.bytes.size);
    bool worth = base->outputs_size > BASE_MIN &&
                 (base == parent || delta <= LF_INLINE_MAX || delta <= base->outputs_size);
    if (!worth)
        return pass_on_all(s, n_own);
    if (base != parent && !pass_on_parents_own(s, n_own))
        return false;
    t->base = lf_task_hold(base);
    return true;
}

static void write_outputs(lf_seal *s)
{
    lf_task *t = s->task;
    if (s->n_leaving > 1)
        qsort(s->leaving, s->n_leaving, sizeof *s->leaving, by_name);
    t->held_at = t->batch->n_held;
    for (uint32_t i = 0; i < s->n_leaving; i++) {
        lf_leaving *l = &s->leaving[i];
        lf_found found = found_of(s, l);
        size_t salt_at = lf_output_put(&s->outputs, l->name, &found.ref);
        if (l->ref.kind != LF_REF_KEY)
            continue;
        if (lf_batch_hold(t->batch, l->blob, salt_at, l->own))
            t->n_held++;
        else
            s->outputs.failed = true;
        l->blob = NULL;
    }
}

static lf_slice text_slice(const char *text) { return lf_slice_of(text, text ? strlen(text) : 0); }

/* A base that was reused is called by where it ran. */
static void set_base(lf_task_record *record, const lf_task *base)
{
    if (base == NULL)
        return;
    bool is_far = base->origin_run != 0;
    record->flags |= is_far ? LF_TASK_FAR : 0;
    record->base_run = base->origin_run;
    record->base = is_far ? base->origin_task : base->number;
}

/* `failure` without `caught`: the task failed. */
static void write_record(lf_seal *s, const lf_failure *failure, bool caught)
{
    lf_task *t = s->task;
    s->ended_tick = lf_tick_us();
    lf_task_record record = {
        .step = t->step, .attempt = t->attempt, .worker = t->worker, .started_us = s->started_us,
        .duration_us = s->ended_tick - s->started_tick};
    lf_task_place(t, &s->place);
    if (t->join != NULL)
        lf_parents_put(&s->parents, t->join->numbers, t->join->n);
    else if (t->parent != NULL)
        lf_parents_put(&s->parents, &t->parent->number, 1);
    record.place = bytes_slice(&s->place);
    record.parents = bytes_slice(&s->parents);
    if (failure != NULL) {
        record.flags = caught ? LF_TASK_CAUGHT : LF_TASK_FAILED;
        record.message = text_slice(failure->message);
        record.traceback = text_slice(failure->traceback);
    }
    if (failure == NULL || caught) {
        set_base(&record, t->base);
        record.n_outputs = s->n_leaving;
        record.outputs = bytes_slice(&s->outputs);
        record.width = (uint32_t)t->width;
        record.choice = t->choice;
    }
    lf_bytes *arena = &t->batch->arena;
    t->record_at = arena->size;
    size_t outputs_at = lf_task_record_put(arena, &record);
    t->record_size = arena->size - t->record_at;
    t->outputs_at = t->record_at + outputs_at;
    t->outputs_size = record.outputs.size;
    for (uint32_t i = 0; i < t->n_held; i++)
        t->batch->held[t->held_at + i].salt_at += outputs_at;
    if (s->outputs.failed || s->place.failed || s->parents.failed)
        arena->failed = true;
}

/* ---- failures that a step catches ---- */

static void put_words(lf_bytes *out, const char *text) { lf_codec_put_string(out, text, strlen(text)); }

static lf_slice word(const char *text) { return lf_slice_of(text, strlen(text)); }

/* { message=, timeout=, attempts=, traceback= }, as it stands in canonical order. */
static void put_failure(const lf_seal *s, const lf_failure *failure, lf_bytes *out)
{
    lf_bytes_put_u8(out, 0x84);
    put_words(out, "message");
    put_words(out, failure->message);
    put_words(out, "timeout");
    lf_bytes_put_u8(out, failure->timed_out ? 0xc3 : 0xc2);
    put_words(out, "attempts");
    lf_codec_put_number(out, s->task->attempt + 1.0);
    put_words(out, "traceback");
    put_words(out, failure->traceback != NULL ? failure->traceback : "");
}

/* Makes the failure all that this task leaves of its own. */
static bool catch(lf_seal *s, const lf_step *step, const lf_failure *failure)
{
    lf_bytes value = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    forget_leaving(s);
    s->n_propagated = 0;
    lf_bytes_clear(&s->values);
    bool ok = lf_buf_start(&value);
    if (ok)
        put_failure(s, failure, &value);
    ok = ok && !value.failed &&
         lf_seal_keep(s, word(step->attributes.catch_name), &value, &err) == LUAFLOW_OK && inherit(s);
    if (ok)
        write_outputs(s);
    luaflow_error_clear(&err);
    lf_bytes_fini(&value);
    return ok;
}

static bool catches(const lf_task *t, const lf_step *step)
{
    return step->attributes.catch_name != NULL && t->attempt >= step->attributes.retry_times;
}

/* ---- opening and closing ---- */

lf_seal *lf_seal_new(lf_store *store, lf_staged *staged, lf_log *log)
{
    lf_seal *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->world.ask = &lf_seal_answers;
    s->store = store;
    s->staged = staged;
    s->log = log;
    return s;
}

void lf_seal_free(lf_seal *s)
{
    if (s == NULL)
        return;
    forget_leaving(s);
    forget_merge(s);
    free(s->leaving);
    free(s->propagated);
    lf_bytes_fini(&s->scratch);
    lf_bytes_fini(&s->collected);
    lf_bytes_fini(&s->values);
    lf_bytes_fini(&s->outputs);
    lf_bytes_fini(&s->place);
    lf_bytes_fini(&s->parents);
    lf_bytes_fini(&s->text);
    luaflow_error_clear(&s->problem);
    free(s);
}

void lf_seal_move(lf_seal *s, lf_task *to)
{
    lf_task *from = s->task;
    lf_batch *batch = to->batch;
    *to = *from;
    to->batch = batch;
    from->parent = from->base = NULL;
    from->split = from->opened = NULL;
    from->join = NULL;
    s->task = to;
}

lf_world *lf_seal_world(lf_seal *s) { return &s->world; }

uint64_t lf_seal_ended(const lf_seal *s) { return s->ended_tick; }

/* What the wall clock says at `tick`. It is read again after a second, since it may jump. */
static uint64_t wall_clock(lf_seal *s, uint64_t tick)
{
    enum { TRUSTED_US = 1000000 };
    if (s->offset_us == 0 || tick - s->checked_tick > TRUSTED_US) {
        s->offset_us = lf_now_us() - tick;
        s->checked_tick = tick;
    }
    return tick + s->offset_us;
}

void lf_seal_begin(lf_seal *s, lf_task *t, uint64_t tick)
{
    t->outcome = LF_UNSTARTED;
    s->task = t;
    s->graph = lf_flow_graph(t->batch->facts->flow);
    s->started_us = wall_clock(s, tick);
    s->started_tick = tick;
    s->block_size = 0;
    lf_bytes_clear(&s->values);
    lf_bytes_clear(&s->outputs);
    lf_bytes_clear(&s->place);
    lf_bytes_clear(&s->parents);
    lf_log_begin(s->log, t, lf_graph_step(s->graph, t->step)->name);
}

/* The same for every attempt of a task, whoever runs it. */
static uint64_t seed_of(lf_seal *s, const char *step)
{
    lf_bytes_clear(&s->scratch);
    lf_bytes_put(&s->scratch, step, strlen(step) + 1);
    lf_task_place(s->task, &s->scratch);
    return lf_hash(s->task->batch->facts->seed, s->scratch.data, s->scratch.size);
}

void lf_seal_who(lf_seal *s, lf_who *out)
{
    const lf_task *t = s->task;
    const lf_facts *facts = t->batch->facts;
    const lf_step *step = lf_graph_step(s->graph, t->step);
    *out = (lf_who){
        .step = step->name,
        .has_function = step->has_function,
        .is_join = t->join != NULL,
        .run = facts->run,
        .origin = facts->origin,
        .task = t->number,
        .attempt = t->attempt,
        .index = t->split != NULL ? t->split_index : 0,
        .near = t->split != NULL ? &t->split->list : NULL,
        .near_at = t->split_index,
        .n_inputs = t->join != NULL ? t->join->n : 0,
        .seed = lf_flow_is_chancy(facts->flow) ? seed_of(s, step->name) : 0,
        .params = lf_buf_slice(facts->params),
        .tags = bytes_slice(&facts->tags),
        .n_tags = facts->n_tags,
        .store = facts->store,
    };
    for (const lf_split *split = t->split; split != NULL; split = split->up)
        out->depth++;
}

void lf_seal_finish(lf_seal *s, const lf_failure *failure)
{
    static char no_memory[] = "not enough memory";
    lf_task *t = s->task;
    const lf_step *step = lf_graph_step(s->graph, t->step);
    lf_failure told = {.message = NULL};
    if (failure != NULL)
        told = *failure;
    else if (decide(s, step) && inherit(s))
        write_outputs(s);
    if (failure == NULL && s->problem.code != LUAFLOW_OK) {
        told.message = s->problem.message;
        failure = &told;
    }
    if (told.message == NULL)
        told.message = no_memory;
    bool caught = failure != NULL && catches(t, step) && catch(s, step, &told);
    t->outcome = failure == NULL || caught ? LF_SUCCEEDED : LF_BROKE;
    write_record(s, failure != NULL ? &told : NULL, caught);
    lf_log_end(s->log, t);
    if (t->batch->arena.failed) { /* nothing of it can be kept */
        lf_fail_memory(&t->batch->error);
        t->outcome = LF_UNSTARTED;
    }
    forget_leaving(s);
    forget_merge(s);
    luaflow_error_clear(&s->problem);
    s->task = NULL;
    if (t->outcome != LF_BROKE) /* which may be tried again */
        lf_task_release_inputs(t);
}
