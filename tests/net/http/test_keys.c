/* Which key may do what, and what becomes of an address that sends wrong ones. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "net/http/keys.h"
#include "tests/support/test_main.h"

struct clock {
    struct io io;
    struct io_operations operations;
    int64_t now_ns;
};

struct stage {
    struct clock clock;
    struct config config;
    struct metrics *metrics;
    struct http_keys *keys;
    char who[HTTP_CALLER_BYTES];
    struct error error;
};

static int64_t monotonic_ns(struct io *io)
{
    return ((struct clock *)io)->now_ns;
}

static void stage_open(struct stage *stage)
{
    *stage = (struct stage){.config = {.http_api_key = "first chief\nsecond",
                                       .http_read_only_key = "reader",
                                       .http_internal_key = "node\nbackup nightly"},
                            .metrics = metrics_new()};
    stage->clock.operations = *io_posix()->operations;
    stage->clock.operations.monotonic_ns = monotonic_ns;
    stage->clock.io.operations = &stage->clock.operations;
    stage->keys = http_keys_new(&stage->config, stage->metrics, &stage->clock.io);
}

static void stage_close(struct stage *stage)
{
    http_keys_delete(stage->keys);
    metrics_delete(stage->metrics);
}

static enum http_verdict ask_as(struct stage *stage, const struct sockaddr *address,
                                const char *key, enum http_access access)
{
    return http_keys_authorise(stage->keys, &(struct http_caller){.key = key, .address = address},
                               access, stage->who, &stage->error);
}

static enum http_verdict ask_from(struct stage *stage, uint32_t address, const char *key,
                                  enum http_access access)
{
    const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};

    return ask_as(stage, (const struct sockaddr *)&from, key, access);
}

START_TEST(each_key_does_what_its_table_says)
{
    static const struct {
        const char *key, *who, *allowed; /* allowed: one letter an access, in their order */
    } cases[] = {
        {"first", "admin:chief", "RWPCIiS"},
        {"second", "admin", "RWPCIiS"},
        {"reader", "read-only", "R.P...S"},
        {"node", "internal", "R.PCIiS"},
        {"backup", "internal:nightly", "R.PCIiS"},
        {"chief", "", "..P...."},
        {"firs", "", "..P...."},
        {"firstx", "", "..P...."},
        {"first chief", "", "..P...."},
        {"", "", "..P...."},
        {NULL, "", "..P...."},
    };
    static const char letters[] = "RWPCIiS";
    struct stage stage;

    stage_open(&stage);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (enum http_access access = HTTP_READ; access <= HTTP_SEARCH; access++) {
            enum http_verdict verdict = ask_from(&stage, 1 + (uint32_t)i, cases[i].key, access);
            ck_assert_msg((verdict == HTTP_ALLOWED) ==
                              (cases[i].allowed[access] == letters[access]),
                          "%s: access %c: %d", cases[i].key, letters[access], (int)verdict);
            if (access != HTTP_PROBE)
                ck_assert_str_eq(stage.who, cases[i].who);
        }
    }
    stage_close(&stage);
}
END_TEST

START_TEST(open_routes_need_no_key)
{
    static const char *open[] = {"metrics"};
    struct stage stage;

    stage_open(&stage);
    ck_assert_int_eq(ask_from(&stage, 1, NULL, HTTP_DASHBOARD), HTTP_DENIED);
    ck_assert_int_eq(ask_from(&stage, 1, "reader", HTTP_DASHBOARD), HTTP_ALLOWED);
    ck_assert_int_eq(ask_from(&stage, 1, NULL, HTTP_METRICS), HTTP_DENIED);
    stage.config.http_open_routes = open;
    stage.config.http_open_route_count = 1;
    ck_assert_int_eq(ask_from(&stage, 1, NULL, HTTP_METRICS), HTTP_ALLOWED);
    ck_assert_int_eq(ask_from(&stage, 1, "guess", HTTP_METRICS), HTTP_ALLOWED);
    ck_assert_int_eq(ask_from(&stage, 1, NULL, HTTP_DASHBOARD), HTTP_DENIED);
    ck_assert_int_eq(ask_from(&stage, 1, NULL, HTTP_READ), HTTP_DENIED);
    stage_close(&stage);
}
END_TEST

START_TEST(without_keys_everybody_may)
{
    struct stage stage;

    stage_open(&stage);
    stage.config.http_api_key = NULL;
    ck_assert_int_eq(ask_from(&stage, 1, NULL, HTTP_INTERNAL_WRITE), HTTP_ALLOWED);
    ck_assert_int_eq(ask_from(&stage, 1, "any", HTTP_WRITE), HTTP_ALLOWED);
    stage_close(&stage);
}
END_TEST

START_TEST(replaced_keys_count_at_once)
{
    struct stage stage;

    stage_open(&stage);
    ck_assert_int_eq(ask_from(&stage, 1, "second", HTTP_WRITE), HTTP_ALLOWED);
    stage.config.http_api_key = "third\nfirst";
    ck_assert_int_eq(ask_from(&stage, 1, "second", HTTP_WRITE), HTTP_DENIED);
    ck_assert_int_eq(ask_from(&stage, 1, "third", HTTP_WRITE), HTTP_ALLOWED);
    ck_assert_int_eq(ask_from(&stage, 1, "first", HTTP_WRITE), HTTP_ALLOWED);
    stage_close(&stage);
}
END_TEST

