#include "flow.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#define START "steps = { start = function(self) end }"

static int load(const char *source, lf_flow **out, luaflow_error *err)
{
    return lf_flow_load_string(source, strlen(source), "flows/x.lua", NULL, out, err);
}

static lf_flow *loaded(const char *source)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow *f = NULL;
    if (load(source, &f, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    return f;
}

/* What loading is refused with. */
static const char *refused(const char *source)
{
    static luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow *f = NULL;
    luaflow_error_clear(&err);
    assert_int_equal(load(source, &f, &err), LUAFLOW_EFLOW);
    assert_null(f);
    return luaflow_error_text(&err);
}

/* The value of a Lua expression over `value`, which the bytes stand for, as text. */
static const char *look(lf_slice bytes, const char *expression)
{
    static char text[512];
    lua_State *L = lf_state_new();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    assert_int_equal(lf_codec_decode(L, bytes, &err), LUAFLOW_OK);
    lua_setglobal(L, "value");
    snprintf(text, sizeof text, "return tostring(%s)", expression);
    if (luaL_loadstring(L, text) != 0 || lua_pcall(L, 0, 1, 0) != 0)
        fail_msg("%s", lua_tostring(L, -1));
    snprintf(text, sizeof text, "%s", lua_tostring(L, -1));
    lf_state_free(L);
    return text;
}

/* Resolves the parameters and looks at them, or gives the message. */
static const char *resolved(lf_flow *f, const luaflow_param *given, size_t n,
                            const char *expression)
{
    static luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_bytes out = {0};
    luaflow_error_clear(&err);
    int rc = lf_flow_params(f, given, n, &out, &err);
    const char *text;
    if (rc == LUAFLOW_OK) {
        text = look(lf_slice_of(out.data, out.size), expression);
    } else {
        assert_int_equal(rc, LUAFLOW_EUSAGE);
        assert_int_equal(out.size, 0);
        text = luaflow_error_text(&err);
    }
    lf_bytes_fini(&out);
    return text;
}

/* ---- loading ---- */

TEST(a_flow_knows_its_name_source_and_graph)
{
    const char *source = "return { steps = { start = { next = 'b', function(self) end }, "
                         "b = {} } }";
    lf_flow *f = loaded(source);
    CHECK_STR(lf_flow_name(f), "x");
    CHECK_STR(lf_flow_path(f), "flows/x.lua");
    CHECK_INT(lf_flow_source(f).size, strlen(source));
    CHECK_MEM(lf_flow_source(f).data, source, strlen(source));
    const lf_graph *g = lf_flow_graph(f);
    CHECK_INT(lf_graph_size(g), 2);
    CHECK_STR(lf_graph_step(g, 0)->name, "start");
    CHECK_STR(lf_graph_step(g, 0)->where, "flows/x.lua:1");
    CHECK(lf_graph_step(g, 0)->has_function && !lf_graph_step(g, 1)->has_function);
    CHECK(lf_graph_step(g, 1)->where == NULL);
    lf_flow_free(f);
}

TEST(a_flow_may_name_itself)
{
    lf_flow *f = loaded("return { name = 'Own', " START " }");
    CHECK_STR(lf_flow_name(f), "Own");
    lf_flow_free(f);
}

TEST(a_flow_is_read_from_its_file)
{
    char path[] = "/tmp/luaflow-XXXXXX";
    int fd = mkstemp(path);
    const char *source = "#!/usr/bin/env luaflow\nreturn { " START " }\n";
    CHECK_INT(write(fd, source, strlen(source)), strlen(source));
    close(fd);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow *f;
    CHECK_INT(lf_flow_load(path, NULL, &f, &err), LUAFLOW_OK);
    CHECK_STR(lf_flow_name(f), path + strlen("/tmp/"));
    lf_flow_free(f);
    unlink(path);
}

TEST(a_file_that_cannot_be_read_is_named)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow *f;
    CHECK_INT(lf_flow_load("/nowhere/x.lua", NULL, &f, &err), LUAFLOW_EFLOW);
    CHECK_STR(err.message, "cannot read /nowhere/x.lua: No such file or directory");
    CHECK_INT(lf_flow_load("/", NULL, &f, &err), LUAFLOW_EFLOW);
    CHECK_STR(err.message, "cannot read /: Is a directory");
    luaflow_error_clear(&err);
}

