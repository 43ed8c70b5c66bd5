/* Records that somebody else made: what they claim is believed as far as it can be so. */
#include "unit.h"

#include "store.h"

#include <stdio.h>
#include <stdlib.h>

enum { START = 1, A = 2, JOIN = 4, HOSTILE = 9 }; /* tasks */

static const char source[] =
    "return { name = 'F', steps = {\n"
    "  start = { next = 'a', foreach = 'n', function(self) self.n = 2 end },\n"
    "  a = { next = 'join', function(self) self.x = self.input end },\n"
    "  join = function(self, inputs) self.all = inputs:collect('x') end,\n"
    "} }\n";

static char base[64], dir[96];
static luaflow *rt;
static luaflow_flow *flow;

/* A store with one run of the flow, open. */
static void fresh_run(void)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    luaflow_options o = LUAFLOW_OPTIONS_INIT;
    luaflow_run_options plain = LUAFLOW_RUN_OPTIONS_INIT;
    luaflow_run *run = NULL;
    strcpy(base, "/tmp/test_reading.XXXXXX");
    CHECK(mkdtemp(base) != NULL);
    snprintf(dir, sizeof dir, "%s/s", base);
    o.store = dir;
    o.create = true;
    if (luaflow_open(&o, &rt, &err) != LUAFLOW_OK ||
        luaflow_flow_load_string(source, strlen(source), "f.lua", NULL, &flow, &err) != LUAFLOW_OK ||
        luaflow_start(rt, flow, &plain, &run, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    CHECK_INT(luaflow_wait(run, -1), 1);
    CHECK_INT(luaflow_run_status(run), LUAFLOW_DONE);
    luaflow_run_close(run);
}

static void drop_run(void)
{
    char line[96];
    luaflow_flow_close(flow);
    luaflow_close(rt);
    snprintf(line, sizeof line, "rm -rf '%s'", base);
    CHECK_INT(system(line), 0);
}

/* The record of a task of the run, changed by `change`, under another number. */
static void forge(uint32_t like, uint32_t task, void (*change)(lf_task_record *))
{
    lf_store *s = NULL;
    lf_view *v = NULL;
    lf_write *w = NULL;
    lf_task_record record;
    lf_bytes bytes = {0};
    CHECK_INT(lf_store_open(dir, false, &s, NULL), LUAFLOW_OK);
    CHECK_INT(lf_view_begin(s, &v, NULL), LUAFLOW_OK);
    CHECK_INT(lf_view_task(v, 1, like, &record, NULL), LUAFLOW_OK);
    change(&record);
    lf_task_record_put(&bytes, &record);
    lf_view_end(v);
    CHECK_INT(lf_write_begin(s, &w, NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_task(w, 1, task, lf_slice_of(bytes.data, bytes.size), NULL), LUAFLOW_OK);
    CHECK_INT(lf_write_commit(w, NULL), LUAFLOW_OK);
    lf_bytes_fini(&bytes);
    lf_store_close(s);
}

static void check_unreadable(uint32_t task, const char *words)
{
    luaflow_task_info *info = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(luaflow_task_read(rt, 1, task, &info, &err), LUAFLOW_ESTORE);
    if (strstr(luaflow_error_text(&err), words) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(&err), words);
    luaflow_error_clear(&err);
}

static void check_untried(const char *step, uint32_t task, const char *words)
{
    luaflow_trial *trial = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(luaflow_try(rt, flow, step, 1, task, NULL, NULL, &trial, &err), LUAFLOW_ESTORE);
    if (strstr(luaflow_error_text(&err), words) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(&err), words);
    luaflow_error_clear(&err);
}

static void check_not_resumed(const char *words)
{
    luaflow_run_options o = LUAFLOW_RUN_OPTIONS_INIT;
    luaflow_run *run = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(luaflow_resume(rt, flow, 1, NULL, &o, &run, &err), LUAFLOW_ESTORE);
    if (strstr(luaflow_error_text(&err), words) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(&err), words);
    luaflow_error_clear(&err);
}

/* All numbers from 1 to 2^32 - 2, as parents: seven bytes. */
static void give_parents(lf_task_record *record)
{
    static lf_bytes parents;
    lf_bytes_clear(&parents);
    lf_bytes_put_varint(&parents, 1 << 1);
    lf_bytes_put_varint(&parents, UINT32_MAX - 3);
    record->parents = lf_slice_of(parents.data, parents.size);
    CHECK_INT(lf_parents_count(record->parents), UINT32_MAX - 2);
}

TEST(billions_of_parents_are_damage)
{
    fresh_run();
    forge(JOIN, HOSTILE, give_parents);
    check_unreadable(HOSTILE, "the record of task 9 of run 1 in");
    check_untried("join", HOSTILE, "the record of task 9 of run 1 in");
    check_not_resumed("the record of task 9 of run 1 in");
    drop_run();
}

TEST(billions_of_parents_are_damage_in_a_task_of_which_they_could_be)
{
    fresh_run();
    forge(JOIN, UINT32_MAX, give_parents);
    check_unreadable(UINT32_MAX, "the record of task 4294967295 of run 1 in");
    check_untried("join", UINT32_MAX, "the record of task 4294967295 of run 1 in");
    check_not_resumed("the record of task 4294967295 of run 1 in");
    drop_run();
}

static void give_attempts(lf_task_record *record) { record->attempt = UINT32_MAX; }

TEST(billions_of_attempts_are_looked_for_one_by_one)
{
    fresh_run();
    forge(A, HOSTILE, give_attempts);
    check_unreadable(HOSTILE, "attempt 0 of task 9 of run 1 is lost; run luaflow verify");
    drop_run();
}

enum { DEEP = 1 << 20 };

static void give_deep_place(lf_task_record *record)
{
    static uint8_t place[DEEP];
    memset(place, 1 << 1, sizeof place);
    record->place = lf_slice_of(place, sizeof place);
}

TEST(a_place_in_a_million_foreaches_is_read_once)
{
    fresh_run();
    forge(A, HOSTILE, give_deep_place);
    check_untried("a", HOSTILE, "damaged");
    drop_run();
}

static void give_no_index(lf_task_record *record)
{
    static const uint8_t place[] = {0};
    record->place = lf_slice_of(place, sizeof place);
}

TEST(no_element_has_the_index_0)
{
    fresh_run();
    forge(A, HOSTILE, give_no_index);
    check_untried("a", HOSTILE, "damaged");
    drop_run();
}
