/* store_verify.c -- of the store: everything in it is looked at, and what is wrong is told.
 *
 * First the pages (store_tree.c), then each entry's seal and record, then what entries say of
 * each other, last the blobs; where one is damaged, records are walked once more to name all
 * that need it. Reads one snapshot, which a read transaction holds. Memory: some 30 bytes for
 * each task and each blob. Records of runs that were pruned may still be there, with what they
 * point to gone: they are no damage, but what others reuse of them must be whole. */
#include "store_tree.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct run {
    uint32_t number;
    lf_buf *bytes[2]; /* record and state; NULL: not there, or damaged */
    lf_run_record record;
    lf_run_state state;
    bool in_flows, is_hurt;
    uint32_t n_tags;
    luaflow_counts *counts; /* of the tasks found, by step */
};

struct seen {
    uint32_t run, task, step, attempt, base_run, base;
    uint8_t flags;
    bool is_listed, is_hurt;
    uint32_t attempts;
};

/* A blob that somebody needs. */
struct need {
    lf_key key;
    uint64_t size;
    uint8_t salt;
    enum { EMPTY, MISSING, SOUND, DAMAGED } became;
};

/* The blob that is being read. */
struct reading {
    struct need *need; /* NULL: none, or one that nobody needs */
    uint64_t size, at;
    lf_keying *keying;
};

typedef struct verify {
    lf_pin pin;
    lf_pages pages;
    lf_finding_fn tell;
    void *payload;
    luaflow_verified *sum;
    lf_tree tree[LF_TABLES];
    bool has_table[LF_TABLES];
    enum lf_table table; /* the one that is walked; LF_TABLES: the list of them */
    bool is_free_list;
    uint32_t version, next;
    struct run *runs;
    size_t n_runs, runs_room;
    struct seen *tasks;
    size_t n_tasks, tasks_room;
    struct need *needs; /* open addressing */
    size_t n_needs, needs_room, n_bad;
    struct reading blob;
    uint32_t *parents;
    size_t parents_room;
    uint32_t described; /* the run whose description is in `description` */
    lf_bytes description, text;
} verify;

/* ---- telling ---- */

