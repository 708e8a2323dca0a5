/* A client that writes frames by hand, so that it can write bad ones. */
#ifndef TESTS_SUPPORT_GRPC_FRAMES_H
#define TESTS_SUPPORT_GRPC_FRAMES_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

#define FRAMES_ANY UINT32_MAX /* not one stream but all */

struct frames {
    int socket;
    nghttp2_hd_inflater *inflater;
};

/* What came for one stream. */
struct frames_reply {
    int http_status, status; /* -1: none came */
    char message[512];
    char retry_after[16];
    struct buffer body; /* with its prefix */
    bool reset, goaway, closed;
    uint32_t code; /* of the reset or the goaway */
};

void frames_open(struct frames *frames, uint16_t port);
void frames_close(struct frames *frames);
/** Sends all; stops when the server has closed. */
void frames_send(struct frames *frames, const void *bytes, size_t size);

void frames_put_frame(struct buffer *out, uint8_t type, uint8_t flags, uint32_t stream,
                      const void *payload, size_t size);
/** Headers of a call; `extra` is pairs of texts that end with NULL, and may be NULL. */
void frames_put_headers(struct buffer *out, uint32_t stream, const char *path,
                        const char *const *extra, bool end);
/** A whole call. */
void frames_put_call(struct buffer *out, uint32_t stream, const char *path, const void *message,
                     size_t size);
void frames_put_prefixed(struct buffer *out, uint8_t flag, uint32_t length, const void *message,
                         size_t size);

/** Reads until the stream has ended (0: until the server closes; FRAMES_ANY: until one has). */
struct frames_reply frames_wait(struct frames *frames, uint32_t stream);
/** Reads until `count` streams have ended with grpc-status 0, in any order; returns how many did before the
 * server closed. */
uint32_t frames_wait_all(struct frames *frames, uint32_t count);
void frames_reply_free(struct frames_reply *reply);

#endif
