/* Records: what goes in comes out, and nothing else does. */
#include "unit.h"

#include "record.h"

#include <stdlib.h>

static lf_slice text(const char *s) { return lf_slice_of(s, strlen(s)); }
static lf_slice all(const lf_bytes *b) { return lf_slice_of(b->data, b->size); }

static lf_ref inline_ref(const char *s)
{
    return (lf_ref){.kind = LF_REF_INLINE, .bytes = text(s), .size = strlen(s)};
}

static lf_ref key_ref(const char *s, uint8_t salt)
{
    return (lf_ref){
        .kind = LF_REF_KEY, .key = lf_key_of(0, s, strlen(s)), .salt = salt, .size = 1000};
}

/* Puts the checksum right again after a test has changed the bytes. */
static void mend(lf_bytes *b)
{
    uint32_t sum = lf_checksum(b->data + 5, b->size - 5);
    for (int i = 0; i < 4; i++)
        b->data[1 + i] = (uint8_t)(sum >> (24 - 8 * i));
}

/* A record with something in every field. */
static size_t put_full_task(lf_bytes *out, size_t *salt)
{
    lf_bytes outputs = {0}, place = {0}, parents = {0};
    lf_ref model = key_ref("weights", 0), gone = {.kind = LF_REF_REMOVED}, x = inline_ref("\x2a");
    *salt = lf_output_put(&outputs, text("model"), &model);
    CHECK_INT(lf_output_put(&outputs, text("old"), &gone), 0);
    CHECK_INT(lf_output_put(&outputs, text("x"), &x), 0);
    lf_place_put_index(&place, 300);
    lf_place_put_turn(&place, 2);
    lf_parents_put(&parents, (uint32_t[]){7, 8, 9, 3}, 4);
    size_t offset =
        lf_task_record_put(out, &(lf_task_record){.flags = LF_TASK_FAILED | LF_TASK_REUSED | LF_TASK_FAR,
                                                  .step = 4,
                                                  .attempt = 2,
                                                  .worker = 9,
                                                  .started_us = 1795000000000000,
                                                  .duration_us = 1234567,
                                                  .place = all(&place),
                                                  .base = 6,
                                                  .base_run = 10,
                                                  .origin_run = 11,
                                                  .origin_task = UINT32_MAX,
                                                  .parents = all(&parents),
                                                  .n_outputs = 3,
                                                  .outputs = all(&outputs),
                                                  .width = 1000000,
                                                  .choice = 5,
                                                  .message = text("it broke"),
                                                  .traceback = text("flow.lua:3: it broke")});
    *salt += offset;
    lf_bytes_fini(&outputs);
    lf_bytes_fini(&place);
    lf_bytes_fini(&parents);
    return offset;
}

TEST(a_task_record_comes_back_as_it_was)
{
    lf_bytes b = {0};
    size_t salt;
    put_full_task(&b, &salt);
    lf_task_record t;
    CHECK(lf_task_record_get(all(&b), &t));
    CHECK_INT(t.flags, LF_TASK_FAILED | LF_TASK_REUSED | LF_TASK_FAR);
    CHECK_INT(t.step, 4);
    CHECK_INT(t.attempt, 2);
    CHECK_INT(t.worker, 9);
    CHECK_INT(t.started_us, 1795000000000000);
    CHECK_INT(t.duration_us, 1234567);
    CHECK_INT(t.base, 6);
    CHECK_INT(t.base_run, 10);
    CHECK_INT(t.origin_run, 11);
    CHECK_INT(t.origin_task, UINT32_MAX);
    CHECK_INT(t.n_outputs, 3);
    CHECK_INT(t.width, 1000000);
    CHECK_INT(t.choice, 5);
    CHECK(lf_slice_equal(t.message, text("it broke")));
    CHECK(lf_slice_equal(t.traceback, text("flow.lua:3: it broke")));
    CHECK_INT(lf_parents_count(t.parents), 4);
    uint32_t parents[4];
    CHECK(lf_parents_get(t.parents, parents));
    CHECK_MEM(parents, ((uint32_t[]){7, 8, 9, 3}), sizeof parents);
    lf_bytes path = {0};
    lf_path_format(&path, "work", t.place);
    CHECK_STR(lf_bytes_cstr(&path), "work[300]#2");
    lf_bytes_fini(&path);
    lf_bytes_fini(&b);
}

