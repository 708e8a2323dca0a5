#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/io.h"
#include "base/memory.h"
#include "store/settings.h"
#include "windrow/cli/client.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static void print_buffer(struct buffer *out)
{
    fwrite(out->data, 1, out->size, stdout);
    buffer_destroy(out);
}

static void print_changes(const char *what, struct buffer *lines)
{
    const char *line = buffer_text(lines);

    while (*line) {
        size_t length = strcspn(line, "\n");
        printf("%s %.*s\n", what, (int)length, line);
        line += length + (line[length] == '\n');
    }
    buffer_destroy(lines);
}

/* What a service that runs with the file `against` does when it gets this one and SIGHUP. */
static int compare(const struct config *config, const char *against)
{
    struct buffer applied = {0}, restart_needed = {0};
    struct config *running = NULL;
    int status = command_load_config_quietly(against, &running);

    if (status != COMMAND_OK)
        return status;
    if (!config_compare(running, config, &applied, &restart_needed))
        printf("nothing changed\n");
    print_changes("a reload applies", &applied);
    print_changes("a restart is needed for", &restart_needed);
    config_free(running);
    return COMMAND_OK;
}

/* A service that runs. */

struct differences {
    const struct config *config; /* of the file */
    const struct doc *running;   /* {KEY: {"value", "reloadable"}} */
    struct buffer applied, restart_needed;
    struct arena arena;
};

static const struct doc *find(struct differences *all, const struct doc *map, const struct doc *key)
{
    return doc_get(map, memory_checked(arena_copy(&all->arena, key->string, key->count)));
}

static void append_value(struct buffer *out, const struct doc *value)
{
    if (value->type == DOC_STRING)
        buffer_append(out, value->string, value->count);
    else if (value->type == DOC_NULL)
        buffer_append_byte(out, '~');
    else
        doc_write_json(out, value);
}

static void add_difference(struct differences *all, const struct doc *key, const struct doc *file)
{
    const struct doc *running = find(all, all->running, key);
    struct buffer *out = reply_is_true(file, "reloadable") ? &all->applied : &all->restart_needed;

    if (!running || doc_equal(reply_get(file, "value"), reply_get(running, "value")))
        return; /* a collection that is new, or nothing */
    buffer_append_format(out, "%.*s (", (int)key->count, key->string);
    append_value(out, reply_get(running, "value"));
    buffer_append_text(out, " -> ");
    append_value(out, reply_get(file, "value"));
    buffer_append_text(out, ")\n");
}

/* Collections of one side alone: each has a `dim`. */
static void add_missing(struct differences *all, const struct doc *keys, const struct doc *others,
                        const char *what)
{
    static const char first[] = "collections.", last[] = ".dim";
    const size_t around = strlen(first) + strlen(last);

    for (uint32_t i = 0; i < keys->count; i++) {
        const struct doc *key = &keys->items[2 * (size_t)i];
        if (key->count > around && memcmp(key->string, first, strlen(first)) == 0 &&
            memcmp(key->string + key->count - strlen(last), last, strlen(last)) == 0 &&
            !find(all, others, key))
            buffer_append_format(&all->restart_needed, "%.*s (%s)\n",
                                 (int)(key->count - strlen(last)), key->string, what);
    }
}

static void print_differences(const struct doc *reply, const void *context)
{
    struct differences all = {.config = context, .running = reply_get(reply, "result")};
    struct buffer text = {0};
    struct doc file;

    arena_create(&all.arena, 0);
    (void)config_show(all.config, NULL, true, &text);
    if (doc_parse_json(&all.arena, buffer_text(&text), text.size, NULL, &file, ERROR_IGNORED) ==
            0 &&
        all.running->type == DOC_MAP) {
        for (uint32_t i = 0; i < file.count; i++)
            add_difference(&all, &file.items[2 * (size_t)i], &file.items[2 * (size_t)i + 1]);
        add_missing(&all, all.running, &file, "removed");
        add_missing(&all, &file, all.running, "added");
    }
    if (all.applied.size + all.restart_needed.size == 0)
        printf("nothing changed, but for secrets, which are not compared\n");
    print_changes("a reload applies", &all.applied);
    print_changes("a restart is needed for", &all.restart_needed);
    buffer_destroy(&text);
    arena_destroy(&all.arena);
}

