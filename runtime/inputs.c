/* inputs.c -- what a task reads: from a name to bytes. */
#include "inputs.h"

#include <stdlib.h>

/* ---- outputs of a task in memory, and of its base behind it ---- */

static lf_blob *held_blob(const lf_task *t, uint32_t ordinal)
{
    return ordinal < t->n_held ? t->batch->held[t->held_at + ordinal].blob : NULL;
}

static bool own_output(const lf_task *t, lf_slice wanted, lf_found *out)
{
    lf_slice outputs = lf_task_outputs(t), name;
    lf_reader r = lf_reader_of(outputs.data, outputs.size);
    uint32_t ordinal = 0;
    while (lf_output_next(&r, &name, &out->ref)) {
        bool is_key = out->ref.kind == LF_REF_KEY;
        if (lf_slice_equal(name, wanted)) {
            out->blob = is_key ? held_blob(t, ordinal) : NULL;
            return true;
        }
        ordinal += is_key;
    }
    return false;
}

static bool visible_output(const lf_task *t, lf_slice name, lf_found *out)
{
    if (own_output(t, name, out) || (t->base != NULL && own_output(t->base, name, out)))
        return out->ref.kind != LF_REF_REMOVED;
    return false;
}

bool lf_inputs_find(const lf_task *t, lf_slice name, lf_found *out)
{
    return t->parent != NULL && visible_output(t->parent, name, out);
}

static void read_from(lf_walk *w, const lf_task *source)
{
    lf_slice outputs = {NULL, 0};
    if (source != NULL)
        outputs = lf_task_outputs(source);
    w->source = source;
    w->reader = lf_reader_of(outputs.data, outputs.size);
    w->held = 0;
}

static lf_walk walk_of(const lf_task *source)
{
    lf_walk w = {NULL, NULL, {NULL, NULL, false}, 0};
    read_from(&w, source);
    return w;
}

lf_walk lf_inputs_walk(const lf_task *t) { return walk_of(t->parent); }

bool lf_inputs_next(lf_walk *w, lf_slice *name, lf_found *out)
{
    for (;;) {
        while (lf_output_next(&w->reader, name, &out->ref)) {
            out->blob = out->ref.kind == LF_REF_KEY ? held_blob(w->source, w->held++) : NULL;
            lf_found hidden;
            if (out->ref.kind != LF_REF_REMOVED &&
                (w->over == NULL || !own_output(w->over, *name, &hidden)))
                return true;
        }
        if (w->source == NULL || w->over != NULL || w->source->base == NULL)
            return false;
        w->over = w->source;
        read_from(w, w->source->base);
    }
}

