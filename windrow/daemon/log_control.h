/* Levels of the log at run time: GET and POST /log-level. */
#ifndef WINDROW_LOG_CONTROL_H
#define WINDROW_LOG_CONTROL_H

#include "net/http/http.h"

/** What the config says about levels and format takes effect. */
void log_control_apply(const struct config *config);

void log_control_get(struct http_request *request);
void log_control_set(struct http_request *request);
extern const struct http_schema log_control_schema;

#endif
