/* store_verify.c -- of the store: everything in it is looked at, and what is wrong is told.
 *
 * First the pages (store_tree.c), then each entry's seal and record, then what entries say of
 * each other, last the blobs; where one is damaged, records are walked once more to name all
 * that need it. Reads one snapshot, which a read transaction holds. Memory: some 30 bytes for
 * each task and each blob. Records of runs that were pruned may still be there, with what they
 * point to gone: they are no damage, but what others reuse of them must be whole. */
#include "store_verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- finding ---- */

struct lf_verify_run *lf_verify_run(lf_verify *v, uint32_t number)
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
struct lf_verify_task *lf_verify_task(lf_verify *v, uint32_t run, uint32_t task)
{
    size_t low = 0, high = v->n_tasks;
    uint64_t wanted = (uint64_t)run << 32 | task;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct lf_verify_task *t = &v->tasks[middle];
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

bool lf_verify_room(void **list, size_t n, size_t *room, size_t item)
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

/* ---- telling ---- */

/* The flow of a run, for the names of its steps; only in large ones it is a blob. */
static lf_slice description_of(lf_verify *v, const struct lf_verify_run *run)
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
                     lf_pages_find(&v->pages, &v->tree[LF_BLOBS], lf_slice_of(name, sizeof name),
                                   &v->description) &&
                     v->description.size == ref->size + 1 &&
                     v->description.data[0] == LF_BLOB_PLAIN;
        lf_key key = found ? lf_key_of(0, v->description.data + 1, ref->size) : (lf_key){{0}};
        if (!found || !lf_key_equal(&key, &ref->key))
            lf_bytes_clear(&v->description);
        v->described = run->number;
    }
    return v->description.size == 0 ? (lf_slice){NULL, 0}
                                    : lf_slice_of(v->description.data + 1, v->description.size - 1);
}

void lf_verify_tell(lf_verify *v, lf_finding *f)
{
    v->sum->findings++;
    if (f->run != 0 && f->step != LF_ANY)
        f->description = description_of(v, lf_verify_run(v, f->run));
    f->text = lf_bytes_cstr(&v->text);
    if (f->text == NULL)
        f->text = "something is wrong (there was no memory to say what)";
    v->tell(v->payload, f);
}

static void say_args(lf_verify *v, const char *format, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    lf_bytes_clear(&v->text);
    lf_bytes_put(&v->text, text, strlen(text));
}

void lf_verify_say(lf_verify *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_args(v, format, args);
    va_end(args);
    lf_verify_tell(v, &(lf_finding){.step = LF_ANY});
}

/* Of a run, or of a task that is known. */
void lf_verify_say_of(lf_verify *v, uint32_t run, uint32_t task, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_args(v, format, args);
    va_end(args);
    const struct lf_verify_task *seen = task == 0 ? NULL : lf_verify_task(v, run, task);
    lf_verify_tell(
        v, &(lf_finding){.run = run, .task = task, .step = seen == NULL ? LF_ANY : seen->step});
}

/* What a key names, in words. */
static void put_key(lf_bytes *out, enum lf_table t, lf_slice key)
{
    uint32_t first = key.size >= 4 ? get_u32(key.data) : 0,
             second = key.size >= 8 ? get_u32(key.data + 4) : 0;
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
    default:
        lf_bytes_printf(out, "'%.*s'", (int)strnlen((const char *)key.data, key.size),
                        (const char *)key.data);
    }
}

