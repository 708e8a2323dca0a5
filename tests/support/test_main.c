#include "tests/support/test_main.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char directory[64];
static int failed_count;

/* Asked at the end by the address sanitizer (sanitizer/lsan_interface.h): a test that failed leaves
 * what it had, and thousands of lines of leaks would bury why. */
int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
    return failed_count > 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_directory(void)
{
    (void)nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_directory(void)
{
    if (directory[0] == '\0') {
        strcpy(directory, "/tmp/windrow-test-XXXXXX");
        if (mkdtemp(directory) == NULL) {
            perror("mkdtemp");
            exit(1);
        }
        atexit(remove_directory);
    }
    return directory;
}

/* The socket stays open, bound but not listening: with SO_REUSEADDR on both sides a server can
 * listen beside it, and the kernel gives the port to nobody who asks for any. */
int test_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;

    ck_assert_int_ge(holder, 0);
    ck_assert_int_eq(setsockopt(holder, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
    ck_assert_int_eq(bind(holder, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(getsockname(holder, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

void test_skip(const char *reason)
{
    printf("skipped: %s\n", reason);
    exit(77);
}

uint64_t test_seed(void)
{
    const char *given = getenv("WINDROW_TEST_SEED");
    struct timespec now;
    uint64_t seed;

    clock_gettime(CLOCK_REALTIME, &now);
    seed = given ? strtoull(given, NULL, 0) : ((uint64_t)now.tv_sec << 20) ^ (uint64_t)now.tv_nsec;
    if (seed == 0)
        seed = 1;
    printf("WINDROW_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

uint64_t test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

int test_main(int argc, char **argv, const struct test_entry *entries, size_t entry_count)
{
    const char *wanted = argc > 1 ? argv[1] : NULL;
    Suite *suite = suite_create(argv[0]);
    SRunner *runner;
    int found = 0;

    for (size_t i = 0; i < entry_count; i++) {
        TCase *test_case;
        if (wanted && strcmp(wanted, entries[i].name) != 0)
            continue;
        test_case = tcase_create(entries[i].name);
        tcase_set_timeout(test_case, 0);
        tcase_add_test(test_case, entries[i].test);
        suite_add_tcase(suite, test_case);
        found++;
    }
    if (found == 0) {
        fprintf(stderr, "no test named %s in this table\n", wanted ? wanted : "(any)");
        return 64;
    }
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    failed_count = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed_count == 0 ? 0 : 1;
}
