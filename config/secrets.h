/* Secrets come from files or the environment. Private to config/. */
#ifndef CONFIG_SECRETS_H
#define CONFIG_SECRETS_H

#include "config/loaded.h"

/** Reads http.api_key_file and `file:` values of kafka.properties, then lets WINDROW_HTTP_API_KEY
 * and WINDROW_KAFKA_<PROPERTY> override. */
void secrets_read(struct loaded_config *loaded, struct report *report);

#endif