TEST(bytecode_is_refused)
{
    CHECK_STR(refused("\33LJ\2"), "flows/x.lua is bytecode; luaflow loads source text only");
}

TEST(an_error_names_file_and_line)
{
    CHECK_STR(refused("\nreturn {{"), "flows/x.lua:2: unexpected symbol near '<eof>'");
    CHECK_STR(refused("\n\nerror('boom')"), "flows/x.lua:3: boom");
    CHECK_STR(refused("error({})"), "flows/x.lua: (error object is a table value)");
    CHECK_STR(refused("error('no place', 0)"), "flows/x.lua: no place");
}

TEST(os_exit_is_refused_while_a_flow_is_loaded_and_in_a_default)
{
    CHECK_STR(refused("\nos.exit(3)"),
              "flows/x.lua:2: a flow file must not call os.exit while it is loaded or gives a "
              "default; use error to refuse");
    lf_flow *f = loaded("return { " START ", params = { n = { default = function() os.exit() end "
                        "} } }");
    CHECK_STR(resolved(f, NULL, 0, "value"),
              "the default of parameter 'n' (--n) failed: flows/x.lua:1: a flow file must not call "
              "os.exit while it is loaded or gives a default; use error to refuse");
    lf_flow_free(f);
}

TEST(a_flow_file_returns_a_table)
{
    CHECK_STR(refused(""), "flows/x.lua returns nil; a flow file returns a table: return { steps = "
                           "{ start = function(self) … end } }");
    CHECK_STR(refused("return 5"), "flows/x.lua returns a number; a flow file returns a table: "
                                   "return { steps = { start = function(self) … end } }");
}

TEST(all_problems_come_in_the_order_of_the_file)
{
    CHECK_STR(refused("return { nam = 'x', steps = {\n"
                      "  start = { function(self) end, next = 'b' },\n"
                      "  c = { function(self, ...) end, next = 'b' },\n"
                      "  b = { function(self) end, next = 'd', retry = -1 },\n"
                      "} }"),
              "flows/x.lua: the flow has an unknown key 'nam'; the nearest known one is 'name'\n"
              "flows/x.lua:3: step 'c' has a vararg function; write function(self), or "
              "function(self, inputs) for a join\n"
              "flows/x.lua:3: step 'c' is never reached: no step goes to it, unless 'd' means it; "
              "name it in the `next` of another step, or remove it\n"
              "flows/x.lua:4: step 'b' goes to 'd', which this flow does not have; the nearest "
              "step is 'b'\n"
              "flows/x.lua:4: step 'b' has retry = -1: write a whole number of further attempts, "
              "or { times = 3, delay = 10, backoff = 2 }");
}

TEST(a_wrong_transition_is_told_alone)
{
    CHECK_STR(refused("return { steps = { start = { next = 5 }, b = { next = 'c' }, c = {} } }"),
              "flows/x.lua: step 'start' has next = 5; write the name of a step, or a table of "
              "names");
}

TEST(the_cases_of_a_switch_are_keyed_by_canonical_bytes)
{
    lf_flow *f = loaded("return { steps = { start = { switch = 'x', next = { [5] = 'a', k = 'b', "
                        "[true] = 'c' } }, a = { next = 'd' }, b = { next = 'd' }, "
                        "c = { next = 'd' }, d = {} } }");
    const lf_graph *g = lf_flow_graph(f);
    const lf_step *start = lf_graph_step(g, 0);
    CHECK_STR(start->over, "x");
    CHECK_INT(lf_step_case(start, lf_slice_of("\5", 1)), lf_graph_find(g, "a"));
    CHECK_INT(lf_step_case(start, lf_slice_of("\xa1k", 2)), lf_graph_find(g, "b"));
    CHECK_INT(lf_step_case(start, lf_slice_of("\xc3", 1)), lf_graph_find(g, "c"));
    CHECK_INT(lf_step_case(start, lf_slice_of("\xc2", 1)), LF_NONE);
    lf_flow_free(f);
}

