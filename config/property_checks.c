#include "config/property_checks.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static bool complain(struct property_complaint *complaint, const char *hint, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

static bool complain(struct property_complaint *complaint, const char *hint, const char *format,
                     ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(complaint->text, sizeof(complaint->text), format, arguments);
    va_end(arguments);
    (void)snprintf(complaint->hint, sizeof(complaint->hint), "%s", hint);
    return false;
}

static bool is_made_of(const char *text, const char *punctuation)
{
    for (const char *c = text; *c; c++) {
        bool alphanumeric =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!alphanumeric && !strchr(punctuation, *c))
            return false;
    }
    return true;
}

bool check_not_empty(const char *text, struct property_complaint *complaint)
{
    if (*text)
        return true;
    return complain(complaint, "give it a value or leave it out", "an empty text");
}

bool check_collection_name(const char *text, struct property_complaint *complaint)
{
    size_t length = strlen(text);

    if (length >= 1 && length <= 100 && is_made_of(text, "-_"))
        return true;
    return complain(complaint, "1 to 100 letters, digits, - and _",
                    "\"%.110s\" cannot name a collection", text);
}

bool check_topic(const char *text, struct property_complaint *complaint)
{
    size_t length = strlen(text);

    if (length >= 1 && length <= 249 && is_made_of(text, "._-") && strcmp(text, ".") != 0 &&
        strcmp(text, "..") != 0)
        return true;
    return complain(complaint, "1 to 249 letters, digits, '.', - and _",
                    "\"%.110s\" cannot name a Kafka topic", text);
}

bool check_stream(const char *text, struct property_complaint *complaint)
{
    size_t length = strlen(text);

    if (length >= 1 && length <= 100 && is_made_of(text, "-_"))
        return true;
    return complain(complaint, "1 to 100 letters, digits, - and _",
                    "\"%.110s\" cannot name a JetStream stream", text);
}

bool split_address(const char *text, char *host, size_t host_bytes, uint32_t *port)
{
    const char *colon = strrchr(text, ':');
    const char *end = colon;
    uint64_t number;

    if (!colon || text_parse_u64(colon + 1, strlen(colon + 1), &number) != 0 || number > 65535)
        return false;
    if (*text == '[') {
        if (end == text || end[-1] != ']')
            return false;
        text++;
        end--;
    } else if (memchr(text, ':', (size_t)(end - text))) {
        return false;
    }
    if (end == text || (size_t)(end - text) >= host_bytes)
        return false;
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = '\0';
    *port = (uint32_t)number;
    return true;
}

bool check_listen(const char *text, struct property_complaint *complaint)
{
    struct in6_addr address;
    char host[64];
    uint32_t port;

    if (!split_address(text, host, sizeof(host), &port))
        return complain(complaint, "ADDRESS:PORT, as in 127.0.0.1:6333 or [::1]:6333",
                        "\"%.110s\" is no address", text);
    if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
        return true;
    return complain(complaint, "127.0.0.1 for this machine only, 0.0.0.0 for every interface",
                    "\"%.60s\" is no numeric address", host);
}

static bool is_broker(const char *text)
{
    char with_port[300];
    char host[260];
    uint32_t port;

    if (*text == '\0' || strpbrk(text, " \t/@"))
        return false;
    if (*text != '[' && !strchr(text, ':')) /* librdkafka adds :9092 */
        (void)snprintf(with_port, sizeof(with_port), "%s:9092", text);
    else
        (void)snprintf(with_port, sizeof(with_port), "%s", text);
    return split_address(with_port, host, sizeof(host), &port) && port != 0;
}

/* Calls `accept` for each part between commas, blanks around it left out. */
static bool every_part(const char *text, bool (*accept)(const char *part), char *bad,
                       size_t bad_bytes)
{
    for (;;) {
        size_t length = strcspn(text, ",");
        size_t start = strspn(text, " ");
        size_t end = length;
        char part[300];
        start = start < length ? start : length;
        while (end > start && text[end - 1] == ' ')
            end--;
        (void)snprintf(part, sizeof(part), "%.*s", (int)(end - start), text + start);
        if (end - start >= sizeof(part) || !accept(part)) {
            (void)snprintf(bad, bad_bytes, "%.100s", part);
            return false;
        }
        if (text[length] == '\0')
            return true;
        text += length + 1;
    }
}

bool check_brokers(const char *text, struct property_complaint *complaint)
{
    char bad[101];

    if (every_part(text, is_broker, bad, sizeof(bad)))
        return true;
    return complain(complaint, "HOST:PORT, several with commas, as in 10.0.0.1:9092,10.0.0.2:9092",
                    "\"%s\" is no broker address", bad);
}

static bool is_nats_url(const char *text)
{
    const char *host = strstr(text, "://");
    const char *at;

    if (!host || strpbrk(text, " \t"))
        return false;
    if (strncmp(text, "nats://", 7) != 0 && strncmp(text, "tls://", 6) != 0)
        return false;
    host += 3;
    at = strrchr(host, '@');
    return is_broker(at ? at + 1 : host);
}

bool check_nats_url(const char *text, struct property_complaint *complaint)
{
    char bad[101];

    if (every_part(text, is_nats_url, bad, sizeof(bad)))
        return true;
    /* The text may hold a password: it is not shown. */
    return complain(complaint, "nats://HOST:PORT, several with commas, as in nats://127.0.0.1:4222",
                    "this is no NATS address");
}