static void hear_hurt(void *payload, uint64_t page, const char *how, const lf_slice *from,
                      const lf_slice *until)
{
    lf_verify *v = payload;
    lf_bytes *out = &v->text;
    lf_bytes_clear(out);
    lf_bytes_printf(out, "page %" PRIu64 " of data.mdb (at byte %" PRIu64 ") is damaged: %s. ",
                    page, page * v->pages.size, how);
    if (v->is_free_list) {
        lf_bytes_printf(
            out,
            "It is of the list of free pages: run nothing with this store, for the next to write "
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
    lf_verify_tell(v, &(lf_finding){.step = LF_ANY});
}

/* ---- entries ---- */

/* The value of an entry with keys of `size` bytes; false, and told, when it is damaged. */
bool lf_verify_open(lf_verify *v, lf_slice key, lf_slice data, size_t size, lf_slice *value)
{
    v->sum->bytes += key.size + data.size;
    if ((size == 0 || key.size == size) &&
        lf_entry_sound(v->table, val_from(key), val_from(data), value))
        return true;
    lf_bytes_clear(&v->text);
    lf_bytes_printf(&v->text, "an entry of the table '%s' is damaged: that of ",
                    lf_table_names[v->table]);
    put_key(&v->text, v->table, key);
    bool has_task = v->table == LF_TASKS || v->table == LF_ATTEMPTS || v->table == LF_LOGS;
    bool has_run = has_task || v->table == LF_RUNS || v->table == LF_STEPS;
    lf_verify_tell(v, &(lf_finding){.run = has_run && key.size >= 4 ? get_u32(key.data) : 0,
                                    .task = has_task && key.size >= 8 ? get_u32(key.data + 4) : 0,
                                    .step = LF_ANY});
    return false;
}

static bool is_text(lf_slice key, const char *text)
{
    return lf_slice_equal(key, lf_slice_of(text, strlen(text)));
}

int lf_verify_walk(lf_verify *v, enum lf_table t, lf_visit_fn visit, luaflow_error *err)
{
    v->table = t;
    if (!v->has_table[t]) {
        lf_verify_say(v, "the table '%s' is missing: restore the store from a copy",
                      lf_table_names[t]);
        return LUAFLOW_OK;
    }
    return lf_pages_walk(&v->pages, &v->tree[t], LF_WALK_TABLE, visit, v, err);
}

static int visit_meta(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    lf_verify *v = payload;
    lf_slice value;
    if (!lf_verify_open(v, key, data, 0, &value) || value.size != 4)
        return LUAFLOW_OK;
    if (is_text(key, "version"))
        v->version = get_u32(value.data);
    if (is_text(key, "next"))
        v->next = get_u32(value.data);
    return LUAFLOW_OK;
}

/* ---- the list of tables, and that of free pages ---- */

static int visit_table(void *payload, lf_slice key, lf_slice value, luaflow_error *err)
{
    (void)err;
    lf_verify *v = payload;
    int t = 0;
    while (t < LF_TABLES && !is_text(key, lf_table_names[t]))
        t++;
    if (t == LF_TABLES) {
        lf_verify_say(v, "the list of tables is damaged: it has one called '%.*s'", (int)key.size,
                      (const char *)key.data);
        return LUAFLOW_OK;
    }
    lf_tree_get(value.data, &v->tree[t]);
    v->has_table[t] = v->tree[t].pad == 0 && v->tree[t].flags == 0;
    if (!v->has_table[t])
        lf_verify_say(v, "the list of tables is damaged: the table '%s' is of an impossible kind",
                      lf_table_names[t]);
    return LUAFLOW_OK;
}

static int visit_free(void *payload, lf_slice key, lf_slice value, luaflow_error *err)
{
    (void)err;
    lf_verify *v = payload;
    uint64_t n = 0, before = UINT64_MAX, txn;
    memcpy(&txn, key.data, sizeof txn);
    if (value.size >= 8)
        memcpy(&n, value.data, 8);
    const char *wrong = value.size < 8 || value.size % 8 != 0 || n != value.size / 8 - 1
                            ? "its length is impossible"
                            : NULL;
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
        lf_verify_say(v,
                      "the list of free pages (of transaction %" PRIu64
                      ") is damaged: %s. Run nothing with this store, for the "
                      "next to write could overwrite good pages; restore it from a copy",
                      txn, wrong);
    return LUAFLOW_OK;
}

static void check_free(lf_verify *v)
{
    uint64_t page, n = lf_pages_both(&v->pages, &page);
    if (n > 0)
        lf_verify_say(
            v,
            "the list of free pages is damaged: page %" PRIu64 " and %" PRIu64
            " others are in it and in use. Run nothing "
            "with this store, for the next to write could overwrite them; restore it from a copy",
            page, n - 1);
    uint64_t missing = 0;
    for (page = v->pages.in_file; page < v->pages.n; page++)
        missing += lf_pages_free(&v->pages, page);
    if (missing > 0)
        lf_verify_say(v, "data.mdb is truncated: it has %" PRIu64 " pages and should have %" PRIu64,
                      v->pages.in_file, v->pages.n);
}

/* ---- all of it ---- */

static int check_version(lf_verify *v, luaflow_error *err)
{
    if (v->version == 0) /* a damaged entry was told already */
        lf_verify_say(v, "the version of the store is missing");
    if (v->version == 0 || v->version == LF_STORE_VERSION)
        return LUAFLOW_OK;
    return lf_fail(
        err, LUAFLOW_ESTORE,
        "%s is a store of version %u, and this luaflow %s knows version %d; use a newer luaflow",
        v->pin.store->dir, v->version, LUAFLOW_VERSION, LF_STORE_VERSION);
}

static int verify_tables(lf_verify *v, luaflow_error *err)
{
    int rc = lf_verify_walk(v, LF_META, visit_meta, err);
    if (rc == LUAFLOW_OK)
        rc = check_version(v, err);
    if (rc == LUAFLOW_OK)
        rc = lf_verify_records(v, err);
    return rc == LUAFLOW_OK ? lf_verify_blobs(v, err) : rc;
}

static int verify_pages(lf_verify *v, const lf_head *head, luaflow_error *err)
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
static int hold(lf_verify *v, lf_head *head, bool *found, luaflow_error *err)
{
    lf_head heads[2];
    *found = false;
    for (int tries = 0; tries < 1000 && !*found; tries++) {
        uint64_t txn;
        const char *wrong = lf_heads_read(v->pin.fd, heads, &v->pages.size);
        if (wrong != NULL) {
            lf_verify_say(v, "data.mdb is damaged: %s; restore it from a copy", wrong);
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
                  : lf_fail(err, LUAFLOW_ESTORE,
                            "%s is being written too fast to be looked at; try again",
                            v->pin.store->dir);
}

int lf_store_verify(const char *dir, lf_finding_fn tell_finding, void *payload,
                    luaflow_verified *sum, luaflow_error *err)
{
    lf_verify v = {.tell = tell_finding, .payload = payload, .sum = sum};
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
