/* record.c -- what is remembered of a task and of a run, and its bytes.
 *
 * A record is a version byte, a checksum of all that follows it, the fields in a fixed
 * order, and then sections of a tag, a length and bytes. This reader knows no section
 * and passes over all, so that a later version can say more without ceasing to be
 * readable; what changes the fields is a new version, which an older reader refuses.
 * Knows nothing of LMDB or Lua. Pure; any thread. */
#include "record.h"

#include <assert.h>

enum { VERSION = 1, HEAD = 5 /* version, checksum */ };

/* ---- the frame all records share ---- */

/* Starts a record; returns where. */
static size_t open_record(lf_bytes *out)
{
    size_t start = out->size;
    lf_bytes_put_u8(out, VERSION);
    lf_bytes_put_u32be(out, 0);
    return start;
}

static void seal(uint8_t *record, size_t size)
{
    uint32_t sum = lf_checksum(record + HEAD, size - HEAD);
    for (int i = 0; i < 4; i++)
        record[1 + i] = (uint8_t)(sum >> (24 - 8 * i));
}

static void close_record(lf_bytes *out, size_t start)
{
    if (!out->failed)
        seal(out->data + start, out->size - start);
}

static bool begin_reading(lf_slice bytes, lf_reader *r)
{
    *r = lf_reader_of(bytes.data, bytes.size);
    uint8_t version = lf_read_u8(r);
    uint32_t sum = lf_read_u32be(r);
    return !r->bad && version == VERSION && sum == lf_checksum(r->at, lf_reader_left(r));
}

/* Passes over the sections of later versions. False if anything did not fit. */
static bool end_reading(lf_reader *r)
{
    while (!r->bad && r->at < r->end) {
        lf_read_varint(r);
        lf_read_string(r);
    }
    return !r->bad;
}

static uint32_t read_u32(lf_reader *r)
{
    uint64_t v = lf_read_varint(r);
    if (v > UINT32_MAX) {
        r->bad = true;
        r->at = r->end;
        return 0;
    }
    return (uint32_t)v;
}

static void put_slice(lf_bytes *out, lf_slice s) { lf_bytes_put_string(out, s.data, s.size); }

/* ---- where a value is ---- */

bool lf_ref_equal(const lf_ref *a, const lf_ref *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case LF_REF_INLINE: return lf_slice_equal(a->bytes, b->bytes);
    case LF_REF_KEY:
        return a->size == b->size && a->salt == b->salt && lf_key_equal(&a->key, &b->key);
    case LF_REF_REMOVED: break;
    }
    return true;
}

/* Size and kind share a varint. Returns the offset of the salt byte, 0 if there is none. */
static size_t put_ref(lf_bytes *out, const lf_ref *ref)
{
    switch (ref->kind) {
    case LF_REF_REMOVED: lf_bytes_put_varint(out, LF_REF_REMOVED); break;
    case LF_REF_INLINE:
        lf_bytes_put_varint(out, (uint64_t)ref->bytes.size << 2 | LF_REF_INLINE);
        lf_bytes_put(out, ref->bytes.data, ref->bytes.size);
        break;
    case LF_REF_KEY: {
        assert(ref->size <= UINT64_MAX >> 2);
        lf_bytes_put_varint(out, ref->size << 2 | LF_REF_KEY);
        lf_bytes_put(out, ref->key.bytes, sizeof ref->key.bytes);
        size_t salt = out->size;
        lf_bytes_put_u8(out, ref->salt);
        return salt;
    }
    }
    return 0;
}

static void read_ref(lf_reader *r, lf_ref *ref)
{
    *ref = (lf_ref){0};
    uint64_t head = lf_read_varint(r);
    switch (head & 3) {
    case LF_REF_INLINE:
        ref->kind = LF_REF_INLINE;
        ref->bytes = lf_read(r, head >> 2);
        ref->size = ref->bytes.size;
        break;
    case LF_REF_KEY: {
        lf_slice key = lf_read(r, sizeof ref->key.bytes);
        if (key.size != 0)
            memcpy(ref->key.bytes, key.data, key.size);
        ref->kind = LF_REF_KEY;
        ref->salt = lf_read_u8(r);
        ref->size = head >> 2;
        break;
    }
    default:
        if (head != LF_REF_REMOVED) {
            r->bad = true;
            r->at = r->end;
        }
    }
}