TEST(the_record_of_a_trivial_task_is_small)
{
    lf_bytes b = {0}, outputs = {0}, parents = {0};
    lf_ref x = inline_ref("\x2a");
    lf_output_put(&outputs, text("result"), &x);
    lf_parents_put(&parents, &(uint32_t){123456}, 1);
    lf_task_record_put(&b, &(lf_task_record){.step = 3,
                                             .worker = 1,
                                             .started_us = 1795000000000000,
                                             .duration_us = 150,
                                             .base = 123456,
                                             .parents = all(&parents),
                                             .n_outputs = 1,
                                             .outputs = all(&outputs)});
    CHECK(b.size < 56);
    lf_bytes_fini(&b);
    lf_bytes_fini(&outputs);
    lf_bytes_fini(&parents);
}

TEST(a_record_says_where_a_task_ran_or_stands_only_when_that_is_another_run)
{
    static const struct { uint8_t flags; int more; } kinds[] = {
        {0, 0}, {LF_TASK_CAUGHT, 0}, {LF_TASK_FAR, 2}, {LF_TASK_REUSED, 4}, {LF_TASK_REUSED | LF_TASK_CAUGHT, 4}};
    size_t plain = 0;
    for (int i = 0; i < 5; i++) {
        lf_bytes b = {0};
        lf_task_record t;
        lf_task_record_put(&b, &(lf_task_record){.flags = kinds[i].flags, .base = 3, .base_run = 300,
                                                 .origin_run = 400, .origin_task = 500});
        plain = i == 0 ? b.size : plain;
        CHECK_INT(b.size, plain + (size_t)kinds[i].more);
        CHECK(lf_task_record_get(all(&b), &t));
        CHECK_INT(t.flags, kinds[i].flags);
        CHECK_INT(t.base, 3);
        CHECK_INT(t.base_run, t.flags & LF_TASK_FAR ? 300 : 0);
        CHECK_INT(t.origin_run, t.flags & LF_TASK_REUSED ? 400 : 0);
        CHECK_INT(t.origin_task, t.flags & LF_TASK_REUSED ? 500 : 0);
        lf_bytes_fini(&b);
    }
}

TEST(outputs_are_found_by_name_and_walked_in_order)
{
    lf_bytes b = {0};
    size_t salt;
    put_full_task(&b, &salt);
    lf_task_record t;
    CHECK(lf_task_record_get(all(&b), &t));
    lf_ref ref, model = key_ref("weights", 0), x = inline_ref("\x2a");
    CHECK(lf_output_find(&t, text("model"), &ref));
    CHECK(lf_ref_equal(&ref, &model));
    CHECK_INT(ref.size, 1000);
    CHECK(lf_output_find(&t, text("x"), &ref));
    CHECK(lf_ref_equal(&ref, &x));
    CHECK(lf_output_find(&t, text("old"), &ref));
    CHECK_INT(ref.kind, LF_REF_REMOVED);
    CHECK(!lf_output_find(&t, text("y"), &ref));
    CHECK(!lf_output_find(&t, text(""), &ref));

    lf_reader r = lf_reader_of(t.outputs.data, t.outputs.size);
    lf_slice name;
    size_t n = 0;
    while (lf_output_next(&r, &name, &ref))
        n++;
    CHECK_INT(n, 3);
    CHECK(!r.bad);
    lf_bytes_fini(&b);
}

TEST(a_salt_is_set_in_finished_bytes)
{
    lf_bytes b = {0};
    size_t salt;
    lf_bytes_put(&b, "before", 6); /* a record need not start where its bytes do */
    put_full_task(&b, &salt);
    uint8_t *record = b.data + 6;
    lf_task_record_salt(record, b.size - 6, salt, 3);
    lf_task_record t;
    lf_ref ref, salted = key_ref("weights", 3);
    CHECK(lf_task_record_get(lf_slice_of(record, b.size - 6), &t));
    CHECK(lf_output_find(&t, text("model"), &ref));
    CHECK(lf_ref_equal(&ref, &salted));
    lf_bytes_fini(&b);
}

