/* store_verify_blobs.c -- of the store: the blobs that records need, and whom a damaged one hurts.
 */
#include "store_verify.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- blobs that are needed ---- */

static struct lf_verify_need *slot_of(lf_verify *v, const lf_key *key, uint8_t salt)
{
    uint64_t hash; /* keys are hashes */
    memcpy(&hash, key->bytes, sizeof hash);
    struct lf_verify_need *n = &v->needs[(hash + salt) & (v->needs_room - 1)];
    while (n->became != EMPTY && !(n->salt == salt && lf_key_equal(&n->key, key)))
        n = n + 1 == v->needs + v->needs_room ? v->needs : n + 1;
    return n;
}

static bool grow_needs(lf_verify *v)
{
    struct lf_verify_need *old = v->needs;
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

int lf_verify_need(lf_verify *v, const lf_ref *ref, luaflow_error *err)
{
    if (ref->kind != LF_REF_KEY)
        return LUAFLOW_OK;
    if (v->n_needs * 3 >= v->needs_room * 2 && !grow_needs(v))
        return lf_fail_memory(err);
    struct lf_verify_need *n = slot_of(v, &ref->key, ref->salt);
    if (n->became == EMPTY) {
        *n = (struct lf_verify_need){ref->key, ref->size, ref->salt, MISSING};
        v->n_needs++;
    }
    return LUAFLOW_OK;
}

/* Whether what `ref` points to can be read. */
static bool is_sound(lf_verify *v, const lf_ref *ref, const char **how)
{
    if (ref->kind != LF_REF_KEY)
        return true;
    const struct lf_verify_need *n = slot_of(v, &ref->key, ref->salt);
    *how = n->became == MISSING ? "is missing" : "is damaged";
    return n->became == SOUND && n->size == ref->size;
}

int lf_verify_need_outputs(lf_verify *v, const lf_task_record *task, luaflow_error *err)
{
    lf_slice name;
    lf_ref ref;
    int rc = LUAFLOW_OK;
    for (lf_reader r = lf_reader_of(task->outputs.data, task->outputs.size);
         rc == LUAFLOW_OK && lf_output_next(&r, &name, &ref);) {
        v->sum->artifacts += ref.kind != LF_REF_REMOVED;
        rc = lf_verify_need(v, &ref, err);
    }
    return rc;
}

/* ---- blobs ---- */

static void end_blob(lf_verify *v)
{
    struct lf_verify_blob *b = &v->blob;
    if (b->keying == NULL)
        return;
    lf_key key = lf_keying_end(b->keying);
    b->keying = NULL;
    bool sound = b->at == b->size && lf_key_equal(&key, &b->need->key) && b->size == b->need->size;
    b->need->became = sound ? SOUND : DAMAGED;
    b->need = NULL;
}

static int begin_blob(lf_verify *v, struct lf_verify_need *n, lf_slice data, luaflow_error *err)
{
    struct lf_verify_blob *b = &v->blob;
    lf_reader r = lf_reader_of(data.data, data.size);
    uint8_t type = lf_read_u8(&r);
    n->became = DAMAGED;
    *b = (struct lf_verify_blob){.need = n, .keying = lf_keying_new(0)};
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
    lf_verify *v = payload;
    struct lf_verify_blob *b = &v->blob;
    v->sum->bytes += key.size + data.size;
    if (key.size ==
        21) { /* the next chunk of the blob before, or one whose blob never came to be */
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
    struct lf_verify_need *n = slot_of(v, &of, key.data[16]);
    return n->became == EMPTY ? LUAFLOW_OK : begin_blob(v, n, data, err);
}

/* ---- whom a damaged blob hurts ---- */

static void say_value(lf_verify *v, lf_finding f, const lf_ref *ref, const char *how)
{
    lf_bytes_clear(&v->text);
    lf_bytes_printf(&v->text, "its blob ");
    for (size_t i = 0; i < sizeof ref->key.bytes; i++)
        lf_bytes_printf(&v->text, "%02x", ref->key.bytes[i]);
    lf_bytes_printf(&v->text, " %s", how);
    lf_verify_tell(v, &f);
}

static void blame_outputs(lf_verify *v, uint32_t run, uint32_t number, const lf_task_record *task)
{
    lf_slice name;
    lf_ref ref;
    const char *how;
    for (lf_reader r = lf_reader_of(task->outputs.data, task->outputs.size);
         lf_output_next(&r, &name, &ref);)
        if (!is_sound(v, &ref, &how)) {
            lf_finding f = {
                .run = run, .task = number, .step = task->step, .place = task->place, .name = name};
            struct lf_verify_task *seen = lf_verify_task(v, run, number);
            if (seen != NULL)
                seen->is_hurt = true;
            say_value(v, f, &ref, how);
        }
}

static int blame_task(void *payload, lf_slice key, lf_slice data, luaflow_error *err)
{
    (void)err;
    lf_verify *v = payload;
    lf_slice value;
    lf_task_record task;
    if (key.size < 8 || !lf_entry_sound(v->table, val_from(key), val_from(data), &value) ||
        !lf_task_record_get(value, &task))
        return LUAFLOW_OK;
    uint32_t run = get_u32(key.data), number = get_u32(key.data + 4);
    blame_outputs(v, run, number, &task);
    const struct lf_verify_task *origin =
        task.flags & LF_TASK_REUSED ? lf_verify_task(v, task.origin_run, task.origin_task) : NULL;
    if (origin != NULL && origin->is_hurt) {
        lf_bytes_clear(&v->text);
        lf_bytes_printf(&v->text, "it reuses task %u of run %u, of which an artifact is damaged",
                        task.origin_task, task.origin_run);
        lf_verify_tell(
            v, &(lf_finding){.run = run, .task = number, .step = task.step, .place = task.place});
    }
    return LUAFLOW_OK;
}

static void blame_part(lf_verify *v, const struct lf_verify_run *run, const lf_ref *ref,
                       const char *what)
{
    const char *how;
    if (is_sound(v, ref, &how))
        return;
    char text[64];
    snprintf(text, sizeof text, "%s: %s cannot be read", how, what);
    say_value(v, (lf_finding){.run = run->number, .step = LF_ANY}, ref, text);
}

static int blame(lf_verify *v, luaflow_error *err)
{
    for (size_t i = 0; i < v->n_runs; i++) {
        const struct lf_verify_run *run = &v->runs[i];
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

int lf_verify_blobs(lf_verify *v, luaflow_error *err)
{
    int rc = lf_verify_walk(v, LF_BLOBS, visit_blob, err);
    end_blob(v);
    size_t n_bad = 0;
    for (size_t i = 0; i < v->needs_room; i++)
        n_bad += v->needs[i].became == MISSING || v->needs[i].became == DAMAGED;
    return rc == LUAFLOW_OK && n_bad > 0 ? blame(v, err) : rc;
}