/* ---- places ---- */

void lf_place_put_index(lf_bytes *place, uint64_t index) { lf_bytes_put_varint(place, index << 1); }

void lf_place_put_turn(lf_bytes *place, uint64_t turn)
{
    lf_bytes_put_varint(place, turn << 1 | 1);
}

void lf_path_format(lf_bytes *out, const char *step, lf_slice place)
{
    lf_bytes_put(out, step, strlen(step));
    lf_reader r = lf_reader_of(place.data, place.size);
    while (r.at < r.end) {
        uint64_t v = lf_read_varint(&r);
        if (!r.bad)
            lf_bytes_printf(out, v & 1 ? "#%llu" : "[%llu]", (unsigned long long)(v >> 1));
    }
}

/* ---- outputs ---- */

size_t lf_output_put(lf_bytes *out, lf_slice name, const lf_ref *ref)
{
    put_slice(out, name);
    return put_ref(out, ref);
}

bool lf_output_next(lf_reader *r, lf_slice *name, lf_ref *ref)
{
    if (r->at == r->end)
        return false;
    *name = lf_read_string(r);
    read_ref(r, ref);
    return !r->bad;
}

bool lf_output_find(const lf_task_record *record, lf_slice name, lf_ref *ref)
{
    lf_reader r = lf_reader_of(record->outputs.data, record->outputs.size);
    lf_slice at;
    while (lf_output_next(&r, &at, ref))
        if (lf_slice_equal(at, name))
            return true;
    return false;
}

static bool in_order(lf_slice a, lf_slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order < 0 || (order == 0 && a.size < b.size);
}

/* As many as the record says, each name once and in order. */
static bool outputs_fit(const lf_task_record *record)
{
    lf_reader r = lf_reader_of(record->outputs.data, record->outputs.size);
    lf_slice name, last = {NULL, 0};
    lf_ref ref;
    uint32_t n = 0;
    while (lf_output_next(&r, &name, &ref)) {
        if (n++ > 0 && !in_order(last, name))
            return false;
        last = name;
    }
    return !r.bad && n == record->n_outputs;
}

/* ---- parents ---- */

/* A run of consecutive numbers is how far its first lies from the one after the last
 * run's last (the sign in the lowest bit), and how many follow it. */
void lf_parents_put(lf_bytes *out, const uint32_t *numbers, size_t n)
{
    int64_t expected = 0;
    for (size_t i = 0; i < n;) {
        size_t length = 1;
        while (i + length < n && numbers[i + length] == (uint64_t)numbers[i] + length)
            length++;
        int64_t gap = numbers[i] - expected;
        lf_bytes_put_varint(out, gap < 0 ? (uint64_t)~gap << 1 | 1 : (uint64_t)gap << 1);
        lf_bytes_put_varint(out, length - 1);
        expected = (int64_t)numbers[i] + (int64_t)length;
        i += length;
    }
}

/* The next run. False at the end, and with `bad` set for what no writer wrote. */
static bool next_parents(lf_reader *r, int64_t *expected, uint32_t *first, uint64_t *length)
{
    if (r->at == r->end)
        return false;
    uint64_t gap = lf_read_varint(r);
    uint64_t more = lf_read_varint(r);
    if (!r->bad && gap >> 1 <= UINT32_MAX && more < UINT32_MAX) {
        int64_t from = *expected + (gap & 1 ? ~(int64_t)(gap >> 1) : (int64_t)(gap >> 1));
        if (from >= 0 && from + (int64_t)more <= UINT32_MAX) {
            *first = (uint32_t)from;
            *length = more + 1;
            *expected = from + (int64_t)*length;
            return true;
        }
    }
    r->bad = true;
    return false;
}

uint64_t lf_parents_count(lf_slice parents)
{
    lf_reader r = lf_reader_of(parents.data, parents.size);
    int64_t expected = 0;
    uint32_t first;
    uint64_t length, n = 0;
    while (next_parents(&r, &expected, &first, &length))
        n += length;
    return r.bad || n > UINT32_MAX ? 0 : n;
}