static int compare_running(const struct config *config, const char *url)
{
    client_choice.url = url;
    return ask_service(
        config, &(struct ask){.path = "/config", .print = print_differences, .context = config});
}

/* What a start over this data folder would refuse. */
static int compare_data(const struct config *config, const char *data_dir)
{
    struct buffer report = {0};
    const size_t count = store_settings_compare(io_posix(), data_dir, config, &report);

    if (count == 0)
        printf("nothing in %s contradicts it\n", data_dir);
    print_changes("a start over this data refuses", &report);
    return count == 0 ? COMMAND_OK : COMMAND_CONFIG;
}

static void tell_state_folder(const struct config *config)
{
    char folder[PATH_MAX];

    if (config->http_allow_create != CONFIG_TRUE || !config->data_dir)
        return;
    config_state_folder(config, folder);
    fprintf(stderr, "windrow: collections that are made over HTTP are kept in %s\n", folder);
}

static bool is_folder(const char *path)
{
    struct stat found;

    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

static int compare_with(const struct config *config, const char *against)
{
    if (strstr(against, "://"))
        return compare_running(config, against);
    return is_folder(against) ? compare_data(config, against) : compare(config, against);
}

static int check(const char *path, const char *against, bool print, bool json)
{
    struct config *config = NULL;
    struct buffer out = {0};
    int status = command_load_config(path, &config);

    if (status != COMMAND_OK)
        return status;
    if (config_check_data_dir(config, &out) != 0) {
        fputs(buffer_text(&out), stderr);
        buffer_destroy(&out);
        status = COMMAND_CONFIG;
    } else if (print) {
        config_print(config, json, &out);
        print_buffer(&out);
    } else {
        fprintf(stderr, "windrow: %s is valid\n", config->path);
        tell_state_folder(config);
        if (against)
            status = compare_with(config, against);
    }
    config_free(config);
    return status;
}

int command_check_config(int argc, char **argv)
{
    const char *path = NULL, *against = NULL;
    bool print = false;
    bool json = false;
    bool documentation = false;
    bool schema = false;
    struct buffer out = {0};
    const struct option_row rows[] = {
        OPTION_ROW_CONFIG(path),
        {.name = "print",
         .help = "show every effective value and where it comes from; secrets stay hidden",
         .target = &print},
        {.name = "json",
         .letter = 'j',
         .help = "with --print: one JSON object, \"path\": {\"value\", \"origin\"}",
         .target = &json},
        {.name = "against",
         .type = OPTION_TEXT,
         .argument = "FILE|URL|DATA_DIR",
         .help = "what a service that runs with FILE, or the one at URL, would apply of this one "
                 "on a reload, and what needs a restart; or what a start over DATA_DIR would "
                 "refuse (exit 78)",
         .target = &against},
        {.name = "documentation",
         .help = "print docs/configuration.md, made from the same table",
         .target = &documentation},
        {.name = "schema",
         .help = "print a JSON Schema of the file, made from the same table, for editors",
         .target = &schema},
    };
    const struct command_line line = {
        .usage = "[-c FILE] [--print [--json]]\n[-c FILE] --against FILE|URL|DATA_DIR",
        .about = "Reads the config and reports every problem at once, as FILE:LINE:COL: message "
                 "(hint). Exits 0 "
                 "if the service could start with it (warnings are shown), else 78.",
        .examples = "windrow check-config -c /etc/windrow/windrow.yaml --print\n"
                    "windrow check-config --against http://127.0.0.1:6333",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    if (json && !print)
        return command_usage_error("check-config", "--json needs --print");
    if (print && against)
        return command_usage_error("check-config", "--print and --against exclude each other");
    if (documentation)
        config_write_documentation(&out);
    else if (schema)
        config_write_schema(&out);
    else
        return check(path, against, print, json);
    print_buffer(&out);
    return COMMAND_OK;
}
