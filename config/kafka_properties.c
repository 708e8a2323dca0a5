/* kafka.properties, tried on librdkafka itself: check-config then knows what the service would hear
 * from it at startup. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "config/nearest.h"

bool property_name_is_secret(const char *name)
{
    static const char *const words[] = {"password", "passphrase", "secret",     "token",
                                        "key",      "credential", "jaas.config"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasestr(name, words[i]))
            return true;
    return strcmp(name, "sasl.oauthbearer.config") == 0;
}

const char *property_kafka_reserved(const char *name)
{
    static const struct {
        const char *name, *instead;
    } reserved[] = {
        {"bootstrap.servers", "kafka.brokers sets it"},
        {"metadata.broker.list", "kafka.brokers sets it"},
        {"group.id", "kafka.group sets it"},
        {"enable.auto.commit", "offsets are kept with the data"},
        {"enable.auto.offset.store", "offsets are kept with the data"},
        {"auto.offset.reset", "a lost offset must stop the partition, never skip"},
        {"enable.idempotence", "writes are always idempotent"},
        {"acks", "writes always wait for all in-sync replicas"},
        {"request.required.acks", "writes always wait for all in-sync replicas"},
        {"enable.partition.eof", "windrow needs to know when it has read a partition to its end"},
        {"transactional.id", "writes are single records"},
        {"partition.assignment.strategy", "windrow needs cooperative-sticky"},
    };

    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strcmp(reserved[i].name, name) == 0)
            return reserved[i].instead;
    return NULL;
}

/* librdkafka prints its properties as a table, one a line: `name | C/P | range | default | ...`. */
static void suggest_property(const char *name, char *hint, size_t hint_bytes)
{
    struct nearest nearest = nearest_to(name);
    char *table = NULL;
    size_t size_bytes;
    FILE *out = open_memstream(&table, &size_bytes);

    (void)snprintf(hint, hint_bytes, "its CONFIGURATION.md lists them");
    if (!out)
        return;
    rd_kafka_conf_properties_show(out);
    if (fclose(out) == 0) {
        char *rest = NULL;
        for (char *line = strtok_r(table, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
            line[strcspn(line, " ")] = '\0';
            if (*line && !property_kafka_reserved(line) && nearest_try(&nearest, line))
                (void)snprintf(hint, hint_bytes, "did you mean %.80s?", line);
        }
    }
    free(table);
}

/* librdkafka's own text quotes the value, which may be a secret. */
static void check_pair(rd_kafka_conf_t *conf, const struct config_pair *pair,
                       struct report_mark mark, struct report *report)
{
    bool environment = mark.line == LOADED_FROM_ENVIRONMENT;
    const char *where =
        environment ? "the environment sets kafka.properties." : "kafka.properties.";
    char ignored[256];
    char hint[160];
    rd_kafka_conf_res_t result =
        rd_kafka_conf_set(conf, pair->name, pair->value, ignored, sizeof(ignored));

    if (environment)
        mark = (struct report_mark){1, 1};
    if (result == RD_KAFKA_CONF_UNKNOWN) {
        suggest_property(pair->name, hint, sizeof(hint));
        report_error(report, mark, "%s%.80s: librdkafka has no such property (%s)", where,
                     pair->name, hint);
    } else if (result != RD_KAFKA_CONF_OK && property_name_is_secret(pair->name)) {
        report_error(report, mark, "%s%.80s: librdkafka refuses the value", where, pair->name);
    } else if (result != RD_KAFKA_CONF_OK) {
        report_error(report, mark, "%s%.80s: librdkafka refuses the value \"%.60s\"", where,
                     pair->name, pair->value);
    }
}

void kafka_properties_check(const struct loaded_config *loaded, struct report *report)
{
    const struct config *config = &loaded->config;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    for (size_t i = 0; i < config->kafka_property_count; i++) {
        const struct config_pair *pair = &config->kafka_properties[i];
        /* A secret's file that could not be read is reported already. Plugins are loaded by the mere
         * setting: a check runs no code of others. */
        if (strncmp(pair->value, "file:", 5) != 0 &&
            strcmp(pair->name, "plugin.library.paths") != 0)
            check_pair(conf, pair, loaded->pair_marks[i], report);
    }
    rd_kafka_conf_destroy(conf);
}
