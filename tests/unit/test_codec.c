/* test_codec.c -- Lua values and their canonical bytes. */
#include "unit.h"

#include "codec.h"

#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

static lua_State *L;

/* What a test program finds when it starts: a prepared state. */
__attribute__((constructor)) static void open_state(void)
{
    L = luaL_newstate();
    luaL_openlibs(L);
    lf_codec_prepare(L);
    luaL_loadstring(L, "ffi = require('ffi') nan, inf = 0 / 0, 1 / 0\n"
                       "function nest(n) local t = {} for _ = 2, n do t = { t } end return t end\n"
                       "function double_bits(n) return ffi.cast('uint64_t *', ffi.new('double[1]', n))[0] end\n");
    lua_call(L, 0, 0);
}

__attribute__((destructor)) static void close_state(void) { lua_close(L); }

/* Pushes what the expression is. */
static void push(const char *expression)
{
    char code[4000];
    snprintf(code, sizeof code, "return %s", expression);
    if (luaL_loadstring(L, code) != 0 || lua_pcall(L, 0, 1, 0) != 0)
        fail_msg("%s: %s", expression, lua_tostring(L, -1));
}

/* Runs a chunk; `v` is the value at the top, which it pops. */
static void check_lua(const char *chunk)
{
    lua_setglobal(L, "v");
    if (luaL_loadstring(L, chunk) != 0 || lua_pcall(L, 0, 0, 0) != 0)
        fail_msg("%s: %s", chunk, lua_tostring(L, -1));
}

