#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "windrow/cli/cli.h"
#include "windrow/daemon/daemon.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

static int run(int argc, char **argv)
{
    struct command_run_options options;
    struct error error = {0};
    int status = command_run_parse(argc, argv, &options);

    if (status != -1)
        return status;
    if (daemon_run(&(struct daemon_options){.config = options.config,
                                            .roles = options.roles,
                                            .trust_clock = options.trust_clock},
                   &error) == 0)
        return COMMAND_OK;
    fprintf(stderr, "windrow: %s\n", error.text);
    return COMMAND_FAILED;
}

static const struct command commands[] = {
    {"run", run, "the service: consume, store, index, answer"},
    {"check-config", command_check_config,
     "all problems of a config file; --print shows the values"},
    {"config", command_config, "shows a value of the config and where it comes from"},
    {"produce", command_produce, "send JSON lines or .fbin vectors to a collection's topic"},
    {"search", command_search, "nearest neighbours from the running service"},
    {"export", command_export, "the rows of a collection as an Arrow IPC stream"},
    {"status", command_status, "collections, shards, lag, windows and segments"},
    {"top", command_top, "what goes on now, drawn again every two seconds"},
    {"compact", command_compact, "seal, reseal or merge now"},
    {"pause", command_pause, "stop reading a collection from Kafka"},
    {"resume", command_resume, "read it again, or resume a stopped shard on purpose"},
    {"nodes", command_nodes, "who is in the cluster, and what each one serves"},
    {"drain", command_drain, "hand all shards over to other nodes before a stop"},
    {"log-level", command_log_level, "show or change what the running service logs"},
    {"repair", command_repair, "remove old versions of ids that are in two partitions"},
    {"trust-clock", command_trust_clock,
     "confirm the system clock after the service's clock froze"},
    {"rebuild", command_rebuild, "read a window again from Kafka"},
    {"inspect", command_inspect, "decode any windrow file"},
    {"verify", command_verify, "read every byte of a data folder and check every checksum"},
    {"backup", command_backup, "a consistent copy of every shard, while the service goes on"},
    {"restore", command_restore, "a backup becomes the data folder"},
    {"bench", command_bench, "build an index over vectors in a file and measure it"},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void print_help(FILE *out)
{
    fputs("windrow " CLI_SUMMARY ".\n\nUsage: windrow COMMAND [options]\n\nCommands:\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].summary);
    fputs("\n" CLI_FILES "\n`windrow COMMAND --help` shows options and examples.\n"
          "Exit status: " CLI_EXIT_STATUS "\n",
          out);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

static int no_such_command(const char *name)
{
    fprintf(stderr, "windrow: there is no command %s\n\n", name);
    print_help(stderr);
    return COMMAND_USAGE;
}

/* The page of a command, or of the program: the build installs them. */
static int print_page(const char *name)
{
    struct manual_entry entries[COMMAND_COUNT];
    const struct command *command = name ? find_command(name) : NULL;
    struct buffer out = {0};

    if (name && !command)
        return no_such_command(name);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        entries[i] = (struct manual_entry){commands[i].name, commands[i].summary};
    if (command)
        manual_write_head(&out, command->name, command->summary);
    else
        manual_write_program(&out, entries, COMMAND_COUNT);
    fwrite(out.data, 1, out.size, stdout);
    buffer_destroy(&out);
    if (!command)
        return COMMAND_OK;
    return command->run(2, (char *[]){(char *)command->name, "--man", NULL});
}

int main(int argc, char **argv)
{
    const struct command *command;

    /* Race: threads of the NATS and the Kafka library may end after main has returned. They would use
     * what OpenSSL gives up at exit. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    if (argc < 2) {
        print_help(stderr);
        return COMMAND_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return COMMAND_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("windrow %s\n", WINDROW_VERSION);
        return COMMAND_OK;
    }
    if (strcmp(argv[1], "--man") == 0)
        return print_page(argv[2]);
    command = find_command(argv[1]);
    return command ? command->run(argc - 1, argv + 1) : no_such_command(argv[1]);
}
