/* target_params.c -- any texts and values given for the parameters of a flow are refused in a
 * sentence for the user, or become values, which given again are the same. */
#include "fuzz.h"
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>

static const char source[] =
    "return { params = {\n"
    "  s = { default = 'x' }, n = { type = 'number' }, i = { type = 'integer', default = 1 },\n"
    "  b = { default = true }, j = { type = 'json' }, r = { type = 'string', required = true },\n"
    "  ls = { separator = ',' }, ln = { separator = '::', type = 'number' },\n"
    "  li = { separator = '%', type = 'integer' }, lb = { separator = ' ', type = 'boolean' },\n"
    "  lj = { separator = ';', type = 'json' }, c = { choices = { 'low', 'high' } },\n"
    "  cn = { choices = { 1, 2.5, 0/0 }, type = 'number' }, lc = { separator = ',', choices = { 'a', 'b' } },\n"
    "  f = { default = function() return 1 end }, fb = { default = function() return { 'a' } end, separator = '-' },\n"
    "}, steps = { start = function(self) end } }\n";

static const char *const names[] = {"s", "n", "i", "b", "j", "r", "ls", "ln", "li", "lb", "lj", "c",
                                    "cn", "lc", "f", "fb", "none", "R", "l-s", ""};
enum { NAMES = sizeof names / sizeof *names, MOST = 6, TEXT = 600 };

static lf_flow *flow;

static void close_flow(void)
{
    lf_flow_free(flow);
    flow = NULL;
}

static void open_flow(void)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_flow_load_string(source, sizeof source - 1, "f.lua", NULL, &flow, &err) != LUAFLOW_OK)
        fuzz_stop("%s", luaflow_error_text(&err));
    atexit(close_flow);
}

/* It is about what the user wrote, not about a mistake of ours. */
static void check_sentence(int rc, luaflow_error *err)
{
    const char *text = luaflow_error_text(err);
    bool is_about_it = strncmp(text, "parameter '", 11) == 0 || strncmp(text, "unknown parameter '", 19) == 0;
    if (rc != LUAFLOW_EUSAGE || !is_about_it)
        fuzz_stop("%d: %s", rc, text);
    luaflow_error_clear(err);
}

typedef struct value_to_make {
    lf_reader *in;
    lf_bytes bytes;
} value_to_make;

static int make_value(lua_State *L)
{
    value_to_make *v = lua_touserdata(L, 1);
    fuzz_push_value(L, v->in, false);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_codec_encode(L, -1, "x", &v->bytes, &err) != LUAFLOW_OK)
        luaflow_error_clear(&err); /* too deep, say: then it is no bytes */
    return 0;
}

/* What came out is what comes out when it is given, parameter by parameter. */
static int give_again(lua_State *L)
{
    lf_bytes *all = lua_touserdata(L, 1);
    luaflow_error err = LUAFLOW_ERROR_INIT;
    MUST(lf_codec_decode(L, lf_slice_of(all->data, all->size), &err) == LUAFLOW_OK);
    luaflow_param given[NAMES];
    lf_bytes values[NAMES] = {0}, again = {0};
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1), n++) {
        MUST(n < NAMES);
        MUST(lf_codec_encode(L, -1, "x", &values[n], &err) == LUAFLOW_OK);
        given[n] = (luaflow_param){.name = lua_tostring(L, -2), .value = values[n].data, .value_size = values[n].size};
    }
    int rc = lf_flow_params(flow, given, n, &again, &err);
    /* A list that is empty, or a text that reads as something else, may be refused, in words. */
    if (rc != LUAFLOW_OK)
        check_sentence(rc, &err);
    for (size_t i = 0; i < n; i++)
        lf_bytes_fini(&values[i]);
    lf_bytes_fini(&again);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (flow == NULL)
        open_flow();
    lf_reader in = lf_reader_of(data, size);
    luaflow_param given[MOST];
    static char texts[MOST][TEXT];
    value_to_make values[MOST] = {0};
    size_t n = lf_read_u8(&in) % MOST + 1;
    for (size_t i = 0; i < n; i++) {
        uint8_t which = lf_read_u8(&in);
        given[i] = (luaflow_param){.name = names[which % NAMES]};
        if (which < 0xc0) {
            size_t length = lf_read_u8(&in);
            lf_slice text = lf_read(&in, length < lf_reader_left(&in) ? length : lf_reader_left(&in));
            snprintf(texts[i], TEXT, "%.*s", (int)text.size, text.size > 0 ? (const char *)text.data : "");
            given[i].text = texts[i];
        } else {
            values[i].in = &in;
            fuzz_call(make_value, &values[i]);
            given[i].value = values[i].bytes.data;
            given[i].value_size = values[i].bytes.size;
        }
    }
    lf_bytes out = {0};
    luaflow_error err = LUAFLOW_ERROR_INIT;
    int rc = lf_flow_params(flow, given, n, &out, &err);
    if (rc == LUAFLOW_OK)
        fuzz_call(give_again, &out);
    else
        check_sentence(rc, &err);
    lf_bytes_fini(&out);
    for (size_t i = 0; i < n; i++)
        lf_bytes_fini(&values[i].bytes);
    return 0;
}