/* Encodes the value at the top and pops it. The caller finishes the bytes. */
static lf_bytes encoded(void)
{
    lf_bytes out = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int top = lua_gettop(L);
    if (lf_codec_encode(L, -1, "x", &out, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    CHECK_INT(lua_gettop(L), top);
    lua_pop(L, 1);
    return out;
}

static char *hex_of(lf_slice bytes)
{
    char *hex = calloc(1, 2 * bytes.size + 1);
    for (size_t i = 0; i < bytes.size; i++)
        sprintf(hex + 2 * i, "%02x", bytes.data[i]);
    return hex;
}

static lf_bytes bytes_of(const char *hex)
{
    lf_bytes bytes = {0};
    for (; *hex != '\0'; hex += 2) {
        unsigned byte;
        CHECK_INT(sscanf(hex, "%2x", &byte), 1);
        lf_bytes_put_u8(&bytes, (uint8_t)byte);
    }
    return bytes;
}

static lf_slice slice(const lf_bytes *b) { return lf_slice_of(b->data, b->size); }

/* The expression's bytes are these, and these bytes decode to what has them. */
static void check_bytes(const char *expression, const char *wanted)
{
    push(expression);
    lf_bytes out = encoded();
    char *hex = hex_of(slice(&out));
    CHECK_STR(hex, wanted);
    CHECK_INT(lf_codec_skip(slice(&out)), out.size);
    CHECK_INT(lf_codec_decode(L, slice(&out), NULL), LUAFLOW_OK);
    lf_bytes again = encoded();
    CHECK(lf_slice_equal(slice(&out), slice(&again)));
    free(hex);
    lf_bytes_fini(&out);
    lf_bytes_fini(&again);
}

/* Pushes what comes back of the expression's value. */
static void push_back(const char *expression)
{
    push(expression);
    lf_bytes out = encoded();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_codec_decode(L, slice(&out), &err) != LUAFLOW_OK)
        fail_msg("%s: %s", expression, luaflow_error_text(&err));
    lf_bytes_fini(&out);
}

static void check_back(const char *expression, const char *chunk)
{
    push_back(expression);
    check_lua(chunk);
}

static void check_refused(const char *expression, const char *name, const char *wanted)
{
    lf_bytes out = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_bytes_put_u8(&out, 7);
    push(expression);
    int top = lua_gettop(L);
    CHECK_INT(lf_codec_encode(L, -1, name, &out, &err), LUAFLOW_EVALUE);
    CHECK_STR(luaflow_error_text(&err), wanted);
    CHECK_INT(lua_gettop(L), top);
    CHECK_INT(out.size, 1);
    lua_pop(L, 1);
    luaflow_error_clear(&err);
    lf_bytes_fini(&out);
}

/* Decodes a copy that ends where its memory ends. */
static int decode_copy(lf_slice bytes, luaflow_error *err)
{
    uint8_t *copy = malloc(bytes.size > 0 ? bytes.size : 1);
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    int top = lua_gettop(L);
    int rc = lf_codec_decode(L, lf_slice_of(copy, bytes.size), err);
    CHECK_INT(lua_gettop(L), rc == LUAFLOW_OK ? top + 1 : top);
    free(copy);
    return rc;
}

static void check_damaged(const char *hex, const char *part)
{
    lf_bytes bytes = bytes_of(hex);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int rc = decode_copy(slice(&bytes), &err);
    if (rc != LUAFLOW_EVALUE || strstr(luaflow_error_text(&err), part) == NULL)
        fail_msg("%s: %d %s", hex, rc, luaflow_error_text(&err));
    luaflow_error_clear(&err);
    lf_bytes_fini(&bytes);
}

/* ---- single values ---- */

TEST(nil_and_booleans_are_one_byte)
{
    check_bytes("nil", "c0");
    check_bytes("false", "c2");
    check_bytes("true", "c3");
}

TEST(whole_numbers_take_the_shortest_integer)
{
    check_bytes("0", "00");
    check_bytes("127", "7f");
    check_bytes("128", "cc80");
    check_bytes("255", "ccff");
    check_bytes("256", "cd0100");
    check_bytes("65535", "cdffff");
    check_bytes("65536", "ce00010000");
    check_bytes("2^32 - 1", "ceffffffff");
    check_bytes("2^32", "cf0000000100000000");
    check_bytes("2^53", "cf0020000000000000");
    check_bytes("-1", "ff");
    check_bytes("-32", "e0");
    check_bytes("-33", "d0df");
    check_bytes("-128", "d080");
    check_bytes("-129", "d1ff7f");
    check_bytes("-32768", "d18000");
    check_bytes("-32769", "d2ffff7fff");
    check_bytes("-2^31", "d280000000");
    check_bytes("-2^31 - 1", "d3ffffffff7fffffff");
    check_bytes("-2^53", "d3ffe0000000000000");
}

TEST(all_other_numbers_are_float64)
{
    check_bytes("0.5", "cb3fe0000000000000");
    check_bytes("-0.0", "cb8000000000000000");
    check_bytes("2^53 + 2", "cb4340000000000001");
    check_bytes("-2^63", "cbc3e0000000000000");
    check_bytes("1e308 * 10", "cb7ff0000000000000");
    check_bytes("-inf", "cbfff0000000000000");
    check_bytes("5e-324", "cb0000000000000001");
}

TEST(every_nan_is_the_one_nan)
{
    check_bytes("nan", "cb7ff8000000000000");
    check_bytes("-nan", "cb7ff8000000000000");
    check_bytes("tonumber('nan')", "cb7ff8000000000000");
}

TEST(strings_are_str_when_they_are_utf8_and_bin_when_not)
{
    check_bytes("''", "a0");
    check_bytes("'a\\0b'", "a3610062");
    check_bytes("'\\195\\164'", "a2c3a4");
    check_bytes("'\\240\\159\\152\\128'", "a4f09f9880");
    check_bytes("'\\244\\143\\191\\191'", "a4f48fbfbf");
    check_bytes("'\\255'", "c401ff");
    check_bytes("'\\192\\128'", "c402c080");              /* overlong */
    check_bytes("'\\224\\128\\128'", "c403e08080");
    check_bytes("'\\240\\128\\128\\128'", "c404f0808080");
    check_bytes("'\\237\\160\\128'", "c403eda080");       /* a surrogate */
    check_bytes("'\\244\\144\\128\\128'", "c404f4908080"); /* past U+10FFFF */
    check_bytes("'\\195'", "c401c3");                      /* cut off */
    check_bytes("'abcdefgh\\226\\130'", "c40a6162636465666768e282");
    check_bytes("'\\128'", "c40180");
}

TEST(strings_have_the_shortest_header)
{
    static const struct { unsigned size; const char *text, *binary; } cases[] = {
        {31, "bf", "c41f"}, {32, "d920", "c420"}, {255, "d9ff", "c4ff"}, {256, "da0100", "c50100"},
        {65535, "daffff", "c5ffff"}, {65536, "db00010000", "c600010000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int binary = 0; binary < 2; binary++) {
            char code[80];
            snprintf(code, sizeof code, "('%s'):rep(%u)", binary ? "\\255" : "a", cases[i].size);
            push(code);
            lf_bytes out = encoded();
            const char *wanted = binary ? cases[i].binary : cases[i].text;
            char *hex = hex_of(lf_slice_of(out.data, strlen(wanted) / 2));
            CHECK_STR(hex, wanted);
            CHECK_INT(out.size, strlen(wanted) / 2 + cases[i].size);
            CHECK_INT(decode_copy(slice(&out), NULL), LUAFLOW_OK);
            lua_pop(L, 1);
            free(hex);
            lf_bytes_fini(&out);
        }
}

/* ---- tables ---- */

TEST(a_table_with_keys_1_to_n_is_an_array_and_so_is_the_empty_one)
{
    check_bytes("{}", "90");
    check_bytes("{ 1, 'a', true }", "9301a161c3");
    check_bytes("{ [3] = 3, [2] = 2, [1] = 1 }", "93010203");
    check_bytes("{ {}, { {} } }", "92909190");
}

TEST(any_other_table_is_a_map_in_the_order_of_its_keys_bytes)
{
    check_bytes("{ b = 1, a = 2, aa = 3 }", "83a16102a16201a2616103");
    check_bytes("{ 1, nil, 3 }", "8201010303");
    check_bytes("{ [2] = 2 }", "810202");
    check_bytes("{ [0] = 0, 1 }", "8200000101");
    check_bytes("{ 1, x = 2 }", "820101a17802");
    check_bytes("{ [-1] = 1, [1.5] = 2, [true] = 3, [false] = 4, ['\\255'] = 5, [300] = 6, a = 7 }",
                "87a16107c204c303c401ff05cb3ff800000000000002cd012c06ff01");
    check_bytes("{ [-0.0] = 1 }", "810001");
    check_bytes("{ [inf] = 1, [2^53] = 2 }", "82cb7ff000000000000001cf002000000000000002");
}

TEST(keys_that_begin_alike_are_in_order_however_many_they_are)
{
    static const char *const keys[] = {"i", "-i", "i / 7", "'k' .. i", "'a long common beginning ' .. i",
                                       "('x'):rep(i % 300) .. i", "'\\255' .. i"};
    static const int sizes[] = {1, 2, 3, 14, 15, 16, 17, 33, 200, 20000};
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char chunk[200];
            snprintf(chunk, sizeof chunk,
                     "(function() local t = { z = 1 } for i = %d, 1, -1 do t[%s] = i end return t end)()",
                     sizes[i], keys[k]);
            check_back(chunk, "assert(v.z == 1)"); /* decoding takes no other order */
        }
}

TEST(tables_have_the_shortest_header)
{
    push("(function() local t = {} for i = 1, 16 do t[i] = i end return t end)()");
    lf_bytes out = encoded();
    CHECK_MEM(out.data, "\xdc\x00\x10", 3);
    lf_bytes_fini(&out);
    push("(function() local t = {} for i = 1, 65536 do t[i] = 0 end return t end)()");
    out = encoded();
    CHECK_MEM(out.data, "\xdd\x00\x01\x00\x00", 5);
    CHECK_INT(out.size, 5 + 65536);
    lf_bytes_fini(&out);
    push("(function() local t = {} for i = 1, 16 do t['k' .. i] = i end return t end)()");
    out = encoded();
    CHECK_MEM(out.data, "\xde\x00\x10", 3);
    lf_bytes_fini(&out);
    push("(function() local t = {} for i = 1, 65536 do t[i + 1] = 0 end return t end)()");
    out = encoded();
    CHECK_MEM(out.data, "\xdf\x00\x01\x00\x00", 5);
    CHECK_INT(decode_copy(slice(&out), NULL), LUAFLOW_OK);
    lua_pop(L, 1);
    lf_bytes_fini(&out);
}

TEST(equal_tables_are_equal_bytes_whatever_their_history)
{
    push("(function() local t = {} for i = 1, 500 do t['k' .. i] = { i, n = i } end return t end)()");
    lf_bytes a = encoded();
    push("(function() local t = { gone = 1, [7] = 2 } for i = 500, 1, -1 do t['k' .. i] = { n = i, [1] = i } end\n"
         "t.gone, t[7] = nil, nil return t end)()");
    lf_bytes b = encoded();
    CHECK(lf_slice_equal(slice(&a), slice(&b)));
    lf_bytes_fini(&a);
    lf_bytes_fini(&b);
}

TEST(a_table_with_holes_comes_back_with_its_holes)
{
    check_back("{ 1, nil, 3, nil, nil }", "assert(v[1] == 1 and v[2] == nil and v[3] == 3)");
    check_back("(function() local t = { 1, 2, 3, 4, 5, 6, 7, 8 } t[8] = nil t[7] = nil return t end)()",
               "assert(#v == 6 and v[7] == nil)");
    check_back("(function() local t = {} for i = 1, 64 do t[i] = i end t[40] = nil return t end)()",
               "for i = 1, 65 do assert(v[i] == (i ~= 40 and i < 65 and i or nil)) end");
    check_back("{ [1] = 1, [2^31] = 2, [2^40] = 3, [-5] = 4 }",
               "assert(v[1] == 1 and v[2^31] == 2 and v[2^40] == 3 and v[-5] == 4)");
}

TEST(mixed_keys_come_back_as_they_were)
{
    check_back("{ 10, 20, a = 1, [true] = 2, [false] = 3, [1.5] = 4, [''] = 5, ['\\0'] = 6, ['\\254'] = 7, ['1'] = 8 }",
               "assert(#v == 2 and v[1] == 10 and v[2] == 20 and v.a == 1 and v[true] == 2 and v[false] == 3)\n"
               "assert(v[1.5] == 4 and v[''] == 5 and v['\\0'] == 6 and v['\\254'] == 7 and v['1'] == 8)");
}

TEST(special_numbers_come_back_as_they_were)
{
    check_back("-0.0", "assert(1 / v == -inf)");
    check_back("{ nan, inf, -inf, 2^53, 5e-324, -2^53, 0.1 }",
               "assert(v[1] ~= v[1] and v[2] == inf and v[3] == -inf and v[4] == 2^53)\n"
               "assert(v[5] == 5e-324 and v[6] == -2^53 and v[7] == 0.1)");
}

TEST(a_table_reached_twice_is_stored_twice)
{
    check_bytes("(function() local t = { 1 } return { t, t, k = { t } } end)()", "83019101029101a16b919101");
}

TEST(tables_nest_200_deep_and_no_deeper)
{
    push_back("nest(200)");
    check_lua("for i = 1, 199 do v = v[1] end assert(next(v) == nil)");
    check_refused("nest(201)", "x",
                  "artifact 'x' cannot be stored: x[1][1][1][1][1][1][1][1][1][1] … "
                  "[1][1][1][1][1][1][1][1][1][1] is nested more than 200 tables deep");
}

/* ---- what is refused ---- */

TEST(what_cannot_be_stored_is_named_with_its_path)
{
    check_refused("{ layers = { {}, {}, { act = print } } }", "model",
                  "artifact 'model' cannot be stored: model.layers[3].act is a function");
    check_refused("print", "f", "artifact 'f' cannot be stored: f is a function");
    check_refused("{ coroutine.create(print) }", "x", "artifact 'x' cannot be stored: x[1] is a coroutine");
    check_refused("{ a = io.stdout }", "x", "artifact 'x' cannot be stored: x.a is a userdata");
    check_refused("{ ['a b'] = print }", "m", "artifact 'm' cannot be stored: m[\"a b\"] is a function");
    check_refused("{ [true] = print }", "m", "artifact 'm' cannot be stored: m[true] is a function");
    check_refused("{ [1.5] = { ['1st'] = print } }", "m",
                  "artifact 'm' cannot be stored: m[1.5][\"1st\"] is a function");
    check_refused("{ ['q\"\\n\\255'] = print }", "m",
                  "artifact 'm' cannot be stored: m[\"q\\\"\\010\\255\"] is a function");
    check_refused("{ [''] = print }", "m", "artifact 'm' cannot be stored: m[\"\"] is a function");
    check_refused("{ a = { [{}] = 1 } }", "m", "artifact 'm' cannot be stored: m.a has a key that is a table");
    check_refused("{ a = { setmetatable({}, {}) } }", "m",
                  "artifact 'm' cannot be stored: m.a[1] is a table with a metatable; "
                  "luaflow.register can make its class known");
}

TEST(a_cycle_is_named_with_both_ends)
{
    check_refused("(function() local t = { a = {} } t.a.b = t return t end)()", "x",
                  "artifact 'x' cannot be stored: x.a.b refers back to x");
    check_refused("(function() local t = { { k = {} } } t[1].k.me = t[1] return t end)()", "x",
                  "artifact 'x' cannot be stored: x[1].k.me refers back to x[1]");
}

TEST(other_cdata_is_refused_with_its_type)
{
    check_refused("{ ffi.new('int') }", "x", "artifact 'x' cannot be stored: x[1] is a cdata (int)");
    check_refused("ffi.new('bool[2]')", "x", "artifact 'x' cannot be stored: x is a cdata (bool [2])");
    check_refused("ffi.new('int[2][3]')", "x", "artifact 'x' cannot be stored: x is a cdata (int [2][3])");
    check_refused("ffi.new('char *[2]')", "x", "artifact 'x' cannot be stored: x is a cdata (char *[2])");
    check_refused("ffi.cast('int *', 0)", "x", "artifact 'x' cannot be stored: x is a cdata (int *)");
    check_refused("ffi.typeof('int64_t')", "x", "artifact 'x' cannot be stored: x is a C type");
    check_refused("ffi.typeof('int[3]')", "x", "artifact 'x' cannot be stored: x is a C type");
    check_refused("ffi.new('complex')", "x", "artifact 'x' cannot be stored: x is a cdata (complex)");
    /* Its memory may go with the struct. */
    push("ffi.new('struct { int a[3]; }')");
    lua_setglobal(L, "s");
    check_refused("s.a", "x", "artifact 'x' cannot be stored: x is a cdata (int (&)[3])");
}

/* ---- FFI ---- */

TEST(integers_of_64_bits_come_back_as_they_were)
{
    check_bytes("1LL", "d7010100000000000000");
    check_bytes("-1LL", "d701ffffffffffffffff");
    check_bytes("9007199254740993LL", "d7010100000000002000");
    check_bytes("18446744073709551615ULL", "d702ffffffffffffffff");
    check_bytes("ffi.new('long', 5)", "d7010500000000000000");
    check_back("{ 9007199254740993LL, k = 0ULL }",
               "assert(v[1] == 9007199254740993LL and v.k == 0)\n"
               "assert(ffi.istype('int64_t', v[1]) and ffi.istype('uint64_t', v.k))");
}

TEST(ffi_arrays_come_back_with_their_element_type)
{
    static const char *const types[] = {"int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t",
                                        "uint32_t", "int64_t", "uint64_t", "float", "double"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char code[200], chunk[300];
        snprintf(chunk, sizeof chunk,
                 "assert(ffi.typeof(v) == ffi.typeof('%s[?]') and ffi.sizeof(v) == ffi.sizeof('%s[3]'))\n"
                 "assert(v[0] == 1 and v[1] == 2 and v[2] == ffi.cast('%s', -3))",
                 types[i], types[i], types[i]);
        snprintf(code, sizeof code, "ffi.new('%s[3]', 1, 2, -3)", types[i]);
        check_back(code, chunk);
        snprintf(code, sizeof code, "ffi.new('%s[?]', 3, 1, 2, -3)", types[i]);
        check_back(code, chunk);
        snprintf(code, sizeof code, "ffi.new('const %s[3]', 1, 2, -3)", types[i]);
        check_back(code, chunk);
    }
    check_back("ffi.new('double[0]')", "assert(ffi.typeof(v) == ffi.typeof('double[?]') and ffi.sizeof(v) == 0)");
}

TEST(ffi_arrays_are_raw_little_endian_bytes)
{
    check_bytes("ffi.new('int8_t[1]', -1)", "d410ff");
    check_bytes("ffi.new('uint8_t[2]', 1, 2)", "d5110102");
    check_bytes("ffi.new('int16_t[2]', 1, -2)", "d6120100feff");
    check_bytes("ffi.new('uint16_t[4]', 1)", "d7130100010001000100");
    check_bytes("ffi.new('uint32_t[4]', 1)", "d81501000000010000000100000001000000");
    check_bytes("ffi.new('int32_t[3]', 1, 2, 3)", "c70c14010000000200000003000000");
    check_bytes("ffi.new('uint8_t[0]')", "c70011");
    check_bytes("ffi.new('double[1]', 0.5)", "d719000000000000e03f");
    check_bytes("ffi.new('float[1]', 0.5)", "d6180000003f");
}

TEST(an_ffi_array_tells_its_bytes_where_it_lies)
{
    static const char *const arrays[] = {
        "ffi.new('uint8_t[?]', 0)", "ffi.new('uint8_t[1]', 7)", "ffi.new('double[2]', 1, 2)",
        "ffi.new('float[70]', 1.5)", "ffi.new('const int16_t[?]', 200, 3)", "ffi.new('int64_t[9000]', 1)"};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        uint8_t head[LF_ARRAY_HEAD];
        lf_parts bytes;
        push(arrays[i]);
        lf_bytes out = {0};
        CHECK_INT(lf_codec_encode(L, -1, "x", &out, NULL), LUAFLOW_OK);
        CHECK(lf_codec_array(L, -1, head, &bytes));
        CHECK_INT(lf_parts_size(bytes), out.size);
        CHECK(lf_parts_have(bytes, 0, slice(&out)));
        CHECK(bytes.rest.data == lua_topointer(L, -1));
        lua_pop(L, 1);
        lf_bytes_fini(&out);
    }
    static const char *const others[] = {"{}", "5LL", "ffi.new('struct { int a; }')", "ffi.typeof('int[3]')",
                                         "ffi.new('int[2][2]')", "'text'"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        uint8_t head[LF_ARRAY_HEAD];
        lf_parts bytes;
        push(others[i]);
        CHECK(!lf_codec_array(L, -1, head, &bytes));
        lua_pop(L, 1);
    }
    CHECK_INT(lua_gettop(L), 0);
}

