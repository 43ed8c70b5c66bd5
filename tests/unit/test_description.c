/* A flow's description, read back from a run: what its steps were. */
#include "description.h"

#include "flow.h"
#include "tasks.h"

/* A literal as bytes. */
#define BYTES(literal) {(const uint8_t *)literal, sizeof(literal) - 1}

/* ---- a world in one line ---- */

static lf_store *store;
static lf_view *view;
static lf_description description;

static int read_bytes(lf_slice bytes, luaflow_error *err)
{
    lf_run_record run = {.description = {.kind = LF_REF_INLINE, .bytes = bytes, .size = bytes.size}};
    return lf_description_read(view, &run, &description, err);
}

static void begin(void)
{
    store = new_store();
    view = view_of(store);
}

static void end(void)
{
    lf_view_end(view);
    drop_store(store);
}

static void begin_with(const char *source)
{
    lf_flow *flow = NULL;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    begin();
    if (lf_flow_load_string(source, strlen(source), "f.lua", NULL, &flow, &err) != LUAFLOW_OK)
        fail_msg("%s", luaflow_error_text(&err));
    CHECK_INT(read_bytes(lf_flow_description(flow), NULL), LUAFLOW_OK);
    lf_flow_free(flow);
}

static void end_with(void)
{
    lf_description_fini(&description);
    end();
}

static void check_text(lf_slice got, const char *wanted)
{
    if (!is_text(got, wanted))
        fail_msg("'%.*s' is not '%s'", (int)got.size, (const char *)got.data, wanted);
}

/* The steps after `step`, in order: "a b". */
static const char *next_of(const char *step)
{
    static char names[200];
    lf_list next;
    names[0] = 0;
    CHECK_INT(lf_description_next(&description, lf_description_find(&description, text(step)), &next, NULL),
              LUAFLOW_OK);
    for (uint64_t i = 0; i < next.size; i++) {
        lf_slice name = lf_description_target(&next, i);
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%.*s", used > 0 ? " " : "", (int)name.size,
                 (const char *)name.data);
    }
    lf_list_fini(&next);
    return names;
}

#define FLOW "return { steps = { start = { next = { 'zebra', 'ape' } }, "                          \
             "zebra = { next = 'join' }, ape = { next = 'each', foreach = 'list' }, "               \
             "each = { next = 'inner' }, inner = { next = 'join', function(self, inputs) end }, "  \
             "join = { next = { [1] = 'start2', [2] = 'finish' }, switch = 'x', "                   \
             "function(self, inputs) end }, start2 = { next = 'finish' }, finish = {} } }"

/* ---- what the steps were ---- */

TEST(steps_are_found_by_name_in_the_order_of_the_graph)
{
    begin_with(FLOW);
    CHECK_INT(description.steps.size, 8);
    check_text(lf_description_name(&description, 0), "start");
    check_text(lf_description_name(&description, 7), "finish");
    for (uint32_t i = 0; i < 8; i++)
        CHECK_INT(lf_description_find(&description, lf_description_name(&description, i)), i);
    CHECK_INT(lf_description_find(&description, text("star")), LF_ANY);
    CHECK_INT(lf_description_find(&description, text("start22")), LF_ANY);
    CHECK_INT(lf_description_find(&description, text("")), LF_ANY);
    end_with();
}

TEST(successors_come_in_declared_order)
{
    begin_with(FLOW);
    CHECK_STR(next_of("start"), "zebra ape");
    CHECK_STR(next_of("ape"), "each");
    CHECK_STR(next_of("join"), "start2 finish");
    CHECK_STR(next_of("finish"), "");
    end_with();
}

TEST(a_field_is_read_as_text_or_as_bytes)
{
    begin_with(FLOW);
    uint32_t ape = lf_description_find(&description, text("ape")),
             join = lf_description_find(&description, text("join"));
    check_text(lf_description_text(&description, ape, "kind"), "foreach");
    check_text(lf_description_text(&description, ape, "foreach"), "list");
    check_text(lf_description_text(&description, join, "kind"), "switch");
    check_text(lf_description_field(&description, join, "join"), "\xc3");
    CHECK_INT(lf_description_text(&description, ape, "switch").size, 0);
    CHECK_INT(lf_description_field(&description, ape, "no such field").size, 0);
    end_with();
}

TEST(a_long_name_is_read_whole)
{
    char source[400], name[129] = {0};
    memset(name, 'n', 128);
    snprintf(source, sizeof source, "return { steps = { start = { next = '%s' }, %s = {} } }", name, name);
    begin_with(source);
    CHECK_STR(next_of("start"), name);
    CHECK_INT(lf_description_find(&description, text(name)), 1);
    end_with();
}

