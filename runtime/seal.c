/* seal.c -- what a task left, turned into its record. */
#include "seal.h"
#include "clock.h"
#include "stepper.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

enum { TYPE_CDATA = 10 }; /* lua_type of an FFI object; LuaJIT's header keeps it to itself */

/* A base this small is not worth a second look-up: its outputs are copied instead. */
enum { BASE_MIN = 16 };

static void forget_leaving(struct lf_stepper *s)
{
    for (uint32_t i = 0; i < s->n_leaving; i++)
        lf_blob_free(s->leaving[i].blob);
    s->n_leaving = 0;
}

static void forget_merge(struct lf_stepper *s)
{
    lf_merged_free(s->merged);
    s->merged = NULL;
    s->n_propagated = 0;
}

void lf_seal_fini(struct lf_stepper *s)
{
    forget_leaving(s);
    forget_merge(s);
    free(s->leaving);
    free(s->propagated);
    lf_bytes_fini(&s->value);
    lf_bytes_fini(&s->values);
    lf_bytes_fini(&s->outputs);
    lf_bytes_fini(&s->place);
    lf_bytes_fini(&s->parents);
    luaflow_error_clear(&s->problem);
}

bool lf_seal_find(struct lf_stepper *s, lf_slice name, lf_found *out)
{
    if (s->task->join == NULL)
        return lf_inputs_find(s->task, name, out);
    for (uint32_t i = 0; i < s->n_propagated; i++)
        if (lf_slice_equal(s->propagated[i]->name, name)) {
            *out = (lf_found){s->propagated[i]->ref, s->propagated[i]->blob};
            return true;
        }
    return false;
}

/* ---- gathering what leaves ---- */

/* Takes `l.blob`, even on failure. */
static bool add(struct lf_stepper *s, lf_leaving l)
{
    if (s->n_leaving == s->leaving_room) {
        uint32_t room = s->leaving_room ? s->leaving_room * 2 : 16;
        lf_leaving *grown = realloc(s->leaving, room * sizeof *grown);
        if (grown == NULL) {
            lf_blob_free(l.blob);
            lf_fail_memory(&s->problem);
            return false;
        }
        s->leaving = grown;
        s->leaving_room = room;
    }
    s->leaving[s->n_leaving++] = l;
    return true;
}

static lf_leaving *find_leaving(struct lf_stepper *s, lf_slice name)
{
    for (uint32_t i = 0; i < s->n_leaving; i++)
        if (lf_slice_equal(s->leaving[i].name, name))
            return &s->leaving[i];
    return NULL;
}

/* What a leaving entry says, with the slices that may be taken only now. */
static lf_found found_of(const struct lf_stepper *s, const lf_leaving *l)
{
    lf_found found = {l->ref, l->blob};
    if (l->own && l->ref.kind == LF_REF_INLINE)
        found.ref.bytes.data = s->values.data + l->at;
    return found;
}

/* Adds the value encoded in s->value, unless it is what was there before. */
static bool add_value(struct lf_stepper *s, lf_slice name)
{
    lf_slice bytes = lf_buf_pending(&s->value);
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
        if (lf_inputs_same(s->store, &before, bytes, &same, &s->problem) != LUAFLOW_OK)
            return false;
        if (same)
            return true;
    }
    if (l.ref.kind == LF_REF_INLINE) {
        l.at = s->values.size;
        lf_bytes_put(&s->values, bytes.data, bytes.size);
        if (s->values.failed) {
            lf_fail_memory(&s->problem);
            return false;
        }
    } else {
        lf_buf *buf = lf_buf_adopt(&s->value);
        l.blob = buf == NULL ? NULL : lf_blob_new(s->staged, &l.ref.key, buf);
        if (l.blob == NULL) {
            lf_fail_memory(&s->problem);
            return false;
        }
    }
    return add(s, l);
}

/* Whether the value at the top, of the field at `key`, is the immutable one that was loaded. */
LF_RAISES static bool is_as_loaded(lua_State *L, struct lf_stepper *s, int key)
{
    int type = lua_type(L, -1);
    if (type == LUA_TTABLE || type == TYPE_CDATA)
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->originals);
    lua_pushvalue(L, key);
    lua_rawget(L, -2);
    bool same = lua_rawequal(L, -1, -3);
    if (same && type == LUA_TNUMBER) /* -0 equals 0, and is another number */
        same = signbit(lua_tonumber(L, -1)) == signbit(lua_tonumber(L, -3));
    lua_pop(L, 2);
    return same;
}

LF_RAISES static bool gather_fields(lua_State *L, struct lf_stepper *s, int self)
{
    lua_pushnil(L);
    while (lua_next(L, self)) {                                 /* key, value */
        int key = lua_gettop(L) - 1;
        if (lua_type(L, key) != LUA_TSTRING) {
            lf_fail(&s->problem, LUAFLOW_EVALUE, "an artifact's name is a string, not a %s",
                    luaL_typename(L, key));
            return false;
        }
        size_t size;
        const char *name = lua_tolstring(L, key, &size);
        if (name[0] != '_' && !is_as_loaded(L, s, key)) {
            if (!lf_buf_start(&s->value)) {
                lf_fail_memory(&s->problem);
                return false;
            }
            if (lf_codec_encode(L, -1, name, &s->value, &s->problem) != LUAFLOW_OK ||
                !add_value(s, lf_slice_of(name, size)))
                return false;
        }
        lua_settop(L, key);
    }
    return true;
}