TEST(every_nan_of_an_array_becomes_the_one_nan)
{
    push("(function() local a = ffi.new('double[1000]') local bits = ffi.cast('uint64_t *', a)\n"
         "for i = 0, 999 do a[i] = i end\n"
         "bits[3] = 0xfff8000000000000ULL bits[513] = 0x7ff0000000000001ULL bits[999] = 0xffffffffffffffffULL\n"
         "original = a return a end)()");
    lf_bytes out = encoded();
    CHECK_INT(lf_codec_decode(L, slice(&out), NULL), LUAFLOW_OK);
    check_lua("local bits = ffi.cast('uint64_t *', v)\n"
              "for i = 0, 999 do\n"
              "  if i == 3 or i == 513 or i == 999 then assert(bits[i] == 0x7ff8000000000000ULL)\n"
              "  else assert(v[i] == i) end\n"
              "end\n"
              "assert(ffi.cast('uint64_t *', original)[3] == 0xfff8000000000000ULL)");
    lf_bytes_fini(&out);
    push("(function() local a = ffi.new('float[1500]') local bits = ffi.cast('uint32_t *', a)\n"
         "bits[1] = 0xffc00000 bits[1499] = 0x7f800001 a[2] = inf return a end)()");
    out = encoded();
    CHECK_INT(lf_codec_decode(L, slice(&out), NULL), LUAFLOW_OK);
    check_lua("local bits = ffi.cast('uint32_t *', v)\n"
              "assert(bits[1] == 0x7fc00000 and bits[1499] == 0x7fc00000 and v[2] == inf and v[0] == 0)");
    lf_bytes_fini(&out);
    check_back("(function() local a = ffi.new('int64_t[1]', -1) return a end)()", "assert(v[0] == -1LL)");
}