bool lf_parents_get(lf_slice parents, uint32_t *numbers)
{
    if (lf_parents_count(parents) == 0)
        return parents.size == 0;
    lf_reader r = lf_reader_of(parents.data, parents.size);
    int64_t expected = 0;
    uint32_t first;
    uint64_t length;
    while (next_parents(&r, &expected, &first, &length))
        for (uint64_t i = 0; i < length; i++)
            *numbers++ = first + (uint32_t)i;
    return true;
}

/* ---- tasks ---- */

static uint8_t *write_slice(uint8_t *to, lf_slice s)
{
    to = lf_varint_write(to, s.size);
    if (s.size > 0)
        memcpy(to, s.data, s.size);
    return to + s.size;
}

size_t lf_task_record_put(lf_bytes *out, const lf_task_record *record)
{
    enum { FIXED = HEAD + 1 + 17 * LF_VARINT_MAX };
    size_t most = FIXED + record->place.size + record->parents.size + record->outputs.size +
                  record->message.size + record->traceback.size;
    uint8_t *start = lf_bytes_reserve(out, most), *to = start, *outputs;
    if (start == NULL)
        return 0;
    *to = VERSION;
    to += HEAD;
    *to++ = record->flags;
    to = lf_varint_write(to, record->step);
    to = lf_varint_write(to, record->attempt);
    to = lf_varint_write(to, record->worker);
    to = lf_varint_write(to, record->started_us);
    to = lf_varint_write(to, record->duration_us);
    to = write_slice(to, record->place);
    to = lf_varint_write(to, record->base);
    if (record->flags & LF_TASK_FAR)
        to = lf_varint_write(to, record->base_run);
    if (record->flags & LF_TASK_REUSED) {
        to = lf_varint_write(to, record->origin_run);
        to = lf_varint_write(to, record->origin_task);
    }
    to = write_slice(to, record->parents);
    to = lf_varint_write(to, record->n_outputs);
    to = write_slice(to, record->outputs);
    outputs = to - record->outputs.size;
    to = lf_varint_write(to, record->width);
    to = lf_varint_write(to, record->choice);
    to = write_slice(to, record->message);
    to = write_slice(to, record->traceback);
    seal(start, (size_t)(to - start));
    out->size += (size_t)(to - start);
    return (size_t)(outputs - start);
}

bool lf_task_record_get(lf_slice bytes, lf_task_record *out)
{
    lf_reader r;
    if (!begin_reading(bytes, &r))
        return false;
    lf_task_record t = {0};
    t.flags = lf_read_u8(&r);
    t.step = read_u32(&r);
    t.attempt = read_u32(&r);
    t.worker = read_u32(&r);
    t.started_us = lf_read_varint(&r);
    t.duration_us = lf_read_varint(&r);
    t.place = lf_read_string(&r);
    t.base = read_u32(&r);
    if (t.flags & LF_TASK_FAR)
        t.base_run = read_u32(&r);
    if (t.flags & LF_TASK_REUSED) {
        t.origin_run = read_u32(&r);
        t.origin_task = read_u32(&r);
    }
    t.parents = lf_read_string(&r);
    t.n_outputs = read_u32(&r);
    t.outputs = lf_read_string(&r);
    t.width = read_u32(&r);
    t.choice = read_u32(&r);
    t.message = lf_read_string(&r);
    t.traceback = lf_read_string(&r);
    if (!end_reading(&r) || !outputs_fit(&t))
        return false;
    *out = t;
    return true;
}

void lf_task_record_salt(uint8_t *bytes, size_t size, size_t offset, uint8_t salt)
{
    assert(offset >= HEAD && offset < size);
    bytes[offset] = salt;
    seal(bytes, size);
}

/* ---- runs ---- */

void lf_run_record_put(lf_bytes *out, const lf_run_record *record)
{
    size_t start = open_record(out);
    lf_bytes_put_varint(out, record->origin);
    lf_bytes_put_varint(out, record->created_us);
    lf_bytes_put_varint(out, record->seed);
    put_slice(out, record->flow);
    put_ref(out, &record->source);
    put_ref(out, &record->description);
    put_ref(out, &record->params);
    lf_bytes_put_varint(out, record->n_tags);
    put_slice(out, record->tags);
    close_record(out, start);
}

