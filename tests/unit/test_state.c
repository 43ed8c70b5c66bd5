/* test_state.c -- a furnished state: what it prints, how it fails. */
#include "unit.h"

#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <lauxlib.h>

/* What a state printed, the streams told apart: "1<x\n>2<oops>". */
static void record(void *payload, int stream, const char *text, size_t size)
{
    lf_bytes_printf(payload, "%d<", stream);
    lf_bytes_put(payload, text, size);
    lf_bytes_printf(payload, ">");
}

/* Loads `code` as the file flows/a.lua. */
static void load(lua_State *L, const char *code)
{
    CHECK_INT(luaL_loadbuffer(L, code, strlen(code), "@flows/a.lua"), 0);
}

static void run(lua_State *L, const char *code)
{
    load(L, code);
    lf_failure failure;
    int rc = lf_state_call(L, 0, 0, &failure);
    if (rc != LUAFLOW_OK)
        fprintf(stderr, "%s\n", failure.message);
    CHECK_INT(rc, LUAFLOW_OK);
}

static void check_prints(const char *code, const char *wanted)
{
    lf_bytes out = {0};
    lua_State *L = lf_state_new();
    lf_state_output(L, record, &out);
    run(L, code);
    CHECK_STR(lf_bytes_cstr(&out), wanted);
    lf_state_free(L);
    lf_bytes_fini(&out);
}

/* Runs what fails; the caller finishes it. */
static lf_failure failure_of(const char *code)
{
    lua_State *L = lf_state_new();
    lf_failure failure;
    load(L, code);
    CHECK_INT(lf_state_call(L, 0, 0, &failure), LUAFLOW_ESTEP);
    CHECK_INT(lua_gettop(L), 0);
    lf_state_free(L);
    return failure;
}

static void check_message(const char *code, const char *wanted)
{
    lf_failure failure = failure_of(code);
    CHECK_STR(failure.message, wanted);
    lf_failure_fini(&failure);
}