TEST(a_large_array_in_a_deep_table_comes_back)
{
    check_back("{ a = { b = { ffi.new('double[?]', 100000), 'z' } }, z = 1 }",
               "assert(ffi.sizeof(v.a.b[1]) == 800000 and v.a.b[2] == 'z' and v.z == 1)");
}

/* ---- classes ---- */

static void register_class(const char *name, const char *metatable)
{
    push(metatable);
    lf_codec_register(L, name);
}

TEST(an_instance_of_a_registered_class_gets_its_metatable_back)
{
    register_class("Vec2", "(function() Vec2 = {} Vec2.__index = Vec2 return Vec2 end)()");
    check_bytes("setmetatable({ x = 1 }, Vec2)", "c70903a45665633281a17801");
    check_back("{ setmetatable({ x = 1, in_it = setmetatable({}, Vec2) }, Vec2) }",
               "assert(getmetatable(v[1]) == Vec2 and v[1].x == 1 and getmetatable(v[1].in_it) == Vec2)");
    check_back("setmetatable({ 1, 2 }, Vec2)", "assert(#v == 2 and getmetatable(v) == Vec2)");
    check_refused("setmetatable({ f = print }, Vec2)", "p", "artifact 'p' cannot be stored: p.f is a function");
    check_refused("(function() local t = setmetatable({}, Vec2) t.t = t return t end)()", "p",
                  "artifact 'p' cannot be stored: p.t refers back to p");
}