static bool tags_fit(const lf_run_record *record)
{
    lf_reader r = lf_reader_of(record->tags.data, record->tags.size);
    uint32_t n = 0;
    for (; r.at < r.end; n++)
        lf_read_string(&r);
    return !r.bad && n == record->n_tags;
}

bool lf_run_record_get(lf_slice bytes, lf_run_record *out)
{
    lf_reader r;
    if (!begin_reading(bytes, &r))
        return false;
    lf_run_record run = {0};
    run.origin = read_u32(&r);
    run.created_us = lf_read_varint(&r);
    run.seed = lf_read_varint(&r);
    run.flow = lf_read_string(&r);
    read_ref(&r, &run.source);
    read_ref(&r, &run.description);
    read_ref(&r, &run.params);
    run.n_tags = read_u32(&r);
    run.tags = lf_read_string(&r);
    if (!end_reading(&r) || !tags_fit(&run))
        return false;
    *out = run;
    return true;
}

void lf_counts_put(lf_bytes *out, const luaflow_counts *counts)
{
    lf_bytes_put_varint(out, counts->started);
    lf_bytes_put_varint(out, counts->done);
    lf_bytes_put_varint(out, counts->failed);
    lf_bytes_put_varint(out, counts->reused);
}

luaflow_counts lf_counts_next(lf_reader *r)
{
    luaflow_counts counts;
    counts.started = lf_read_varint(r);
    counts.done = lf_read_varint(r);
    counts.failed = lf_read_varint(r);
    counts.reused = lf_read_varint(r);
    return r->bad ? (luaflow_counts){0} : counts;
}

void lf_run_state_put(lf_bytes *out, const lf_run_state *state)
{
    size_t start = open_record(out);
    lf_bytes_put_u8(out, state->status);
    lf_bytes_put_varint(out, state->finished_us);
    lf_counts_put(out, &state->total);
    lf_bytes_put_varint(out, state->n_steps);
    put_slice(out, state->counts);
    put_slice(out, state->problem);
    close_record(out, start);
}

static bool counts_fit(const lf_run_state *state)
{
    lf_reader r = lf_reader_of(state->counts.data, state->counts.size);
    uint32_t n = 0;
    for (; r.at < r.end; n++)
        lf_counts_next(&r);
    return !r.bad && n == state->n_steps;
}

bool lf_run_state_get(lf_slice bytes, lf_run_state *out)
{
    lf_reader r;
    if (!begin_reading(bytes, &r))
        return false;
    lf_run_state state = {0};
    state.status = lf_read_u8(&r);
    state.finished_us = lf_read_varint(&r);
    state.total = lf_counts_next(&r);
    state.n_steps = read_u32(&r);
    state.counts = lf_read_string(&r);
    state.problem = lf_read_string(&r);
    if (!end_reading(&r) || state.status > LUAFLOW_INTERRUPTED || !counts_fit(&state))
        return false;
    *out = state;
    return true;
}

/* ---- logs ---- */

void lf_log_piece_put(lf_bytes *out, const lf_log_piece *piece)
{
    size_t start = open_record(out);
    lf_bytes_put_varint(out, piece->step);
    put_slice(out, piece->entries);
    close_record(out, start);
}

bool lf_log_piece_get(lf_slice bytes, lf_log_piece *out)
{
    lf_reader r;
    if (!begin_reading(bytes, &r))
        return false;
    lf_log_piece piece = {0};
    piece.step = read_u32(&r);
    piece.entries = lf_read_string(&r);
    if (!end_reading(&r))
        return false;
    *out = piece;
    return true;
}

void lf_log_entry_put(lf_bytes *out, uint64_t time_us, uint8_t stream, lf_slice text)
{
    lf_bytes_put_varint(out, time_us);
    lf_bytes_put_u8(out, stream);
    put_slice(out, text);
}

bool lf_log_entry_next(lf_reader *r, uint64_t *time_us, uint8_t *stream, lf_slice *text)
{
    if (r->at == r->end)
        return false;
    *time_us = lf_read_varint(r);
    *stream = lf_read_u8(r);
    *text = lf_read_string(r);
    return !r->bad;
}