TEST(references_are_equal_when_their_content_is)
{
    lf_ref a = inline_ref("a"), b = inline_ref("b"), k = key_ref("a", 0), salted = key_ref("a", 1),
           none = {.kind = LF_REF_REMOVED};
    CHECK(lf_ref_equal(&a, &a));
    CHECK(!lf_ref_equal(&a, &b));
    CHECK(lf_ref_equal(&k, &k));
    CHECK(!lf_ref_equal(&k, &salted));
    CHECK(!lf_ref_equal(&a, &k));
    CHECK(!lf_ref_equal(&a, &none));
    CHECK(lf_ref_equal(&none, &none));
}

TEST(any_flipped_bit_is_noticed)
{
    lf_bytes b = {0};
    size_t salt;
    put_full_task(&b, &salt);
    lf_task_record t;
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!lf_task_record_get(all(&b), &t));
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK(lf_task_record_get(all(&b), &t));
    lf_bytes_fini(&b);
}

TEST(a_record_cut_short_is_noticed_even_with_a_right_checksum)
{
    lf_bytes b = {0};
    size_t salt;
    put_full_task(&b, &salt);
    lf_task_record t;
    for (size_t size = 0; size < b.size; size++) {
        uint8_t *cut = malloc(size + 1); /* of its own, so that a sanitizer sees its end */
        memcpy(cut, b.data, size);
        CHECK(!lf_task_record_get(lf_slice_of(cut, size), &t));
        if (size >= 5) {
            lf_bytes short_one = {.data = cut, .size = size};
            mend(&short_one);
            CHECK(!lf_task_record_get(all(&short_one), &t));
        }
        free(cut);
    }
    lf_bytes_fini(&b);
}

TEST(bytes_changed_at_will_never_harm_the_reader)
{
    lf_bytes b = {0};
    size_t salt;
    uint32_t seed = 12345, kept = 0;
    put_full_task(&b, &salt);
    for (int i = 0; i < 20000; i++) {
        uint8_t *copy = malloc(b.size);
        memcpy(copy, b.data, b.size);
        for (int k = 0; k < 3; k++) {
            seed = seed * 1664525 + 1013904223;
            copy[5 + (seed >> 8) % (b.size - 5)] = (uint8_t)(seed >> 24);
        }
        lf_bytes changed = {.data = copy, .size = b.size};
        mend(&changed);
        lf_task_record t;
        if (lf_task_record_get(all(&changed), &t)) {
            lf_bytes path = {0};
            lf_path_format(&path, "s", t.place);
            lf_bytes_fini(&path);
            uint64_t n = lf_parents_count(t.parents);
            uint32_t *numbers = n <= 1000000 ? malloc(n * sizeof *numbers + 1) : NULL;
            if (numbers != NULL)
                lf_parents_get(t.parents, numbers);
            free(numbers);
            kept++;
        }
        free(copy);
    }
    CHECK(kept > 0);
    lf_bytes_fini(&b);
}

TEST(a_newer_version_is_refused)
{
    lf_bytes b = {0};
    size_t salt;
    put_full_task(&b, &salt);
    b.data[0] = 2;
    lf_task_record t;
    CHECK(!lf_task_record_get(all(&b), &t));
    lf_bytes_fini(&b);
}

TEST(sections_of_a_later_version_are_passed_over)
{
    lf_bytes b = {0};
    size_t salt;
    put_full_task(&b, &salt);
    lf_bytes_put_varint(&b, 1);
    lf_bytes_put_string(&b, "what it read", 12);
    lf_bytes_put_varint(&b, 700);
    lf_bytes_put_string(&b, "", 0);
    mend(&b);
    lf_task_record t;
    CHECK(lf_task_record_get(all(&b), &t));
    CHECK(lf_slice_equal(t.message, text("it broke")));
    lf_bytes_put_varint(&b, 2);
    lf_bytes_put_varint(&b, 100); /* longer than what is left */
    mend(&b);
    CHECK(!lf_task_record_get(all(&b), &t));
    lf_bytes_fini(&b);
}