static size_t count_of(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

/* ---- output ---- */

TEST(print_is_one_piece_with_tabs_and_a_newline)
{
    check_prints("print('a', 1, nil, true, 2.5) print()", "1<a\t1\tnil\ttrue\t2.5\n>1<\n>");
}

TEST(print_uses_the_global_tostring_and_metatables)
{
    check_prints("print(setmetatable({}, { __tostring = function() return 'me' end }))\n"
                 "tostring = function(v) return '<' .. v .. '>' end print(1)",
                 "1<me\n>1<<1>\n>");
}

TEST(print_within_a_tostring_comes_first)
{
    check_prints("print('a', setmetatable({}, { __tostring = function() print('b') return 'c' end }))",
                 "1<b\n>1<a\tc\n>");
}

TEST(print_refuses_a_tostring_that_gives_no_string)
{
    check_message("tostring = function() return {} end print(1)",
                  "flows/a.lua:1: 'tostring' must return a string to 'print'");
}

static void count(void *payload, int stream, const char *text, size_t size)
{
    (void)stream, (void)text;
    *(size_t *)payload += size;
}

TEST(long_lines_are_printed_whole)
{
    size_t total = 0;
    lua_State *L = lf_state_new();
    lf_state_output(L, count, &total);
    run(L, "for i = 1, 100 do local s = ('\\0x'):rep(1000 * i) io.write(s) print(s, i) end");
    CHECK_INT(total, 2 * 2000 * 5050 + 100 * 2 + 192);
    lf_state_free(L);
}

TEST(io_write_and_the_standard_files_are_captured)
{
    check_prints("io.write('a', 1, 'b') io.stdout:write('c') io.stderr:write('e', 2.5)",
                 "1<a>1<1>1<b>1<c>2<e>2<2.5>");
}

TEST(io_write_refuses_what_it_always_refused)
{
    check_message("io.write({})", "flows/a.lua:1: bad argument #1 to 'write' (string expected, got table)");
}

TEST(the_standard_files_are_still_files)
{
    check_prints("assert(io.type(io.stdout) == 'file') assert(io.output() == io.stdout)\n"
                 "assert(io.stdout:setvbuf('full', 4096)) assert(io.stdout:flush() and io.flush())\n"
                 "assert(tostring(io.stdout):match('^file'))\n"
                 "local ok, why = io.stdout:close() assert(not ok and why:match('standard file'))\n"
                 "assert(io.close() == nil)\n"
                 "assert(io.stdout:seek() == nil) assert(io.stdout:read() == nil)\n"
                 "io.write('x') print('y')",
                 "1<x>1<y\n>");
}

TEST(buffers_of_other_files_are_theirs)
{
    check_prints("local f = io.tmpfile() assert(f:setvbuf('full', 4096)) f:write('a') f:seek('set')\n"
                 "print(f:read('*a')) f:close() assert(not pcall(f.setvbuf, f, 'no'))",
                 "1<a\n>");
}

TEST(a_compiled_loop_writes_to_where_output_goes_now)
{
    lf_bytes first = {0}, second = {0};
    lua_State *L = lf_state_new();
    run(L, "function write(n) for i = 1, n do io.write('ab') io.stdout:write('c') end end write(200)");
    lf_state_output(L, record, &first);
    run(L, "write(200)");
    lf_state_output(L, record, &second);
    run(L, "write(300)");
    lf_state_output(L, NULL, NULL);
    run(L, "write(200)");
    CHECK_INT(first.size, 200 * strlen("1<ab>1<c>"));
    CHECK_INT(second.size, 300 * strlen("1<ab>1<c>"));
    lf_state_free(L);
    lf_bytes_fini(&first);
    lf_bytes_fini(&second);
}

TEST(an_ffi_call_that_takes_a_file_is_captured)
{
    check_prints("local ffi = require('ffi') ffi.cdef('int fputs(const char *, void *);')\n"
                 "ffi.C.fputs('hello', io.stdout)",
                 "1<hello>");
}

TEST(output_to_a_file_goes_there_until_the_next_task)
{
    char path[] = "/tmp/test_state.XXXXXX", code[200];
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    lf_bytes out = {0};
    lua_State *L = lf_state_new();
    lf_state_output(L, record, &out);
    snprintf(code, sizeof code, "io.output('%s') io.write('kept') print('p') io.input('%s')", path, path);
    run(L, code);
    CHECK_STR(lf_bytes_cstr(&out), "1<p\n>");
    lf_state_output(L, record, &out);
    run(L, "assert(io.output() == io.stdout and io.input() == io.stdin) io.write('shown')");
    CHECK_STR(lf_bytes_cstr(&out), "1<p\n>1<shown>");
    char kept[8] = {0};
    CHECK_INT(read(fd, kept, sizeof kept), 4);
    CHECK_STR(kept, "kept");
    lf_state_free(L);
    lf_bytes_fini(&out);
    close(fd);
    unlink(path);
}

TEST(a_closed_output_file_is_undone_too)
{
    lf_bytes out = {0};
    lua_State *L = lf_state_new();
    run(L, "io.output(io.tmpfile()) io.close() io.input(io.tmpfile()) io.input():close()");
    lf_state_output(L, record, &out);
    run(L, "io.write('x')");
    CHECK_STR(lf_bytes_cstr(&out), "1<x>");
    lf_state_free(L);
    lf_bytes_fini(&out);
}

TEST(what_finalizers_print_while_the_state_closes_is_captured)
{
    lf_bytes out = {0};
    lua_State *L = lf_state_new();
    lf_state_output(L, record, &out);
    run(L, "p = newproxy(true) getmetatable(p).__gc = function() print('bye') io.write('!') end");
    lf_state_free(L);
    CHECK_STR(lf_bytes_cstr(&out), "1<bye\n>1<!>");
    lf_bytes_fini(&out);
}

TEST(states_print_to_their_own)
{
    lf_bytes a_out = {0}, b_out = {0};
    lua_State *a = lf_state_new(), *b = lf_state_new();
    lf_state_output(a, record, &a_out);
    lf_state_output(b, record, &b_out);
    run(a, "print('a') io.stderr:write('x')");
    run(b, "print('b') io.write('y')");
    CHECK_STR(lf_bytes_cstr(&a_out), "1<a\n>2<x>");
    CHECK_STR(lf_bytes_cstr(&b_out), "1<b\n>1<y>");
    lf_state_free(a);
    lf_state_free(b);
    lf_bytes_fini(&a_out);
    lf_bytes_fini(&b_out);
}

/* ---- calls and failures ---- */

TEST(a_call_leaves_its_results)
{
    lua_State *L = lf_state_new();
    lua_pushstring(L, "below");
    load(L, "local a, b = ... return a + b, 'x'");
    lua_pushinteger(L, 1);
    lua_pushinteger(L, 2);
    CHECK_INT(lf_state_call(L, 2, LUA_MULTRET, NULL), LUAFLOW_OK);
    CHECK_INT(lua_gettop(L), 3);
    CHECK_INT(lua_tointeger(L, 2), 3);
    lf_state_free(L);
}

TEST(a_failure_names_the_users_file_and_line)
{
    lf_failure f = failure_of("local function inner() error('boom') end\n"
                              "local function outer() inner() return 1 end\nouter()");
    CHECK_STR(f.message, "flows/a.lua:1: boom");
    CHECK_STR(f.traceback, "stack traceback:\n\tflows/a.lua:1: in function 'inner'\n"
                           "\tflows/a.lua:2: in function 'outer'\n\tflows/a.lua:3: in main chunk");
    lf_failure_fini(&f);
}

TEST(frames_of_c_of_luajit_and_of_our_own_are_left_out)
{
    lf_failure f = failure_of(
        "local ours = assert(loadstring('local f = ... f() return 1', '=luaflow/task.lua'))\n"
        "local more = assert(loadstring('local f = ... f() return 1', '=[luaflow step]'))\n"
        "table.foreach({ 1 }, function()\n"
        "  more(function() ours(function()\n"
        "    pcall(print) local s = ('x'):gsub('x', function() error('deep') end) return s\n"
        "  end) end)\nend)");
    CHECK_STR(f.message, "flows/a.lua:5: deep");
    CHECK(strstr(f.traceback, "luaflow/task") == NULL);
    CHECK(strstr(f.traceback, "[luaflow") == NULL);
    CHECK(strstr(f.traceback, "[C]") == NULL);
    CHECK(strstr(f.traceback, "builtin") == NULL);
    CHECK_INT(count_of(f.traceback, "\n\t"), 5);
    lf_failure_fini(&f);
}

TEST(a_failure_without_a_frame_of_the_users_has_no_traceback)
{
    lua_State *L = lf_state_new();
    lf_failure f;
    lua_getglobal(L, "error");
    lua_pushliteral(L, "bare");
    CHECK_INT(lf_state_call(L, 1, 0, &f), LUAFLOW_ESTEP);
    CHECK_STR(f.message, "bare");
    CHECK_STR(f.traceback, "");
    lf_failure_fini(&f);
    lf_state_free(L);
}

TEST(long_stacks_are_shortened_in_the_middle)
{
    lf_failure f = failure_of("local function down(n) if n == 0 then error('end') end down(n - 1) return 1 end\n"
                              "local function top() down(100) return 1 end top()");
    CHECK_INT(count_of(f.traceback, "\n\t"), 12 + 1 + 10);
    CHECK_INT(count_of(f.traceback, "\n\t..."), 1);
    CHECK(strstr(f.traceback, "in main chunk") != NULL);
    lf_failure_fini(&f);
}

TEST(a_stack_that_just_fits_is_shown_whole)
{
    lf_failure f = failure_of("local function down(n) if n == 0 then error('end') end down(n - 1) return 1 end\n"
                              "down(20)");
    CHECK_INT(count_of(f.traceback, "\n\t"), 22);
    CHECK_INT(count_of(f.traceback, "..."), 0);
    lf_failure_fini(&f);
}

TEST(a_stack_overflow_is_a_failure_like_any)
{
    lf_failure f = failure_of("local function down() down() return 1 end\ndown()");
    CHECK(strstr(f.message, "stack overflow") != NULL);
    /* For some sizes of frames this LuaJIT has no room left to call the handler. */
    if (*f.traceback != '\0') {
        CHECK_INT(count_of(f.traceback, "\n\t"), 23);
        CHECK(strstr(f.traceback, "in main chunk") != NULL);
    }
    lf_failure_fini(&f);
}

TEST(error_objects_speak_for_themselves)
{
    check_message("error(setmetatable({}, { __tostring = function() return 'spoken' end }))", "spoken");
    check_message("error({ message = 'of the table' })", "of the table");
    check_message("error({ code = 1 })", "(error object is a table value)");
    check_message("error({ message = 1 })", "(error object is a table value)");
    check_message("error()", "(error object is a nil value)");
    check_message("error(7, 0)", "7");
    check_message("error(print)", "(error object is a function value)");
}

TEST(an_error_object_that_fails_to_speak_does_no_harm)
{
    check_message("error(setmetatable({}, { __tostring = function() error('again') end }))",
                  "(error object is a table value)");
    check_message("error(setmetatable({}, { __index = function() error('again') end }))",
                  "(error object is a table value)");
    check_message("error(setmetatable({}, { __tostring = function(s) return (tostring(s)) end }))",
                  "(error object is a table value)");
}

TEST(memory_that_runs_out_is_told_apart)
{
    lua_State *L = lf_state_new();
    lf_failure f;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    const char *too_long = "return ('x'):rep(0x7fffff80)";
    load(L, too_long);
    CHECK_INT(lf_state_call(L, 0, 0, &f), LUAFLOW_ENOMEM);
    CHECK_STR(f.message, "not enough memory");
    CHECK_STR(f.traceback, "");
    CHECK_INT(lua_gettop(L), 0);
    lf_failure_fini(&f);
    load(L, too_long);
    CHECK_INT(lf_state_try(L, 0, 0, LUAFLOW_EFLOW, &err), LUAFLOW_ENOMEM);
    luaflow_error_clear(&err);
    run(L, "assert(1 + 1 == 2)");
    lf_state_free(L);
}

static int call_inside(lua_State *L)
{
    lf_failure inner;
    load(L, "error('inner')");
    CHECK_INT(lf_state_call(L, 0, 0, &inner), LUAFLOW_ESTEP);
    CHECK_STR(inner.message, "flows/a.lua:1: inner");
    lf_failure_fini(&inner);
    return 0;
}

TEST(calls_nest)
{
    lua_State *L = lf_state_new();
    lf_failure f;
    load(L, "local inside = ... inside() error('outer')");
    lua_pushcfunction(L, call_inside);
    CHECK_INT(lf_state_call(L, 1, 0, &f), LUAFLOW_ESTEP);
    CHECK_STR(f.message, "flows/a.lua:1: outer");
    lf_failure_fini(&f);
    lf_state_free(L);
}

TEST(a_try_gives_an_error_value_of_the_wanted_code)
{
    lua_State *L = lf_state_new();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    load(L, "error('boom')");
    CHECK_INT(lf_state_try(L, 0, 1, LUAFLOW_EFLOW, &err), LUAFLOW_EFLOW);
    CHECK_STR(luaflow_error_text(&err), "flows/a.lua:1: boom");
    CHECK_INT(lua_gettop(L), 0);
    load(L, "return 1");
    CHECK_INT(lf_state_try(L, 0, 1, LUAFLOW_EFLOW, NULL), LUAFLOW_OK);
    luaflow_error_clear(&err);
    lf_state_free(L);
}

/* ---- modules ---- */

TEST(our_modules_are_found_before_any_file)
{
    lua_State *L = lf_state_new();
    CHECK_INT(lf_state_require(L, "luaflow.argparse", NULL), LUAFLOW_OK);
    CHECK(lua_istable(L, -1));
    run(L, "package.path = '' package.cpath = '' package.loaded['luaflow.argparse'] = nil\n"
           "assert(#package.loaders == 5 and require('luaflow.argparse'))\n"
           "assert(not pcall(require, 'argparse'))");
    lf_state_furnish(L);
    run(L, "assert(#package.loaders == 5)");
    lf_state_free(L);
}

TEST(a_module_that_is_not_there_is_named)
{
    lua_State *L = lf_state_new();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_state_require(L, "luaflow.no_such_thing", &err), LUAFLOW_EFLOW);
    CHECK(strstr(luaflow_error_text(&err), "no module 'luaflow.no_such_thing' compiled into luaflow") != NULL);
    CHECK_INT(lua_gettop(L), 0);
    luaflow_error_clear(&err);
    lf_state_free(L);
}

