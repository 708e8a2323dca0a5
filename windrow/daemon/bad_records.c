#include "windrow/daemon/bad_records.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/http/http.h"
#include "windrow/daemon/parts.h"

enum {
    REASONS_MAX = 24, /* the reasons are words of the code; there are fewer */
    NEWEST = 5,
    TEXT_BYTES = 300,
    VALUE_BYTES = 600,
    HEX_BYTES = 48
};

struct bad_record {
    int64_t time_ms, offset;
    int32_t partition;
    bool has_value;
    char topic[250], text[TEXT_BYTES], value[VALUE_BYTES + 32];
};

struct reason {
    char name[40];
    uint64_t count;
    struct bad_record newest[NEWEST]; /* letter n lies at n % NEWEST */
};

struct bad_records {
    pthread_mutex_t lock;
    struct reason reasons[REASONS_MAX];
    size_t reason_count;
};

struct bad_records *bad_records_new(void)
{
    struct bad_records *records = memory_new(1, sizeof(*records));

    pthread_mutex_init(&records->lock, NULL);
    return records;
}

void bad_records_delete(struct bad_records *records)
{
    if (!records)
        return;
    pthread_mutex_destroy(&records->lock);
    free(records);
}

/* No character is cut in two. */
static void copy_text(char *out, size_t room, const char *text, size_t length)
{
    size_t kept = text_utf8_valid(text, length < room ? length : room - 1);

    memcpy(out, text, kept);
    out[kept] = '\0';
}

/* Text as it is, anything else as hex digits. */
static void copy_value(struct bad_record *out, const void *value, size_t value_bytes)
{
    const unsigned char *bytes = value;
    size_t valid = value ? text_utf8_valid(value, value_bytes) : 0;
    size_t used;

    out->has_value = value != NULL;
    out->value[0] = '\0';
    if (valid == value_bytes || valid >= VALUE_BYTES) {
        copy_text(out->value, VALUE_BYTES, value ? value : "", value ? value_bytes : 0);
    } else {
        for (size_t i = 0; i < value_bytes && i < HEX_BYTES; i++)
            (void)snprintf(out->value + 2 * i, 3, "%02x", bytes[i]);
    }
    used = strlen(out->value);
    if (value && used < value_bytes && value_bytes > HEX_BYTES)
        (void)snprintf(out->value + used, sizeof(out->value) - used, "... (%zu bytes)",
                       value_bytes);
}

static struct reason *find_reason(struct bad_records *records, const char *name)
{
    struct reason *reason = records->reasons;

    for (size_t i = 0; i < records->reason_count; i++, reason++)
        if (strcmp(reason->name, name) == 0)
            return reason;
    if (records->reason_count == REASONS_MAX)
        return NULL;
    records->reason_count++;
    copy_text(reason->name, sizeof(reason->name), name, strlen(name));
    return reason;
}

void bad_records_add(struct bad_records *records, const struct ingest_bad_record *record,
                     int64_t now_ms)
{
    struct reason *reason;

    pthread_mutex_lock(&records->lock);
    reason = find_reason(records, record->reason);
    if (reason) {
        struct bad_record *kept = &reason->newest[reason->count++ % NEWEST];
        kept->time_ms = now_ms;
        kept->partition = record->partition;
        kept->offset = record->offset;
        copy_text(kept->topic, sizeof(kept->topic), record->topic, strlen(record->topic));
        copy_text(kept->text, sizeof(kept->text), record->text, strlen(record->text));
        copy_value(kept, record->value, record->value_bytes);
    }
    pthread_mutex_unlock(&records->lock);
}

/* The route. */

static struct doc record_doc(const struct bad_record *record, struct arena *arena)
{
    struct doc map = doc_map(arena, 6);

    doc_put(&map, "time_ms", doc_integer(record->time_ms));
    doc_put(&map, "topic", doc_string(arena, record->topic));
    doc_put(&map, "partition", doc_integer(record->partition));
    doc_put(&map, "offset", doc_integer(record->offset));
    doc_put(&map, "text", doc_string(arena, record->text));
    doc_put(&map, "value", record->has_value ? doc_string(arena, record->value) : doc_null());
    return map;
}

static struct doc reason_doc(const struct reason *reason, struct arena *arena)
{
    uint32_t kept = reason->count < NEWEST ? (uint32_t)reason->count : NEWEST;
    struct doc *items = doc_items(arena, kept);
    struct doc map = doc_map(arena, 3);

    for (uint32_t i = 0; i < kept; i++)
        items[i] = record_doc(&reason->newest[(reason->count - 1 - i) % NEWEST], arena);
    doc_put(&map, "reason", doc_string(arena, reason->name));
    doc_put(&map, "count", doc_integer((int64_t)reason->count));
    doc_put(&map, "newest", (struct doc){.type = DOC_ARRAY, .count = kept, .items = items});
    return map;
}

void bad_records_handle(struct http_request *request)
{
    struct service *service = request->context;
    struct bad_records *records = service->bad_records;
    struct arena *arena = &request->arena;
    struct doc map = doc_map(arena, 2);
    struct doc *items;
    uint32_t count;

    pthread_mutex_lock(&records->lock);
    count = (uint32_t)records->reason_count;
    items = doc_items(arena, count);
    for (uint32_t i = 0; i < count; i++)
        items[i] = reason_doc(&records->reasons[i], arena);
    pthread_mutex_unlock(&records->lock);
    doc_put(&map, "topic", doc_text(arena, service->config->kafka_dead_letters));
    doc_put(&map, "reasons", (struct doc){.type = DOC_ARRAY, .count = count, .items = items});
    http_reply_plain(request, 200, HTTP_TYPE_JSON);
    doc_write_json(&request->reply, &map);
}