TEST(a_metatable_knows_its_class)
{
    register_class("Vec2", "(function() Vec2 = {} return Vec2 end)()");
    push("Vec2");
    lf_codec_class(L);
    CHECK_STR(lua_tostring(L, -1), "Vec2");
    push("{}");
    lf_codec_class(L);
    CHECK(lua_isnil(L, -1));
    CHECK_INT(lua_gettop(L), 2);
    lua_settop(L, 0);
}

TEST(a_class_that_is_registered_again_is_the_new_one)
{
    register_class("Pair", "(function() Old = {} return Old end)()");
    register_class("Pair", "(function() New = {} return New end)()");
    check_back("setmetatable({}, Old)", "assert(getmetatable(v) == New)");
    check_back("setmetatable({}, New)", "assert(getmetatable(v) == New)");
    for (int i = 0; i < 1000; i++)
        register_class("Pair", "(function() local class = {} newest = class return class end)()");
    push("(function() Old, New = nil, nil collectgarbage() collectgarbage() return collectgarbage('count') end)()");
    double before = lua_tonumber(L, -1);
    for (int i = 0; i < 10000; i++)
        register_class("Pair", "{}");
    push("(function() collectgarbage() collectgarbage() return collectgarbage('count') end)()");
    CHECK(lua_tonumber(L, -1) < before + 100);
    lua_settop(L, 0);
}

TEST(an_instance_of_an_unknown_class_is_a_plain_table)
{
    lf_bytes bytes = bytes_of("d703a3466f6f81a17801");
    CHECK_INT(lf_codec_decode(L, slice(&bytes), NULL), LUAFLOW_OK);
    check_lua("assert(getmetatable(v) == nil and v.x == 1)");
    lf_bytes_fini(&bytes);
}

TEST(marked_decoding_shows_the_class)
{
    register_class("Vec2", "(function() Vec2 = {} return Vec2 end)()");
    push("{ setmetatable({ setmetatable({}, Vec2) }, Vec2), {} }");
    lf_bytes bytes = encoded();
    CHECK_INT(lf_codec_decode_marked(L, slice(&bytes), NULL), LUAFLOW_OK);
    check_lua("assert(getmetatable(v[1]).__luaflow_class == 'Vec2')\n"
              "assert(getmetatable(v[1][1]).__luaflow_class == 'Vec2' and getmetatable(v[2]) == nil)");
    lf_bytes_fini(&bytes);
}

