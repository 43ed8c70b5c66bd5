/* test_host.c -- what a host gives is taken as it was when the host was compiled, and what the
 * library says arrives as it was said. */
#include "host.h"
#include "unit.h"

typedef struct options {
    size_t size;
    int old;
    uint64_t newer;
    void *newest;
} options;

static options taken;
static luaflow_error err;

static int take(const void *given) { return lf_host_options(given, &taken, sizeof taken, "options", &err); }

TEST(options_are_copied_whole)
{
    options given = {sizeof given, 1, 2, &given};
    CHECK_INT(take(&given), LUAFLOW_OK);
    CHECK_INT(taken.old, 1);
    CHECK_INT(taken.newer, 2);
    CHECK(taken.newest == &given);
}

TEST(fields_that_an_older_caller_does_not_know_are_zero)
{
    options given = {offsetof(options, newer), 1, 2, &given};
    CHECK_INT(take(&given), LUAFLOW_OK);
    CHECK_INT(taken.size, sizeof taken);
    CHECK_INT(taken.old, 1);
    CHECK_INT(taken.newer, 0);
    CHECK(taken.newest == NULL);
    given.size = offsetof(options, newest);
    CHECK_INT(take(&given), LUAFLOW_OK);
    CHECK_INT(taken.newer, 2);
    CHECK(taken.newest == NULL);
    given.size = sizeof(size_t);
    CHECK_INT(take(&given), LUAFLOW_OK);
    CHECK_INT(taken.old, 0);
}

TEST(options_that_are_not_given_are_zero)
{
    taken.old = 7;
    CHECK_INT(take(NULL), LUAFLOW_OK);
    CHECK_INT(taken.size, sizeof taken);
    CHECK_INT(taken.old, 0);
}

TEST(a_size_that_was_not_set_or_is_of_a_newer_library_is_refused)
{
    options given = {0, 1, 2, &given};
    CHECK_INT(take(&given), LUAFLOW_EUSAGE);
    CHECK(strstr(luaflow_error_text(&err), "options.size is 0") != NULL);
    given.size = sizeof(size_t) - 1;
    CHECK_INT(take(&given), LUAFLOW_EUSAGE);
    given.size = sizeof given + 8;
    CHECK_INT(take(&given), LUAFLOW_EUSAGE);
    CHECK(strstr(luaflow_error_text(&err), "a newer luaflow") != NULL);
    luaflow_error_clear(&err);
}

static char heard[100];

static void hear(void *payload, int level, const char *sentence)
{
    *(int *)payload = level;
    strncpy(heard, sentence, sizeof heard - 1);
}

TEST(a_sentence_is_heard_with_its_level_or_by_nobody)
{
    int level = -1;
    lf_host host = {.on_log = hear, .log_payload = &level}, deaf = {.executable = NULL};
    lf_host_log(&host, LUAFLOW_LOG_WARNING, "run %d: %s", 5, "x");
    CHECK_STR(heard, "run 5: x");
    CHECK_INT(level, LUAFLOW_LOG_WARNING);
    lf_host_log(&deaf, LUAFLOW_LOG_WARNING, "nobody");
    lf_host_log(NULL, LUAFLOW_LOG_WARNING, "nobody");
    CHECK_STR(heard, "run 5: x");
}
