/* target_record.c -- any bytes as what is remembered: they are refused, or read in bounds and
 * written again as they were. The first byte says as what, and whether the checksum is put
 * right, so that the inside is reached. */
#include "fuzz.h"
#include "record.h"

#include <stdlib.h>

enum { HEAD = 5, MOST_PARENTS = 1 << 16 };

/* What was read from `bytes` and written again as `again` is what they begin with: sections
 * of later versions may follow. */
static void check_again(lf_slice bytes, lf_bytes *again)
{
    MUST(!again->failed && again->size <= bytes.size && again->size >= HEAD);
    MUST(memcmp(again->data + HEAD, bytes.data + HEAD, again->size - HEAD) == 0);
    if (again->size == bytes.size)
        MUST(memcmp(again->data, bytes.data, HEAD) == 0);
    lf_bytes_fini(again);
}

static void check_inside(lf_slice bytes, lf_slice part)
{
    MUST(part.size == 0 || (part.data >= bytes.data && part.data + part.size <= bytes.data + bytes.size));
}

static void check_ref(lf_slice bytes, const lf_ref *ref)
{
    MUST(ref->kind <= LF_REF_KEY && lf_ref_equal(ref, ref));
    if (ref->kind == LF_REF_INLINE)
        check_inside(bytes, ref->bytes);
}

static void check_parents(lf_slice parents)
{
    uint64_t n = lf_parents_count(parents);
    MUST(n <= UINT32_MAX);
    if (n > MOST_PARENTS)
        return;
    uint32_t *numbers = calloc(n + 1, sizeof *numbers);
    MUST(numbers != NULL);
    bool is_read = lf_parents_get(parents, numbers);
    MUST(is_read == (n > 0 || parents.size == 0));
    lf_bytes again = {0};
    lf_parents_put(&again, numbers, n);
    lf_slice written = lf_slice_of(again.data, again.size);
    MUST(!again.failed && lf_parents_count(written) == n);
    uint32_t *twice = calloc(n + 1, sizeof *twice);
    MUST(twice != NULL && lf_parents_get(written, twice));
    MUST(memcmp(numbers, twice, n * sizeof *numbers) == 0);
    lf_bytes_fini(&again);
    free(numbers);
    free(twice);
}

static void check_place(lf_slice place)
{
    lf_bytes path = {0};
    lf_path_format(&path, "step", place);
    MUST(!path.failed && path.size >= 4);
    lf_bytes_fini(&path);
}

static void check_entries(lf_slice entries)
{
    lf_reader r = lf_reader_of(entries.data, entries.size);
    uint64_t time;
    uint8_t stream;
    lf_slice text;
    while (lf_log_entry_next(&r, &time, &stream, &text)) {
        check_inside(entries, text);
        lf_bytes again = {0};
        lf_log_entry_put(&again, time, stream, text);
        MUST(!again.failed && memcmp(again.data, r.at - again.size, again.size) == 0);
        lf_bytes_fini(&again);
    }
}

static void check_outputs(lf_slice outputs)
{
    lf_reader r = lf_reader_of(outputs.data, outputs.size);
    lf_slice name;
    lf_ref ref;
    while (lf_output_next(&r, &name, &ref)) {
        check_inside(outputs, name);
        check_ref(outputs, &ref);
        lf_bytes again = {0};
        size_t salt = lf_output_put(&again, name, &ref);
        MUST(!again.failed && memcmp(again.data, r.at - again.size, again.size) == 0);
        MUST(salt == 0 || again.data[salt] == ref.salt);
        lf_bytes_fini(&again);
    }
}

static void check_task(lf_slice bytes)
{
    lf_task_record t;
    if (!lf_task_record_get(bytes, &t))
        return;
    check_place(t.place);
    check_parents(t.parents);
    check_outputs(t.outputs);
    lf_reader r = lf_reader_of(t.outputs.data, t.outputs.size);
    lf_slice name;
    lf_ref ref, found;
    for (uint32_t i = 0; i < t.n_outputs; i++) {
        MUST(lf_output_next(&r, &name, &ref));
        MUST(lf_output_find(&t, name, &found) && lf_ref_equal(&ref, &found));
    }
    lf_slice parts[] = {t.place, t.parents, t.outputs, t.message, t.traceback};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        check_inside(bytes, parts[i]);
    lf_bytes again = {0};
    size_t outputs = lf_task_record_put(&again, &t);
    MUST(bytes.data + outputs == t.outputs.data);
    check_again(bytes, &again);
}

static void check_run(lf_slice bytes)
{
    lf_run_record run;
    if (!lf_run_record_get(bytes, &run))
        return;
    check_ref(bytes, &run.source);
    check_ref(bytes, &run.description);
    check_ref(bytes, &run.params);
    lf_reader r = lf_reader_of(run.tags.data, run.tags.size);
    for (uint32_t i = 0; i < run.n_tags; i++)
        check_inside(bytes, lf_read_string(&r));
    MUST(!r.bad);
    lf_bytes again = {0};
    lf_run_record_put(&again, &run);
    check_again(bytes, &again);
}

static void check_state(lf_slice bytes)
{
    lf_run_state state;
    if (!lf_run_state_get(bytes, &state))
        return;
    lf_reader r = lf_reader_of(state.counts.data, state.counts.size);
    for (uint32_t i = 0; i < state.n_steps; i++)
        lf_counts_next(&r);
    MUST(!r.bad && state.status <= LUAFLOW_INTERRUPTED);
    check_inside(bytes, state.problem);
    lf_bytes again = {0};
    lf_run_state_put(&again, &state);
    check_again(bytes, &again);
}

static void check_piece(lf_slice bytes)
{
    lf_log_piece piece;
    if (!lf_log_piece_get(bytes, &piece))
        return;
    check_inside(bytes, piece.entries);
    check_entries(piece.entries);
    lf_bytes again = {0};
    lf_log_piece_put(&again, &piece);
    check_again(bytes, &again);
}

static void put_right(lf_bytes *record)
{
    record->data[0] = 1; /* the version */
    uint32_t sum = lf_checksum(record->data + HEAD, record->size - HEAD);
    for (int i = 0; i < 4; i++)
        record->data[1 + i] = (uint8_t)(sum >> (24 - 8 * i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(lf_slice) = {check_task, check_run, check_state, check_piece,
                                               check_parents, check_place, check_entries, check_outputs};
    if (size == 0)
        return 0;
    lf_bytes record = {0};
    lf_bytes_put(&record, data + 1, size - 1);
    if (data[0] < 0x80 && record.size >= HEAD)
        put_right(&record);
    checks[data[0] % 8](lf_slice_of(record.data, record.size));
    lf_bytes_fini(&record);
    return 0;
}
