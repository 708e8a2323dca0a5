/* Certificates of the tests, made when first asked for; tests/support/certificates lists them. */
#ifndef TESTS_SUPPORT_CERTIFICATES_H
#define TESTS_SUPPORT_CERTIFICATES_H

/** The path of a file such as "good.pem"; lives as long as the test. Skips the test without openssl. */
const char *test_certificate(const char *name);

#endif