TEST(an_unknown_target_of_a_case_is_told_with_the_case)
{
    CHECK_STR(refused("return { steps = { start = { switch = 'x', next = { [2.5] = 'a', "
                      "k = 'bb', [false] = 'cc' } }, a = {} } }"),
              "flows/x.lua: step 'start' goes to 'bb' in the case 'k', which this flow does not "
              "have; the nearest step is 'a'\n"
              "flows/x.lua: step 'start' goes to 'cc' in the case false, which this flow does not "
              "have; the nearest step is 'a'");
}

TEST(attributes_reach_the_graph)
{
    lf_flow *f = loaded("return { steps = { start = { function(self) end, timeout = 0.5, "
                        "retry = { times = 2, delay = 1.5, backoff = 3 }, catch = 'failure', "
                        "env = { KEY = 'value' }, resources = { cpu = 2 }, max_parallel = 4 } } }");
    const lf_attributes *a = &lf_graph_step(lf_flow_graph(f), 0)->attributes;
    CHECK_INT(a->retry_times, 2);
    CHECK(a->retry_delay == 1.5 && a->retry_backoff == 3 && a->timeout == 0.5 && a->isolate);
    CHECK_STR(a->catch_name, "failure");
    CHECK_INT(a->n_env, 1);
    CHECK_STR(a->env[0].name, "KEY");
    CHECK_STR(a->env[0].value, "value");
    CHECK_INT(a->cpu, 2);
    CHECK_INT(a->max_parallel, 4);
    lf_flow_free(f);
}

TEST(attributes_for_every_step_are_added)
{
    char path[] = "/tmp/luaflow-XXXXXX";
    int fd = mkstemp(path);
    CHECK_INT(dprintf(fd, "return { %s }", START) > 0, 1);
    close(fd);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow *f = NULL;
    luaflow_attribute with[] = {{"retry", "2"}, {"timeout", "0.5"}};
    luaflow_flow_options options = LUAFLOW_FLOW_OPTIONS_INIT;
    options.with = with;
    options.n_with = 2;
    CHECK_INT(lf_flow_load(path, &options, &f, &err), LUAFLOW_OK);
    CHECK_INT(lf_graph_step(lf_flow_graph(f), 0)->attributes.retry_times, 2);
    CHECK_STR(look(lf_flow_description(f), "value.steps[1].timeout"), "0.5");
    lf_flow_free(f);
    with[1].value = "soon";
    CHECK_INT(lf_flow_load(path, &options, &f, &err), LUAFLOW_EUSAGE);
    CHECK_STR(err.message, "--with timeout=soon: timeout = \"soon\": write seconds, more than 0");
    luaflow_error_clear(&err);
    unlink(path);
}

TEST(the_description_has_the_steps_in_topological_order)
{
    lf_flow *f = loaded("return { doc = 'D', params = { n = { default = 5 } }, steps = { "
                        "start = { next = 'z' }, z = { next = 'a' }, a = {} } }");
    lf_slice d = lf_flow_description(f);
    CHECK_STR(look(d, "value.name .. value.doc .. value.file"), "xDflows/x.lua");
    CHECK_STR(look(d, "value.steps[1].name .. value.steps[2].name .. value.steps[3].name"),
              "startza");
    CHECK_STR(look(d, "value.params[1].name .. value.params[1].type .. value.params[1].default"),
              "nnumber5");
    lf_flow_free(f);
}

TEST(what_runs_at_the_top_has_globals_of_its_own)
{
    lf_flow *f = loaded("answer = 42; assert(_G.answer == 42 and getfenv(0).answer == 42);"
                        "assert(loadstring('return answer')() == 42); print('dropped');"
                        "return { " START ", params = { n = { default = function() "
                        "return answer end } } }");
    CHECK_STR(resolved(f, NULL, 0, "value.n"), "42");
    lf_flow_free(f);
}

TEST(the_door_stands_open_at_the_top)
{
    lf_flow *f = loaded("local luaflow = require 'luaflow'; luaflow.register('Vec2', {})\n"
                        "assert(luaflow.sorted_pairs); return { " START " }");
    lf_flow_free(f);
}