static double count_of(const struct stage *stage, const char *name)
{
    return metric_value(metrics_counter(stage->metrics, name, "", NULL, 0));
}

START_TEST(wrong_keys_of_an_address_are_limited)
{
    enum { ATTACKER = 0x0A000001, NEIGHBOUR, FORMER };
    struct stage stage;

    stage_open(&stage);
    stage.clock.now_ns = 5000000000;
    ck_assert_int_eq(ask_from(&stage, FORMER, "first", HTTP_READ), HTTP_ALLOWED);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(ask_from(&stage, ATTACKER, "guess", HTTP_READ), HTTP_DENIED);
        ck_assert_int_eq(ask_from(&stage, FORMER, "guess", HTTP_READ), HTTP_DENIED);
    }
    ck_assert_double_eq(count_of(&stage, "windrow_http_wrong_keys_total"), 20);
    ck_assert_double_eq(count_of(&stage, "windrow_http_key_limited_total"), 0);
    ck_assert_int_eq(ask_from(&stage, ATTACKER, "guess", HTTP_READ), HTTP_LIMITED);
    ck_assert_double_eq(count_of(&stage, "windrow_http_key_limited_total"), 1);
    /* What is limited is not told whether the key is right, nor does it wait longer for it. */
    ck_assert_int_eq(ask_from(&stage, ATTACKER, "first", HTTP_READ), HTTP_LIMITED);
    ck_assert_int_eq(ask_from(&stage, ATTACKER, NULL, HTTP_PROBE), HTTP_ALLOWED);
    ck_assert_int_eq(ask_from(&stage, NEIGHBOUR, "first", HTTP_READ), HTTP_ALLOWED);
    /* A key that was right before, from this address. */
    ck_assert_int_eq(ask_from(&stage, FORMER, "second", HTTP_READ), HTTP_LIMITED);
    ck_assert_int_eq(ask_from(&stage, FORMER, "first", HTTP_READ), HTTP_ALLOWED);
    stage.config.http_api_key = "second";
    ck_assert_int_eq(ask_from(&stage, FORMER, "first", HTTP_READ), HTTP_DENIED);
    /* A second later it may try once. */
    stage.clock.now_ns += 1000000000;
    ck_assert_int_eq(ask_from(&stage, ATTACKER, "guess", HTTP_READ), HTTP_DENIED);
    ck_assert_int_eq(ask_from(&stage, ATTACKER, "guess", HTTP_READ), HTTP_LIMITED);
    stage.clock.now_ns += 1000000000;
    ck_assert_int_eq(ask_from(&stage, ATTACKER, "second", HTTP_READ), HTTP_ALLOWED);
    stage_close(&stage);
}
END_TEST

START_TEST(hosts_of_one_ipv6_network_share_their_tries)
{
    struct sockaddr_in6 from = {.sin6_family = AF_INET6};
    enum http_verdict verdict = HTTP_ALLOWED;
    struct stage stage;
    char address[64];

    stage_open(&stage);
    for (unsigned host = 1; host <= 11; host++) {
        snprintf(address, sizeof(address), "2001:db8::%x", host);
        ck_assert_int_eq(inet_pton(AF_INET6, address, &from.sin6_addr), 1);
        verdict = ask_as(&stage, (const struct sockaddr *)&from, "guess", HTTP_READ);
    }
    ck_assert_int_eq(verdict, HTTP_LIMITED);
    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8:0:1::1", &from.sin6_addr), 1);
    ck_assert_int_eq(ask_as(&stage, (const struct sockaddr *)&from, "guess", HTTP_READ),
                     HTTP_DENIED);
    /* The same table holds the others, whose addresses look like small numbers. */
    ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:10.0.0.1", &from.sin6_addr), 1);
    for (int i = 0; i < 10; i++)
        (void)ask_as(&stage, (const struct sockaddr *)&from, "guess", HTTP_READ);
    ck_assert_int_eq(ask_from(&stage, 0x0A000001, "guess", HTTP_READ), HTTP_LIMITED);
    stage_close(&stage);
}
END_TEST

START_TEST(many_addresses_find_room)
{
    struct stage stage;

    stage_open(&stage);
    for (uint32_t i = 1; i <= 20000; i++)
        ck_assert_int_eq(ask_from(&stage, i, "guess", HTTP_READ), HTTP_DENIED);
    ck_assert_int_eq(ask_from(&stage, 20001, "reader", HTTP_READ), HTTP_ALLOWED);
    stage_close(&stage);
}
END_TEST

TEST_TABLE(TEST(each_key_does_what_its_table_says), TEST(open_routes_need_no_key),
           TEST(without_keys_everybody_may), TEST(replaced_keys_count_at_once),
           TEST(wrong_keys_of_an_address_are_limited),
           TEST(hosts_of_one_ipv6_network_share_their_tries), TEST(many_addresses_find_room))