/* ---- what a host adds ---- */

static int add_or_fail(void *payload, lua_State *L, luaflow_error *err)
{
    const char *what = payload;
    lua_pushnumber(L, 7);
    lua_setglobal(L, "seven");
    lua_pushnumber(L, 8); /* left on the stack */
    CHECK_INT(lua_gettop(L), 1);
    if (strcmp(what, "raise") == 0)
        return luaL_error(L, "not today");
    if (strcmp(what, "object") == 0)
        return lua_newtable(L), lua_error(L);
    if (strcmp(what, "say") == 0)
        return luaflow_error_set(err, LUAFLOW_ENOTFOUND, "no level");
    if (strcmp(what, "memory") == 0)
        return LUAFLOW_ENOMEM;
    return strcmp(what, "code") == 0 ? 77 : LUAFLOW_OK;
}

static void check_visit(const char *what, int code, const char *said)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lua_State *L = lf_state_new();
    CHECK_INT(lf_state_visit(L, add_or_fail, (void *)what, &err), code);
    CHECK_INT(lf_state_visit(L, add_or_fail, (void *)what, NULL), code);
    if (strstr(luaflow_error_text(&err), said) == NULL)
        fail_msg("'%s' does not say '%s'", luaflow_error_text(&err), said);
    CHECK_INT(lua_gettop(L), 0);
    luaflow_error_clear(&err);
    lf_state_free(L);
}

