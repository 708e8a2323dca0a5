#include "tests/support/grpc_frames.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test_main.h"

enum { FRAME_HEADER = 9 };

void frames_put_frame(struct buffer *out, uint8_t type, uint8_t flags, uint32_t stream,
                      const void *payload, size_t size)
{
    const uint8_t header[FRAME_HEADER] = {(uint8_t)(size >> 16),
                                          (uint8_t)(size >> 8),
                                          (uint8_t)size,
                                          type,
                                          flags,
                                          (uint8_t)(stream >> 24),
                                          (uint8_t)(stream >> 16),
                                          (uint8_t)(stream >> 8),
                                          (uint8_t)stream};

    buffer_append(out, header, sizeof(header));
    if (size > 0)
        buffer_append(out, payload, size);
}

/* A literal without indexing, lengths below 128 in one byte. */
static void put_header(struct buffer *block, const char *name, const char *value)
{
    size_t value_bytes = strlen(value);

    buffer_append_byte(block, 0);
    buffer_append_byte(block, (uint8_t)strlen(name));
    buffer_append_text(block, name);
    if (value_bytes < 127) {
        buffer_append_byte(block, (uint8_t)value_bytes);
    } else {
        buffer_append_byte(block, 127);
        for (value_bytes -= 127; value_bytes >= 128; value_bytes >>= 7)
            buffer_append_byte(block, (uint8_t)(value_bytes | 128));
        buffer_append_byte(block, (uint8_t)value_bytes);
    }
    buffer_append_text(block, value);
}

static const char *value_in(const char *const *extra, const char *name, const char *otherwise)
{
    for (; extra && *extra; extra += 2)
        if (strcmp(extra[0], name) == 0)
            return extra[1];
    return otherwise;
}

void frames_put_headers(struct buffer *out, uint32_t stream, const char *path,
                        const char *const *extra, bool end)
{
    struct buffer block = {0};

    put_header(&block, ":method", value_in(extra, ":method", "POST"));
    put_header(&block, ":scheme", "http");
    put_header(&block, ":path", path);
    put_header(&block, ":authority", "localhost");
    put_header(&block, "content-type", value_in(extra, "content-type", "application/grpc"));
    put_header(&block, "te", "trailers");
    for (; extra && *extra; extra += 2)
        if (extra[0][0] != ':' && strcmp(extra[0], "content-type") != 0)
            put_header(&block, extra[0], extra[1]);
    frames_put_frame(out, NGHTTP2_HEADERS,
                     (uint8_t)(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0)),
                     stream, block.data, block.size);
    buffer_destroy(&block);
}

void frames_put_prefixed(struct buffer *out, uint8_t flag, uint32_t length, const void *message,
                         size_t size)
{
    const uint8_t prefix[] = {flag, (uint8_t)(length >> 24), (uint8_t)(length >> 16),
                              (uint8_t)(length >> 8), (uint8_t)length};

    buffer_append(out, prefix, sizeof(prefix));
    if (size > 0)
        buffer_append(out, message, size);
}

void frames_put_call(struct buffer *out, uint32_t stream, const char *path, const void *message,
                     size_t size)
{
    enum { PIECE = 16000 };
    struct buffer body = {0};

    frames_put_headers(out, stream, path, NULL, false);
    frames_put_prefixed(&body, 0, (uint32_t)size, message, size);
    for (size_t at = 0; at < body.size; at += PIECE) {
        size_t some = body.size - at < PIECE ? body.size - at : PIECE;
        frames_put_frame(out, NGHTTP2_DATA, at + some == body.size ? NGHTTP2_FLAG_END_STREAM : 0,
                         stream, body.data + at, some);
    }
    buffer_destroy(&body);
}

