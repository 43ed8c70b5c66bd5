/* One task in one Lua state: what it reads, and what ends up in its record. Tasks are made
 * by hand here, one batch each, and nothing is committed. */
#include "unit.h"

#include "inputs.h"
#include "seal.h"
#include "clock.h"
#include "step.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- a world in one line ---- */

static char dir[64];
static lf_store *store;
static lf_staged *staged;
static lf_log *printed;
static lf_flow *flow;
static lf_facts *facts;
static lf_stepper *stepper;
static lf_seal *seal;
static lua_State *viewer;       /* where tests look at values */
static uint32_t tasks;          /* so many were made */
static lf_task *kept[4000];     /* and are dropped at the end */

static void drop_flow(lf_flow *f) { lf_flow_free(f); }

static lf_buf *encoded(const char *expression)
{
    lf_bytes out = {0};
    char code[400];
    snprintf(code, sizeof code, "return %s", expression);
    CHECK_INT(luaL_dostring(viewer, code), 0);
    CHECK_INT(lf_codec_encode(viewer, -1, "x", &out, NULL), LUAFLOW_OK);
    lua_settop(viewer, 0);
    lf_buf *buf = lf_buf_copy(out.data, out.size);
    lf_bytes_fini(&out);
    return buf;
}

/* A stepper for the flow of which `body` is the table, with `params` (a Lua table). */
static void begin_with(const char *head, const char *body, const char *params)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_bytes source = {0};
    strcpy(dir, "/tmp/test_step.XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    char at[96];
    snprintf(at, sizeof at, "%s/s", dir);
    CHECK_INT(lf_store_open(at, true, &store, NULL), LUAFLOW_OK);
    staged = lf_staged_new();
    printed = lf_log_new();
    viewer = lf_state_new();
    tasks = 0;
    lf_bytes_printf(&source, "%s return { name = 'F', %s }", head, body);
    if (lf_flow_load_string((char *)source.data, source.size, "flows/f.lua", NULL, &flow, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    lf_bytes_fini(&source);
    facts = lf_facts_new(lf_graph_size(lf_flow_graph(flow)));
    facts->run = 7;
    facts->seed = 42;
    facts->flow = lf_flow_ref(flow);
    facts->drop_flow = drop_flow;
    facts->max_num_splits = 1000;
    facts->params = encoded(params);
    facts->store = strdup(at);
    seal = lf_seal_new(store, staged, printed);
    static const lf_host host = {.executable = NULL};
    if (lf_stepper_new(flow, &host, &stepper, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
}

static void begin(const char *steps) { begin_with("", steps, "{}"); }

static void end(void)
{
    for (uint32_t i = 0; i < tasks; i++)
        lf_task_drop(kept[i]);
    lf_stepper_free(stepper);
    lf_seal_free(seal);
    CHECK_INT(lf_staged_bytes(staged), 0);
    CHECK_INT(facts->refs, 1);
    lf_facts_free(facts);
    lf_flow_free(flow);
    lf_log_free(printed);
    lf_state_free(viewer);
    lf_staged_free(staged);
    lf_store_close(store);
    char line[96];
    snprintf(line, sizeof line, "rm -rf '%s'", dir);
    CHECK_INT(system(line), 0);
}

/* ---- tasks ---- */

/* One of `step` that has yet to run; the world keeps it until the end. */
static lf_task *task(const char *step)
{
    lf_batch *b = lf_batch_new(facts, 1);
    lf_task *t = &b->tasks[0];
    t->step = lf_graph_find(lf_flow_graph(flow), step);
    CHECK(t->step != LF_NONE);
    t->number = tasks + 1;
    kept[tasks++] = t;
    return t;
}

static lf_task *task_after(lf_task *parent, const char *step)
{
    lf_task *t = task(step);
    t->parent = lf_task_hold(parent);
    t->split = lf_split_ref(parent->split);
    t->split_index = parent->split_index;
    return t;
}

/* Runs it, whatever comes of it. */
static lf_task *run(lf_task *t)
{
    lf_failure failure = {.message = NULL};
    lf_who who;
    lf_seal_begin(seal, t, lf_tick_us());
    lf_seal_who(seal, &who);
    int rc = lf_stepper_run(stepper, &who, lf_seal_world(seal), &failure);
    lf_seal_finish(seal, rc == LUAFLOW_OK ? NULL : &failure);
    lf_failure_fini(&failure);
    lf_stepper_rest(stepper);
    CHECK(t->outcome != LF_UNSTARTED);
    CHECK_INT(t->batch->error.code, LUAFLOW_OK);
    CHECK(t->outcome == LF_BROKE || (t->parent == NULL && t->join == NULL));
    return t;
}

static lf_task_record record_of(const lf_task *t)
{
    lf_task_record record;
    CHECK(lf_task_record_get(lf_task_record_bytes(t), &record));
    return record;
}

static const char *text_of(lf_slice s)
{
    static char text[2000];
    snprintf(text, sizeof text, "%.*s", (int)s.size, (const char *)s.data);
    return text;
}

static lf_task *succeeds(lf_task *t)
{
    run(t);
    if (t->outcome != LF_SUCCEEDED)
        fail_msg("%s", text_of(record_of(t).message));
    CHECK_INT(record_of(t).flags, 0);
    return t;
}

static lf_task *start(void) { return succeeds(task("start")); }
static lf_task *next(lf_task *parent, const char *step) { return succeeds(task_after(parent, step)); }

/* The i-th task of a foreach that `parent` opened. */
static lf_task *child(lf_task *parent, const char *step, uint32_t i)
{
    lf_task *t = task(step);
    t->parent = lf_task_hold(parent);
    t->split = lf_split_ref(parent->opened);
    t->split_index = t->index = i;
    return t;
}

/* A join of `n` inputs, all in memory, that closes what `opener` opened. */
static lf_task *join(lf_task *opener, const char *step, lf_task **inputs, uint32_t n)
{
    lf_task *t = task(step);
    lf_join *j = calloc(1, sizeof *j);
    t->split = lf_split_ref(opener->split);
    t->split_index = opener->split_index;
    t->join = j;
    j->step = opener->step;
    j->n = j->n_live = n;
    j->numbers = calloc(n + 1, sizeof *j->numbers);
    j->live = calloc(n + 1, sizeof *j->live);
    for (uint32_t i = 0; i < n; i++) {
        j->numbers[i] = inputs[i]->number;
        j->live[i] = (lf_live_input){i, lf_task_hold(inputs[i])};
    }
    return t;
}

/* ---- what they left ---- */

/* The message of a task that must fail; it leaves nothing. */
static const char *failure_of(lf_task *t)
{
    run(t);
    CHECK_INT(t->outcome, LF_BROKE);
    lf_task_record record = record_of(t);
    CHECK_INT(record.flags, LF_TASK_FAILED);
    CHECK_INT(record.n_outputs, 0);
    CHECK_INT(record.base, 0);
    CHECK_INT(t->n_held, 0);
    CHECK(t->base == NULL);
    return text_of(record.message);
}

static const char *start_fails(const char *code)
{
    static char message[2000];
    char steps[3000];
    snprintf(steps, sizeof steps, "steps = { start = function(self) %s end }", code);
    begin(steps);
    snprintf(message, sizeof message, "%s", failure_of(task("start")));
    end();
    return message;
}

/* Its own outputs, as the record has them: "a" in the record itself, "b!" under a key that
 * this task stores, "c>" under a key that an earlier one does, "-d" removed. */
static const char *own(const lf_task *t)
{
    static char words[4000];
    lf_slice outputs = lf_task_outputs(t), name;
    lf_reader r = lf_reader_of(outputs.data, outputs.size);
    lf_ref ref;
    uint32_t held = 0;
    words[0] = 0;
    while (lf_output_next(&r, &name, &ref)) {
        const char *mark = "";
        if (ref.kind == LF_REF_KEY)
            mark = t->batch->held[t->held_at + held++].own ? "!" : ">";
        size_t used = strlen(words);
        snprintf(words + used, sizeof words - used, "%s%s%.*s%s", used > 0 ? " " : "",
                 ref.kind == LF_REF_REMOVED ? "-" : "", (int)name.size, (const char *)name.data, mark);
    }
    CHECK_INT(held, t->n_held);
    CHECK(lf_slice_equal(record_of(t).outputs, outputs));
    return words;
}

/* Makes a Lua global of everything the task passes on; the others are nil. */
static void view(lf_task *t)
{
    lf_batch *b = lf_batch_new(facts, 1);
    b->tasks[0].parent = lf_task_hold(t);
    lf_walk w = lf_inputs_walk(&b->tasks[0]);
    lf_slice name;
    lf_found found;
    CHECK_INT(luaL_dostring(viewer, "for k in pairs(seen or {}) do _G[k] = nil end seen = {}"), 0);
    while (lf_inputs_next(&w, &name, &found)) {
        lf_buf *buf;
        CHECK_INT(lf_inputs_load(store, &found, &buf, NULL), LUAFLOW_OK);
        lua_getglobal(viewer, "seen");
        lua_pushlstring(viewer, (const char *)name.data, name.size);
        lua_pushboolean(viewer, 1);
        lua_rawset(viewer, -3);
        lua_pushlstring(viewer, (const char *)name.data, name.size);
        CHECK_INT(lf_codec_decode(viewer, lf_buf_slice(buf), NULL), LUAFLOW_OK);
        lua_rawset(viewer, LUA_GLOBALSINDEX);
        lua_settop(viewer, 0);
        lf_buf_free(buf);
    }
    lf_batch_free(b);
}

/* That `condition` holds of what the task passes on. */
static void check_left(lf_task *t, const char *condition)
{
    char code[1000];
    view(t);
    snprintf(code, sizeof code, "return %s", condition);
    if (luaL_dostring(viewer, code) != 0)
        fail_msg("%s", lua_tostring(viewer, -1));
    if (!lua_toboolean(viewer, -1))
        fail_msg("not so: %s", condition);
    lua_settop(viewer, 0);
}

/* What the task printed: "1<text>2<text>", a piece for each line. */
static const char *output_of(const lf_task *t)
{
    static char text[4000];
    lf_reader r = lf_reader_of(t->batch->arena.data + t->log_at, t->log_size);
    uint64_t time;
    uint8_t stream;
    lf_slice line;
    text[0] = 0;
    while (lf_log_entry_next(&r, &time, &stream, &line)) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%d<%.*s>", stream, (int)line.size,
                 (const char *)line.data);
    }
    return text;
}

#define BIG "('x'):rep(1000)"

/* ---- outputs ---- */

TEST(a_step_leaves_what_it_assigned)
{
    begin("steps = { start = function(self) self.b = { 1, { c = true } } self.a = 5 self.no = false end }");
    lf_task *t = start();
    CHECK_STR(own(t), "a b no");
    check_left(t, "a == 5 and b[1] == 1 and b[2].c == true and no == false");
    end();
}

TEST(scratch_fields_are_never_kept)
{
    begin("steps = { start = function(self) assert(self._x == nil) self._x = print self.x = 1 "
          "assert(self._x == print) end }");
    CHECK_STR(own(start()), "x");
    end();
}

TEST(small_values_live_in_the_record_and_large_ones_under_a_key)
{
    begin("steps = { start = function(self) self.large = ('x'):rep(255) self.small = ('x'):rep(254) end }");
    lf_task *t = start();
    CHECK_STR(own(t), "large! small"); /* a str 8 has a head of two bytes */
    CHECK_INT(lf_staged_bytes(staged), LF_INLINE_MAX + 1);
    check_left(t, "#large == 255 and #small == 254");
    end();
}

TEST(a_step_without_a_function_passes_everything_on)
{
    begin("steps = { start = { next = 'a', function(self) self.x = 1 self.y = " BIG " end },"
          "a = { next = 'b' }, b = function(self) self.z = self.x + #self.y end }");
    lf_task *a = next(start(), "a");
    CHECK_STR(own(a), "");
    check_left(next(a, "b"), "z == 1001 and x == 1");
    end();
}

/* ---- inheriting ---- */

TEST(what_a_step_does_not_touch_lies_behind_it)
{
    begin("steps = { start = { next = 'a', function(self) self.x = " BIG " self.y = " BIG " .. 'y' end },"
          "a = function(self) self.z = 1 end }");
    lf_task *first = start(), *a = next(first, "a");
    CHECK_STR(own(a), "z");
    CHECK_INT(record_of(a).base, first->number);
    CHECK(a->base == first);
    check_left(a, "#x == 1000 and #y == 1001 and z == 1");
    end();
}

TEST(what_little_there_is_behind_a_step_is_copied_instead)
{
    begin("steps = { start = { next = 'a', function(self) self.x = 1 end },"
          "a = function(self) self.z = 1 end }");
    lf_task *a = next(start(), "a");
    CHECK_STR(own(a), "x z");
    CHECK_INT(record_of(a).base, 0);
    end();
}

TEST(a_removed_artifact_is_gone_from_there_on)
{
    begin("steps = { start = { next = 'a', function(self) self.x = " BIG " self.y = 1 end },"
          "a = { next = 'b', function(self) self.x = nil assert(not self:has('x')) end },"
          "b = { next = 'c', function(self) assert(not self:has('x')) end },"
          "c = function(self) self.x = 3 end }");
    lf_task *a = next(start(), "a"), *b = next(a, "b"), *c = next(b, "c");
    CHECK_STR(own(a), "-x");
    CHECK_STR(own(b), "-x");
    check_left(b, "x == nil and y == 1");
    CHECK_STR(own(c), "x");
    check_left(c, "x == 3 and y == 1");
    end();
}

TEST(an_artifact_removed_after_it_was_read_is_gone_too)
{
    begin("steps = { start = { next = 'a', function(self) self.x = " BIG " end },"
          "a = function(self) local x = self.x self.x = nil self.never = nil "
          "assert(not pcall(function() return self.x end)) end }");
    CHECK_STR(own(next(start(), "a")), "-x");
    end();
}

TEST(a_removal_with_nothing_behind_it_needs_no_entry)
{
    begin("steps = { start = { next = 'a', function(self) self.x = 1 end },"
          "a = function(self) self.x = nil end }");
    CHECK_STR(own(next(start(), "a")), "");
    end();
}

TEST(an_unchanged_value_is_not_stored_again)
{
    begin("steps = { start = { next = 'a', function(self) self.x = " BIG " self.t = { 1, { 2 } } self.n = 5 "
          "self.pad = " BIG " end },"
          "a = function(self) self.x = " BIG " self.t = { 1, { 2 } } self.n = self.n end }");
    lf_task *a = next(start(), "a");
    CHECK_STR(own(a), "");
    check_left(a, "#x == 1000 and t[2][1] == 2 and n == 5");
    end();
}

TEST(a_table_changed_in_place_is_noticed)
{
    begin("steps = { start = { next = 'a', function(self) self.t = { 1, { 2 } } self.pad = " BIG " end },"
          "a = { next = 'b', function(self) self.t[2][1] = 3 end },"
          "b = { next = 'c', function(self) self.t.x = 1 self.t.x = nil end },"
          "c = function(self) assert(#self.t == 2) end }");
    lf_task *a = next(start(), "a");
    CHECK_STR(own(a), "t");
    check_left(a, "t[1] == 1 and t[2][1] == 3");
    lf_task *b = next(a, "b"); /* changed and changed back */
    CHECK_STR(own(b), "t");    /* what it inherits: it stands on the same base as its parent */
    lf_task *c = next(b, "c"); /* only read */
    CHECK(c->base == b->base);
    check_left(c, "t[2][1] == 3");
    end();
}

TEST(an_ffi_array_changed_in_place_is_noticed)
{
    begin_with("local ffi = require 'ffi'",
               "steps = { start = { next = 'a', function(self) self.v = ffi.new('double[?]', 100) "
               "self.i = 5LL end }, a = function(self) assert(self.v[7] == 0 and self.i == 5LL) "
               "self.v[7] = 1 end }", "{}");
    lf_task *a = next(start(), "a");
    CHECK_STR(own(a), "v!");
    check_left(a, "v[7] == 1 and v[6] == 0 and i == 5LL");
    end();
}

TEST(an_ffi_array_that_was_only_read_is_not_copied)
{
    begin_with("local ffi = require 'ffi'",
               "steps = { start = { next = 'a', function(self) self.v = ffi.new('double[?]', 1000, 0 / 0) end },"
               "a = { next = 'b', function(self) assert(self.v[7] ~= self.v[7]) end },"
               "b = function(self) self.v = ffi.new('double[1000]', 0 / 0) end }", "{}");
    lf_task *first = start();
    uint64_t staged_by_one = lf_staged_bytes(staged);
    lf_task *a = next(first, "a"), *b = next(a, "b"); /* an equal one is as good */
    CHECK_STR(own(a), "");
    CHECK_STR(own(b), "");
    CHECK_INT(lf_staged_bytes(staged), staged_by_one);
    check_left(b, "v[999] ~= v[999]");
    end();
}

TEST(a_large_value_is_passed_on_by_its_handle)
{
    begin("steps = { start = { next = 'a', function(self) self.x = " BIG " end },"
          "a = { next = 'b', function(self) self.y = " BIG " .. 'y' end },"
          "b = function(self) self.z = #self.x + #self.y end }");
    lf_task *a = next(start(), "a"), *b = next(a, "b");
    CHECK_STR(own(a), "y!");
    CHECK_STR(own(b), "y> z"); /* of its parent, beside the base that both have */
    check_left(b, "z == 2001");
    end();
}

TEST(no_task_of_a_long_chain_stands_on_more_than_one_other)
{
    enum { N = 400 };
    begin("steps = { start = { next = 'a', function(self) self.n = 0 self.pad = " BIG " end },"
          "a = { next = { [true] = 'a', [false] = 'b' }, switch = 'more', function(self) "
          "self.n = self.n + 1 self.more = true self['k' .. self.n % 60] = self.n "
          "if self.n % 7 == 0 then self['k' .. self.n % 60] = nil end "
          "if self.n % 50 == 0 then self.pad = self.pad .. self.n end end }, b = function() end }");
    lf_task *t = start();
    size_t most = 0;
    for (int i = 0; i < N; i++) {
        t = next(t, "a");
        lf_task_record record = record_of(t);
        if (t->base != NULL) {
            CHECK_INT(record.base, t->base->number);
            CHECK(t->base->base == NULL);
            CHECK_INT(record_of(t->base).base, 0);
        }
        if (record.outputs.size > most)
            most = record.outputs.size;
    }
    CHECK(most < 1500); /* a record does not grow with the chain */
    check_left(t, "n == 400 and more and k40 == 400 and k39 == nil and k41 == 341 and #pad == 1023");
    end();
}

/* ---- foreach ---- */

#define LIST(value) "steps = { start = { next = 'a', foreach = 'list', function(self) self.list = " value \
                    " end }, a = { next = 'j', function(self) self.got = self.input "                 \
                    "self.at = self.index end },"                                                     \
                    "j = function(self, inputs) self.all = inputs:collect('got') end }"

TEST(a_foreach_opens_as_many_tasks_as_its_list_has_elements)
{
    begin(LIST("{ 'p', { 2 }, false }"));
    lf_task *t = start();
    CHECK_INT(t->width, 3);
    CHECK_INT(record_of(t).width, 3);
    CHECK_INT(t->opened->step, t->step);
    lf_task *inputs[3];
    for (uint32_t i = 0; i < 3; i++)
        inputs[i] = succeeds(child(t, "a", i + 1));
    check_left(inputs[0], "got == 'p' and at == 1");
    check_left(inputs[1], "got[1] == 2 and at == 2");
    check_left(inputs[2], "got == false and at == 3");
    CHECK_STR(text_of(record_of(inputs[1]).place), "\4");
    lf_task *j = succeeds(join(t, "j", inputs, 3));
    check_left(j, "all[1] == 'p' and all[2][1] == 2 and all[3] == false and #all == 3 and list == nil");
    uint32_t parents[3];
    CHECK_INT(lf_parents_count(record_of(j).parents), 3);
    CHECK(lf_parents_get(record_of(j).parents, parents));
    CHECK_INT(parents[0], inputs[0]->number);
    CHECK_INT(parents[2], inputs[2]->number);
    end();
}

TEST(a_foreach_goes_over_a_number_an_ffi_array_and_nothing)
{
    begin(LIST("4"));
    lf_task *t = start();
    CHECK_INT(t->width, 4);
    check_left(succeeds(child(t, "a", 4)), "got == 4 and at == 4");
    end();
    begin_with("local ffi = require 'ffi'", LIST("ffi.new('float[?]', 200, 1.5)"), "{}");
    t = start();
    CHECK_INT(t->width, 200);
    check_left(succeeds(child(t, "a", 200)), "got == 1.5");
    end();
    begin(LIST("{}"));
    t = start();
    CHECK_INT(t->width, 0);
    check_left(succeeds(join(t, "j", NULL, 0)), "#all == 0");
    end();
}

TEST(a_foreach_goes_over_what_is_inherited_or_a_parameter)
{
    begin("steps = { start = { next = 's', function(self) self.list = { 1, 2 } self.pad = " BIG " end },"
          "s = { next = 'a', foreach = 'list' }, a = { next = 'j', function() end },"
          "j = function(self, inputs) end }");
    CHECK_INT(next(start(), "s")->width, 2);
    end();
    begin_with("",
               "params = { list = { type = 'json' } }, steps = { start = { next = 'a', foreach = 'list' },"
               "a = { next = 'j', function(self) self.got = self.input end },"
               "j = function(self, inputs) end }", "{ list = { 7, 8, 9 } }");
    lf_task *t = start();
    CHECK_INT(t->width, 3);
    check_left(succeeds(child(t, "a", 2)), "got == 8");
    end();
}

TEST(a_foreach_over_something_else_fails_naming_it)
{
    begin(LIST("'hello'"));
    CHECK(strstr(failure_of(task("start")), "foreach artifact 'list' is a string; it must be a list")
          != NULL);
    end();
    begin(LIST("{ 1, nil, 3 }"));
    CHECK(strstr(failure_of(task("start")), "foreach artifact 'list' is a table that is not a list") != NULL);
    end();
    begin(LIST("2.5"));
    CHECK(strstr(failure_of(task("start")), "foreach artifact 'list' is the number 2.5") != NULL);
    end();
    begin(LIST("nil"));
    CHECK_STR(failure_of(task("start")),
              "flow F has no artifact 'list' in step start, which its foreach needs");
    end();
}

TEST(a_foreach_wider_than_allowed_fails_with_both_numbers)
{
    begin(LIST("1001"));
    CHECK_STR(failure_of(task("start")),
              "foreach over 'list' splits into 1001 tasks, more than the limit of 1000 (--max-num-splits)");
    end();
    begin(LIST("1000"));
    CHECK_INT(start()->width, 1000);
    end();
}

TEST(the_foreach_stack_goes_from_the_outside_in)
{
    begin("steps = { start = { next = 'b', foreach = 'x', function(self) self.x = { 'p', 'q' } "
          "assert(self.input == nil and self.index == nil and #self:foreach_stack() == 0) end },"
          "b = { next = 'c', foreach = 'y', function(self) self.y = 3 end },"
          "c = { next = 'd', function(self) self.s = self:foreach_stack() end },"
          "d = { next = 'j', function(self, inputs) self.i = self.index self.v = self.input end },"
          "j = function(self, inputs) self.none = self.index == nil and self.input == nil end }");
    lf_task *t = start(), *b = succeeds(child(t, "b", 2)), *c = succeeds(child(b, "c", 3));
    check_left(c, "#s == 2 and s[1].step == 'start' and s[1].index == 2 and s[1].size == 2 "
                  "and s[1].input == 'q' and s[2].step == 'b' and s[2].index == 3 and s[2].size == 3 "
                  "and s[2].input == 3");
    lf_task *d = succeeds(join(b, "d", &c, 1)); /* stands where b did */
    check_left(d, "i == 2 and v == 'q'");
    check_left(succeeds(join(t, "j", &d, 1)), "none");
    end();
}

/* ---- switch ---- */

#define SWITCH(value) "steps = { start = { next = { [1] = 'a', [true] = 'b', x = 'c' }, switch = 'k', " \
                      "function(self) self.k = " value " end }, a = { next = 'e' }, b = { next = 'e' }," \
                      "c = { next = 'e' }, e = function() end }"

static void check_choice(const char *value, const char *step)
{
    char steps[400];
    snprintf(steps, sizeof steps, SWITCH("%s"), value);
    begin(steps);
    lf_task *t = start();
    CHECK_STR(lf_graph_step(lf_flow_graph(flow), t->choice)->name, step);
    CHECK_INT(record_of(t).choice, t->choice);
    end();
}

TEST(a_switch_goes_where_its_artifact_says)
{
    check_choice("1", "a");
    check_choice("true", "b");
    check_choice("'x'", "c");
}

TEST(a_switch_without_a_case_names_the_value_and_the_cases)
{
    begin(SWITCH("'y'"));
    const char *message = failure_of(task("start"));
    CHECK(strstr(message, "switch artifact 'k' is \"y\", for which step start has no case; "
                          "its cases are ") != NULL);
    CHECK(strstr(message, "1") != NULL);
    CHECK(strstr(message, "true") != NULL);
    CHECK(strstr(message, "\"x\"") != NULL);
    end();
    begin(SWITCH("{}"));
    CHECK(strstr(failure_of(task("start")), "switch artifact 'k' is ") != NULL);
    end();
    begin(SWITCH("nil"));
    CHECK_STR(failure_of(task("start")), "flow F has no artifact 'k' in step start, which its switch needs");
    end();
}

TEST(a_switch_may_hang_on_a_parameter)
{
    begin_with("", "params = { k = { type = 'string' } }, steps = { start = { next = { x = 'a', y = 'b' }, "
               "switch = 'k' }, a = { next = 'e' }, b = { next = 'e' }, e = {} }", "{ k = 'y' }");
    CHECK_STR(lf_graph_step(lf_flow_graph(flow), start()->choice)->name, "b");
    end();
}

/* ---- joins ---- */

#define BRANCH(at_join)                                                                             \
    "steps = { start = { next = { 'b', 'a' }, function(self) self.common = " BIG " self.n = 0 end }," \
    "a = { next = 'j', function(self) self.x = 'a' self.only_a = 1 self.n = 1 end },"                \
    "b = { next = 'c', function(self) self.x = 'b' end },"                                           \
    "c = { next = 'j', function(self) self.n = 1 end },"                                             \
    "j = function(self, inputs) " at_join " end }"

/* The join of a branch whose first way takes two steps. */
static lf_task *branched(const char *steps)
{
    begin(steps);
    lf_task *t = start(), *b = next(t, "b"), *inputs[2] = {next(b, "c"), next(t, "a")};
    return join(t, "j", inputs, 2);
}

TEST(a_join_reads_its_inputs_by_name_and_in_declared_order)
{
    lf_task *j = branched(BRANCH(
        "assert(#inputs == 2 and inputs[1] == inputs.b and inputs[1] == inputs.c and inputs[2] == inputs.a) "
        "self.r = inputs.a.x .. inputs.b.x .. inputs[1].x .. table.concat(inputs:collect('x')) "
        "self.h = inputs.a:has('only_a') and not inputs.b:has('only_a') "
        "self.g = inputs.b:get('only_a', 9) + inputs.a:get('only_a', 9) "
        "self.d = inputs:collect('only_a', 0) "
        "local n = 0 for i, input in ipairs(inputs) do n = n + i * #input.common end self.n = n"));
    check_left(succeeds(j), "r == 'abbba' and h and g == 10 and d[1] == 0 and d[2] == 1 and n == 3000");
    end();
}

TEST(a_join_starts_with_no_artifacts)
{
    lf_task *j = branched(BRANCH("assert(not self:has('common')) self.y = 1"));
    CHECK_STR(own(succeeds(j)), "y");
    CHECK_INT(record_of(j).base, 0);
    CHECK_INT(lf_parents_count(record_of(j).parents), 2);
    end();
}

TEST(a_join_cannot_read_what_no_input_has)
{
    lf_task *j = branched(BRANCH("local x = inputs.b.only_a"));
    CHECK(strstr(failure_of(j), "flow F has no artifact 'only_a' in c, input 1 of step j") != NULL);
    end();
    j = branched(BRANCH("inputs:collect('only_a')"));
    CHECK(strstr(failure_of(j), "flow F has no artifact 'only_a' in c, input 1 of step j") != NULL);
    end();
    j = branched(BRANCH("local x = inputs.nobody"));
    CHECK(strstr(failure_of(j), "step j has no input 'nobody'; it has a, b, c") != NULL);
    end();
}

TEST(merging_propagates_what_the_inputs_agree_on_by_key)
{
    lf_task *j = branched(BRANCH("self.x = 'mine' self:merge_artifacts(inputs)"));
    CHECK_STR(own(succeeds(j)), "common> n only_a x");
    check_left(j, "#common == 1000 and n == 1 and only_a == 1 and x == 'mine'");
    end();
}

TEST(a_merged_artifact_can_be_read_changed_and_removed)
{
    lf_task *j = branched(BRANCH("self.x = 0 self:merge_artifacts(inputs) assert(#self.common == 1000) "
                                 "self.n = self.n + 5 self.only_a = nil"));
    check_left(succeeds(j), "#common == 1000 and n == 6 and x == 0 and only_a == nil");
    end();
}

TEST(a_conflict_propagates_nothing_and_names_all)
{
    lf_task *j = branched(BRANCH("local ok, message = pcall(self.merge_artifacts, self, inputs) "
                                 "assert(not ok) assert(not self:has('common')) self.m = message"));
    CHECK_STR(own(succeeds(j)), "m");
    check_left(j, "m == 'Step j cannot merge the following artifacts due to them having "
                  "conflicting values:\\n[x].\\nTo remedy this issue, be sure to explicitly set "
                  "those artifacts (using self.<artifact_name> = ...) prior to calling merge_artifacts.'");
    end();
}

TEST(merging_takes_only_what_is_included_and_leaves_what_is_excluded)
{
    lf_task *j = branched(BRANCH("self:merge_artifacts(inputs, { include = { 'n', 'common' } })"));
    CHECK_STR(own(succeeds(j)), "common> n");
    end();
    j = branched(BRANCH("self:merge_artifacts(inputs, { exclude = { 'x', 'common' } })"));
    CHECK_STR(own(succeeds(j)), "n only_a");
    end();
    j = branched(BRANCH("self:merge_artifacts(inputs, { include = { 'n', 'nope' } })"));
    CHECK(strstr(failure_of(j), "merge_artifacts: include names 'nope', which no input has") != NULL);
    end();
}

TEST(merging_in_steps_adds_up)
{
    lf_task *j = branched(BRANCH("self:merge_artifacts(inputs, { include = { 'n' } }) "
                                 "self:merge_artifacts(inputs, { include = { 'common' } }) "
                                 "self:merge_artifacts(inputs, { exclude = { 'x' } })"));
    CHECK_STR(own(succeeds(j)), "common> n only_a");
    end();
}

TEST(merging_outside_a_join_fails)
{
    CHECK_STR(start_fails("self:merge_artifacts({})"),
              "flows/f.lua:1: merge_artifacts is for joins, and step start is none");
}

/* ---- reading ---- */

TEST(reading_what_is_not_there_names_flow_artifact_and_step)
{
    CHECK_STR(start_fails("local y = self.y"), "flows/f.lua:1: flow F has no artifact 'y' in step start");
}

TEST(parameters_are_read_and_a_change_in_place_is_not_kept)
{
    begin_with("", "params = { n = { type = 'number' }, t = { type = 'json' }, none = { type = 'string' } }, "
               "steps = { start = { next = 'a', function(self) assert(self.n == 5 and self.none == nil) "
               "assert(self:has('n') and not self:has('none') and self:get('none', 1) == 1) "
               "self.t[1] = 'changed' assert(self.t[1] == 'changed') end }, "
               "a = function(self) self.seen = self.t[1] end }", "{ n = 5, t = { 'as given' } }");
    lf_task *t = start();
    CHECK_STR(own(t), "");
    check_left(next(t, "a"), "seen == 'as given'");
    end();
}

TEST(a_parameter_cannot_be_assigned)
{
    begin_with("", "params = { n = { type = 'number' } },"
                   "steps = { start = function(self) self.n = 6 end }", "{ n = 5 }");
    CHECK_STR(failure_of(task("start")),
              "flows/f.lua:1: parameter 'n' cannot be changed: assign to another name");
    end();
}

TEST(what_is_not_an_artifacts_name_cannot_be_assigned)
{
    CHECK(strstr(start_fails("self[1] = 2"), "an artifact's name is a string, not 1 (a number)") != NULL);
    CHECK(strstr(start_fails("rawset(self, 1, 2)"), "an artifact's name is a string, not a number") != NULL);
    CHECK(strstr(start_fails("self.input = 2"),
                 "self.input is given by the foreach and cannot be set") != NULL);
    CHECK(strstr(start_fails("self.get = 2"), "self.get is a method: choose another name") != NULL);
}

TEST(current_says_which_task_runs)
{
    begin("steps = { start = function(self) local c = require('luaflow').current "
          "self.c = { c.flow_name, c.run_id, c.step_name, c.task_id, c.pathspec, c.retry_count, #c.tags } "
          "self.d = c.store self.o = c.origin_run_id self.p = c.params.n == nil end }");
    lf_task *t = task("start");
    t->attempt = 2;
    check_left(succeeds(t), "table.concat(c, ' ') == 'F 7 start 1 F/7/start/1 2 0' and o == nil and p");
    end();
}

TEST(the_self_of_a_task_that_ended_refuses)
{
    begin("steps = { start = { next = 'a', function(self) package.loaded.kept = self self.x = 1 end },"
          "a = function(self) self.ok, self.m = pcall(function() return require('kept').y end) end }");
    check_left(next(start(), "a"),
               "not ok and m:find('this `self` belongs to a task that has ended', 1, true)");
    end();
}

/* ---- failures ---- */

TEST(a_failed_task_keeps_its_message_and_traceback)
{
    begin_with("local function deep()\n error('no luck')\nend\n",
               "steps = { start = function(self)\n self.x = " BIG " deep()\n self.y = 1 end }", "{}");
    lf_task *t = task("start");
    CHECK_STR(failure_of(t), "flows/f.lua:2: no luck");
    CHECK(strstr(text_of(record_of(t).traceback), "flows/f.lua:5") != NULL);
    CHECK(strncmp(text_of(record_of(t).traceback), "stack traceback:", 16) == 0);
    CHECK_INT(lf_staged_bytes(staged), 0);
    end();
}

TEST(no_frame_of_ours_stands_below_a_steps_own)
{
    const char *heads[] = {"", "local x = print "}; /* the chunk runs once, and for every task */
    for (int i = 0; i < 2; i++) {
        begin_with(heads[i], "steps = { start = { next = 'a', function(self) "
                   "self.frames, self.above = debug.traceback(), getfenv(2) == getfenv(1) end },\n"
                   "a = function(self) error('bad input', 2) end }", "{}");
        lf_task *t = start(), *failed = task_after(t, "a");
        check_left(t, "frames:find('flows/f.lua:1:', 1, true) and not frames:find('luaflow/', 1, true) and above");
        CHECK_STR(failure_of(failed), "bad input");
        CHECK_STR(text_of(record_of(failed).traceback), "stack traceback:\n\tflows/f.lua:2: in function <flows/f.lua:2>");
        end();
    }
}

TEST(a_stepper_runs_on_after_a_failure)
{
    begin("steps = { start = { next = 'a', function(self) self.x = 1 end },"
          "a = function(self) if require('luaflow').current.retry_count == 0 then "
          "self.junk = 1 error('once') end assert(not self:has('junk')) self.y = self.x end }");
    lf_task *t = start();
    failure_of(task_after(t, "a"));
    lf_task *again = task_after(t, "a");
    again->attempt = 1;
    check_left(succeeds(again), "y == 1");
    end();
}

TEST(an_error_may_be_any_value)
{
    CHECK_STR(start_fails("error('bare', 0)"), "bare");
    CHECK(strlen(start_fails("error()")) > 0);
    CHECK(strlen(start_fails("error({ code = 5 })")) > 0);
    CHECK_STR(start_fails("error(setmetatable({}, { __tostring = function() return 'said' end }))"), "said");
}

TEST(what_cannot_be_stored_fails_naming_its_path)
{
    CHECK_STR(start_fails("self.model = { layers = { 1, 2, { act = print } } }"),
              "artifact 'model' cannot be stored: model.layers[3].act is a function");
    CHECK_STR(start_fails("self.a = 1 self.model = coroutine.create(print)"),
              "artifact 'model' cannot be stored: model is a coroutine");
}

TEST(a_foreach_or_switch_that_fails_keeps_nothing)
{
    begin("steps = { start = { next = 'a', foreach = 'list', function(self) self.x = " BIG
          " self.list = 'no' end }, a = { next = 'j' }, j = function(self, inputs) end }");
    lf_task *t = task("start");
    failure_of(t);
    CHECK(t->opened == NULL);
    CHECK_INT(lf_staged_bytes(staged), 0);
    end();
}

/* ---- what is printed ---- */

TEST(what_a_step_prints_is_kept_line_by_line)
{
    begin("steps = { start = function(self) print('a', 1) io.write('b') io.write('c\\nd\\n') "
          "io.stderr:write('oops\\n') io.stdout:write('tail') end }");
    CHECK_STR(output_of(start()), "1<a\t1\n>1<bc\n>1<d\n>2<oops\n>1<tail>");
    end();
}

TEST(a_failed_task_keeps_what_it_printed)
{
    begin("steps = { start = function(self) print('before') error('x') end }");
    lf_task *t = task("start");
    failure_of(t);
    CHECK_STR(output_of(t), "1<before\n>");
    end();
}

TEST(what_the_file_itself_prints_shows_in_the_first_task_alone)
{
    begin_with("print('top')", "steps = { start = { next = 'a' }, a = function() print('a') end }", "{}");
    lf_task *t = start();
    CHECK_STR(output_of(t), "1<top\n>");
    CHECK_STR(output_of(next(t, "a")), "1<a\n>");
    end();
}

/* ---- isolation ---- */

/* Two steps, each of which counts in a global and in a local of the file. */
#define COUNTING(word)                                                                         \
    "local count = 0 " word,                                                                   \
    "steps = { start = { next = 'a', function(self) count = count + 1 seen = (seen or 0) + 1 " \
    "self.s = seen self.c = count string.shout = 1 end },"                                     \
    "a = function(self) count = count + 1 seen = (seen or 0) + 1 self.s = self.s + seen "      \
    "self.c = self.c + count end }"

TEST(no_task_sees_the_globals_or_locals_of_another)
{
    begin_with(COUNTING(""), "{}");
    CHECK(lf_flow_is_plain(flow));
    check_left(next(start(), "a"), "s == 2 and c == 2");
    end();
    begin_with(COUNTING("_G.also = 1"), "{}");
    CHECK(!lf_flow_is_plain(flow));
    check_left(next(start(), "a"), "s == 2 and c == 2");
    end();
}

TEST(the_table_of_globals_is_the_tasks_own)
{
    begin_with("", "steps = { start = { next = 'a', function(self) _G.x = 1 assert(x == 1 and _G._G == _G) "
               "print = nil assert(rawget(_G, 'print') == nil) setfenv(0, { set = 1 }) end },"
               "a = function(self) assert(_G.x == nil and print and getfenv(0) == _G) "
               "loadstring('y = 5')() self.y = y assert(getfenv(1) == _G) end }", "{}");
    check_left(next(start(), "a"), "y == 5");
    end();
}

TEST(modules_are_loaded_once_and_see_the_states_own_globals)
{
    begin("steps = { start = { next = 'a', function(self) package.preload.m = function() "
          "made = (made or 0) + 1 return { n = made } end self.n = require('m').n end },"
          "a = function(self) self.n = self.n + require('m').n self.leaked = made ~= nil end }");
    check_left(next(start(), "a"), "n == 2");
    end();
}

TEST(chance_hangs_on_the_seed_and_the_place_alone)
{
    begin_with("local top = math.random()",
               "steps = { start = { next = 'a', foreach = 'n', function(self) self.n = 3 end },"
               "a = { next = 'j', function(self) self.r = { top, math.random(), math.random(1e9) } end },"
               "j = function(self, inputs) end }", "{}");
    lf_task *t = start(), *one = succeeds(child(t, "a", 1)), *two = succeeds(child(t, "a", 2));
    lf_task *again = child(t, "a", 1);
    again->attempt = 3;
    succeeds(again);
    CHECK(lf_slice_equal(lf_task_outputs(one), lf_task_outputs(again)));
    CHECK(!lf_slice_equal(lf_task_outputs(one), lf_task_outputs(two)));
    facts->seed = 43;
    CHECK(!lf_slice_equal(lf_task_outputs(one), lf_task_outputs(succeeds(child(t, "a", 1)))));
    end();
}

TEST(a_file_that_is_another_flow_the_next_time_fails_the_task)
{
    begin_with("package.loaded.turn = (package.loaded.turn or 0) + 1 "
               "if package.loaded.turn == 2 then return end "
               "if package.loaded.turn == 3 then return { steps = {} } end",
               "steps = { start = { next = 'a', function() end }, a = function() end }", "{}");
    lf_task *t = start();
    CHECK_STR(failure_of(task_after(t, "a")),
              "flows/f.lua returned no table this time; a flow must not depend on chance or the clock");
    CHECK_STR(failure_of(task_after(t, "a")),
              "the flow file has no step 'a' this time; a flow must not depend on chance or the clock");
    next(t, "a");
    end();
}

/* ---- a state for many tasks ---- */

TEST(a_state_runs_thousands_of_tasks_and_is_not_worn)
{
    enum { N = 3000 };
    begin_with("local ffi = require 'ffi' ffi.cdef 'typedef struct { double x, y; } point_of_test;' "
               "local point = ffi.metatype('point_of_test', "
               "{ __index = { sum = function(p) return p.x + p.y end } }) "
               "local pair = ffi.typeof('struct { int a, b; }') "
               "local Class = {} Class.__index = Class "
               "require('luaflow').register('Class', Class)",
               "steps = { start = { next = 'a', function(self) self.n = 0 "
               "self.o = setmetatable({ 1 }, Class) end },"
               "a = { next = { [true] = 'a', [false] = 'b' }, switch = 'more', function(self) "
               "assert(stray == nil) stray = 1 loadstring('stray = 2')() assert(stray == 2) "
               "local p, q = point(self.n, 1), pair(1, 2) assert(getmetatable(self.o) == Class) "
               "self.n = p:sum() self.more = true "
               "io.write('.') io.output():write('\\n') end }, b = function() end }", "{}");
    lf_task *t = start();
    for (int i = 0; i < N; i++) {
        t = next(t, "a");
        CHECK(!lf_stepper_is_worn(stepper));
    }
    check_left(t, "n == 3000");
    CHECK_STR(output_of(t), "1<.\n>");
    end();
}

TEST(a_state_that_gathered_many_c_types_is_worn)
{
    begin("steps = { start = function(self) local ffi = require 'ffi' "
          "if require('luaflow').current.task_id == 1 then "
          "for i = 1, 25000 do ffi.typeof('struct { int a' .. i .. '; }') end end end }");
    bool worn = false;
    for (int i = 0; i < 2000 && !worn; i++) {
        start();
        worn = lf_stepper_is_worn(stepper);
    }
    CHECK(worn);
    end();
}

TEST(another_run_of_the_same_flow_has_its_own_parameters)
{
    begin_with("", "params = { n = { type = 'number' } },"
                   "steps = { start = function(self) self.got = self.n end }", "{ n = 1 }");
    check_left(start(), "got == 1");
    for (uint32_t i = 0; i < tasks; i++)
        lf_task_drop(kept[i]);
    tasks = 0;
    facts->run = 8;
    lf_buf_free(facts->params);
    facts->params = encoded("{ n = 2 }");
    check_left(start(), "got == 2");
    end();
}
