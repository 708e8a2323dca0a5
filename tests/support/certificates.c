#include "tests/support/certificates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test_main.h"

const char *test_certificate(const char *name)
{
    enum { FILES_MAX = 16 };
    static char folder[300], paths[FILES_MAX][400];
    static size_t count;
    char command[800];

    if (!folder[0]) {
        if (system("command -v openssl >/dev/null 2>&1") != 0)
            test_skip("openssl is not installed (package openssl)");
        snprintf(folder, sizeof(folder), "%s/certificates", test_directory());
        snprintf(command, sizeof(command), "%s %s", CERTIFICATES, folder);
        ck_assert_int_eq(system(command), 0);
    }
    for (size_t i = 0; i < count; i++)
        if (strcmp(strrchr(paths[i], '/') + 1, name) == 0)
            return paths[i];
    ck_assert_uint_lt(count, FILES_MAX);
    snprintf(paths[count], sizeof(paths[count]), "%s/%s", folder, name);
    return paths[count++];
}