static struct run *find_run(verify *v, uint32_t number)
{
    size_t low = 0, high = v->n_runs;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->runs[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < v->n_runs && v->runs[low].number == number ? &v->runs[low] : NULL;
}

/* Tasks of a run mostly count up without gaps. */
static struct seen *find_task(verify *v, uint32_t run, uint32_t task)
{
    size_t low = 0, high = v->n_tasks;
    uint64_t wanted = (uint64_t)run << 32 | task;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct seen *t = &v->tasks[middle];
        uint64_t number = (uint64_t)t->run << 32 | t->task;
        if (number == wanted)
            return &v->tasks[middle];
        if (number < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void blob_name(const lf_key *key, uint8_t salt, uint8_t name[17])
{
    memcpy(name, key->bytes, sizeof key->bytes);
    name[16] = salt;
}

/* The flow of a run, for the names of its steps; only in large ones it is a blob. */
static lf_slice description_of(verify *v, const struct run *run)
{
    if (run == NULL || run->bytes[0] == NULL)
        return (lf_slice){NULL, 0};
    const lf_ref *ref = &run->record.description;
    if (ref->kind == LF_REF_INLINE)
        return ref->bytes;
    if (v->described != run->number) {
        uint8_t name[17];
        blob_name(&ref->key, ref->salt, name);
        lf_bytes_clear(&v->description);
        bool found = ref->kind == LF_REF_KEY && v->has_table[LF_BLOBS] &&
                     lf_pages_find(&v->pages, &v->tree[LF_BLOBS], lf_slice_of(name, sizeof name), &v->description) &&
                     v->description.size == ref->size + 1 && v->description.data[0] == LF_BLOB_PLAIN;
        lf_key key = found ? lf_key_of(0, v->description.data + 1, ref->size) : (lf_key){{0}};
        if (!found || !lf_key_equal(&key, &ref->key))
            lf_bytes_clear(&v->description);
        v->described = run->number;
    }
    return v->description.size == 0 ? (lf_slice){NULL, 0}
                                    : lf_slice_of(v->description.data + 1, v->description.size - 1);
}

static void tell(verify *v, lf_finding *f)
{
    v->sum->findings++;
    if (f->run != 0 && f->step != LF_ANY)
        f->description = description_of(v, find_run(v, f->run));
    f->text = lf_bytes_cstr(&v->text);
    if (f->text == NULL)
        f->text = "something is wrong (there was no memory to say what)";
    v->tell(v->payload, f);
}

static void say(verify *v, const char *format, ...) LF_PRINTF(2, 3);
static void say_of(verify *v, uint32_t run, uint32_t task, const char *format, ...) LF_PRINTF(4, 5);

static void say_args(verify *v, const char *format, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    lf_bytes_clear(&v->text);
    lf_bytes_put(&v->text, text, strlen(text));
}

static void say(verify *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_args(v, format, args);
    va_end(args);
    tell(v, &(lf_finding){.step = LF_ANY});
}

/* Of a run, or of a task that is known. */
static void say_of(verify *v, uint32_t run, uint32_t task, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_args(v, format, args);
    va_end(args);
    const struct seen *seen = task == 0 ? NULL : find_task(v, run, task);
    tell(v, &(lf_finding){.run = run, .task = task, .step = seen == NULL ? LF_ANY : seen->step});
}

/* What a key names, in words. */
static void put_key(lf_bytes *out, enum lf_table t, lf_slice key)
{
    uint32_t first = key.size >= 4 ? get_u32(key.data) : 0, second = key.size >= 8 ? get_u32(key.data + 4) : 0;
    switch (t) {
    case LF_TASKS:
    case LF_ATTEMPTS:
    case LF_LOGS: lf_bytes_printf(out, "task %u of run %u", second, first); break;
    case LF_STEPS:
    case LF_RUNS: lf_bytes_printf(out, "run %u", first); break;
    case LF_BLOBS:
        lf_bytes_printf(out, "blob ");
        for (size_t i = 0; i < key.size && i < 4; i++)
            lf_bytes_printf(out, "%02x", key.data[i]);
        lf_bytes_printf(out, "…");
        break;
    default: lf_bytes_printf(out, "'%.*s'", (int)strnlen((const char *)key.data, key.size), (const char *)key.data);
    }
}

static void hear_hurt(void *payload, uint64_t page, const char *how, const lf_slice *from, const lf_slice *until)
{
    verify *v = payload;
    lf_bytes *out = &v->text;
    lf_bytes_clear(out);
    lf_bytes_printf(out, "page %" PRIu64 " of data.mdb (at byte %" PRIu64 ") is damaged: %s. ", page,
                    page * v->pages.size, how);
    if (v->is_free_list) {
        lf_bytes_printf(out, "It is of the list of free pages: run nothing with this store, for the next to write "
                             "could overwrite good pages; restore it from a copy");
    } else if (v->table == LF_TABLES) {
        lf_bytes_printf(out, "It holds the list of all tables: restore the store from a copy");
    } else {
        lf_bytes_printf(out, "It holds %s", lf_table_names[v->table]);
        if (from != NULL) {
            lf_bytes_printf(out, " from ");
            put_key(out, v->table, *from);
        }
        if (until != NULL) {
            lf_bytes_printf(out, " to ");
            put_key(out, v->table, *until);
        }
    }
    tell(v, &(lf_finding){.step = LF_ANY});
}

/* ---- growing ---- */

static bool make_room(void **list, size_t n, size_t *room, size_t item)
{
    if (n < *room)
        return true;
    size_t more = *room == 0 ? 64 : *room * 2;
    void *grown = realloc(*list, more * item);
    if (grown == NULL)
        return false;
    *list = grown;
    *room = more;
    return true;
}

/* ---- blobs that are needed ---- */

static struct need *slot_of(verify *v, const lf_key *key, uint8_t salt)
{
    uint64_t hash; /* keys are hashes */
    memcpy(&hash, key->bytes, sizeof hash);
    struct need *n = &v->needs[(hash + salt) & (v->needs_room - 1)];
    while (n->became != EMPTY && !(n->salt == salt && lf_key_equal(&n->key, key)))
        n = n + 1 == v->needs + v->needs_room ? v->needs : n + 1;
    return n;
}

static bool grow_needs(verify *v)
{
    struct need *old = v->needs;
    size_t room = v->needs_room;
    v->needs_room = room == 0 ? 1024 : room * 2;
    v->needs = calloc(v->needs_room, sizeof *v->needs);
    if (v->needs == NULL) {
        v->needs = old;
        v->needs_room = room;
        return false;
    }
    for (size_t i = 0; i < room; i++)
        if (old[i].became != EMPTY)
            *slot_of(v, &old[i].key, old[i].salt) = old[i];
    free(old);
    return true;
}

static int need(verify *v, const lf_ref *ref, luaflow_error *err)
{
    if (ref->kind != LF_REF_KEY)
        return LUAFLOW_OK;
    if (v->n_needs * 3 >= v->needs_room * 2 && !grow_needs(v))
        return lf_fail_memory(err);
    struct need *n = slot_of(v, &ref->key, ref->salt);
    if (n->became == EMPTY) {
        *n = (struct need){ref->key, ref->size, ref->salt, MISSING};
        v->n_needs++;
    }
    return LUAFLOW_OK;
}

/* Whether what `ref` points to can be read. */
static bool is_sound(verify *v, const lf_ref *ref, const char **how)
{
    if (ref->kind != LF_REF_KEY)
        return true;
    const struct need *n = slot_of(v, &ref->key, ref->salt);
    *how = n->became == MISSING ? "is missing" : "is damaged";
    return n->became == SOUND && n->size == ref->size;
}

static int need_outputs(verify *v, const lf_task_record *task, luaflow_error *err)
{
    lf_slice name;
    lf_ref ref;
    int rc = LUAFLOW_OK;
    for (lf_reader r = lf_reader_of(task->outputs.data, task->outputs.size);
         rc == LUAFLOW_OK && lf_output_next(&r, &name, &ref);) {
        v->sum->artifacts += ref.kind != LF_REF_REMOVED;
        rc = need(v, &ref, err);
    }
    return rc;
}

/* ---- entries, table by table ---- */

static MDB_val val_from(lf_slice s) { return (MDB_val){s.size, (void *)s.data}; }

/* The value of an entry with keys of `size` bytes; false, and told, when it is damaged. */
static bool open_entry(verify *v, lf_slice key, lf_slice data, size_t size, lf_slice *value)
{
    v->sum->bytes += key.size + data.size;
    if ((size == 0 || key.size == size) && lf_entry_sound(v->table, val_from(key), val_from(data), value))
        return true;
    lf_bytes_clear(&v->text);
    lf_bytes_printf(&v->text, "an entry of the table '%s' is damaged: that of ", lf_table_names[v->table]);
    put_key(&v->text, v->table, key);
    bool has_task = v->table == LF_TASKS || v->table == LF_ATTEMPTS || v->table == LF_LOGS;
    tell(v, &(lf_finding){.run = v->table == LF_META || v->table == LF_FLOWS || v->table == LF_TAGS || key.size < 4
                                     ? 0 : get_u32(key.data),
                          .task = has_task && key.size >= 8 ? get_u32(key.data + 4) : 0, .step = LF_ANY});
    return false;
}

static bool is_text(lf_slice key, const char *text) { return lf_slice_equal(key, lf_slice_of(text, strlen(text))); }

static int visit_meta(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    verify *v = payload;
    lf_slice value;
    if (!open_entry(v, key, data, 0, &value) || value.size != 4)
        return LUAFLOW_OK;
    if (is_text(key, "version"))
        v->version = get_u32(value.data);
    if (is_text(key, "next"))
        v->next = get_u32(value.data);
    return LUAFLOW_OK;
}

static int visit_run(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    verify *v = payload;
    lf_slice value;
    if (!open_entry(v, key, data, 5, &value))
        return LUAFLOW_OK;
    uint32_t number = get_u32(key.data);
    uint8_t part = key.data[4];
    struct run *run = v->n_runs > 0 ? &v->runs[v->n_runs - 1] : NULL;
    if (run == NULL || run->number != number) {
        if (!make_room((void **)&v->runs, v->n_runs, &v->runs_room, sizeof *v->runs))
            return lf_fail_memory(err);
        run = &v->runs[v->n_runs++];
        *run = (struct run){.number = number};
    }
    lf_buf *copy = part <= LF_RUN_STATE ? lf_buf_copy(value.data, value.size) : NULL;
    if (part <= LF_RUN_STATE && copy == NULL)
        return lf_fail_memory(err);
    if (part <= LF_RUN_STATE)
        run->bytes[part] = copy;
    bool good = part == LF_RUN_RECORD  ? lf_run_record_get(lf_buf_slice(copy), &run->record)
                : part == LF_RUN_STATE ? lf_run_state_get(lf_buf_slice(copy), &run->state)
                                       : false;
    if (good)
        return LUAFLOW_OK;
    run->is_hurt = true;
    if (part <= LF_RUN_STATE) {
        lf_buf_free(copy);
        run->bytes[part] = NULL;
    }
    say_of(v, number, 0, "its record is damaged, or written by a newer luaflow");
    return LUAFLOW_OK;
}

static int check_runs(verify *v, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    for (size_t i = 0; rc == LUAFLOW_OK && i < v->n_runs; i++) {
        struct run *run = &v->runs[i];
        v->sum->runs++;
        if ((run->bytes[0] == NULL || run->bytes[1] == NULL) && !run->is_hurt)
            say_of(v, run->number, 0, "a part of its record is missing");
        if (run->number >= v->next && v->next != 0)
            say_of(v, run->number, 0, "its number is to be given to the next run as well (%u)", v->next);
        if (run->bytes[1] != NULL && (run->counts = calloc(run->state.n_steps + 1, sizeof *run->counts)) == NULL)
            return lf_fail_memory(err);
        if (run->bytes[0] == NULL)
            continue;
        rc = need(v, &run->record.source, err);
        if (rc == LUAFLOW_OK) rc = need(v, &run->record.description, err);
        if (rc == LUAFLOW_OK) rc = need(v, &run->record.params, err);
    }
    return rc;
}

static bool has_tag(const lf_run_record *record, lf_slice name)
{
    for (lf_reader r = lf_reader_of(record->tags.data, record->tags.size); r.at < r.end;)
        if (lf_slice_equal(lf_read_string(&r), name))
            return true;
    return false;
}

/* An entry of the table LF_FLOWS or LF_TAGS. */
static int visit_name(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    verify *v = payload;
    lf_slice value;
    if (!open_entry(v, key, data, 0, &value) || key.size < 6)
        return LUAFLOW_OK;
    lf_slice name = {key.data, key.size - 5};
    uint32_t number = get_u32(key.data + key.size - 4);
    struct run *run = find_run(v, number);
    bool known = run != NULL && run->bytes[0] != NULL;
    bool fits = known && (v->table == LF_FLOWS ? lf_slice_equal(run->record.flow, name) : has_tag(&run->record, name));
    if (known && v->table == LF_FLOWS)
        run->in_flows = run->in_flows || fits;
    else if (known)
        run->n_tags += fits;
    if (!fits && !(run != NULL && run->is_hurt))
        say_of(v, number, 0, "it is listed under the %s '%.*s', %s", v->table == LF_FLOWS ? "flow" : "tag", (int)name.size,
               (const char *)name.data, known ? "which it does not have" : "and its record is missing");
    return LUAFLOW_OK;
}

static void check_names(verify *v)
{
    for (size_t i = 0; i < v->n_runs; i++) {
        const struct run *run = &v->runs[i];
        if (run->bytes[0] != NULL && !run->in_flows)
            say_of(v, run->number, 0, "it is not listed under its flow");
        if (run->bytes[0] != NULL && run->n_tags != run->record.n_tags)
            say_of(v, run->number, 0, "it is not listed under all of its tags");
    }
}

/* ---- tasks ---- */

static int check_parents(verify *v, uint32_t run, uint32_t task, const lf_task_record *record, luaflow_error *err)
{
    uint64_t n = lf_parents_count(record->parents);
    if (n > v->n_tasks || (n == 0 && record->parents.size > 0)) {
        say_of(v, run, task, "tasks before it are missing");
        return LUAFLOW_OK;
    }
    while (v->parents_room < n)
        if (!make_room((void **)&v->parents, v->parents_room, &v->parents_room, sizeof *v->parents))
            return lf_fail_memory(err);
    if (n > 0)
        lf_parents_get(record->parents, v->parents);
    for (uint64_t i = 0; i < n; i++)
        if (find_task(v, run, v->parents[i]) == NULL) {
            say_of(v, run, task, "task %u of that run, which came before it, is missing", v->parents[i]);
            break;
        }
    return LUAFLOW_OK;
}

/* The task on which one stands whose run and base are these. */
static void check_base(verify *v, const struct seen *of, uint32_t run, uint32_t task)
{
    const struct seen *base = of->base == 0 ? NULL : find_task(v, of->base_run, of->base);
    if (of->base != 0 && (base == NULL || base->base != 0 || base->flags & LF_TASK_REUSED))
        say_of(v, run, task, "task %u of run %u, whose artifacts it passes on, is %s", of->base, of->base_run,
               base == NULL ? "missing" : "not what it was");
}

static void check_origin(verify *v, uint32_t run, uint32_t task, const lf_task_record *record)
{
    const struct seen *origin = find_task(v, record->origin_run, record->origin_task);
    if (origin == NULL || origin->flags & (LF_TASK_REUSED | LF_TASK_FAILED))
        say_of(v, run, task, "task %u of run %u, which it reuses, is %s", record->origin_task, record->origin_run,
               origin == NULL ? "missing" : "not what it was");
    else
        check_base(v, origin, run, task);
}

static void count(struct run *run, const lf_task_record *task)
{
    luaflow_counts *c = run->counts != NULL && task->step < run->state.n_steps ? &run->counts[task->step] : NULL;
    if (c == NULL)
        return;
    *(task->flags & LF_TASK_FAILED ? &c->failed : &c->done) += 1;
    c->reused += (task->flags & LF_TASK_REUSED) != 0;
}

static int visit_task(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    verify *v = payload;
    lf_slice value;
    lf_task_record task;
    if (!open_entry(v, key, data, 8, &value))
        return LUAFLOW_OK;
    uint32_t number = get_u32(key.data), at = get_u32(key.data + 4);
    if (!lf_task_record_get(value, &task)) {
        say_of(v, number, at, "its record is damaged, or written by a newer luaflow");
        return LUAFLOW_OK;
    }
    if (!make_room((void **)&v->tasks, v->n_tasks, &v->tasks_room, sizeof *v->tasks))
        return lf_fail_memory(err);
    struct seen *seen = &v->tasks[v->n_tasks++];
    *seen = (struct seen){number, at, task.step, task.attempt, task.flags & LF_TASK_FAR ? task.base_run : number,
                          task.base, task.flags, false, false, 0};
    int rc = need_outputs(v, &task, err);
    struct run *run = find_run(v, number);
    if (rc != LUAFLOW_OK || run == NULL) /* of one that was pruned */
        return rc;
    v->sum->tasks++;
    count(run, &task);
    if (run->bytes[1] != NULL && task.step >= run->state.n_steps)
        say_of(v, number, at, "its step, number %u, is none of its flow", task.step);
    if (task.flags & LF_TASK_REUSED)
        check_origin(v, number, at, &task);
    else
        check_base(v, seen, number, at);
    return check_parents(v, number, at, &task, err);
}

static int visit_attempt(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    verify *v = payload;
    lf_slice value;
    lf_task_record attempt;
    if (!open_entry(v, key, data, 12, &value))
        return LUAFLOW_OK;
    uint32_t run = get_u32(key.data), number = get_u32(key.data + 4);
    if (!lf_task_record_get(value, &attempt)) {
        say_of(v, run, number, "the record of its attempt %u is damaged", get_u32(key.data + 8));
        return LUAFLOW_OK;
    }
    struct seen *task = find_task(v, run, number);
    if (task != NULL && get_u32(key.data + 8) < task->attempt)
        task->attempts++;
    return need_outputs(v, &attempt, err);
}

static int visit_steps(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    verify *v = payload;
    lf_slice value;
    if (!open_entry(v, key, data, 13, &value))
        return LUAFLOW_OK;
    uint32_t run = get_u32(key.data), step = get_u32(key.data + 4);
    bool failed = key.data[8] != 0, good = true;
    if (find_run(v, run) == NULL)
        return LUAFLOW_OK;
    lf_reader r = lf_reader_of(value.data, value.size);
    uint64_t n = lf_read_varint(&r), at = get_u32(key.data + 9);
    lf_read_varint(&r); /* how far the last */
    for (uint64_t i = 0; i < n && good; i++) {
        if (i > 0)
            at += lf_read_varint(&r);
        good = !r.bad && at <= UINT32_MAX;
        struct seen *task = good ? find_task(v, run, (uint32_t)at) : NULL;
        if (good && task == NULL) {
            lf_bytes_clear(&v->text);
            lf_bytes_printf(&v->text, "its record is missing");
            tell(v, &(lf_finding){.run = run, .task = (uint32_t)at, .step = step});
        } else if (good && (task->step != step || ((task->flags & LF_TASK_FAILED) != 0) != failed || task->is_listed)) {
            say_of(v, run, (uint32_t)at, "the list of tasks says something else of it");
        }
        if (task != NULL)
            task->is_listed = true;
    }
    if (!good || r.at != r.end)
        say_of(v, run, 0, "the list of its tasks is damaged");
    return LUAFLOW_OK;
}

static void check_tasks(verify *v)
{
    const struct run *run = NULL;
    for (size_t i = 0; i < v->n_tasks; i++) {
        const struct seen *t = &v->tasks[i];
        if (run == NULL || run->number != t->run)
            run = find_run(v, t->run);
        if (run == NULL)
            continue;
        if (!t->is_listed)
            say_of(v, t->run, t->task, "it is missing in the list of its step's tasks");
        if (!(t->flags & LF_TASK_REUSED) && t->attempts != t->attempt)
            say_of(v, t->run, t->task, "of its %u attempts before the last, %u are stored", t->attempt, t->attempts);
    }
}

/* What a run that is over says of itself. */
static void check_counts(verify *v)
{
    for (size_t i = 0; i < v->n_runs; i++) {
        const struct run *run = &v->runs[i];
        if (run->counts == NULL || run->state.status == LUAFLOW_RUNNING)
            continue;
        lf_reader r = lf_reader_of(run->state.counts.data, run->state.counts.size);
        bool same = true;
        for (uint32_t step = 0; step < run->state.n_steps; step++) {
            luaflow_counts said = lf_counts_next(&r), found = run->counts[step];
            same = same && said.done == found.done && said.failed == found.failed && said.reused == found.reused;
        }
        if (!same)
            say_of(v, run->number, 0, "the numbers of its tasks are not those of the records that are there");
    }
}

static int visit_log(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    verify *v = payload;
    lf_slice value, text;
    lf_log_piece piece;
    uint64_t time;
    uint8_t stream;
    if (!open_entry(v, key, data, 16, &value))
        return LUAFLOW_OK;
    bool good = lf_log_piece_get(value, &piece);
    lf_reader r = lf_reader_of(good ? piece.entries.data : NULL, good ? piece.entries.size : 0);
    while (lf_log_entry_next(&r, &time, &stream, &text))
        ;
    if (!good || r.bad)
        say_of(v, get_u32(key.data), get_u32(key.data + 4), "its log is damaged");
    return LUAFLOW_OK;
}

/* ---- blobs ---- */

static void end_blob(verify *v)
{
    struct reading *b = &v->blob;
    if (b->keying == NULL)
        return;
    lf_key key = lf_keying_end(b->keying);
    b->keying = NULL;
    bool sound = b->at == b->size && lf_key_equal(&key, &b->need->key) && b->size == b->need->size;
    b->need->became = sound ? SOUND : DAMAGED;
    b->need = NULL;
}

static int begin_blob(verify *v, struct need *n, lf_slice data, luaflow_error *err)
{
    struct reading *b = &v->blob;
    lf_reader r = lf_reader_of(data.data, data.size);
    uint8_t type = lf_read_u8(&r);
    n->became = DAMAGED;
    *b = (struct reading){.need = n, .keying = lf_keying_new(0)};
    if (b->keying == NULL)
        return lf_fail_memory(err);
    v->sum->blobs++;
    if (!r.bad && type == LF_BLOB_PLAIN) {
        b->size = b->at = lf_reader_left(&r);
        lf_keying_add(b->keying, r.at, b->size);
        end_blob(v);
        return LUAFLOW_OK;
    }
    b->size = lf_read_u64be(&r);
    if (r.bad || type != LF_BLOB_CHUNKED || r.at != r.end)
        b->size = UINT64_MAX; /* which nothing is */
    return LUAFLOW_OK;
}

static int visit_blob(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    verify *v = payload;
    struct reading *b = &v->blob;
    v->sum->bytes += key.size + data.size;
    if (key.size == 21) { /* the next chunk of the blob before, or one whose blob never came to be */
        uint8_t name[17];
        if (b->need != NULL)
            blob_name(&b->need->key, b->need->salt, name);
        if (b->need != NULL && memcmp(name, key.data, sizeof name) == 0 &&
            get_u32(key.data + 17) == b->at / LF_BLOB_CHUNK && b->at % LF_BLOB_CHUNK == 0) {
            lf_keying_add(b->keying, data.data, data.size);
            b->at += data.size;
        }
        return LUAFLOW_OK;
    }
    end_blob(v);
    lf_key of;
    if (key.size != 17 || v->needs_room == 0)
        return LUAFLOW_OK;
    memcpy(of.bytes, key.data, sizeof of.bytes);
    struct need *n = slot_of(v, &of, key.data[16]);
    return n->became == EMPTY ? LUAFLOW_OK : begin_blob(v, n, data, err);
}

/* ---- whom a damaged blob hurts ---- */

static void say_value(verify *v, lf_finding f, const lf_ref *ref, const char *how)
{
    lf_bytes_clear(&v->text);
    lf_bytes_printf(&v->text, "its blob ");
    for (size_t i = 0; i < sizeof ref->key.bytes; i++)
        lf_bytes_printf(&v->text, "%02x", ref->key.bytes[i]);
    lf_bytes_printf(&v->text, " %s", how);
    tell(v, &f);
}

static void blame_outputs(verify *v, uint32_t run, uint32_t number, const lf_task_record *task)
{
    lf_slice name;
    lf_ref ref;
    const char *how;
    for (lf_reader r = lf_reader_of(task->outputs.data, task->outputs.size); lf_output_next(&r, &name, &ref);)
        if (!is_sound(v, &ref, &how)) {
            lf_finding f = {.run = run, .task = number, .step = task->step, .place = task->place, .name = name};
            struct seen *seen = find_task(v, run, number);
            if (seen != NULL)
                seen->is_hurt = true;
            say_value(v, f, &ref, how);
        }
}

static int blame_task(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    verify *v = payload;
    lf_slice value;
    lf_task_record task;
    if (key.size < 8 || !lf_entry_sound(v->table, val_from(key), val_from(data), &value) ||
        !lf_task_record_get(value, &task))
        return LUAFLOW_OK;
    uint32_t run = get_u32(key.data), number = get_u32(key.data + 4);
    blame_outputs(v, run, number, &task);
    const struct seen *origin =
        task.flags & LF_TASK_REUSED ? find_task(v, task.origin_run, task.origin_task) : NULL;
    if (origin != NULL && origin->is_hurt) {
        lf_bytes_clear(&v->text);
        lf_bytes_printf(&v->text, "it reuses task %u of run %u, of which an artifact is damaged", task.origin_task,
                        task.origin_run);
        tell(v, &(lf_finding){.run = run, .task = number, .step = task.step, .place = task.place});
    }
    return LUAFLOW_OK;
}

static void blame_part(verify *v, const struct run *run, const lf_ref *ref, const char *what)
{
    const char *how;
    if (is_sound(v, ref, &how))
        return;
    char text[64];
    snprintf(text, sizeof text, "%s: %s cannot be read", how, what);
    say_value(v, (lf_finding){.run = run->number, .step = LF_ANY}, ref, text);
}

static int blame(verify *v, luaflow_error *err)
{
    for (size_t i = 0; i < v->n_runs; i++) {
        const struct run *run = &v->runs[i];
        if (run->bytes[0] == NULL)
            continue;
        blame_part(v, run, &run->record.source, "its source");
        blame_part(v, run, &run->record.description, "the description of its flow");
        blame_part(v, run, &run->record.params, "its parameters");
    }
    int rc = LUAFLOW_OK;
    static const enum lf_table tables[] = {LF_TASKS, LF_ATTEMPTS};
    for (size_t i = 0; rc == LUAFLOW_OK && i < 2; i++) {
        v->table = tables[i];
        if (v->has_table[v->table])
            rc = lf_pages_walk(&v->pages, &v->tree[v->table], LF_WALK_AGAIN, blame_task, v, err);
    }
    return rc;
}

/* ---- the list of tables, and that of free pages ---- */

static int visit_table(void *payload, lf_slice key, lf_slice value, luaflow_error *err)
{
    (void)err;
    verify *v = payload;
    int t = 0;
    while (t < LF_TABLES && !is_text(key, lf_table_names[t]))
        t++;
    if (t == LF_TABLES) {
        say(v, "the list of tables is damaged: it has one called '%.*s'", (int)key.size, (const char *)key.data);
        return LUAFLOW_OK;
    }
    lf_tree_get(value.data, &v->tree[t]);
    v->has_table[t] = v->tree[t].pad == 0 && v->tree[t].flags == 0;
    if (!v->has_table[t])
        say(v, "the list of tables is damaged: the table '%s' is of an impossible kind", lf_table_names[t]);
    return LUAFLOW_OK;
}

static int visit_free(void *payload, lf_slice key, lf_slice value, luaflow_error *err)
{
    (void)err;
    verify *v = payload;
    uint64_t n = 0, before = UINT64_MAX, txn;
    memcpy(&txn, key.data, sizeof txn);
    if (value.size >= 8)
        memcpy(&n, value.data, 8);
    const char *wrong = value.size < 8 || value.size % 8 != 0 || n != value.size / 8 - 1 ? "its length is impossible" : NULL;
    for (uint64_t i = 1; wrong == NULL && i <= n; i++) {
        uint64_t page;
        memcpy(&page, value.data + 8 * i, 8);
        if (page >= before)
            wrong = "it is out of order";
        else if (!lf_pages_free(&v->pages, page))
            wrong = "it names a page twice, or one that is none";
        before = page;
    }
    if (wrong != NULL)
        say(v, "the list of free pages (of transaction %" PRIu64 ") is damaged: %s. Run nothing with this store, for the "
               "next to write could overwrite good pages; restore it from a copy", txn, wrong);
    return LUAFLOW_OK;
}

static void check_free(verify *v)
{
    uint64_t page, n = lf_pages_both(&v->pages, &page);
    if (n > 0)
        say(v, "the list of free pages is damaged: page %" PRIu64 " and %" PRIu64 " others are in it and in use. Run nothing "
               "with this store, for the next to write could overwrite them; restore it from a copy", page, n - 1);
    uint64_t missing = 0;
    for (page = v->pages.in_file; page < v->pages.n; page++)
        missing += lf_pages_free(&v->pages, page);
    if (missing > 0)
        say(v, "data.mdb is truncated: it has %" PRIu64 " pages and should have %" PRIu64, v->pages.in_file, v->pages.n);
}

/* ---- all of it ---- */

static int walk_table(verify *v, enum lf_table t, lf_visit_fn visit, luaflow_error *err)
{
    v->table = t;
    if (!v->has_table[t]) {
        say(v, "the table '%s' is missing: restore the store from a copy", lf_table_names[t]);
        return LUAFLOW_OK;
    }
    return lf_pages_walk(&v->pages, &v->tree[t], LF_WALK_TABLE, visit, v, err);
}

static int check_version(verify *v, luaflow_error *err)
{
    if (v->version == 0) /* a damaged entry was told already */
        say(v, "the version of the store is missing");
    if (v->version <= LF_STORE_VERSION)
        return LUAFLOW_OK;
    return lf_fail(err, LUAFLOW_ESTORE,
                   "%s is a store of version %u, and this luaflow %s knows version %d; use a newer luaflow",
                   v->pin.store->dir, v->version, LUAFLOW_VERSION, LF_STORE_VERSION);
}

static int verify_tables(verify *v, luaflow_error *err)
{
    int rc = walk_table(v, LF_META, visit_meta, err);
    if (rc == LUAFLOW_OK) rc = check_version(v, err);
    if (rc == LUAFLOW_OK) rc = walk_table(v, LF_RUNS, visit_run, err);
    if (rc == LUAFLOW_OK) rc = check_runs(v, err);
    if (rc == LUAFLOW_OK) rc = walk_table(v, LF_FLOWS, visit_name, err);
    if (rc == LUAFLOW_OK) rc = walk_table(v, LF_TAGS, visit_name, err);
    if (rc != LUAFLOW_OK)
        return rc;
    check_names(v);
    rc = walk_table(v, LF_TASKS, visit_task, err);
    if (rc == LUAFLOW_OK) rc = walk_table(v, LF_ATTEMPTS, visit_attempt, err);
    if (rc == LUAFLOW_OK) rc = walk_table(v, LF_STEPS, visit_steps, err);
    if (rc != LUAFLOW_OK)
        return rc;
    check_tasks(v);
    check_counts(v);
    rc = walk_table(v, LF_LOGS, visit_log, err);
    if (rc == LUAFLOW_OK) rc = walk_table(v, LF_BLOBS, visit_blob, err);
    end_blob(v);
    for (size_t i = 0; i < v->needs_room; i++)
        v->n_bad += v->needs[i].became == MISSING || v->needs[i].became == DAMAGED;
    return rc == LUAFLOW_OK && v->n_bad > 0 ? blame(v, err) : rc;
}

static int verify_pages(verify *v, const lf_head *head, luaflow_error *err)
{
    int rc = lf_pages_init(&v->pages, head, err);
    v->is_free_list = true;
    if (rc == LUAFLOW_OK)
        rc = lf_pages_walk(&v->pages, &head->free, LF_WALK_NUMBERS, visit_free, v, err);
    v->is_free_list = false;
    v->table = LF_TABLES;
    if (rc == LUAFLOW_OK)
        rc = lf_pages_walk(&v->pages, &head->tables, LF_WALK_TABLES, visit_table, v, err);
    if (rc == LUAFLOW_OK)
        rc = verify_tables(v, err);
    if (rc == LUAFLOW_OK)
        check_free(v);
    return rc;
}

/* Holds a snapshot and finds its head. */
static int hold(verify *v, lf_head *head, bool *found, luaflow_error *err)
{
    lf_head heads[2];
    *found = false;
    for (int tries = 0; tries < 1000 && !*found; tries++) {
        uint64_t txn;
        const char *wrong = lf_heads_read(v->pin.fd, heads, &v->pages.size);
        if (wrong != NULL) {
            say(v, "data.mdb is damaged: %s; restore it from a copy", wrong);
            return LUAFLOW_OK;
        }
        int rc = lf_pin_begin(&v->pin, &txn, err);
        if (rc != LUAFLOW_OK)
            return rc;
        if (lf_heads_read(v->pin.fd, heads, &v->pages.size) != NULL)
            continue;
        *found = heads[txn % 2].txn == txn; /* else there were two commits since */
        *head = heads[txn % 2];
    }
    return *found ? LUAFLOW_OK
                  : lf_fail(err, LUAFLOW_ESTORE, "%s is being written too fast to be looked at; try again", v->pin.store->dir);
}

int lf_store_verify(const char *dir, lf_finding_fn tell_finding, void *payload, luaflow_verified *sum,
                    luaflow_error *err)
{
    verify v = {.tell = tell_finding, .payload = payload, .sum = sum};
    lf_head head;
    bool found = false;
    *sum = (luaflow_verified){0};
    int rc = lf_pin_open(dir, &v.pin, err);
    v.pages.fd = v.pin.fd;
    v.pages.hurt = hear_hurt;
    v.pages.payload = &v;
    if (rc == LUAFLOW_OK)
        rc = hold(&v, &head, &found, err);
    if (rc == LUAFLOW_OK && found)
        rc = verify_pages(&v, &head, err);
    lf_pin_close(&v.pin);
    lf_pages_fini(&v.pages);
    if (v.blob.keying != NULL)
        lf_keying_end(v.blob.keying);
    for (size_t i = 0; i < v.n_runs; i++) {
        lf_buf_free(v.runs[i].bytes[0]);
        lf_buf_free(v.runs[i].bytes[1]);
        free(v.runs[i].counts);
    }
    free(v.runs);
    free(v.tasks);
    free(v.needs);
    free(v.parents);
    lf_bytes_fini(&v.description);
    lf_bytes_fini(&v.text);
    return rc;
}