TEST(a_plain_flow_mentions_nothing_that_shows_the_globals)
{
    static const char *const telling[] = {"_G.x = 1", "local f = getfenv", "local f = setfenv",
                                          "local f = load", "local f = loadstring", "-- dofile",
                                          "local d = debug", "local p = package"};
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
        char source[200];
        snprintf(source, sizeof source, "%s\nreturn { %s }", telling[i], START);
        lf_flow *f = loaded(source);
        CHECK(!lf_flow_is_plain(f));
        lf_flow_free(f);
    }
    lf_flow *f = loaded("local payload, debugger, _GG = 1, 2, 3 return { " START " }");
    CHECK(lf_flow_is_plain(f));
    lf_flow_free(f);
}

TEST(only_a_text_that_cannot_reach_math_random_is_not_chancy)
{
    static const char *const chancy[] = {"local m = math", "local r = require", "local e = _G"};
    for (size_t i = 0; i < sizeof chancy / sizeof *chancy; i++) {
        char source[200];
        snprintf(source, sizeof source, "%s\nreturn { %s }", chancy[i], START);
        lf_flow *f = loaded(source);
        CHECK(lf_flow_is_chancy(f));
        lf_flow_free(f);
    }
    lf_flow *f = loaded("local random, maths = 1, 2 return { " START " }");
    CHECK(!lf_flow_is_chancy(f));
    lf_flow_free(f);
}

TEST(any_state_can_be_entered)
{
    lf_flow *f = loaded("return { " START ", name = 'entered' }");
    lua_State *L = lf_state_new();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_flow_enter(f, L, &err), LUAFLOW_OK);
    CHECK_INT(lua_gettop(L), 1);
    CHECK(lua_isfunction(L, 1));
    CHECK_INT(lf_state_try(L, 0, 1, LUAFLOW_ESTEP, &err), LUAFLOW_OK);
    lua_getfield(L, 1, "name");
    CHECK_STR(lua_tostring(L, -1), "entered");
    lf_state_free(L);
    lf_flow_free(f);
}

TEST(a_flow_lives_as_long_as_its_last_owner)
{
    lf_flow *f = loaded("return { " START " }");
    CHECK(lf_flow_ref(f) == f);
    lf_flow_free(f);
    CHECK_STR(lf_flow_name(f), "x");
    lf_flow_free(f);
    lf_flow_free(NULL);
}

/* ---- flows given as tables ---- */

/* A host's state with the value that `source` returns at the top. */
static lua_State *host_with(const char *source)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    if (luaL_loadbuffer(L, source, strlen(source), "=stdin") != 0 || lua_pcall(L, 0, 1, 0) != 0)
        fail_msg("%s", lua_tostring(L, -1));
    return L;
}

/* The flow that the table is which `source` returns. */
static lf_flow *given(const char *source)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow *f = NULL;
    lua_State *L = host_with(source);
    if (lf_flow_load_lua(L, -1, NULL, NULL, &f, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    CHECK_INT(lua_gettop(L), 1);
    lua_close(L);
    return f;
}

/* What taking it is refused with. */
static const char *not_taken(lua_State *L)
{
    static luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_flow *f = NULL;
    int top = lua_gettop(L);
    luaflow_error_clear(&err);
    CHECK_INT(lf_flow_load_lua(L, -1, NULL, NULL, &f, &err), LUAFLOW_EFLOW);
    CHECK(f == NULL);
    CHECK_INT(lua_gettop(L), top);
    lua_close(L);
    return luaflow_error_text(&err);
}

TEST(a_table_is_a_flow_like_one_of_a_file)
{
    lf_flow *f = given("local up = 5\nreturn { params = { n = { default = function() return up end } },\n"
                       "steps = { start = { next = 'b', function(self) end }, b = { retry = 2 } } }");
    CHECK_STR(lf_flow_name(f), "PromptFlow");
    const lf_graph *g = lf_flow_graph(f);
    CHECK_INT(lf_graph_size(g), 2);
    CHECK_STR(lf_graph_step(g, 0)->where, "stdin:3");
    CHECK_INT(lf_graph_step(g, 1)->attributes.retry_times, 2);
    CHECK_STR(resolved(f, NULL, 0, "value.n"), "5");
    lf_flow_free(f);
}

TEST(a_table_has_the_text_of_its_functions_for_a_source)
{
    lf_flow *f = given("return { " START " }"), *file = loaded("return { " START " }");
    const char *text = "-- A flow that was given as a table: the functions it has and uses.\n\n"
                       "-- step 'start', stdin:1: the text is not known\n";
    CHECK_INT(lf_flow_source(f).size, strlen(text));
    CHECK_MEM(lf_flow_source(f).data, text, strlen(text));
    CHECK(lf_flow_parcel(f) != NULL && lf_flow_parcel(file) == NULL);
    lf_flow_free(f);
    lf_flow_free(file);
}

TEST(a_state_that_is_entered_makes_the_steps_of_a_table_when_asked)
{
    lf_flow *f = given("local n = 41 return { steps = { start = { next = 'b' }, b = function() n = n + 1 return n end } }");
    lua_State *L = lf_state_new();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_flow_enter(f, L, &err), LUAFLOW_OK);
    lua_setglobal(L, "chunk");
    CHECK_INT(luaL_dostring(L, "return chunk().steps.b(), chunk().steps.b()"), 0);
    CHECK(lua_tonumber(L, -1) == 42 && lua_tonumber(L, -2) == 42);
    lf_state_free(L);
    lf_flow_free(f);
}