int lf_inputs_load(lf_store *s, const lf_found *found, lf_buf **out, luaflow_error *err)
{
    if (found->ref.kind == LF_REF_INLINE) {
        *out = lf_buf_copy(found->ref.bytes.data, found->ref.bytes.size);
        return *out == NULL ? lf_fail_memory(err) : LUAFLOW_OK;
    }
    lf_ref ref = found->ref;
    if (found->blob != NULL) {
        if ((*out = lf_blob_bytes(found->blob)) != NULL)
            return LUAFLOW_OK;
        ref.salt = lf_blob_salt(found->blob);
    }
    lf_view *view;
    int rc = lf_view_begin(s, &view, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_blob(view, &ref, out, err);
    else
        view = NULL;
    lf_view_end(view);
    return rc;
}

int lf_inputs_same(lf_store *s, const lf_found *found, lf_parts bytes, bool *same,
                   luaflow_error *err)
{
    lf_ref ref = found->ref;
    *same = false;
    if (ref.size != lf_parts_size(bytes))
        return LUAFLOW_OK;
    if (ref.kind == LF_REF_INLINE) {
        *same = lf_parts_have(bytes, 0, ref.bytes);
        return LUAFLOW_OK;
    }
    lf_buf *buf = found->blob != NULL ? lf_blob_bytes(found->blob) : NULL;
    if (buf != NULL) {
        *same = lf_parts_have(bytes, 0, lf_buf_slice(buf));
        lf_buf_free(buf);
        return LUAFLOW_OK;
    }
    if (found->blob != NULL)
        ref.salt = lf_blob_salt(found->blob);
    lf_view *view;
    int rc = lf_view_begin(s, &view, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = lf_view_blob_equal(view, &ref, bytes, same, err);
    lf_view_end(view);
    return rc;
}

/* ---- inputs of a join ---- */

static const lf_task *live_input(const lf_join *j, uint32_t slot)
{
    uint32_t low = 0, high = j->n_live;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (j->live[middle].slot < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low < j->n_live && j->live[low].slot == slot ? j->live[low].task : NULL;
}

/* Whether what an input left is in memory: of one that was reused it is only in the store. */
static bool tells_itself(const lf_task *live) { return live != NULL && live->origin_run == 0; }

/* The record that tells what an input left that does not tell it itself, and its run. */
static int stored_input(lf_view *view, const lf_task *t, uint32_t slot, const lf_task *live,
                        uint32_t *run, lf_task_record *record, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    *run = t->batch->facts->run;
    if (live != NULL)
        *record = (lf_task_record){.flags = LF_TASK_REUSED, .origin_run = live->origin_run,
                                   .origin_task = live->origin_task};
    else
        rc = lf_view_task(view, *run, t->join->numbers[slot], record, err);
    return rc == LUAFLOW_OK ? lf_view_resolve(view, run, record, err) : rc;
}

static int gather_one(lf_view *view, const lf_task *t, uint32_t slot, lf_slice name,
                      lf_bytes *scratch, lf_gathered *g, luaflow_error *err)
{
    lf_found found = {.blob = NULL};
    const lf_task *live = live_input(t->join, slot);
    if (tells_itself(live)) {
        g->found = visible_output(live, name, &found);
    } else {
        lf_task_record record;
        uint32_t run;
        int rc = stored_input(view, t, slot, live, &run, &record, err);
        if (rc == LUAFLOW_OK)
            rc = lf_view_output(view, run, &record, name, &found.ref, &g->found, err);
        if (rc != LUAFLOW_OK)
            return rc;
    }
    if (!g->found)
        return LUAFLOW_OK;
    g->ref = found.ref;
    g->blob = found.blob;
    g->at = scratch->size;
    if (found.ref.kind == LF_REF_INLINE)
        lf_bytes_put(scratch, found.ref.bytes.data, found.ref.bytes.size);
    return scratch->failed ? lf_fail_memory(err) : LUAFLOW_OK;
}

int lf_inputs_gather(lf_store *s, const lf_task *t, lf_slice name, uint32_t from, uint32_t n,
                     lf_bytes *scratch, lf_gathered *out, luaflow_error *err)
{
    lf_view *view;
    int rc = lf_view_begin(s, &view, err);
    if (rc != LUAFLOW_OK)
        return rc;
    for (uint32_t i = 0; rc == LUAFLOW_OK && i < n; i++)
        rc = gather_one(view, t, from + i, name, scratch, &out[i], err);
    lf_view_end(view);
    return rc;
}

lf_found lf_gathered_at(const lf_gathered *g, const lf_bytes *scratch)
{
    lf_found found = {g->ref, g->blob};
    if (g->ref.kind == LF_REF_INLINE)
        found.ref.bytes.data = scratch->data + g->at;
    return found;
}

int lf_inputs_origin(lf_store *s, const lf_task *t, uint32_t slot, uint32_t *step,
                     lf_bytes *place, luaflow_error *err)
{
    lf_task_record record;
    const lf_task *live = live_input(t->join, slot);
    if (live != NULL) {
        if (!lf_task_record_get(lf_task_record_bytes(live), &record))
            return lf_fail(err, LUAFLOW_ESTORE, "a record in memory is damaged");
        *step = record.step;
        lf_bytes_put(place, record.place.data, record.place.size);
        return LUAFLOW_OK;
    }
    lf_view *view;
    int rc = lf_view_begin(s, &view, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = lf_view_task(view, t->batch->facts->run, t->join->numbers[slot], &record, err);
    if (rc == LUAFLOW_OK) {
        *step = record.step;
        lf_bytes_put(place, record.place.data, record.place.size);
    }
    lf_view_end(view);
    return rc;
}

/* ---- merging ---- */

/* An entry while it is gathered: its name and inline bytes are at offsets in the text. */
typedef struct draft {
    size_t name_at, name_size, bytes_at;
    lf_ref ref;
    lf_blob *blob;
    bool conflict;
} draft;

struct lf_merged {
    lf_store *store;
    lf_bytes text;
    draft *drafts;
    lf_merged_entry *entries;
    uint32_t n, room;
    uint32_t *table, table_room; /* open addressing: draft number + 1 */
};

void lf_merged_free(lf_merged *m)
{
    if (m == NULL)
        return;
    for (uint32_t i = 0; i < m->n; i++)
        lf_blob_free(m->entries != NULL ? m->entries[i].blob : m->drafts[i].blob);
    lf_bytes_fini(&m->text);
    free(m->drafts);
    free(m->entries);
    free(m->table);
    free(m);
}

static uint32_t *place_of(lf_merged *m, lf_slice name)
{
    uint32_t at = (uint32_t)lf_hash(0, name.data, name.size) & (m->table_room - 1);
    for (;; at = (at + 1) & (m->table_room - 1)) {
        if (m->table[at] == 0)
            return &m->table[at];
        const draft *d = &m->drafts[m->table[at] - 1];
        if (lf_slice_equal(name, lf_slice_of(m->text.data + d->name_at, d->name_size)))
            return &m->table[at];
    }
}

static bool grow(lf_merged *m)
{
    uint32_t room = m->room ? m->room * 2 : 16;
    draft *drafts = realloc(m->drafts, room * sizeof *drafts);
    if (drafts == NULL)
        return false;
    m->drafts = drafts;
    uint32_t *table = calloc(room * 2, sizeof *table);
    if (table == NULL)
        return false;
    free(m->table);
    m->table = table;
    m->table_room = room * 2;
    m->room = room;
    for (uint32_t i = 0; i < m->n; i++)
        *place_of(m, lf_slice_of(m->text.data + m->drafts[i].name_at, m->drafts[i].name_size)) = i + 1;
    return true;
}

/* Two blobs of one key are compared, unless they are the same handle or both are in the store,
 * where the salt tells. */
static int same_content(lf_merged *m, const draft *d, const lf_found *found, bool *same,
                        luaflow_error *err)
{
    lf_found mine = {d->ref, d->blob};
    if (mine.ref.kind == LF_REF_INLINE)
        mine.ref.bytes.data = m->text.data + d->bytes_at;
    bool is_key = mine.ref.kind == LF_REF_KEY && found->ref.kind == LF_REF_KEY;
    if (is_key && mine.blob != found->blob && mine.ref.size == found->ref.size &&
        lf_key_equal(&mine.ref.key, &found->ref.key)) {
        lf_buf *bytes;
        int rc = lf_inputs_load(m->store, &mine, &bytes, err);
        if (rc != LUAFLOW_OK)
            return rc;
        rc = lf_inputs_same(m->store, found, lf_parts_of(lf_buf_slice(bytes)), same, err);
        lf_buf_free(bytes);
        return rc;
    }
    *same = lf_ref_equal(&mine.ref, &found->ref);
    return LUAFLOW_OK;
}

/* Enters what one input has. */
static int enter(lf_merged *m, lf_slice name, const lf_found *found, luaflow_error *err)
{
    if (m->n == m->room && !grow(m))
        return lf_fail_memory(err);
    uint32_t *at = place_of(m, name);
    if (*at != 0) {
        draft *d = &m->drafts[*at - 1];
        bool same = true;
        int rc = d->conflict ? LUAFLOW_OK : same_content(m, d, found, &same, err);
        d->conflict = d->conflict || !same;
        return rc;
    }
    draft *d = &m->drafts[m->n];
    *d = (draft){m->text.size, name.size, 0, found->ref, NULL, false};
    lf_bytes_put(&m->text, name.data, name.size);
    d->bytes_at = m->text.size;
    if (found->ref.kind == LF_REF_INLINE)
        lf_bytes_put(&m->text, found->ref.bytes.data, found->ref.bytes.size);
    if (m->text.failed)
        return lf_fail_memory(err);
    d->blob = lf_blob_ref(found->blob);
    *at = ++m->n;
    return LUAFLOW_OK;
}

static int enter_live(lf_merged *m, const lf_task *input, luaflow_error *err)
{
    lf_walk w = walk_of(input);
    lf_slice name;
    lf_found found;
    int rc = LUAFLOW_OK;
    while (rc == LUAFLOW_OK && lf_inputs_next(&w, &name, &found))
        rc = enter(m, name, &found, err);
    return rc;
}

static int enter_stored(lf_merged *m, lf_view *view, const lf_task *t, uint32_t slot,
                        const lf_task *live, luaflow_error *err)
{
    lf_task_record record, base;
    uint32_t run;
    int rc = stored_input(view, t, slot, live, &run, &record, err);
    if (rc != LUAFLOW_OK)
        return rc;
    lf_slice name;
    lf_found found = {.blob = NULL};
    lf_reader r = lf_reader_of(record.outputs.data, record.outputs.size);
    while (rc == LUAFLOW_OK && lf_output_next(&r, &name, &found.ref))
        if (found.ref.kind != LF_REF_REMOVED)
            rc = enter(m, name, &found, err);
    if (rc != LUAFLOW_OK || record.base == 0)
        return rc;
    if ((rc = lf_view_base(view, run, &record, &base, err)) != LUAFLOW_OK)
        return rc;
    r = lf_reader_of(base.outputs.data, base.outputs.size);
    while (rc == LUAFLOW_OK && lf_output_next(&r, &name, &found.ref)) {
        lf_ref hidden;
        if (!lf_output_find(&record, name, &hidden))
            rc = enter(m, name, &found, err);
    }
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return lf_slice_compare(((const lf_merged_entry *)a)->name, ((const lf_merged_entry *)b)->name);
}

/* Turns drafts into entries, whose slices may point into the text now. */
static bool settle(lf_merged *m)
{
    m->entries = calloc(m->n ? m->n : 1, sizeof *m->entries);
    if (m->entries == NULL)
        return false;
    for (uint32_t i = 0; i < m->n; i++) {
        const draft *d = &m->drafts[i];
        lf_merged_entry *e = &m->entries[i];
        e->name = lf_slice_of(m->text.data + d->name_at, d->name_size);
        e->ref = d->ref;
        if (e->ref.kind == LF_REF_INLINE)
            e->ref.bytes.data = m->text.data + d->bytes_at;
        e->blob = d->blob;
        e->conflict = d->conflict;
    }
    qsort(m->entries, m->n, sizeof *m->entries, by_name);
    return true;
}

int lf_inputs_merge(lf_store *s, const lf_task *t, lf_merged **out, luaflow_error *err)
{
    lf_merged *m = calloc(1, sizeof *m);
    if (m == NULL)
        return lf_fail_memory(err);
    m->store = s;
    lf_view *view = NULL;
    int rc = lf_view_begin(s, &view, err);
    for (uint32_t slot = 0; rc == LUAFLOW_OK && slot < t->join->n; slot++) {
        const lf_task *live = live_input(t->join, slot);
        rc = tells_itself(live) ? enter_live(m, live, err)
                                : enter_stored(m, view, t, slot, live, err);
    }
    lf_view_end(view);
    if (rc == LUAFLOW_OK && !settle(m))
        rc = lf_fail_memory(err);
    if (rc != LUAFLOW_OK) {
        lf_merged_free(m);
        return rc;
    }
    *out = m;
    return LUAFLOW_OK;
}

uint32_t lf_merged_count(const lf_merged *m) { return m->n; }

const lf_merged_entry *lf_merged_at(const lf_merged *m, uint32_t i) { return &m->entries[i]; }

const lf_merged_entry *lf_merged_find(const lf_merged *m, lf_slice name)
{
    lf_merged_entry wanted = {.name = name};
    return bsearch(&wanted, m->entries, m->n, sizeof *m->entries, by_name);
}

/* ---- parameters ---- */

lf_slice lf_inputs_param(lf_slice params, lf_slice name)
{
    lf_slice none = {NULL, 0};
    lf_reader r = lf_reader_of(params.data, params.size);
    uint8_t head = lf_read_u8(&r);
    uint32_t n = 0;
    if ((head & 0xf0) == 0x80)
        n = head & 0x0f;
    else if (head == 0xde || head == 0xdf) {
        for (int i = head == 0xde ? 2 : 4; i > 0; i--)
            n = n << 8 | lf_read_u8(&r);
    }
    for (uint32_t i = 0; i < n && !r.bad; i++) {
        uint8_t kind = lf_read_u8(&r);
        size_t size = (kind & 0xe0) == 0xa0 ? (size_t)(kind & 0x1f) : lf_read_u8(&r);
        lf_slice key = lf_read(&r, size); /* a name: at most 128 bytes, so fixstr or str 8 */
        lf_slice value = lf_read(&r, lf_codec_skip(lf_slice_of(r.at, lf_reader_left(&r))));
        if (!r.bad && lf_slice_equal(key, name))
            return value;
    }
    return none;
}

int lf_inputs_list(lf_view *v, uint32_t run, const lf_task_record *task, const char *over,
                   lf_slice params, lf_buf **out, luaflow_error *err)
{
    lf_slice name = lf_slice_of(over, strlen(over));
    lf_ref ref;
    bool found;
    int rc = lf_view_output(v, run, task, name, &ref, &found, err);
    if (rc != LUAFLOW_OK || found)
        return rc != LUAFLOW_OK ? rc : lf_view_blob(v, &ref, out, err);
    lf_slice value = lf_inputs_param(params, name);
    *out = lf_buf_copy(value.data, value.size);
    return *out == NULL ? lf_fail_memory(err) : LUAFLOW_OK;
}
