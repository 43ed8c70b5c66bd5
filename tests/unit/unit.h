/* unit.h -- a test program is one file: it includes this, then its TESTs, which are
 * named as sentences and run in the order they stand. cmocka does the rest. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { UNIT_MAX = 400 };
static struct CMUnitTest unit_tests[UNIT_MAX];
static size_t unit_count;

static inline void unit_add(const char *name, CMUnitTestFunction run)
{
    if (unit_count < UNIT_MAX)
        unit_tests[unit_count++] = (struct CMUnitTest){name, run, NULL, NULL, NULL};
}

#define TEST(name)                                                              \
    static void name(void **);                                                  \
    __attribute__((constructor)) static void add_##name(void) { unit_add(#name, name); } \
    static void name(void **unit_state __attribute__((unused)))

#define CHECK(condition) assert_true(condition)
#define CHECK_STR(got, wanted) assert_string_equal(got, wanted)
#define CHECK_INT(got, wanted) assert_int_equal(got, wanted)
#define CHECK_MEM(got, wanted, size) assert_memory_equal(got, wanted, size)

int main(void)
{
    return _cmocka_run_group_tests("unit", unit_tests, unit_count, NULL, NULL);
}

#endif