/* A name that was loaded or assigned and is nil now has been removed. */
LF_RAISES static bool gather_removals(lua_State *L, struct lf_stepper *s, int self)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->settled);
    int settled = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, settled)) {                              /* name, true */
        size_t size;
        const char *text = lua_tolstring(L, -2, &size);
        lf_slice name = lf_slice_of(text, size);
        lf_found before;
        lua_pushvalue(L, -2);
        lua_rawget(L, self);
        bool gone = lua_isnil(L, -1);
        lua_pop(L, 2);
        if (gone && lf_seal_find(s, name, &before) &&
            !add(s, (lf_leaving){.name = name, .own = true, .ref = {.kind = LF_REF_REMOVED}}))
            return false;
    }
    return true;
}

/* ---- what the graph wants to know ---- */

/* The bytes of the artifact or parameter that decides, counted; NULL with a problem. */
static lf_buf *deciding(struct lf_stepper *s, const char *over)
{
    lf_slice name = lf_slice_of(over, strlen(over));
    const lf_step *step = lf_graph_step(s->graph, s->task->step);
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
    lf_slice value = lf_inputs_param(lf_buf_slice(s->task->batch->facts->params), name);
    if (value.size == 0)
        lf_fail(&s->problem, LUAFLOW_ESTEP, "flow %s has no artifact '%s' in step %s, which its %s needs",
                lf_flow_name(s->flow), over, step->name,
                step->kind == LF_FOREACH ? "foreach" : "switch");
    else if ((buf = lf_buf_copy(value.data, value.size)) == NULL)
        lf_fail_memory(&s->problem);
    return buf;
}

static const char *word_for(struct lf_stepper *s, const char *over)
{
    lf_slice params = lf_buf_slice(s->task->batch->facts->params);
    bool is_param = lf_inputs_param(params, lf_slice_of(over, strlen(over))).size > 0;
    return is_param ? "parameter" : "artifact";
}

static bool decide_foreach(struct lf_stepper *s, const lf_step *step)
{
    lf_task *t = s->task;
    char kind[128];
    lf_buf *buf = lf_buf_ref(deciding(s, step->over));
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

enum { QUOTED_MAX = 60 };

/* Appends the string at the top, quoted, its control characters shown, cut when long. */
LF_RAISES static void put_quoted(lua_State *L, lf_bytes *out)
{
    size_t size;
    const char *text = lua_tolstring(L, -1, &size);
    lf_bytes_put_u8(out, '"');
    for (size_t i = 0; i < size && i < QUOTED_MAX; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            lf_bytes_printf(out, "\\%03d", (unsigned char)text[i]);
        else
            lf_bytes_put_u8(out, (uint8_t)text[i]);
    if (size > QUOTED_MAX)
        lf_bytes_printf(out, "…\" (%zu bytes)", size);
    else
        lf_bytes_put_u8(out, '"');
}

/* Appends a key as a user writes it. */
LF_RAISES static void describe_key(lua_State *L, lf_bytes *out, lf_slice key)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_codec_decode(L, key, &err) != LUAFLOW_OK) {
        luaflow_error_clear(&err);
        return;
    }
    if (lua_isboolean(L, -1))
        lf_bytes_printf(out, "%s", lua_toboolean(L, -1) ? "true" : "false");
    else if (lua_type(L, -1) == LUA_TSTRING)
        put_quoted(L, out);
    else if (lua_type(L, -1) == LUA_TNUMBER)
        lf_bytes_printf(out, "%s", isnan(lua_tonumber(L, -1)) ? "nan" : lua_tostring(L, -1));
    lua_pop(L, 1);
}

LF_RAISES static bool decide_switch(lua_State *L, struct lf_stepper *s, const lf_step *step)
{
    char kind[128];
    lf_buf *buf = deciding(s, step->over);
    if (buf == NULL)
        return false;
    static const uint8_t minus_zero[] = {0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0}, zero[] = {0};
    lf_slice value = lf_buf_slice(buf);
    if (lf_slice_equal(value, lf_slice_of(minus_zero, sizeof minus_zero)))
        value = lf_slice_of(zero, sizeof zero); /* as a key of a table it is the same */
    s->task->choice = lf_step_case(step, value);
    if (s->task->choice != LF_NONE) {
        lf_buf_free(buf);
        return true;
    }
    lf_buf_free(s->loaded);
    s->loaded = buf; /* freed with the stepper if describing runs out of memory */
    lf_bytes_clear(&s->scratch);
    describe_key(L, &s->scratch, lf_buf_slice(buf));
    if (s->scratch.size == 0)
        lf_bytes_printf(&s->scratch, "%s", lf_codec_kind(lf_buf_slice(buf), kind, sizeof kind));
    lf_bytes_printf(&s->scratch, ", for which step %s has no case; its cases are ", step->name);
    for (uint32_t i = 0; i < step->n_next; i++) {
        lf_bytes_printf(&s->scratch, "%s", i > 0 ? ", " : "");
        describe_key(L, &s->scratch, step->cases[i].key);
    }
    const char *text = lf_bytes_cstr(&s->scratch);
    if (text != NULL)
        lf_fail(&s->problem, LUAFLOW_ESTEP, "switch %s '%s' is %s", word_for(s, step->over), step->over, text);
    else
        lf_fail_memory(&s->problem);
    return false;
}