TEST(another_process_knows_a_table_by_its_parcel)
{
    lf_flow *f = given("return { name = 'Known', steps = { start = function() return 7 end } }"), *known = NULL;
    lf_flow_told told = {lf_flow_path(f), lf_flow_name(f), {NULL, 0}, lf_flow_parcel(f), lf_flow_description(f)};
    lua_State *L = lf_state_new();
    CHECK_INT(lf_flow_known(&told, &known, NULL), LUAFLOW_OK);
    lf_flow_free(f);
    CHECK_STR(lf_flow_name(known), "Known");
    CHECK(!lf_flow_is_plain(known) && lf_flow_is_chancy(known));
    CHECK_INT(lf_flow_enter(known, L, NULL), LUAFLOW_OK);
    lua_setglobal(L, "chunk");
    CHECK_INT(luaL_dostring(L, "return chunk().steps.start()"), 0);
    CHECK(lua_tonumber(L, -1) == 7);
    lf_state_free(L);
    lf_flow_free(known);
}

TEST(a_table_is_plain_when_no_function_it_uses_could_see_the_globals)
{
    static const char *const telling[] = {
        "local function f() return _G end", "local g = getfenv local function f() return g end",
        "local function f() return function() return loadstring end end", "local d = debug local f = d.getinfo",
        "local f = { [1] = { package.loaded } }"};
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
        char source[300];
        snprintf(source, sizeof source, "%s return { steps = { start = function(self) self.x = f end } }", telling[i]);
        lf_flow *f = given(source);
        CHECK(!lf_flow_is_plain(f) && lf_flow_is_chancy(f));
        lf_flow_free(f);
    }
    lf_flow *f = given("local payload, p = 1, print return { steps = { start = function(self) p(payload) end } }");
    CHECK(lf_flow_is_plain(f) && !lf_flow_is_chancy(f));
    lf_flow_free(f);
    static const char *const chancy[] = {"local r = math.random", "local r = require('luaflow').sorted_pairs"};
    for (size_t i = 0; i < sizeof chancy / sizeof *chancy; i++) {
        char source[300];
        snprintf(source, sizeof source, "package.preload.luaflow = function() return { sorted_pairs = function() end } end "
                 "%s return { steps = { start = function(self) self.x = r() end } }", chancy[i]);
        f = given(source);
        CHECK(lf_flow_is_plain(f) && lf_flow_is_chancy(f));
        lf_flow_free(f);
    }
}

TEST(what_cannot_be_taken_is_refused)
{
    CHECK_STR(not_taken(host_with("local u = newproxy() return { steps = { start = function() return u end } }")),
              "step 'start' cannot be sent to a worker: its upvalue 'u' is a userdata; open it inside the step, or "
              "in a module that the step requires");
    CHECK_STR(not_taken(host_with("return { steps = { start = { next = 'x', function() end } } }")),
              "stdin:1: step 'start' goes to 'x', which this flow does not have; the nearest step is 'start'");
    CHECK_STR(not_taken(host_with("return 5")), "a flow is a table, { steps = { start = function(self) … end } }, or "
                                                "the path of its file, not a number");
}

