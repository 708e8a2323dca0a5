/* What all three librdkafka clients (consumer, producer, dead letters) have in common: the user's
 * properties, our defaults, what we force, and their log lines. Private to ingest/. */
#ifndef INGEST_KAFKA_CONF_H
#define INGEST_KAFKA_CONF_H

#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include "config/config.h"

enum kafka_role { KAFKA_CONSUMER, KAFKA_PRODUCER };

/** A configuration with brokers and log callback set, our defaults below the user's properties and
 * what we force above them. A property that we force, or that librdkafka refuses, is ERROR_INVALID;
 * values never appear in texts, they may be secret. Free with rd_kafka_conf_destroy unless a client
 * takes it over. `opaque` is passed to callbacks. */
int kafka_conf_new(const struct config *config, enum kafka_role role, void *opaque,
                   rd_kafka_conf_t **conf, struct error *error);

/** Sets one more property of our own; aborts when librdkafka does not know it. */
void kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value);

/** Creates the client; takes over `conf` in any case. */
int kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **client,
                     struct error *error);

/** Ends the client, with the flags of rd_kafka_destroy_flags. librdkafka may wait for ever there: 2.0.2 does after a topic
 * that the consumer reads was deleted. So a thread of its own ends the client. False: after a few seconds it had not,
 * which the log tells, and the client is left behind; what its callbacks use must live on. */
bool kafka_client_end(rd_kafka_t *client, int flags);
/** How many clients of this process are left behind. Any thread. */
unsigned kafka_clients_left(void);

/** Creates a topic when it is missing; existing is fine. *made (NULL is allowed): it was missing. `replication` 0: the
 * broker's default.
 * `settings` are name, value pairs, may be NULL. ERROR_PEER when the broker refuses, ERROR_TIMEOUT
 * when none answers. */
int kafka_create_topic(rd_kafka_t *client, const char *topic, int partition_count, int replication,
                       const struct config_pair *settings, size_t setting_count, int timeout_ms,
                       bool *made, struct error *error);

#endif
