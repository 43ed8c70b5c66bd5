/* What a task reads: from memory while it is in flight, from the store once it is there. */
#include "unit.h"

#include "inputs.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- a world in one line ---- */

enum { RUN = 1, BIG = LF_INLINE_MAX + 44 };

static char dir[64];
static lf_store *store;
static lf_staged *staged;
static lf_facts *facts;

static void begin(void)
{
    strcpy(dir, "/tmp/test_inputs.XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    char at[96];
    snprintf(at, sizeof at, "%s/s", dir);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_store_open(at, true, &store, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    staged = lf_staged_new();
    facts = lf_facts_new(4);
    facts->run = RUN;
}

static void end(void)
{
    CHECK_INT(facts->refs, 1); /* every batch has gone */
    CHECK_INT(lf_staged_bytes(staged), 0);
    lf_facts_free(facts);
    lf_staged_free(staged);
    lf_store_close(store);
    char line[96];
    snprintf(line, sizeof line, "rm -rf '%s'", dir);
    CHECK_INT(system(line), 0);
}

static lf_slice text(const char *s) { return lf_slice_of(s, strlen(s)); }

/* ---- tasks, sealed by hand ---- */

/* Appends one output: "x1" (a small value, one byte), "xA" (a large one, many bytes of that
 * letter) or "x-" (removed); the name is all but the last character. */
static void put_output(lf_bytes *outputs, lf_batch *b, const char *word)
{
    size_t size = strlen(word) - 1;
    uint8_t what = (uint8_t)word[size], big[BIG];
    lf_ref ref = {.kind = LF_REF_REMOVED};
    lf_blob *blob = NULL;
    if (what >= '0' && what <= '9') {
        ref = (lf_ref){.kind = LF_REF_INLINE, .bytes = {&what, 1}, .size = 1};
    } else if (what != '-') {
        memset(big, what, sizeof big);
        ref = (lf_ref){.kind = LF_REF_KEY, .key = lf_key_of(0, big, sizeof big), .size = sizeof big};
        blob = lf_blob_new(staged, &ref.key, lf_buf_copy(big, sizeof big));
    }
    size_t salt_at = lf_output_put(outputs, lf_slice_of(word, size), &ref);
    if (ref.kind == LF_REF_KEY)
        CHECK(lf_batch_hold(b, blob, salt_at, true));
}

/* A finished task of step `step` at element `index` that left `words`, in ascending order,
 * in front of what `base` (may be NULL) left. */
static lf_task *sealed(uint32_t number, uint32_t step, uint32_t index, lf_task *base, const char *words)
{
    lf_batch *b = lf_batch_new(facts, 1);
    lf_task *t = &b->tasks[0];
    lf_bytes outputs = {0}, place = {0};
    char copy[2000], *left;
    lf_task_record record = {.step = step};
    t->number = number;
    t->step = step;
    t->index = index;
    t->base = lf_task_hold(base);
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &left); word != NULL; word = strtok_r(NULL, " ", &left)) {
        put_output(&outputs, b, word);
        record.n_outputs++;
    }
    lf_task_place(t, &place);
    record.place = lf_slice_of(place.data, place.size);
    record.base = base != NULL ? base->number : 0;
    record.outputs = lf_slice_of(outputs.data, outputs.size);
    size_t outputs_at = lf_task_record_put(&b->arena, &record);
    t->record_size = b->arena.size;
    t->outputs_at = outputs_at;
    t->outputs_size = outputs.size;
    t->n_held = b->n_held;
    t->outcome = LF_SUCCEEDED;
    lf_bytes_fini(&outputs);
    lf_bytes_fini(&place);
    return t;
}