TEST(objects_of_all_sizes_have_the_shortest_header)
{
    register_class("C", "(function() C = {} return C end)()");
    static const struct { unsigned text; const char *header; } cases[] = {
        /* The name takes two bytes, the list one, and the text its own header. */
        {4, "d703"}, {5, "c70903"}, {12, "d803"}, {13, "c71103"}, {250, "c7ff03"}, {251, "c8010003"},
        {65529, "c8ffff03"}, {65530, "c90001000003"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char code[100];
        snprintf(code, sizeof code, "setmetatable({ ('a'):rep(%u) }, C)", cases[i].text);
        push(code);
        lf_bytes out = encoded();
        char *hex = hex_of(lf_slice_of(out.data, strlen(cases[i].header) / 2));
        CHECK_STR(hex, cases[i].header);
        CHECK_INT(decode_copy(slice(&out), NULL), LUAFLOW_OK);
        lua_pop(L, 1);
        free(hex);
        lf_bytes_fini(&out);
    }
}

/* ---- hostile bytes ---- */

TEST(what_encoding_would_not_write_is_refused)
{
    check_damaged("", "cut off");
    check_damaged("c1", "never written");
    check_damaged("ca3f800000", "never written");
    check_damaged("cc7f", "shortest");
    check_damaged("cd00ff", "shortest");
    check_damaged("ce0000ffff", "shortest");
    check_damaged("cf00000000ffffffff", "shortest");
    check_damaged("cf0020000000000001", "2^53");
    check_damaged("cfffffffffffffffff", "2^53");
    check_damaged("d000", "shortest");
    check_damaged("d0e0", "shortest");
    check_damaged("d1ff80", "shortest");
    check_damaged("d10100", "shortest");
    check_damaged("d2ffff8000", "shortest");
    check_damaged("d3ffffffff80000000", "shortest");
    check_damaged("d3ffdfffffffffffff", "2^53");
    check_damaged("d38000000000000000", "2^53");
    check_damaged("cb0000000000000000", "whole number");
    check_damaged("cb3ff0000000000000", "whole number");
    check_damaged("cbc340000000000000", "whole number");
    check_damaged("cbfff8000000000000", "nan");
    check_damaged("cb7ff0000000000001", "nan");
    check_damaged("a1ff", "wrong kind");
    check_damaged("c40161", "wrong kind");
    check_damaged("c400", "wrong kind");
    check_damaged("d90161", "shortest");
    check_damaged("da000161", "shortest");
    check_damaged("c50001ff", "shortest");
    check_damaged("dc000101", "shortest");
    check_damaged("dd0000000101", "shortest");
    check_damaged("de0001a16101", "shortest");
    check_damaged("80", "list as map");
    check_damaged("810101", "list as map");
    check_damaged("8201010201", "list as map");
    check_damaged("82a16201a16102", "order");
    check_damaged("82a16101a16102", "order");
    check_damaged("82a161010102", "order");
    check_damaged("8101c0", "nil inside");
    check_damaged("81c001", "key");
    check_damaged("819001", "key");
    check_damaged("81cb7ff800000000000001", "key");
    check_damaged("81cb800000000000000001", "key");
    check_damaged("81d701010000000000000001", "key");
    check_damaged("81a1ff01", "wrong kind");
    check_damaged("91c0", "nil inside");
    check_damaged("0001", "follows");
    check_damaged("d7030000000000000000", "class");
    check_damaged("d40000", "unknown");
    check_damaged("d70f0000000000000000", "unknown");
    check_damaged("d71a0000000000000000", "unknown");
    check_damaged("d60100000000", "64-bit");
    check_damaged("c708010100000000000000", "shortest");
    check_damaged("c8000011", "shortest");
    check_damaged("d61900000000", "wrong length");
    check_damaged("d719000000000000f8ff", "nan");
    check_damaged("d6180000c0ff", "nan");
    check_damaged("d503a130", "no table");
}

TEST(bytes_that_lie_about_their_size_cost_nothing)
{
    check_damaged("ddffffffff", "longer than the bytes");
    check_damaged("dfffffffff", "longer than the bytes");
    check_damaged("dd07ffffff00", "longer than the bytes");
    check_damaged("dbffffffff61", "cut off");
    check_damaged("c6ffffffff61", "cut off");
    check_damaged("c9ffffffff1161", "cut off");
    check_damaged("92", "longer than the bytes");
    check_damaged("9261", "longer than the bytes");
    check_damaged("9392930101", "longer than the bytes"); /* than those not promised to others */
    check_damaged("81a161", "cut off");
}

TEST(bytes_that_nest_without_end_are_refused)
{
    size_t size = 1 << 20;
    uint8_t *bytes = malloc(size);
    memset(bytes, 0x91, size);
    CHECK_INT(decode_copy(lf_slice_of(bytes, size), NULL), LUAFLOW_EVALUE);
    CHECK_INT(lf_codec_skip(lf_slice_of(bytes, size)), 0);
    bytes[199] = 0x90;
    CHECK_INT(lf_codec_skip(lf_slice_of(bytes, size)), 200);
    free(bytes);
}

/* A small generator, the same on every machine. */
static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Bytes that decode must be what encoding their value gives. */
static void check_decodes_only_canonical(lf_slice bytes)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (decode_copy(bytes, &err) == LUAFLOW_OK) {
        lf_bytes again = {0};
        CHECK_INT(lf_codec_encode(L, -1, "x", &again, &err), LUAFLOW_OK);
        lua_pop(L, 1);
        if (!lf_slice_equal(bytes, slice(&again)))
            fail_msg("%s became %s", hex_of(bytes), hex_of(slice(&again)));
        lf_bytes_fini(&again);
    }
    luaflow_error_clear(&err);
}