TEST(outputs_out_of_order_or_miscounted_are_refused)
{
    lf_ref x = inline_ref("1");
    lf_task_record t;
    const struct {
        const char *first, *second;
        uint32_t n;
        bool good;
    } rows[] = {
        {"a", "b", 2, true},   {"b", "a", 2, false}, {"a", "a", 2, false}, {"a", "ab", 2, true},
        {"ab", "a", 2, false}, {"a", "b", 1, false}, {"a", "b", 3, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lf_bytes b = {0}, outputs = {0};
        lf_output_put(&outputs, text(rows[i].first), &x);
        lf_output_put(&outputs, text(rows[i].second), &x);
        lf_task_record_put(&b, &(lf_task_record){.n_outputs = rows[i].n, .outputs = all(&outputs)});
        CHECK_INT(lf_task_record_get(all(&b), &t), rows[i].good);
        lf_bytes_fini(&b);
        lf_bytes_fini(&outputs);
    }
}

static void check_parents(const uint32_t *numbers, size_t n, size_t at_most)
{
    lf_bytes b = {0};
    lf_parents_put(&b, numbers, n);
    CHECK(b.size <= at_most);
    CHECK_INT(lf_parents_count(all(&b)), n);
    uint32_t *back = malloc(n * sizeof *back + 1);
    CHECK(lf_parents_get(all(&b), back));
    if (n > 0)
        CHECK_MEM(back, numbers, n * sizeof *back);
    free(back);
    lf_bytes_fini(&b);
}

TEST(parents_keep_their_order_and_runs_of_them_are_short)
{
    uint32_t *many = malloc(1000000 * sizeof *many);
    for (uint32_t i = 0; i < 1000000; i++)
        many[i] = i + 2;
    check_parents(many, 1000000, 5);
    for (uint32_t i = 0; i < 1000; i++)
        many[i] = 5000 - 3 * i;
    check_parents(many, 1000, 2002);
    free(many);
    check_parents(NULL, 0, 0);
    check_parents((uint32_t[]){UINT32_MAX}, 1, 6);
    check_parents((uint32_t[]){UINT32_MAX, 0, UINT32_MAX - 1, UINT32_MAX}, 4, 20);
    check_parents((uint32_t[]){5, 5, 5}, 3, 6);
}

TEST(damaged_parents_count_none)
{
    const uint8_t cut[] = {4}, past[] = {0xfe, 0xff, 0xff, 0xff, 0x1f, 5}, below[] = {3, 0};
    uint32_t none[1];
    CHECK_INT(lf_parents_count(lf_slice_of(cut, sizeof cut)), 0);
    CHECK_INT(lf_parents_count(lf_slice_of(past, sizeof past)), 0);
    CHECK_INT(lf_parents_count(lf_slice_of(below, sizeof below)), 0);
    CHECK(!lf_parents_get(lf_slice_of(below, sizeof below), none));
}

TEST(a_run_record_comes_back_as_it_was)
{
    lf_bytes b = {0}, tags = {0};
    lf_bytes_put_string(&tags, "big", 3);
    lf_bytes_put_string(&tags, "nightly", 7);
    lf_run_record run = {.origin = 4,
                         .created_us = 1795000000000000,
                         .seed = UINT64_MAX,
                         .flow = text("Titles"),
                         .source = key_ref("source", 0),
                         .description = key_ref("graph", 1),
                         .params = inline_ref("\x80"),
                         .n_tags = 2,
                         .tags = all(&tags)},
                  back;
    lf_run_record_put(&b, &run);
    CHECK(lf_run_record_get(all(&b), &back));
    CHECK_INT(back.origin, 4);
    CHECK_INT(back.created_us, 1795000000000000);
    CHECK(back.seed == UINT64_MAX);
    CHECK(lf_slice_equal(back.flow, run.flow));
    CHECK(lf_ref_equal(&back.source, &run.source));
    CHECK(lf_ref_equal(&back.description, &run.description));
    CHECK(lf_ref_equal(&back.params, &run.params));
    CHECK_INT(back.n_tags, 2);
    CHECK(lf_slice_equal(back.tags, run.tags));
    b.data[b.size - 1] ^= 1;
    CHECK(!lf_run_record_get(all(&b), &back));
    lf_bytes_clear(&b);
    run.n_tags = 3;
    lf_run_record_put(&b, &run);
    CHECK(!lf_run_record_get(all(&b), &back));
    lf_bytes_fini(&b);
    lf_bytes_fini(&tags);
}

TEST(a_run_state_comes_back_as_it_was)
{
    lf_bytes b = {0}, counts = {0};
    lf_counts_put(&counts, &(luaflow_counts){1, 1, 0, 0});
    lf_counts_put(&counts, &(luaflow_counts){1000000, 999998, 2, 7});
    lf_run_state state = {.status = LUAFLOW_FAILED,
                          .finished_us = 99,
                          .total = {1000001, 999999, 2, 7},
                          .n_steps = 2,
                          .counts = all(&counts),
                          .problem = text("disk full")},
                 back;
    lf_run_state_put(&b, &state);
    CHECK(lf_run_state_get(all(&b), &back));
    CHECK_INT(back.status, LUAFLOW_FAILED);
    CHECK_INT(back.finished_us, 99);
    CHECK_INT(back.total.started, 1000001);
    CHECK_INT(back.total.reused, 7);
    CHECK_INT(back.n_steps, 2);
    CHECK(lf_slice_equal(back.problem, text("disk full")));
    lf_reader r = lf_reader_of(back.counts.data, back.counts.size);
    CHECK_INT(lf_counts_next(&r).done, 1);
    CHECK_INT(lf_counts_next(&r).failed, 2);
    CHECK_INT(lf_counts_next(&r).started, 0);
    CHECK(r.bad);
    lf_bytes_clear(&b);
    state.n_steps = 3;
    lf_run_state_put(&b, &state);
    CHECK(!lf_run_state_get(all(&b), &back));
    lf_bytes_fini(&b);
    lf_bytes_fini(&counts);
}

TEST(a_piece_of_a_log_comes_back_as_it_was)
{
    lf_bytes b = {0}, entries = {0};
    lf_log_entry_put(&entries, 1795000000000000, 1, text("one\n"));
    lf_log_entry_put(&entries, 1795000000000001, 2, lf_slice_of("a\0b", 3));
    lf_log_piece_put(&b, &(lf_log_piece){.step = 8, .entries = all(&entries)});
    lf_log_piece piece;
    CHECK(lf_log_piece_get(all(&b), &piece));
    CHECK_INT(piece.step, 8);
    lf_reader r = lf_reader_of(piece.entries.data, piece.entries.size);
    uint64_t time;
    uint8_t stream;
    lf_slice line;
    CHECK(lf_log_entry_next(&r, &time, &stream, &line));
    CHECK_INT(stream, 1);
    CHECK(lf_slice_equal(line, text("one\n")));
    CHECK(lf_log_entry_next(&r, &time, &stream, &line));
    CHECK_INT(time, 1795000000000001);
    CHECK_INT(stream, 2);
    CHECK(lf_slice_equal(line, lf_slice_of("a\0b", 3)));
    CHECK(!lf_log_entry_next(&r, &time, &stream, &line));
    CHECK(!r.bad);
    b.data[6] ^= 0x10;
    CHECK(!lf_log_piece_get(all(&b), &piece));
    lf_bytes_fini(&b);
    lf_bytes_fini(&entries);
}

TEST(a_path_says_step_and_place)
{
    lf_bytes place = {0}, path = {0};
    lf_path_format(&path, "start", all(&place));
    CHECK_STR(lf_bytes_cstr(&path), "start");
    lf_place_put_turn(&place, 2);
    lf_place_put_index(&place, 3);
    lf_bytes_clear(&path);
    lf_path_format(&path, "work", all(&place));
    CHECK_STR(lf_bytes_cstr(&path), "work#2[3]");
    lf_bytes_clear(&path);
    lf_path_format(&path, "work", lf_slice_of("\x06\xff", 2)); /* damaged: what can be read */
    CHECK_STR(lf_bytes_cstr(&path), "work[3]");
    lf_bytes_fini(&place);
    lf_bytes_fini(&path);
}
