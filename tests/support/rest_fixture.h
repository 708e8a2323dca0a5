/* The dialect's routes on a real server and socket, over a real store of one shard. */
#ifndef TESTS_SUPPORT_REST_FIXTURE_H
#define TESTS_SUPPORT_REST_FIXTURE_H

#include <stdatomic.h>

#include "indexer/endpoint/rest/rest.h"
#include "net/http/http.h"

struct store;
struct store_shard;

enum { DIM = 4, POINTS = 50 };

/* The operating system's, and which threads have run a request. */
struct counting_io {
    struct io io; /* first */
    struct io_operations operations;
    atomic_uint threads_seen;
};

struct fixture {
    struct config config;
    struct config_collection collection;
    struct counting_io io;
    struct store *store;
    struct store_registry *registry;
    struct store_shard *shard;
    struct metrics *metrics;
    struct rest *rest;
    struct http_server *server;
};

struct answer {
    long status;
    struct buffer body;
    char allow[64];
    char retry_after[16];
    char coding[16]; /* Content-Encoding */
    char vary[32];
    char type[64]; /* Content-Type */
};

struct expectation {
    const char *method, *path, *body;
    long status;
    const char *contains;
};

void fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
/** The point `id` with the vector [1, id, 0.5, 0] and the time 1000 + id milliseconds; `payload` is MessagePack. */
void fixture_append_point(struct fixture *fixture, uint64_t id, int64_t offset,
                          const uint8_t *payload, uint32_t payload_bytes);
/** Another server with the fixture's routes; the former must be deleted. */
void fixture_start_server(struct fixture *fixture);

/** `header` (may be NULL): one more line of the request. */
struct answer ask_bytes(const struct fixture *fixture, const char *method, const char *path,
                        const char *body, size_t body_bytes, const char *header);
struct answer ask(const struct fixture *fixture, const char *method, const char *path,
                  const char *body);
void answer_free(struct answer *answer);

void check_all(const struct fixture *fixture, const struct expectation *cases, size_t count);
#define CHECK_ALL(fixture, cases) check_all(fixture, cases, sizeof(cases) / sizeof(cases[0]))
#define C                         "/collections/news"

/** A connection of one's own to the server, which waits 20 s for bytes. */
int connect_to(const struct fixture *fixture);
void send_bytes(int connection, const char *bytes, size_t size);
/** Sends and reads until the server closes; returns everything that came, until the next call. */
const char *converse(const struct fixture *fixture, const char *request);
const char *converse_bytes(const struct fixture *fixture, const char *request, size_t length);

#endif