void frames_send(struct frames *frames, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    while (size > 0) {
        ssize_t sent = send(frames->socket, at, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        at += sent;
        size -= (size_t)sent;
    }
}

void frames_open(struct frames *frames, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 120};
    struct buffer hello = {0};

    frames->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(connect(frames->socket, (struct sockaddr *)&address, sizeof(address)) == 0);
    (void)setsockopt(frames->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ck_assert(nghttp2_hd_inflate_new(&frames->inflater) == 0);
    buffer_append_text(&hello, NGHTTP2_CLIENT_MAGIC);
    frames_put_frame(&hello, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    frames_send(frames, hello.data, hello.size);
    buffer_destroy(&hello);
}

void frames_close(struct frames *frames)
{
    close(frames->socket);
    nghttp2_hd_inflate_del(frames->inflater);
}

static bool read_all(struct frames *frames, uint8_t *out, size_t size)
{
    while (size > 0) {
        ssize_t got = recv(frames->socket, out, size, 0);
        if (got <= 0)
            return false;
        out += got;
        size -= (size_t)got;
    }
    return true;
}

static void take_headers(struct frames *frames, const uint8_t *block, size_t size,
                         struct frames_reply *reply, bool ours)
{
    for (;;) {
        nghttp2_nv header;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(frames->inflater, &header, &flags, block, size, 1);
        ck_assert(used >= 0);
        block += used;
        size -= (size_t)used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) && ours) {
            const char *name = (const char *)header.name, *value = (const char *)header.value;
            if (strcmp(name, ":status") == 0)
                reply->http_status = atoi(value);
            if (strcmp(name, "grpc-status") == 0)
                reply->status = atoi(value);
            if (strcmp(name, "grpc-message") == 0)
                (void)snprintf(reply->message, sizeof(reply->message), "%s", value);
            if (strcmp(name, "retry-after") == 0)
                (void)snprintf(reply->retry_after, sizeof(reply->retry_after), "%s", value);
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(frames->inflater);
            return;
        }
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && size == 0)
            return;
    }
}

static uint32_t number_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* True: that was all. `wanted` FRAMES_ANY: of any stream. */
static bool take_frame(struct frames *frames, uint32_t wanted, struct frames_reply *reply)
{
    uint8_t header[FRAME_HEADER];
    uint8_t *payload;
    size_t size;
    uint32_t stream;
    bool ours, ended;

    if (!read_all(frames, header, sizeof(header))) {
        reply->closed = true;
        return true;
    }
    size = (size_t)header[0] << 16 | (size_t)header[1] << 8 | header[2];
    stream = number_at(header + 5);
    ours = stream == wanted || (wanted == FRAMES_ANY && stream != 0);
    payload = malloc(size + 1);
    ck_assert(payload && read_all(frames, payload, size));
    if (header[3] == NGHTTP2_HEADERS)
        take_headers(frames, payload, size, reply, ours);
    if (header[3] == NGHTTP2_DATA && ours && size > 0)
        buffer_append(&reply->body, payload, size);
    if (header[3] == NGHTTP2_RST_STREAM && ours) {
        reply->reset = true;
        reply->code = number_at(payload);
    }
    if (header[3] == NGHTTP2_GOAWAY) {
        reply->goaway = true;
        reply->code = number_at(payload + 4);
    }
    ended = ours && wanted != 0 &&
            (reply->reset || ((header[3] == NGHTTP2_HEADERS || header[3] == NGHTTP2_DATA) &&
                              (header[4] & NGHTTP2_FLAG_END_STREAM)));
    free(payload);
    return ended;
}

struct frames_reply frames_wait(struct frames *frames, uint32_t stream)
{
    struct frames_reply reply = {.http_status = -1, .status = -1};

    while (!take_frame(frames, stream, &reply))
        ;
    return reply;
}

uint32_t frames_wait_all(struct frames *frames, uint32_t count)
{
    uint32_t ended = 0;
    struct frames_reply reply = {0};

    while (ended < count && !reply.closed) {
        reply.status = -1;
        ended += take_frame(frames, FRAMES_ANY, &reply) && reply.status == 0;
    }
    frames_reply_free(&reply);
    return ended;
}

void frames_reply_free(struct frames_reply *reply)
{
    buffer_destroy(&reply->body);
}