TEST(damaged_bytes_are_refused_or_are_another_value)
{
    push("{ 1, -200, 70000, 0.5, nan, 'text', '\\255\\254', true, { a = 1, b = { [true] = 2 }, [7] = 3LL },\n"
         "{ x = { 1, 2 }, y = 'y' }, ffi.new('double[3]', 1, nan), ffi.new('uint8_t[5]', 1) }");
    lf_bytes good = encoded();
    for (size_t cut = 0; cut < good.size; cut++)
        CHECK_INT(decode_copy(lf_slice_of(good.data, cut), NULL), LUAFLOW_EVALUE);
    for (size_t bit = 0; bit < good.size * 8; bit++) {
        good.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        check_decodes_only_canonical(slice(&good));
        good.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    uint32_t random = 12345;
    for (int i = 0; i < 30000; i++) {
        lf_bytes bad = {0};
        lf_bytes_put(&bad, good.data, good.size);
        for (uint32_t n = next_random(&random) % 4 + 1; n > 0; n--)
            bad.data[next_random(&random) % bad.size] = (uint8_t)next_random(&random);
        check_decodes_only_canonical(slice(&bad));
        lf_bytes_fini(&bad);
    }
    lf_bytes_fini(&good);
}

TEST(damaged_objects_do_no_harm)
{
    register_class("Vec2", "(function() Vec2 = {} return Vec2 end)()");
    push("{ setmetatable({ x = { 1, 2 }, y = setmetatable({ 1 }, Vec2) }, Vec2) }");
    lf_bytes good = encoded();
    for (size_t at = 0; at < good.size; at++)
        for (unsigned value = 0; value < 256; value++) {
            uint8_t was = good.data[at];
            good.data[at] = (uint8_t)value;
            if (decode_copy(slice(&good), NULL) == LUAFLOW_OK)
                lua_pop(L, 1);
            good.data[at] = was;
        }
    lf_bytes_fini(&good);
}

TEST(random_bytes_are_refused_or_are_a_value)
{
    /* Heads that begin something, so that short runs often are values. */
    static const uint8_t heads[] = {0x00, 0x01, 0x02, 0x61, 0x7f, 0x80, 0x81, 0x82, 0x90, 0x91, 0x92, 0xa0,
                                    0xa1, 0xc0, 0xc2, 0xc3, 0xc4, 0xc7, 0xcb, 0xcc, 0xd0, 0xd4, 0xd5, 0xd6,
                                    0xd7, 0xd9, 0xdc, 0xde, 0xff, 0x03, 0x10, 0x11, 0x13, 0x18, 0x19};
    uint32_t random = 99;
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[12];
        size_t size = next_random(&random) % sizeof bytes;
        for (size_t k = 0; k < size; k++)
            bytes[k] = heads[next_random(&random) % sizeof heads];
        check_decodes_only_canonical(lf_slice_of(bytes, size));
    }
}

TEST(one_value_is_skipped_of_several)
{
    lf_bytes bytes = bytes_of("92a16101c0");
    CHECK_INT(lf_codec_skip(slice(&bytes)), 4);
    CHECK_INT(lf_codec_skip(lf_slice_of(bytes.data + 4, 1)), 1);
    CHECK_INT(lf_codec_skip(lf_slice_of(bytes.data, 3)), 0);
    CHECK_INT(lf_codec_skip(lf_slice_of(bytes.data, 0)), 0);
    lf_bytes_fini(&bytes);
}

/* ---- lists ---- */

/* Cuts the expression's value; the caller finishes both. */
static void cut(const char *expression, lf_bytes *bytes, lf_list *list)
{
    push(expression);
    *bytes = encoded();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_list_init(list, slice(bytes), &err) != LUAFLOW_OK)
        fail_msg("%s: %s", expression, luaflow_error_text(&err));
}

static void check_list(const char *expression, lf_list_kind kind, uint64_t size, uint64_t i, const char *chunk)
{
    lf_bytes bytes;
    lf_list list;
    cut(expression, &bytes, &list);
    CHECK_INT(list.kind, kind);
    CHECK_INT(list.size, size);
    CHECK_INT(lf_list_push(L, &list, 0, NULL), LUAFLOW_EVALUE);
    CHECK_INT(lf_list_push(L, &list, size + 1, NULL), LUAFLOW_EVALUE);
    if (i > 0) {
        CHECK_INT(lf_list_push(L, &list, i, NULL), LUAFLOW_OK);
        lf_bytes put = {0}, pushed = encoded();
        lf_list_put(&put, &list, i);
        CHECK(lf_slice_equal(slice(&put), slice(&pushed)));
        lf_bytes_fini(&put);
        lf_bytes_fini(&pushed);
        CHECK_INT(lf_list_push(L, &list, i, NULL), LUAFLOW_OK);
        check_lua(chunk);
    }
    CHECK_INT(lua_gettop(L), 0);
    lf_list_fini(&list);
    lf_bytes_fini(&bytes);
}