TEST(a_step_there_is_not_has_no_fields)
{
    begin_with(FLOW);
    lf_list next;
    luaflow_error err = LUAFLOW_ERROR_INIT;
    check_text(lf_description_name(&description, 8), "?");
    check_text(lf_description_name(&description, UINT64_MAX), "?");
    CHECK_INT(lf_description_field(&description, 8, "name").size, 0);
    CHECK_INT(lf_description_next(&description, 8, &next, &err), LUAFLOW_ESTORE);
    check_text(text(luaflow_error_text(&err)), "the description of a run is damaged; run luaflow verify");
    luaflow_error_clear(&err);
    end_with();
}

TEST(it_outlives_what_it_was_read_from)
{
    begin_with(FLOW);
    lf_view_end(view);
    view = NULL;
    CHECK_STR(next_of("start"), "zebra ape");
    end_with();
}

/* ---- damage ---- */

TEST(what_is_no_description_is_said_to_be_damaged)
{
    static const lf_slice damaged[] = {
        BYTES(""), BYTES("\xc0"), BYTES("\x80"), BYTES("\x81\xa4name\xa1" "F"),
        BYTES("\x81\xa5steps\x05"), BYTES("\x81\xa5steps\xcf\0\x10\0\0\0\0\0\0"),
        BYTES("\x81\xa5steps\xd7\x14\1\0\0\0\2\0\0\0"), BYTES("\x81\xa5steps\xa1x"),
        BYTES("\x81\xa5steps\xdd\xff\xff\xff\xff"), BYTES("\x81\xa5steps\x92\x01"),
        BYTES("\xdf\xff\xff\xff\xff\xa5steps"),
    };
    begin();
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        luaflow_error err = LUAFLOW_ERROR_INIT;
        CHECK_INT(read_bytes(damaged[i], &err), LUAFLOW_ESTORE);
        check_text(text(luaflow_error_text(&err)), "the description of a run is damaged; run luaflow verify");
        luaflow_error_clear(&err);
    }
    end();
}

TEST(a_description_that_the_store_lost_is_an_error)
{
    begin();
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_run_record run = {.description = {.kind = LF_REF_KEY, .size = 1000}};
    CHECK_INT(lf_description_read(view, &run, &description, &err), LUAFLOW_ESTORE);
    luaflow_error_clear(&err);
    end();
}

TEST(steps_that_are_none_have_no_names)
{
    static const lf_slice strange = BYTES("\x81\xa5steps\x95\x01\xa1x\x90\x81\xa4name\x01\x81\xa4name\xa0");
    begin();
    CHECK_INT(read_bytes(strange, NULL), LUAFLOW_OK);
    CHECK_INT(description.steps.size, 5);
    for (uint32_t i = 0; i < 3; i++)
        check_text(lf_description_name(&description, i), "?");
    check_text(lf_description_name(&description, 4), "?");
    CHECK_INT(lf_description_find(&description, text("x")), LF_ANY);
    end_with();
}

TEST(successors_that_are_no_list_are_damage)
{
    static const lf_slice strange =
        BYTES("\x81\xa5steps\x94\x81\xa4next\x03\x81\xa4next\xa1x\x81\xa4next\xd7\x14\1\0\0\0\2\0\0\0\x90");
    begin();
    CHECK_INT(read_bytes(strange, NULL), LUAFLOW_OK);
    for (uint32_t i = 0; i < 4; i++) {
        lf_list next;
        CHECK_INT(lf_description_next(&description, i, &next, NULL), LUAFLOW_ESTORE);
    }
    end_with();
}

TEST(bytes_changed_at_will_never_harm_the_reader)
{
    lf_flow *flow = NULL;
    uint32_t seed = 1;
    CHECK_INT(lf_flow_load_string(FLOW, strlen(FLOW), "f.lua", NULL, &flow, NULL), LUAFLOW_OK);
    lf_slice sound = lf_flow_description(flow);
    uint8_t *bytes = malloc(sound.size); /* of just that size, so that one byte too many is noticed */
    begin();
    for (int round = 0; round < 20000; round++) {
        memcpy(bytes, sound.data, sound.size);
        for (int i = 0; i <= round % 3; i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[(seed >> 8) % sound.size] = (uint8_t)(seed >> 24);
        }
        if (read_bytes(lf_slice_of(bytes, sound.size - (size_t)round % 2), NULL) != LUAFLOW_OK)
            continue;
        for (uint64_t i = 0; i < description.steps.size; i++) {
            lf_list next;
            lf_description_name(&description, i);
            lf_description_text(&description, i, "kind");
            if (lf_description_next(&description, i, &next, NULL) != LUAFLOW_OK)
                continue;
            for (uint64_t k = 0; k < next.size; k++)
                lf_description_find(&description, lf_description_target(&next, k));
            lf_list_fini(&next);
        }
        lf_description_fini(&description);
    }
    free(bytes);
    lf_flow_free(flow);
    end();
}
