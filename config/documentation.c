/* docs/configuration.md, from the property table. */
#include <string.h>

#include "base/text.h"
#include "config/properties.h"

static const char introduction[] =
    "# Configuration\n\n"
    "Generated from the property table (`config/properties.c`) by `windrow check-config "
    "--documentation`; a test keeps it up to date.\n\n"
    "Files `conf.d/*.yaml` beside the configuration are read after it, in the order of their "
    "names, then those of `DATA_DIR/conf.d`, where windrow keeps what is made over HTTP. They have "
    "the key "
    "`collections` only. A collection that is defined twice is an error that names both places.\n\n"
    "windrow reads one YAML file: `-c FILE`, else `./windrow.yaml`, else "
    "`/etc/windrow/windrow.yaml`. Only `kafka.brokers` and one collection are required:\n\n"
    "```yaml\n"
    "kafka:\n"
    "  brokers: 127.0.0.1:9092\n"
    "collections:\n"
    "  news:\n"
    "    dim: 384\n"
    "```\n\n"
    "`windrow check-config` reports every problem at once as `FILE:LINE:COL: message (hint)` and "
    "exits 78; `--print` shows every effective value with its origin, and `windrow config show "
    "KEY` one of them. Unknown and repeated keys "
    "are errors, as are properties that librdkafka lacks and a `${VARIABLE}` that nobody replaced; "
    "anchors, aliases and tags are refused. `--schema` prints a JSON Schema for editors, which is "
    "installed as `share/windrow/windrow.schema.json`. Durations are written `10ms 5s 10m 1h 7d "
    "1h30m`, sizes `64KiB 128MiB 1GB`; `~` means none.\n\n"
    "Values marked *not available* belong to features that this version does not have: windrow "
    "rejects them. "
    "A running service takes over keys marked *Reload* on SIGHUP (`systemctl reload windrow`); all "
    "others "
    "need a restart.\n";

static const char secrets[] =
    "\n## Secrets\n\n"
    "Secrets are never printed. They can live outside the file:\n\n"
    "- A value `file:PATH` in `kafka.properties` is replaced by the content of that file, without "
    "trailing line ends.\n"
    "- `WINDROW_KAFKA_<PROPERTY>` sets or overrides a librdkafka property, with `_` for `.`: "
    "`WINDROW_KAFKA_SASL_PASSWORD` sets `sasl.password`.\n"
    "- `http.api_key_file`, `http.read_only_key_file` and `http.internal_key_file` name files that "
    "not every user may read; `WINDROW_HTTP_API_KEY` overrides the first one.\n"
    "- Under systemd, `LoadCredential=` provides such files.\n\n"
    "`kafka.properties` cannot set what windrow controls itself: `bootstrap.servers`, `group.id`, "
    "`enable.auto.commit`, `enable.auto.offset.store`, `auto.offset.reset`, `enable.idempotence`, "
    "`enable.partition.eof`, `acks`, `transactional.id`, `partition.assignment.strategy`.\n";

struct section {
    const char *prefix; /* of the paths in it */
    const char *title;
};

static const struct section sections[] = {
    {"", "Top level"},
    {"kafka.", "kafka"},
    {"ingest.", "ingest"},
    {"indexer.", "indexer"},
    {"nats.", "nats"},
    {"cluster.", "cluster"},
    {"log.", "log"},
    {"http.", "http"},
    {"clock.", "clock"},
    {"store.", "store"},
    {"collections.*.", "collections.NAME"},
};

static void write_bound(const struct property *property, double bound, struct buffer *out)
{
    char text[TEXT_TIME_BYTES];

    if (property->type == PROPERTY_DURATION)
        buffer_append_text(out, text_format_duration((int64_t)bound, text));
    else if (property->type == PROPERTY_SIZE)
        buffer_append_text(out, text_format_size((uint64_t)bound, text));
    else
        buffer_append_format(out, "%.15g", bound);
}

static void write_choices(const struct property *property, struct buffer *out)
{
    for (size_t i = 0; i < property->choice_count; i++)
        buffer_append_format(out, "%s`%s`%s", i > 0 ? ", " : "", property->choices[i].name,
                             property->choices[i].refused ? " (*not available*)" : "");
}

static void write_type(const struct property *property, struct buffer *out)
{
    if (property->choice_count > 0)
        write_choices(property, out);
    else
        buffer_append_text(out, strchr(property_type_name(property), ' ') + 1);
    if (property->minimum != 0 || property->maximum != 0) {
        buffer_append_text(out, ", ");
        write_bound(property, property->minimum, out);
        buffer_append_text(out, " to ");
        write_bound(property, property->maximum, out);
    }
    if (property->flags & PROPERTY_AUTO)
        buffer_append_text(out, ", or `auto`");
    if (property->flags & PROPERTY_NULLABLE)
        buffer_append_text(out, ", or `~`");
}

static void write_row(const struct property *property, const char *name, struct buffer *out)
{
    buffer_append_format(out, "| `%s` | ", name);
    write_type(property, out);
    if (property->default_words)
        buffer_append_format(out, " | %s | ", property->default_words);
    else
        buffer_append_format(out, " | `%s` | ", property->default_yaml);
    buffer_append_format(out, "%s%s", property->documentation,
                         property->flags & PROPERTY_RELOADABLE ? " *Reload.*" : "");
    if (property->refused)
        buffer_append_text(out, " *Not available: only the default is accepted.*");
    buffer_append_text(out, " |\n");
}

static void write_section(const struct section *section, struct buffer *out)
{
    size_t length = strlen(section->prefix);

    buffer_append_format(out, "\n## %s\n\n| key | type | default | meaning |\n|---|---|---|---|\n",
                         section->title);
    for (size_t i = 0; i < property_count; i++) {
        const char *path = properties[i].path;
        if (length == 0 ? !strchr(path, '.') : strncmp(path, section->prefix, length) == 0)
            write_row(&properties[i], path + length, out);
    }
}

void config_write_documentation(struct buffer *out)
{
    buffer_append_text(out, introduction);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        write_section(&sections[i], out);
    buffer_append_text(out, secrets);
}
