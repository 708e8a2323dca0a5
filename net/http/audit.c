#include "net/http/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/doc.h"
#include "base/io.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"

enum { TEXT_MAX_BYTES = 500, TOLD_EVERY_S = 60 };

struct http_audit {
    const struct config *config;
    struct metric *failures;
    pthread_mutex_t lock; /* of what follows */
    int file;
    uint64_t size_bytes;
    int64_t told_ns;
};

static int open_file(const struct http_audit *audit, int *file, uint64_t *size_bytes,
                     struct error *error)
{
    const char *path = audit->config->log_audit_file;
    struct stat status;

    *file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (*file < 0 || fstat(*file, &status) != 0) {
        const int reason = errno;
        if (*file >= 0)
            (void)close(*file);
        return error_set_errno(error, reason, "log.audit_file: %s", path);
    }
    *size_bytes = (uint64_t)status.st_size;
    return 0;
}

int http_audit_open(const struct config *config, struct metrics *metrics, struct http_audit **audit,
                    struct error *error)
{
    struct http_audit *fresh = memory_new(1, sizeof(*fresh));

    fresh->config = config;
    if (open_file(fresh, &fresh->file, &fresh->size_bytes, error) != 0) {
        free(fresh);
        return error->code;
    }
    pthread_mutex_init(&fresh->lock, NULL);
    fresh->failures = metrics_counter(metrics, "windrow_audit_failures_total",
                                      "Lines of the audit log that could not be written", NULL, 0);
    *audit = fresh;
    return 0;
}

void http_audit_close(struct http_audit *audit)
{
    if (!audit)
        return;
    (void)close(audit->file);
    pthread_mutex_destroy(&audit->lock);
    free(audit);
}

/* Under the lock. */
static int replace_file(struct http_audit *audit, struct error *error)
{
    uint64_t size_bytes;
    int file;

    if (open_file(audit, &file, &size_bytes, error) != 0)
        return error->code;
    (void)close(audit->file);
    audit->file = file;
    audit->size_bytes = size_bytes;
    return 0;
}

int http_audit_reopen(struct http_audit *audit, struct error *error)
{
    int code;

    pthread_mutex_lock(&audit->lock);
    code = replace_file(audit, error);
    pthread_mutex_unlock(&audit->lock);
    return code;
}

static void append_text(struct buffer *line, const char *key, const char *text)
{
    size_t length = text ? strnlen(text, TEXT_MAX_BYTES) : 0;

    if (length == 0)
        return;
    buffer_append_format(line, ",\"%s\":", key);
    doc_write_json_string(line, text, text_utf8_valid(text, length));
}

static void append_line(struct buffer *line, const struct http_audit_event *event)
{
    char time_text[TEXT_TIME_BYTES];

    buffer_append_format(line, "{\"time\":\"%s\"",
                         text_format_time(io_wall_ms(io_posix()), time_text));
    append_text(line, "who", *event->who ? event->who : "anyone");
    append_text(line, "certificate", event->certificate);
    append_text(line, "from", event->address);
    append_text(line, "forwarded_for", event->forwarded);
    append_text(line, "method", event->method);
    append_text(line, "path", event->path);
    buffer_append_format(line, ",\"status\":%u,\"body_bytes\":%llu,\"seconds\":%.6f}\n",
                         event->status, (unsigned long long)event->body_bytes, event->seconds);
}

/* Under the lock. */
static int put_line(struct http_audit *audit, const struct buffer *line, struct error *error)
{
    const char *path = audit->config->log_audit_file;
    const uint64_t room = audit->config->log_audit_max_bytes;
    struct buffer former = {0};
    ssize_t put;
    int code = 0;

    if (audit->size_bytes > 0 && audit->size_bytes + line->size > room) {
        buffer_append_format(&former, "%s.1", path);
        if (rename(path, buffer_text(&former)) != 0)
            code = error_set_errno(error, errno, "log.audit_file: move %s", path);
        else
            code = replace_file(audit, error);
        buffer_destroy(&former);
    }
    if (code != 0)
        return code;
    put = write(audit->file, line->data, line->size);
    if (put < 0)
        return error_set_errno(error, errno, "log.audit_file: write %s", path);
    audit->size_bytes += (uint64_t)put;
    return (size_t)put == line->size
               ? 0
               : error_set(error, ERROR_NO_SPACE, "log.audit_file: %s took half a line", path);
}

void http_audit_write(struct http_audit *audit, const struct http_audit_event *event)
{
    const int64_t now = io_monotonic_ns(io_posix());
    struct buffer line = {0};
    struct error error = {0};
    bool tell = false;

    append_line(&line, event);
    pthread_mutex_lock(&audit->lock);
    if (put_line(audit, &line, &error) != 0) {
        tell = audit->told_ns == 0 || now - audit->told_ns > TOLD_EVERY_S * INT64_C(1000000000);
        audit->told_ns = tell ? now : audit->told_ns;
        metric_add(audit->failures, 1);
    }
    pthread_mutex_unlock(&audit->lock);
    if (tell)
        log_error("http", "the audit log misses lines: %s", error.text);
    buffer_destroy(&line);
}