TEST(lists_arrays_and_whole_numbers_are_cut_into_elements)
{
    check_list("{}", LF_LIST_ARRAY, 0, 0, "");
    check_list("{ 'a', { b = 'c' }, 3 }", LF_LIST_ARRAY, 3, 2, "assert(v.b == 'c')");
    check_list("{ 'a', { b = 'c' }, 3 }", LF_LIST_ARRAY, 3, 3, "assert(v == 3)");
    check_list("5", LF_LIST_RANGE, 5, 5, "assert(v == 5)");
    check_list("0", LF_LIST_RANGE, 0, 0, "");
    check_list("2^53", LF_LIST_RANGE, UINT64_C(1) << 53, 7, "assert(v == 7)");
    check_list("ffi.new('double[0]')", LF_LIST_NUMBERS, 0, 0, "");
    check_list("ffi.new('int8_t[3]', 1, 2, -3)", LF_LIST_NUMBERS, 3, 3, "assert(v == -3)");
    check_list("ffi.new('uint8_t[3]', 1, 2, -3)", LF_LIST_NUMBERS, 3, 3, "assert(v == 253)");
    check_list("ffi.new('int16_t[3]', 1, 2, -3)", LF_LIST_NUMBERS, 3, 3, "assert(v == -3)");
    check_list("ffi.new('uint16_t[3]', 1, 2, -3)", LF_LIST_NUMBERS, 3, 3, "assert(v == 65533)");
    check_list("ffi.new('int32_t[3]', 1, 2, -3)", LF_LIST_NUMBERS, 3, 3, "assert(v == -3)");
    check_list("ffi.new('uint32_t[3]', 1, 2, 2^32 - 1)", LF_LIST_NUMBERS, 3, 3, "assert(v == 2^32 - 1)");
    check_list("ffi.new('int64_t[2]', 1, -3)", LF_LIST_NUMBERS, 2, 2, "assert(v == -3LL and ffi.istype('int64_t', v))");
    check_list("ffi.new('uint64_t[2]', 1, -1LL)", LF_LIST_NUMBERS, 2, 2, "assert(v == 18446744073709551615ULL)");
    check_list("ffi.new('float[2]', 1, 0.5)", LF_LIST_NUMBERS, 2, 2, "assert(v == 0.5)");
    check_list("ffi.new('double[40]', 0.1)", LF_LIST_NUMBERS, 40, 40, "assert(v == 0.1)");
}

static void check_no_list(const char *expression, const char *wanted)
{
    push(expression);
    lf_bytes bytes = encoded();
    lf_list list;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_list_init(&list, slice(&bytes), &err), LUAFLOW_EVALUE);
    CHECK_STR(luaflow_error_text(&err), wanted);
    luaflow_error_clear(&err);
    lf_bytes_fini(&bytes);
}

TEST(what_is_no_list_is_called_by_its_kind)
{
    check_no_list("nil", "nil is not a list");
    check_no_list("'abc'", "a string is not a list");
    check_no_list("true", "the boolean true is not a list");
    check_no_list("2.5", "the number 2.5 is not a list");
    check_no_list("-1", "the number -1 is not a list");
    check_no_list("inf", "the number inf is not a list");
    check_no_list("{ 1, nil, 3 }", "a table that is not a list is not a list");
    check_no_list("5LL", "the int64_t 5 is not a list");
}

TEST(a_damaged_list_is_refused)
{
    static const char *const cases[] = {"", "92a161", "9201c0", "910102", "91cc01", "d719000000000000f8ff",
                                        "d7190000", "ddffffffff", "cc7f", "0505"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lf_bytes bytes = bytes_of(cases[i]);
        lf_list list;
        CHECK_INT(lf_list_init(&list, slice(&bytes), NULL), LUAFLOW_EVALUE);
        lf_bytes_fini(&bytes);
    }
}

static void check_kind(const char *hex, const char *wanted)
{
    char buffer[LF_KIND_MAX];
    lf_bytes bytes = bytes_of(hex);
    CHECK_STR(lf_codec_kind(slice(&bytes), buffer, sizeof buffer), wanted);
    lf_bytes_fini(&bytes);
}

TEST(kinds_are_words_for_a_message)
{
    check_kind("c0", "nil");
    check_kind("93010203", "a list of 3 elements");
    check_kind("9101", "a list of 1 element");
    check_kind("a161", "a string");
    check_kind("c401ff", "a string");
    check_kind("d702ffffffffffffffff", "the uint64_t 18446744073709551615");
    check_kind("c70903a45665633281a17801", "an object of class Vec2");
    check_kind("c70c14010000000200000003000000", "an FFI array (int32_t[3])");
    check_kind("cb7ff8000000000000", "the number nan");
    check_kind("92a161", "something damaged");
    check_kind("", "something damaged");
}

TEST(encoding_appends)
{
    lf_bytes out = {0};
    push("{ b = 1, a = 2 }");
    for (int i = 0; i < 2; i++)
        CHECK_INT(lf_codec_encode(L, 1, "x", &out, NULL), LUAFLOW_OK);
    lua_pop(L, 1);
    CHECK_INT(out.size, 14);
    CHECK_MEM(out.data, "\x82\xa1""a\x02\xa1""b\x01", 7);
    CHECK_MEM(out.data + 7, out.data, 7);
    lf_bytes_fini(&out);
}

TEST(a_state_is_prepared_once)
{
    register_class("Kept", "(function() Kept = {} return Kept end)()");
    lf_codec_prepare(L);
    check_back("setmetatable({}, Kept)", "assert(getmetatable(v) == Kept)");
    CHECK_INT(lua_gettop(L), 0);
}

TEST(a_state_nobody_prepared_is_prepared_when_it_matters)
{
    lua_State *bare = luaL_newstate();
    luaL_openlibs(bare);
    lf_bytes bytes = bytes_of("92d7010100000000000000d6180000003f"), again = {0};
    CHECK_INT(lf_codec_decode(bare, slice(&bytes), NULL), LUAFLOW_OK);
    CHECK_INT(lf_codec_encode(bare, -1, "x", &again, NULL), LUAFLOW_OK);
    CHECK(lf_slice_equal(slice(&bytes), slice(&again)));
    CHECK_INT(lua_gettop(bare), 1);
    lua_close(bare);
    lf_bytes_fini(&bytes);
    lf_bytes_fini(&again);
}