TEST(a_state_without_libraries_cannot_give_a_flow)
{
    lua_State *L = luaL_newstate();
    lua_newtable(L);
    CHECK_STR(not_taken(L), "the flow cannot be sent to a worker: luaflow needs the table package.loaders");
}

TEST(a_coroutine_may_give_a_flow)
{
    lua_State *L = host_with("return { " START " }"), *thread = lua_newthread(L);
    lf_flow *f = NULL;
    lua_pushvalue(L, 1);
    lua_xmove(L, thread, 1);
    CHECK_INT(lf_flow_load_lua(thread, 1, "Given", NULL, &f, NULL), LUAFLOW_OK);
    CHECK_INT(lua_gettop(thread), 1);
    CHECK_STR(lf_flow_name(f), "Given");
    lf_flow_free(f);
    lua_close(L);
}

/* ---- parameters ---- */

TEST(parameters_are_given_as_text_or_bytes)
{
    lf_flow *f = loaded("return { " START ", params = { max_items = { default = 5 }, s = {} } }");
    CHECK_STR(resolved(f, NULL, 0, "value.max_items .. tostring(value.s)"), "5nil");
    luaflow_param text = {.name = "max-items", .text = "7"};
    CHECK_STR(resolved(f, &text, 1, "value.max_items"), "7");
    luaflow_param bytes = {.name = "max_items", .value = "\x09", .value_size = 1};
    CHECK_STR(resolved(f, &bytes, 1, "value.max_items"), "9");
    lf_flow_free(f);
}

TEST(wrong_parameters_are_a_usage_error)
{
    lf_flow *f = loaded("return { " START ", params = { n = { default = 5 } } }");
    luaflow_param p = {.name = "n", .text = "x"};
    CHECK_STR(resolved(f, &p, 1, "value"), "parameter 'n' takes a number, not 'x' (--n)");
    p.name = "m";
    CHECK_STR(resolved(f, &p, 1, "value"), "unknown parameter 'm' (--m): this flow has n");
    p = (luaflow_param){.name = "n", .value = "\xc1", .value_size = 1};
    CHECK(strstr(resolved(f, &p, 1, "value"), "parameter 'n' is given bytes that are no value"));
    lf_flow_free(f);
}

/* Parameters are stored as one table: it takes one of the tables a value may be deep. */
TEST(a_parameter_is_nested_one_table_less_than_other_values)
{
    lf_flow *f = loaded("return { " START ", params = { j = { type = 'json' }, n = { default = 1 } } }");
    char text[2 * 200 + 1] = {0};
    memset(text, '[', 199);
    memset(text + 199, ']', 199);
    luaflow_param p = {.name = "j", .text = text};
    CHECK_STR(resolved(f, &p, 1, "value.n"), "1");
    memset(text, '[', 200);
    memset(text + 200, ']', 200);
    CHECK_STR(resolved(f, &p, 1, "value"),
              "parameter 'j' cannot be stored: it is nested more than 199 tables deep");
    lf_flow_free(f);
}

TEST(a_failing_default_is_a_usage_error)
{
    lf_flow *f = loaded("return { " START ", params = { n = { default = function()\n"
                        "error('no idea') end } } }");
    CHECK_STR(resolved(f, NULL, 0, "value"),
              "the default of parameter 'n' (--n) failed: flows/x.lua:2: no idea");
    CHECK_STR(resolved(f, NULL, 0, "value"),
              "the default of parameter 'n' (--n) failed: flows/x.lua:2: no idea");
    lf_flow_free(f);
}

TEST(a_default_that_cannot_be_stored_is_named)
{
    CHECK_STR(refused("return { " START ", params = { t = { default = { f = print } } } }"),
              "flows/x.lua: parameter 't' has a default that cannot be stored: default.f is a "
              "function");
    lf_flow *f = loaded("return { " START ", params = { t = { default = function() "
                        "return { { f = print } } end } } }");
    CHECK_STR(resolved(f, NULL, 0, "value"),
              "parameter 't' cannot be stored: t[1].f is a function");
    lf_flow_free(f);
}