/* Stores the task in a run, and tells its handles so, as the writer does. */
static void commit_to(uint32_t run, lf_task *t)
{
    lf_write *w;
    CHECK_INT(lf_write_begin(store, &w, NULL), LUAFLOW_OK);
    for (uint32_t i = 0; i < t->n_held; i++) {
        lf_blob *blob = t->batch->held[t->held_at + i].blob;
        lf_buf *bytes = lf_blob_bytes(blob);
        uint8_t salt;
        CHECK_INT(lf_write_blob(w, lf_blob_key(blob), lf_buf_slice(bytes), &salt, NULL), LUAFLOW_OK);
        lf_blob_settle(blob, salt);
        lf_buf_free(bytes);
    }
    CHECK_INT(lf_write_task(w, run, t->number, lf_task_record_bytes(t), NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_commit(w, NULL), LUAFLOW_OK);
    for (uint32_t i = 0; i < t->n_held; i++)
        lf_blob_committed(t->batch->held[t->held_at + i].blob);
}

static void commit(lf_task *t) { commit_to(RUN, t); }

/* Commits and forgets it: only its number is left. */
static uint32_t stored(lf_task *t)
{
    uint32_t number = t->number;
    commit(t);
    lf_task_drop(t);
    return number;
}

/* The same in another run, where it ran. */
static void stored_in(uint32_t run, lf_task *t)
{
    commit_to(run, t);
    lf_task_drop(t);
}

/* A task of step `step` at element `index` that was reused: it ran as `origin_task` of
 * `origin_run`. */
static lf_task *reused(uint32_t number, uint32_t step, uint32_t index, uint32_t origin_run, uint32_t origin_task)
{
    lf_batch *b = lf_batch_new(facts, 1);
    lf_task *t = &b->tasks[0];
    lf_bytes at = {0};
    t->number = number;
    t->step = step;
    t->index = index;
    t->outcome = LF_SUCCEEDED;
    t->origin_run = origin_run;
    t->origin_task = origin_task;
    lf_task_place(t, &at);
    lf_task_record_put(&b->arena, &(lf_task_record){.flags = LF_TASK_REUSED, .step = step, .place = {at.data, at.size},
                                                    .origin_run = origin_run, .origin_task = origin_task});
    t->record_size = b->arena.size;
    lf_bytes_fini(&at);
    return t;
}

/* A task that has yet to run, after `parent` (taken; may be NULL). */
static lf_task *after(lf_task *parent)
{
    lf_batch *b = lf_batch_new(facts, 1);
    b->tasks[0].parent = parent;
    return &b->tasks[0];
}

/* A join over `n` inputs, which are to be given. */
static lf_task *join_of(uint32_t n)
{
    lf_task *t = after(NULL);
    t->join = calloc(1, sizeof *t->join);
    t->join->numbers = calloc(n, sizeof(uint32_t));
    t->join->live = calloc(n, sizeof(lf_live_input));
    t->join->n = n;
    return t;
}

/* Gives the next slot's input: a task in memory (taken), or the number of one in the store. */
static void give_live(lf_task *join, uint32_t slot, lf_task *input)
{
    join->join->numbers[slot] = input->number;
    join->join->live[join->join->n_live++] = (lf_live_input){slot, input};
}

static void give_stored(lf_task *join, uint32_t slot, uint32_t number)
{
    join->join->numbers[slot] = number;
}

/* ---- what is found ---- */

/* '1' or 'A' as in put_output, or '?' when it is something else. */
static char letter_of(lf_slice value)
{
    for (size_t i = 1; i < value.size; i++)
        if (value.data[i] != value.data[0])
            return '?';
    return value.size == 1 || value.size == BIG ? (char)value.data[0] : '?';
}

static char load(const lf_found *found)
{
    lf_buf *buf = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_inputs_load(store, found, &buf, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    char letter = letter_of(lf_buf_slice(buf));
    lf_buf_free(buf);
    return letter;
}

/* What the task finds under `name`: its letter, or '-' for nothing. */
static char find(const lf_task *t, const char *name)
{
    lf_found found;
    return lf_inputs_find(t, text(name), &found) ? load(&found) : '-';
}

/* Everything that it would pass on, in the words of put_output. */
static const char *walk(const lf_task *t)
{
    static char words[500];
    words[0] = 0;
    lf_walk w = lf_inputs_walk(t);
    lf_slice name;
    lf_found found;
    while (lf_inputs_next(&w, &name, &found)) {
        size_t used = strlen(words);
        snprintf(words + used, sizeof words - used, "%s%.*s%c", used > 0 ? " " : "", (int)name.size,
                 (const char *)name.data, load(&found));
    }
    return words;
}

/* What inputs [from, from + n) of a join have under `name`, a letter or '-' each. */
static const char *gather(const lf_task *join, const char *name, uint32_t from, uint32_t n)
{
    static char letters[101];
    lf_gathered got[100];
    lf_bytes scratch = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    memset(got, 0, sizeof got);
    if (lf_inputs_gather(store, join, text(name), from, n, &scratch, got, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    for (uint32_t i = 0; i < n; i++) {
        lf_found found = lf_gathered_at(&got[i], &scratch);
        letters[i] = got[i].found ? load(&found) : '-';
    }
    letters[n] = 0;
    lf_bytes_fini(&scratch);
    return letters;
}

/* What merging the inputs gives: "x1 y! z": the value, or "!" for a conflict. */
static const char *merge(const lf_task *join)
{
    static char words[2000];
    words[0] = 0;
    lf_merged *m = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_inputs_merge(store, join, &m, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    for (uint32_t i = 0; i < lf_merged_count(m); i++) {
        const lf_merged_entry *e = lf_merged_at(m, i);
        CHECK(lf_merged_find(m, e->name) == e);
        lf_found found = {e->ref, e->blob};
        size_t used = strlen(words);
        snprintf(words + used, sizeof words - used, "%s%.*s%c", used > 0 ? " " : "", (int)e->name.size,
                 (const char *)e->name.data, e->conflict ? '!' : load(&found));
    }
    CHECK(lf_merged_find(m, text("no such name")) == NULL);
    lf_merged_free(m);
    return words;
}

/* ---- a parent ---- */

TEST(a_task_finds_what_its_parent_left)
{
    begin();
    lf_task *t = after(sealed(1, 0, 0, NULL, "a1 bB c3 dD"));
    CHECK_INT(find(t, "a"), '1');
    CHECK_INT(find(t, "b"), 'B');
    CHECK_INT(find(t, "c"), '3');
    CHECK_INT(find(t, "d"), 'D');
    CHECK_INT(find(t, "e"), '-');
    CHECK_INT(find(t, ""), '-');
    lf_task_drop(t);
    end();
}

TEST(the_first_task_finds_nothing)
{
    begin();
    lf_task *t = after(NULL);
    CHECK_INT(find(t, "a"), '-');
    CHECK_STR(walk(t), "");
    lf_task_drop(t);
    end();
}

TEST(what_a_parent_wrote_hides_what_lies_behind_it)
{
    begin();
    lf_task *base = sealed(1, 0, 0, NULL, "a1 b2 cC dD");
    lf_task *t = after(sealed(2, 1, 0, base, "b7 dE e-"));
    CHECK_INT(find(t, "a"), '1');
    CHECK_INT(find(t, "b"), '7');
    CHECK_INT(find(t, "c"), 'C');
    CHECK_INT(find(t, "d"), 'E');
    CHECK_STR(walk(t), "b7 dE a1 cC");
    lf_task_drop(base);
    lf_task_drop(t);
    end();
}

TEST(what_a_parent_removed_is_not_found_behind_it)
{
    begin();
    lf_task *base = sealed(1, 0, 0, NULL, "a1 bB cC");
    lf_task *t = after(sealed(2, 1, 0, base, "a- b-"));
    CHECK_INT(find(t, "a"), '-');
    CHECK_INT(find(t, "b"), '-');
    CHECK_STR(walk(t), "cC");
    lf_task_drop(base);
    lf_task_drop(t);
    end();
}

TEST(what_is_in_flight_is_read_from_memory_and_later_from_the_store)
{
    begin();
    lf_task *parent = sealed(1, 0, 0, NULL, "aA b2 cC");
    lf_task *t = after(lf_task_hold(parent));
    CHECK_INT(lf_staged_bytes(staged), 2 * BIG);
    CHECK_STR(walk(t), "aA b2 cC");
    commit(parent);
    CHECK_INT(lf_staged_bytes(staged), 0);
    CHECK_STR(walk(t), "aA b2 cC");
    lf_task_drop(parent);
    lf_task_drop(t);
    end();
}

TEST(the_bytes_of_one_value_have_several_owners)
{
    begin();
    lf_task *t = after(sealed(1, 0, 0, NULL, "aA"));
    lf_found found;
    lf_buf *one = NULL, *two = NULL;
    CHECK(lf_inputs_find(t, text("a"), &found));
    CHECK_INT(lf_inputs_load(store, &found, &one, NULL), LUAFLOW_OK);
    CHECK_INT(lf_inputs_load(store, &found, &two, NULL), LUAFLOW_OK);
    CHECK(one == two); /* not copied */
    lf_buf_free(one);
    lf_task_drop(t);
    CHECK_INT(letter_of(lf_buf_slice(two)), 'A');
    lf_buf_free(two);
    end();
}

TEST(a_value_that_the_store_lost_is_an_error)
{
    begin();
    lf_found found = {.ref = {.kind = LF_REF_KEY, .key = lf_key_of(0, "x", 1), .size = BIG}};
    lf_buf *buf = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_inputs_load(store, &found, &buf, &err), LUAFLOW_ESTORE);
    CHECK(buf == NULL);
    CHECK(strlen(luaflow_error_text(&err)) > 0);
    luaflow_error_clear(&err);
    end();
}

/* ---- the inputs of a join ---- */

TEST(a_join_reads_inputs_in_memory_and_in_the_store_alike)
{
    begin();
    lf_task *join = join_of(5);
    give_live(join, 0, sealed(2, 1, 1, NULL, "x1 yY"));
    give_stored(join, 1, stored(sealed(3, 1, 2, NULL, "x2 yZ")));
    give_live(join, 2, sealed(4, 1, 3, NULL, "y0"));
    give_stored(join, 3, stored(sealed(5, 1, 4, NULL, "a1")));
    give_live(join, 4, sealed(6, 1, 5, NULL, "xX"));
    CHECK_STR(gather(join, "x", 0, 5), "12--X");
    CHECK_STR(gather(join, "y", 0, 5), "YZ0--");
    CHECK_STR(gather(join, "none", 0, 5), "-----");
    CHECK_STR(gather(join, "x", 1, 3), "2--");
    CHECK_STR(gather(join, "x", 4, 1), "X");
    CHECK_STR(gather(join, "x", 5, 0), "");
    CHECK_INT(find(join, "x"), '-'); /* a join itself passes nothing on */
    lf_task_drop(join);
    end();
}

TEST(an_input_stands_on_its_base_in_memory_and_in_the_store)
{
    begin();
    lf_task *base = sealed(1, 0, 0, NULL, "a1 bB c3");
    commit(base);
    lf_task *join = join_of(2);
    give_live(join, 0, sealed(2, 1, 1, base, "c- d4"));
    give_stored(join, 1, stored(sealed(3, 1, 2, base, "c- d5")));
    CHECK_STR(gather(join, "a", 0, 2), "11");
    CHECK_STR(gather(join, "b", 0, 2), "BB");
    CHECK_STR(gather(join, "c", 0, 2), "--");
    CHECK_STR(gather(join, "d", 0, 2), "45");
    CHECK_STR(merge(join), "a1 bB d!");
    lf_task_drop(base);
    lf_task_drop(join);
    end();
}

TEST(small_values_of_many_inputs_share_one_scratch)
{
    enum { N = 100 };
    begin();
    lf_task *join = join_of(N);
    char wanted[N];
    for (uint32_t i = 0; i < N; i++) {
        char word[] = {'x', (char)('0' + i % 10), 0};
        give_live(join, i, sealed(i + 2, 1, i + 1, NULL, word));
        wanted[i] = word[1];
    }
    CHECK_MEM(gather(join, "x", 0, N), wanted, N);
    lf_task_drop(join);
    end();
}

TEST(an_input_tells_which_step_it_came_from_and_where_it_stood)
{
    begin();
    lf_task *join = join_of(2);
    give_live(join, 0, sealed(2, 3, 7, NULL, ""));
    give_stored(join, 1, stored(sealed(3, 2, 9, NULL, "")));
    for (uint32_t slot = 0; slot < 2; slot++) {
        lf_bytes place = {0}, path = {0};
        uint32_t step = 0;
        CHECK_INT(lf_inputs_origin(store, join, slot, &step, &place, NULL), LUAFLOW_OK);
        CHECK_INT(step, slot == 0 ? 3 : 2);
        lf_path_format(&path, "s", lf_slice_of(place.data, place.size));
        CHECK_STR(lf_bytes_cstr(&path), slot == 0 ? "s[7]" : "s[9]");
        lf_bytes_fini(&place);
        lf_bytes_fini(&path);
    }
    lf_task_drop(join);
    end();
}

TEST(an_input_that_is_not_in_the_store_is_an_error_wherever_it_is_asked_for)
{
    begin();
    lf_task *join = join_of(1);
    give_stored(join, 0, 77);
    lf_gathered got = {.found = false};
    lf_bytes scratch = {0};
    uint32_t step;
    lf_merged *m = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK(lf_inputs_gather(store, join, text("x"), 0, 1, &scratch, &got, &err) != LUAFLOW_OK);
    CHECK(strstr(luaflow_error_text(&err), "77") != NULL);
    luaflow_error_clear(&err);
    CHECK(lf_inputs_origin(store, join, 0, &step, &scratch, &err) != LUAFLOW_OK);
    luaflow_error_clear(&err);
    CHECK(lf_inputs_merge(store, join, &m, &err) != LUAFLOW_OK);
    CHECK(m == NULL);
    luaflow_error_clear(&err);
    lf_bytes_fini(&scratch);
    lf_task_drop(join);
    end();
}

/* ---- merging ---- */

TEST(merging_keeps_what_all_that_have_it_agree_on)
{
    begin();
    lf_task *join = join_of(3);
    give_live(join, 0, sealed(2, 1, 0, NULL, "a1 bB c1 dD"));
    give_stored(join, 1, stored(sealed(3, 1, 0, NULL, "a1 bB c2 dE")));
    give_live(join, 2, sealed(4, 1, 0, NULL, "a1 e5 fF"));
    CHECK_STR(merge(join), "a1 bB c! d! e5 fF");
    lf_task_drop(join);
    end();
}

TEST(a_small_and_a_large_value_are_in_conflict)
{
    begin();
    lf_task *join = join_of(2);
    give_live(join, 0, sealed(2, 1, 0, NULL, "aA b1"));
    give_live(join, 1, sealed(3, 1, 0, NULL, "a1 bB"));
    CHECK_STR(merge(join), "a! b!");
    lf_task_drop(join);
    end();
}

TEST(what_one_input_removed_is_merged_from_the_others)
{
    begin();
    lf_task *base = sealed(1, 0, 0, NULL, "a1 b2");
    lf_task *join = join_of(2);
    give_live(join, 0, sealed(2, 1, 0, base, "a-"));
    give_live(join, 1, sealed(3, 1, 0, base, "b-"));
    CHECK_STR(merge(join), "a1 b2");
    lf_task_drop(base);
    lf_task_drop(join);
    end();
}

TEST(merging_nothing_gives_nothing)
{
    begin();
    lf_task *join = join_of(0);
    CHECK_STR(merge(join), "");
    lf_task_drop(join);
    lf_merged_free(NULL);
    end();
}

TEST(many_names_are_merged_in_ascending_order)
{
    enum { N = 150 };
    begin();
    char words[N * 6 + 1] = "", *at = words;
    for (int i = 0; i < N; i++)
        at += sprintf(at, "%sn%03d%d", i > 0 ? " " : "", i, i % 10);
    lf_task *join = join_of(2);
    give_live(join, 0, sealed(2, 1, 0, NULL, words));
    give_stored(join, 1, stored(sealed(3, 1, 0, NULL, words)));
    CHECK_STR(merge(join), words);
    lf_task_drop(join);
    end();
}

TEST(a_merge_outlives_the_inputs_it_was_made_of)
{
    begin();
    lf_task *join = join_of(1);
    give_live(join, 0, sealed(2, 1, 0, NULL, "a1 bB"));
    lf_merged *m = NULL;
    CHECK_INT(lf_inputs_merge(store, join, &m, NULL), LUAFLOW_OK);
    lf_task_drop(join);
    CHECK_INT(lf_merged_count(m), 2);
    lf_found small = {lf_merged_at(m, 0)->ref, lf_merged_at(m, 0)->blob};
    lf_found big = {lf_merged_at(m, 1)->ref, lf_merged_at(m, 1)->blob};
    CHECK_INT(load(&small), '1');
    CHECK_INT(load(&big), 'B');
    lf_merged_free(m);
    end();
}

/* ---- inputs that were reused ---- */

enum { ORIGIN = 40 };

TEST(a_join_reads_what_reused_inputs_left_where_they_ran)
{
    begin();
    stored_in(ORIGIN, sealed(8, 2, 1, NULL, "x1 yA"));
    stored_in(ORIGIN, sealed(9, 2, 2, NULL, "x2 yB"));
    lf_task *join = join_of(4);
    give_live(join, 0, reused(2, 1, 1, ORIGIN, 8)); /* not committed here yet */
    give_stored(join, 1, stored(reused(3, 1, 2, ORIGIN, 9)));
    give_live(join, 2, sealed(4, 1, 3, NULL, "x3"));
    give_stored(join, 3, stored(sealed(5, 1, 4, NULL, "x4 yD")));
    CHECK_STR(gather(join, "x", 0, 4), "1234");
    CHECK_STR(gather(join, "y", 0, 4), "AB-D");
    CHECK_STR(gather(join, "z", 0, 4), "----");
    lf_task_drop(join);
    end();
}

TEST(a_reused_input_stands_on_its_base_of_that_run_or_another)
{
    begin();
    stored_in(ORIGIN - 1, sealed(7, 0, 0, NULL, "v9 xZ"));
    stored_in(ORIGIN, sealed(7, 0, 0, NULL, "v1 xA z2"));
    lf_task *base = sealed(7, 0, 0, NULL, ""), *near = sealed(8, 2, 1, base, "x3 z-");
    stored_in(ORIGIN, near);
    lf_task *far = sealed(9, 2, 2, base, "w4"); /* on what the task of that number left in an earlier run */
    lf_task_record record;
    lf_bytes bytes = {0};
    CHECK(lf_task_record_get(lf_task_record_bytes(far), &record));
    record.flags = LF_TASK_FAR;
    record.base_run = ORIGIN - 1;
    lf_task_record_put(&bytes, &record);
    lf_write *w;
    CHECK_INT(lf_write_begin(store, &w, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_task(w, ORIGIN, 9, lf_slice_of(bytes.data, bytes.size), NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_commit(w, NULL), LUAFLOW_OK);
    lf_bytes_fini(&bytes);
    lf_task_drop(far);
    lf_task_drop(base);
    for (int live = 0; live < 2; live++) {
        lf_task *join = join_of(2), *one = reused(2 + 10 * (uint32_t)live, 1, 1, ORIGIN, 8),
                *two = reused(3 + 10 * (uint32_t)live, 1, 2, ORIGIN, 9);
        if (live) {
            give_live(join, 0, one);
            give_live(join, 1, two);
        } else {
            give_stored(join, 0, stored(one));
            give_stored(join, 1, stored(two));
        }
        CHECK_STR(gather(join, "v", 0, 2), "19");
        CHECK_STR(gather(join, "w", 0, 2), "-4");
        CHECK_STR(gather(join, "x", 0, 2), "3Z");
        CHECK_STR(gather(join, "z", 0, 2), "--");
        CHECK_STR(merge(join), "v! w4 x!");
        lf_task_drop(join);
    }
    end();
}

TEST(reused_inputs_are_merged_with_those_that_ran)
{
    begin();
    stored_in(ORIGIN, sealed(8, 2, 1, NULL, "aA b1 c1"));
    lf_task *join = join_of(3);
    give_live(join, 0, reused(2, 1, 1, ORIGIN, 8));
    give_live(join, 1, sealed(3, 1, 2, NULL, "aA b1 d4"));
    give_stored(join, 2, stored(sealed(4, 1, 3, NULL, "aA b2")));
    CHECK_STR(merge(join), "aA b! c1 d4");
    lf_task_drop(join);
    end();
}

TEST(a_reused_input_tells_its_step_and_place_of_here)
{
    begin();
    stored_in(ORIGIN, sealed(8, 2, 1, NULL, ""));
    lf_task *join = join_of(2);
    give_live(join, 0, reused(2, 3, 7, ORIGIN, 8));
    give_stored(join, 1, stored(reused(3, 3, 9, ORIGIN, 8)));
    for (uint32_t slot = 0; slot < 2; slot++) {
        lf_bytes at = {0}, path = {0};
        uint32_t step = 0;
        CHECK_INT(lf_inputs_origin(store, join, slot, &step, &at, NULL), LUAFLOW_OK);
        CHECK_INT(step, 3);
        lf_path_format(&path, "s", lf_slice_of(at.data, at.size));
        CHECK_STR(lf_bytes_cstr(&path), slot == 0 ? "s[7]" : "s[9]");
        lf_bytes_fini(&at);
        lf_bytes_fini(&path);
    }
    lf_task_drop(join);
    end();
}

TEST(a_reused_input_whose_origin_is_not_there_is_an_error)
{
    begin();
    for (int live = 0; live < 2; live++) {
        lf_task *join = join_of(1), *input = reused(2 + (uint32_t)live, 1, 1, ORIGIN, 77);
        lf_gathered got = {.found = false};
        lf_bytes scratch = {0};
        lf_merged *m = NULL;
        luaflow_error err = LUAFLOW_ERROR_INIT;
        if (live)
            give_live(join, 0, input);
        else
            give_stored(join, 0, stored(input));
        CHECK(lf_inputs_gather(store, join, text("x"), 0, 1, &scratch, &got, &err) != LUAFLOW_OK);
        CHECK(strstr(luaflow_error_text(&err), "77") != NULL);
        luaflow_error_clear(&err);
        CHECK(lf_inputs_merge(store, join, &m, &err) != LUAFLOW_OK);
        CHECK(strstr(luaflow_error_text(&err), "77") != NULL);
        luaflow_error_clear(&err);
        lf_bytes_fini(&scratch);
        lf_task_drop(join);
    }
    end();
}

/* ---- parameters ---- */

static void check_param(lf_slice params, const char *name, const char *wanted)
{
    lf_slice value = lf_inputs_param(params, text(name));
    CHECK_INT(value.size, strlen(wanted));
    CHECK_MEM(value.data, wanted, value.size);
}

TEST(a_parameter_is_found_by_its_whole_name)
{
    lf_slice params = text("\x83\xa1" "a" "\x05\xa2" "ab" "\xa2" "hi" "\xa3" "abc" "\x92\x01\x02");
    check_param(params, "a", "\x05");
    check_param(params, "ab", "\xa2hi");
    check_param(params, "abc", "\x92\x01\x02");
    CHECK_INT(lf_inputs_param(params, text("abcd")).size, 0);
    CHECK_INT(lf_inputs_param(params, text("")).size, 0);
    CHECK_INT(lf_inputs_param(text("\x80"), text("a")).size, 0);
}

TEST(a_parameter_is_found_among_many_and_under_a_long_name)
{
    enum { N = 300 };
    lf_bytes params = {0};
    lf_bytes_put(&params, "\xde\x01\x2d", 3); /* a map of 301 */
    for (int i = 0; i < N; i++) {
        lf_bytes_printf(&params, "\xa4p%03d", i);
        lf_bytes_put_u8(&params, (uint8_t)(i % 100));
    }
    char name[129];
    memset(name, 'z', 128);
    name[128] = 0;
    lf_bytes_printf(&params, "\xd9\x80%s\x07", name);
    lf_slice all = lf_slice_of(params.data, params.size);
    check_param(all, "p001", "\x01");
    check_param(all, "p299", "\x63");
    check_param(all, name, "\x07");
    CHECK_INT(lf_inputs_param(all, text("p300")).size, 0);
    lf_bytes_fini(&params);
}

TEST(a_damaged_map_of_parameters_has_none)
{
    CHECK_INT(lf_inputs_param((lf_slice){NULL, 0}, text("a")).size, 0);
    CHECK_INT(lf_inputs_param(text("\x05"), text("a")).size, 0);
    CHECK_INT(lf_inputs_param(text("\x81\xa1" "a"), text("a")).size, 0);
    CHECK_INT(lf_inputs_param(text("\x81\xa5" "a"), text("a")).size, 0);
    CHECK_INT(lf_inputs_param(text("\x82\xa1" "b\x92\x01"), text("a")).size, 0);
}
