/* test_error.c -- an error is a code and a sentence, and passing it on loses neither. */
#include "error.h"
#include "unit.h"

TEST(an_error_without_a_sentence_has_a_general_one)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_STR(luaflow_error_text(&err), "no error");
    err.code = LUAFLOW_ENOMEM;
    CHECK_STR(luaflow_error_text(&err), "out of memory");
    err.code = -1000;
    CHECK_STR(luaflow_error_text(&err), "unknown error");
}

TEST(every_code_has_a_general_sentence_of_its_own)
{
    for (int code = LUAFLOW_EVALUE; code <= LUAFLOW_OK; code++) {
        luaflow_error one = {code, NULL};
        CHECK(strcmp(luaflow_error_text(&one), "unknown error") != 0);
        for (int other = LUAFLOW_EVALUE; other < code; other++) {
            luaflow_error two = {other, NULL};
            CHECK(strcmp(luaflow_error_text(&one), luaflow_error_text(&two)) != 0);
        }
    }
}

TEST(failing_returns_the_code_and_keeps_code_and_sentence)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_fail(&err, LUAFLOW_ENOTFOUND, "no run %d in %s", 7, ".luaflow"),
              LUAFLOW_ENOTFOUND);
    CHECK_INT(err.code, LUAFLOW_ENOTFOUND);
    CHECK_STR(luaflow_error_text(&err), "no run 7 in .luaflow");
    luaflow_error_clear(&err);
}

TEST(a_second_failure_replaces_the_first)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_fail(&err, LUAFLOW_EUSAGE, "first");
    lf_fail(&err, LUAFLOW_ESTORE, "second");
    CHECK_INT(err.code, LUAFLOW_ESTORE);
    CHECK_STR(luaflow_error_text(&err), "second");
    luaflow_error_clear(&err);
}

TEST(a_failure_may_quote_the_sentence_it_replaces)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_fail(&err, LUAFLOW_ESTORE, "the disk is full");
    lf_fail(&err, err.code, "cannot commit task %d: %s", 4, err.message);
    CHECK_INT(err.code, LUAFLOW_ESTORE);
    CHECK_STR(luaflow_error_text(&err), "cannot commit task 4: the disk is full");
    lf_fail_text(&err, LUAFLOW_ESTEP, err.message);
    CHECK_INT(err.code, LUAFLOW_ESTEP);
    CHECK_STR(luaflow_error_text(&err), "cannot commit task 4: the disk is full");
    luaflow_error_clear(&err);
}

TEST(a_finished_sentence_is_no_format)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    CHECK_INT(lf_fail_text(&err, LUAFLOW_ESTEP, "100%s of %n"), LUAFLOW_ESTEP);
    CHECK_STR(luaflow_error_text(&err), "100%s of %n");
    luaflow_error_clear(&err);
}

TEST(a_long_sentence_is_not_cut)
{
    char name[5000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_fail(&err, LUAFLOW_EFLOW, "<%s>", name);
    CHECK_INT(strlen(luaflow_error_text(&err)), sizeof name - 1 + 2);
    luaflow_error_clear(&err);
}

TEST(nobody_has_to_listen)
{
    CHECK_INT(lf_fail(NULL, LUAFLOW_EFLOW, "step '%s'", "a"), LUAFLOW_EFLOW);
    CHECK_INT(lf_fail_text(NULL, LUAFLOW_EFLOW, "x"), LUAFLOW_EFLOW);
    CHECK_INT(lf_fail_memory(NULL), LUAFLOW_ENOMEM);
    luaflow_error_clear(NULL);
}

TEST(running_out_of_memory_needs_no_memory_for_its_sentence)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_fail(&err, LUAFLOW_EFLOW, "something else");
    CHECK_INT(lf_fail_memory(&err), LUAFLOW_ENOMEM);
    CHECK_INT(err.code, LUAFLOW_ENOMEM);
    CHECK(err.message == NULL);
    CHECK_STR(luaflow_error_text(&err), "out of memory");
}

TEST(a_cleared_error_is_ready_again)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    lf_fail(&err, LUAFLOW_EFLOW, "once");
    luaflow_error_clear(&err);
    CHECK_INT(err.code, LUAFLOW_OK);
    CHECK(err.message == NULL);
    luaflow_error_clear(&err);
    lf_fail(&err, LUAFLOW_EFLOW, "again");
    CHECK_STR(luaflow_error_text(&err), "again");
    luaflow_error_clear(&err);
}

TEST(a_moved_error_replaces_what_was_there_and_leaves_nothing_behind)
{
    luaflow_error from = LUAFLOW_ERROR_INIT, to = LUAFLOW_ERROR_INIT;
    lf_fail(&to, LUAFLOW_EUSAGE, "older");
    lf_fail(&from, LUAFLOW_ESTORE, "newer");
    CHECK_INT(lf_error_move(&to, &from), LUAFLOW_ESTORE);
    CHECK_INT(to.code, LUAFLOW_ESTORE);
    CHECK_STR(luaflow_error_text(&to), "newer");
    CHECK_INT(from.code, LUAFLOW_OK);
    CHECK(from.message == NULL);
    luaflow_error_clear(&to);
}

TEST(an_error_moved_to_nobody_is_dropped_but_tells_its_code)
{
    luaflow_error from = LUAFLOW_ERROR_INIT;
    lf_fail(&from, LUAFLOW_EVALUE, "unheard");
    CHECK_INT(lf_error_move(NULL, &from), LUAFLOW_EVALUE);
    CHECK_INT(from.code, LUAFLOW_OK);
    CHECK(from.message == NULL);
}

TEST(a_callback_can_say_why_it_fails)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    char text[] = "no level";
    CHECK_INT(luaflow_error_set(&err, LUAFLOW_EFLOW, text), LUAFLOW_EFLOW);
    text[0] = 'X'; /* it was copied */
    CHECK_STR(luaflow_error_text(&err), "no level");
    CHECK_INT(luaflow_error_set(&err, LUAFLOW_EUSAGE, luaflow_error_text(&err)), LUAFLOW_EUSAGE);
    CHECK_STR(luaflow_error_text(&err), "no level");
    CHECK_INT(luaflow_error_set(NULL, LUAFLOW_ESTEP, "nobody hears it"), LUAFLOW_ESTEP);
    luaflow_error_clear(&err);
}
