/* Runs libcheck tests one per process, so that ctest names the behaviour that broke.
 *
 * A test file ends with
 *
 *     TEST_TABLE(TEST(watermark_never_goes_back), TEST(late_record_is_kept))
 *
 * and CMake registers one ctest entry per START_TEST line (cmake/WindrowTests.cmake), which calls
 * the binary with the test's name. Without an argument the binary runs all of them. libcheck's
 * tests are static, so a binary has one file with tests and one table; other sources may hold
 * helpers. */
#ifndef TESTS_SUPPORT_TEST_MAIN_H
#define TESTS_SUPPORT_TEST_MAIN_H

#include <check.h>
#include <stdint.h>

/* Under a sanitizer everything takes ten times as long: exhaustive loops leave some rounds out. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#else
#define TEST_SANITIZED 0
#endif

struct test_entry {
    const char *name;
    const TTest *test;
};

/** Runs the named test, or all without a name. Returns the process's exit status; 64 when the name
 * is not in the table, so that a test that was never registered fails instead of passing. */
int test_main(int argc, char **argv, const struct test_entry *entries, size_t entry_count);

/** Seed for tests that use chance: $WINDROW_TEST_SEED or the clock. Prints it. */
uint64_t test_seed(void);

/** xorshift64* step: a reproducible stream from a seed. */
uint64_t test_random(uint64_t *state);

/** A fresh temporary folder, removed with all its content when the process ends normally. The
 * string lives until exit. */
const char *test_directory(void);

/** A TCP port of the loopback interface for a server that the test starts, kept for it until the
 * process ends: also while the server is down nobody else can bind it or connects from it. */
int test_port(void);

/** Ends the process with ctest's skip code (77) after printing the reason. */
_Noreturn void test_skip(const char *reason);

#define TEST(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }
#define TEST_TABLE(...)                                                                            \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        const struct test_entry entries[] = {__VA_ARGS__};                                         \
        return test_main(argc, argv, entries, sizeof(entries) / sizeof(entries[0]));               \
    }

#endif