void lf_seal(struct lf_stepper *s, int index)
{
    lua_State *L = s->L;
    const lf_step *step = lf_graph_step(s->graph, s->task->step);
    if (!gather_fields(L, s, index) || !gather_removals(L, s, index))
        return;
    if (step->kind == LF_FOREACH)
        decide_foreach(s, step);
    else if (step->kind == LF_SWITCH)
        decide_switch(L, s, step);
}

/* ---- the record ---- */

static int by_name(const void *a, const void *b)
{
    return lf_slice_compare(((const lf_leaving *)a)->name, ((const lf_leaving *)b)->name);
}

static bool pass_on(struct lf_stepper *s, uint32_t n_own, lf_slice name, const lf_found *found)
{
    for (uint32_t i = 0; i < n_own; i++)
        if (lf_slice_equal(s->leaving[i].name, name))
            return true;
    return add(s, (lf_leaving){.name = name, .ref = found->ref, .blob = lf_blob_ref(found->blob)});
}

/* With no base there is nothing to hide. */
static void drop_removals(struct lf_stepper *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->n_leaving; i++)
        if (s->leaving[i].ref.kind != LF_REF_REMOVED)
            s->leaving[kept++] = s->leaving[i];
    s->n_leaving = kept;
}

/* Everything the parent passes on; then nothing needs to stand behind this task. */
static bool pass_on_all(struct lf_stepper *s, uint32_t n_own)
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
static bool pass_on_parents_own(struct lf_stepper *s, uint32_t n_own)
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
static bool inherit(struct lf_stepper *s)
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

static void write_outputs(struct lf_stepper *s)
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
        if (!lf_batch_hold(t->batch, l->blob, salt_at, l->own))
            s->outputs.failed = true;
        l->blob = NULL;
        t->n_held++;
    }
}

void lf_seal_begin(struct lf_stepper *s)
{
    s->task->outcome = LF_UNSTARTED;
    s->started_us = lf_now_us();
    s->started_tick = lf_tick_us();
    lf_bytes_clear(&s->values);
    lf_bytes_clear(&s->outputs);
    lf_bytes_clear(&s->place);
    lf_bytes_clear(&s->parents);
}

static lf_slice text_slice(const char *text) { return lf_slice_of(text, text ? strlen(text) : 0); }

static lf_slice bytes_slice(const lf_bytes *b) { return lf_slice_of(b->data, b->size); }

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

static void write_record(struct lf_stepper *s, const lf_failure *failure)
{
    lf_task *t = s->task;
    lf_task_record record = {
        .step = t->step, .attempt = t->attempt, .worker = t->worker, .started_us = s->started_us,
        .duration_us = lf_tick_us() - s->started_tick};
    lf_task_place(t, &s->place);
    if (t->join != NULL)
        lf_parents_put(&s->parents, t->join->numbers, t->join->n);
    else if (t->parent != NULL)
        lf_parents_put(&s->parents, &t->parent->number, 1);
    record.place = bytes_slice(&s->place);
    record.parents = bytes_slice(&s->parents);
    if (failure != NULL) {
        record.flags = LF_TASK_FAILED;
        record.message = text_slice(failure->message);
        record.traceback = text_slice(failure->traceback);
    } else {
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

void lf_seal_finish(struct lf_stepper *s, const lf_failure *failure)
{
    lf_task *t = s->task;
    if (failure == NULL && s->problem.code == LUAFLOW_OK && inherit(s))
        write_outputs(s);
    static char no_memory[] = "not enough memory";
    lf_failure told = {.message = s->problem.message};
    if (failure != NULL)
        told = *failure;
    if (told.message == NULL)
        told.message = no_memory;
    if (failure != NULL || s->problem.code != LUAFLOW_OK)
        failure = &told;
    t->outcome = failure == NULL ? LF_SUCCEEDED : LF_BROKE;
    write_record(s, failure);
    lf_log_end(s->log, t);
    if (t->batch->arena.failed) { /* nothing of it can be kept */
        lf_fail_memory(&t->batch->error);
        t->outcome = LF_UNSTARTED;
    }
    forget_leaving(s);
    forget_merge(s);
    luaflow_error_clear(&s->problem);
    if (t->outcome != LF_BROKE)
        lf_task_release_inputs(t);
}
