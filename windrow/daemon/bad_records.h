/* bad_records: the newest dead letters of this process by reason, for who looks at the dashboard. The
 * topic kafka.dead_letters has all of them.
 *
 * GET /dead-letters:
 *
 *   {"topic": of the letters, or null, "reasons": [{"reason", "count": since the process started,
 *    "newest": [{"time_ms", "topic", "partition", "offset", "text", "value": its start, as text or as
 *    hex digits, null for a delete}]}]}, the newest first. */
#ifndef WINDROW_BAD_RECORDS_H
#define WINDROW_BAD_RECORDS_H

#include "ingest/ingest.h"

struct bad_records;
struct http_request;

struct bad_records *bad_records_new(void);
/** NULL is allowed. */
void bad_records_delete(struct bad_records *records);
/** Keeps a copy. Any thread. */
void bad_records_add(struct bad_records *records, const struct ingest_bad_record *record,
                     int64_t now_ms);
/** The route's handler; its context is the service. */
void bad_records_handle(struct http_request *request);

#endif