TEST(a_host_adds_to_a_state)
{
    lua_State *L = lf_state_new();
    CHECK_INT(lf_state_visit(L, NULL, NULL, NULL), LUAFLOW_OK);
    CHECK_INT(lf_state_visit(L, add_or_fail, "", NULL), LUAFLOW_OK);
    CHECK_INT(lua_gettop(L), 0);
    run(L, "assert(seven == 7)");
    lf_state_free(L);
}

TEST(a_host_that_fails_to_add_to_a_state_is_told_of)
{
    check_visit("raise", LUAFLOW_EFLOW, "on_state, by which the host adds to a Lua state, failed: not today");
    check_visit("object", LUAFLOW_EFLOW, "failed: (error object is a table value)");
    check_visit("say", LUAFLOW_ENOTFOUND, "failed: no level");
    check_visit("code", LUAFLOW_EFLOW, "failed: invalid flow");
    check_visit("memory", LUAFLOW_ENOMEM, "out of memory");
}

TEST(what_a_message_misses_is_found_among_what_the_host_adds)
{
    char *found = lf_state_missed(add_or_fail, "", "f.lua:1: attempt to call global 'seven' (a nil value)");
    CHECK_STR(found, "seven");
    free(found);
    CHECK(lf_state_missed(add_or_fail, "", "f.lua:1: attempt to call global 'eight' (a nil value)") == NULL);
    CHECK(lf_state_missed(add_or_fail, "", "f.lua:1: seven is missing") == NULL);
    CHECK(lf_state_missed(add_or_fail, "raise", "attempt to call global 'seven' (a nil value)") == NULL);
    CHECK(lf_state_missed(NULL, NULL, "attempt to call global 'seven' (a nil value)") == NULL);
}
