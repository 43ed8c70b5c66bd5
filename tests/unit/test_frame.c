/* test_frame.c -- what a step's process and its parent say: every head reads as it was written,
 * and nothing else does. */
#include "frame.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static lf_slice text(const char *s) { return lf_slice_of(s, strlen(s)); }
static lf_slice slice(const lf_bytes *b) { return lf_slice_of(b->data, b->size); }
static bool is_text(lf_slice s, const char *wanted) { return lf_slice_equal(s, text(wanted)); }

typedef bool (*reads_fn)(lf_slice head);

/* No beginning of `whole`, nothing longer, and nothing with one bit flipped harms the reader;
 * the first two are refused. Each copy stands at the end of its own block of memory. */
static void check_distrust(reads_fn reads, lf_slice whole)
{
    CHECK(reads(whole));
    for (size_t n = 0; n <= whole.size + 1; n++) {
        uint8_t *copy = malloc(n > 0 ? n : 1);
        memcpy(copy, whole.data, n < whole.size ? n : whole.size);
        if (n > whole.size)
            copy[n - 1] = 0;
        CHECK(reads(lf_slice_of(copy, n)) == (n == whole.size));
        free(copy);
    }
    for (size_t bit = 0; bit < whole.size * 8; bit++) {
        uint8_t *copy = malloc(whole.size);
        memcpy(copy, whole.data, whole.size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        reads(lf_slice_of(copy, whole.size));
        free(copy);
    }
}

TEST(a_header_reads_as_it_was_written)
{
    uint8_t bytes[LF_FRAME_HEADER];
    lf_frame_header h = {LF_FRAME_KEEP, 1234567, UINT64_C(0x123456789a)}, got;
    lf_frame_header_put(bytes, &h);
    CHECK(lf_frame_header_get(bytes, &got));
    CHECK_INT(got.kind, LF_FRAME_KEEP);
    CHECK_INT(got.head, 1234567);
    CHECK(got.payload == UINT64_C(0x123456789a));
}

TEST(a_header_of_no_kind_or_beyond_bounds_is_none)
{
    static const lf_frame_header wrong[] = {
        {(lf_frame_kind)0, 0, 0},
        {LF_FRAME_KINDS, 0, 0},
        {LF_FRAME_KEEP, (uint32_t)LF_FRAME_HEAD_MAX + 1, 0},
        {LF_FRAME_KEEP, 0, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t bytes[LF_FRAME_HEADER];
        lf_frame_header got;
        lf_frame_header_put(bytes, &wrong[i]);
        CHECK(!lf_frame_header_get(bytes, &got));
    }
}

TEST(only_the_same_version_is_greeted)
{
    lf_bytes out = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_frame_hello_put(&out);
    CHECK_INT(lf_frame_hello_get(slice(&out), &err), LUAFLOW_OK);
    out.data[8]++; /* behind the magic word */
    CHECK_INT(lf_frame_hello_get(slice(&out), &err), LUAFLOW_EUSAGE);
    CHECK(strstr(err.message, "use the same release for both") != NULL);
    CHECK_INT(lf_frame_hello_get(text("GET / HTTP/1.1"), &err), LUAFLOW_EUSAGE);
    CHECK(strstr(err.message, "does not speak as luaflow") != NULL);
    CHECK_INT(lf_frame_hello_get((lf_slice){NULL, 0}, &err), LUAFLOW_EUSAGE);
    luaflow_error_clear(&err);
    lf_bytes_fini(&out);
}

/* ---- heads ---- */

static bool reads_task(lf_slice head)
{
    lf_frame_task task;
    return lf_frame_task_get(head, &task);
}

TEST(a_task_reads_as_it_was_written)
{
    lf_bytes tags = {0}, env = {0}, out = {0};
    lf_bytes_put_string(&tags, "one", 3);
    lf_bytes_put_string(&tags, "two", 3);
    lf_frame_env_put(&env, "HOME", "/root");
    lf_frame_env_put(&env, "EMPTY", "");
    lf_frame_task task = {
        .who = {.step = "train", .has_function = true, .is_join = true, .run = 3, .origin = 2,
                .task = UINT32_MAX, .attempt = 1, .depth = 2, .index = 300, .n_inputs = 100000,
                .seed = UINT64_MAX, .params = text("\x80"), .tags = slice(&tags), .n_tags = 2,
                .store = "/tmp/s"},
        .path = "flows/f.lua", .flow = "F", .source = text("return {}"), .description = text("\x80"),
        .n_env = 2, .env = slice(&env)};
    lf_frame_task_put(&out, &task);
    lf_frame_task got;
    CHECK(lf_frame_task_get(slice(&out), &got));
    CHECK_STR(got.who.step, "train");
    CHECK(got.who.has_function && got.who.is_join);
    CHECK(got.who.run == 3 && got.who.origin == 2 && got.who.task == UINT32_MAX && got.who.attempt == 1);
    CHECK(got.who.depth == 2 && got.who.index == 300 && got.who.n_inputs == 100000);
    CHECK(got.who.seed == UINT64_MAX);
    CHECK(is_text(got.who.params, "\x80") && lf_slice_equal(got.who.tags, slice(&tags)));
    CHECK_STR(got.who.store, "/tmp/s");
    CHECK_STR(got.path, "flows/f.lua");
    CHECK_STR(got.flow, "F");
    CHECK(is_text(got.source, "return {}") && is_text(got.description, "\x80"));
    lf_reader r = lf_reader_of(got.env.data, got.env.size);
    const char *name, *value;
    CHECK(lf_frame_env_next(&r, &name, &value));
    CHECK_STR(name, "HOME");
    CHECK_STR(value, "/root");
    CHECK(lf_frame_env_next(&r, &name, &value));
    CHECK_STR(value, "");
    CHECK(!lf_frame_env_next(&r, &name, &value));
    check_distrust(reads_task, slice(&out));
    lf_bytes_fini(&out);
    lf_bytes_fini(&env);
    lf_bytes_fini(&tags);
}

static bool reads_words(lf_slice head)
{
    lf_frame_words words;
    return lf_frame_words_get(head, &words);
}

TEST(a_question_reads_as_it_was_written)
{
    lf_bytes out = {0};
    lf_frame_words got;
    lf_frame_words_put(&out, 70000, lf_slice_of("a\0b", 3));
    CHECK(lf_frame_words_get(slice(&out), &got));
    CHECK_INT(got.number, 70000);
    CHECK(lf_slice_equal(got.name, lf_slice_of("a\0b", 3)));
    check_distrust(reads_words, slice(&out));
    lf_bytes_fini(&out);
}

static bool reads_names(lf_slice head)
{
    lf_frame_words *names = NULL;
    uint32_t n;
    bool ok = lf_frame_names_get(head, &names, &n, NULL) == LUAFLOW_OK;
    free(names);
    return ok;
}

TEST(names_read_as_they_were_written)
{
    lf_bytes out = {0};
    lf_frame_words *names = NULL;
    uint32_t n;
    lf_frame_names_begin(&out, 3);
    lf_frame_names_add(&out, text("a"), 0);
    lf_frame_names_add(&out, text(""), 1);
    lf_frame_names_add(&out, text("long name"), 900);
    CHECK_INT(lf_frame_names_get(slice(&out), &names, &n, NULL), LUAFLOW_OK);
    CHECK_INT(n, 3);
    CHECK(is_text(names[2].name, "long name") && names[2].number == 900 && names[1].name.size == 0);
    free(names);
    check_distrust(reads_names, slice(&out));
    lf_bytes_fini(&out);
}

TEST(a_list_that_lies_about_its_length_takes_no_memory)
{
    CHECK(!reads_names(text("\xff\xff\xff\xff\x0f\x01\x01")));
}

static bool reads_failure(lf_slice head)
{
    lf_frame_failure failure;
    return lf_frame_failure_get(head, &failure);
}

TEST(a_failure_reads_as_it_was_written)
{
    lf_bytes out = {0};
    lf_frame_failure got;
    lf_frame_failure_put(&out, "it broke", NULL);
    CHECK(lf_frame_failure_get(slice(&out), &got));
    CHECK(is_text(got.message, "it broke") && got.traceback.size == 0);
    lf_bytes_clear(&out);
    lf_frame_failure_put(&out, "it broke", "stack traceback:");
    CHECK(lf_frame_failure_get(slice(&out), &got));
    CHECK(is_text(got.traceback, "stack traceback:"));
    check_distrust(reads_failure, slice(&out));
    CHECK(!reads_failure(lf_slice_of("\2a\0\0", 4)));
    lf_bytes_fini(&out);
}

TEST(a_problem_fails_as_it_says)
{
    lf_bytes out = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_fail(&err, LUAFLOW_ESTORE, "the store is full");
    lf_frame_problem_put(&out, &err);
    luaflow_error_clear(&err);
    CHECK_INT(lf_frame_problem_get(slice(&out), &err), LUAFLOW_ESTORE);
    CHECK_STR(err.message, "the store is full");
    CHECK_INT(lf_frame_problem_get(text("\0"), &err), LUAFLOW_EVALUE);
    CHECK_INT(lf_frame_problem_get(text("\x63\1x"), &err), LUAFLOW_EVALUE);
    CHECK_INT(lf_frame_problem_get((lf_slice){NULL, 0}, &err), LUAFLOW_EVALUE);
    luaflow_error_clear(&err);
    lf_bytes_fini(&out);
}

/* ---- levels and blocks ---- */

/* What a level says of element `at` of the list `bytes`. */
static lf_frame_level told(lf_bytes *out, lf_slice bytes, uint64_t at)
{
    lf_list list;
    lf_frame_level got;
    CHECK_INT(lf_list_init(&list, bytes, NULL), LUAFLOW_OK);
    lf_level level = {"split", (uint32_t)at, list.size, &list, at};
    lf_bytes_clear(out);
    lf_frame_level_put(out, &level);
    lf_list_fini(&list);
    CHECK(lf_frame_level_get(slice(out), &got));
    CHECK_STR(got.step, "split");
    CHECK_INT(got.index, at);
    return got;
}

static bool reads_level(lf_slice head)
{
    lf_frame_level level;
    return lf_frame_level_get(head, &level);
}

TEST(a_level_takes_along_its_one_element)
{
    lf_bytes out = {0};
    lf_frame_level got = told(&out, lf_slice_of("\x93\1\xa3two\3", 7), 2);
    CHECK_INT(got.size, 3);
    CHECK(is_text(got.list, "\x91\xa3two"));
    check_distrust(reads_level, slice(&out));
    got = told(&out, lf_slice_of("\xd6\x12\1\0\2\0", 6), 2); /* int16_t[2] */
    CHECK(lf_slice_equal(got.list, lf_slice_of("\xd5\x12\2\0", 4)));
    got = told(&out, text("\7"), 5); /* over a number: the element is its place */
    CHECK(got.list.size == 0 && got.size == 7 && got.index == 5);
    lf_bytes_fini(&out);
}

TEST(a_block_gives_what_was_added)
{
    lf_bytes out = {0};
    lf_frame_block_add(&out, &(lf_given){.found = true, .bytes = text("\1")});
    lf_frame_block_add(&out, &(lf_given){.found = false});
    lf_reader r = lf_reader_of(out.data, out.size);
    lf_given got;
    CHECK(lf_frame_block_next(&r, &got));
    CHECK(got.found && is_text(got.bytes, "\1") && got.buf == NULL);
    CHECK(lf_frame_block_next(&r, &got));
    CHECK(!got.found);
    CHECK(!lf_frame_block_next(&r, &got));
    r = lf_reader_of("\2", 1);
    CHECK(!lf_frame_block_next(&r, &got));
    r = lf_reader_of("\1\x7f\1", 3);
    CHECK(!lf_frame_block_next(&r, &got));
    lf_bytes_fini(&out);
}

TEST(only_whole_values_are_artifacts)
{
    CHECK(lf_frame_is_value(text("\1")));
    CHECK(!lf_frame_is_value(text("\1\1")));
    CHECK(!lf_frame_is_value(text("\xa5no")));
    CHECK(!lf_frame_is_value(text("\xc0"))); /* nil */
    CHECK(!lf_frame_is_value((lf_slice){NULL, 0}));
}
