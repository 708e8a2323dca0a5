/* What each compaction style writes for the same load, beside RocksDB's.
 *
 * One way after the other from an empty folder: what is counted are bytes, so turns are not needed
 * and other work on the machine does not change them. Both stores come to rest after each group of
 * records, as they do when writes come slower than compaction; under a backlog both would merge
 * more at once and write less. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/logger.h"
#include "bench/compaction.h"
#include "bench/measure.h"

static const char help[] =
    "Usage: windrow bench compaction [--megabytes N] [--windows N] [--upserts PERCENT] [--json]\n"
    "                                FOLDER\n\n"
    "Counts what every compaction style of windrow, and RocksDB's FIFO, universal and leveled\n"
    "compaction, write to the device for one load on FOLDER: 768-d float32 vectors, 16-byte keys,\n"
    "64-byte payloads, groups of 64 synced, memtables of 4 MiB, files of 8 MiB. 300 MB over 8\n"
    "windows and no upserts when not given. An upsert is a new version of any earlier id.\n\n"
    "Example:\n  windrow bench compaction --upserts 30 /var/tmp/bench\n";

enum { RESULTS_MAX = 32 };

struct options {
    uint64_t megabytes, windows, upsert_percent;
    bool json;
    const char *folder;
};

bool compaction_load_next(struct compaction_load *load, struct compaction_row *row)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static const uint8_t head[] = {0x81, 0xa1, 'p', 0xd9, BENCH_PAYLOAD_BYTES - 5};
    uint64_t id = load->distinct;

    if (load->next == load->records)
        return false;
    if (load->distinct > 0 && bench_random(&load->random) % 100 < load->upsert_percent)
        id = bench_random(&load->random) % load->distinct;
    else
        load->distinct++;
    bench_key(id, row->key);
    memcpy(row->payload, head, sizeof(head));
    for (size_t i = sizeof(head); i < BENCH_PAYLOAD_BYTES; i++)
        row->payload[i] = (uint8_t)letters[bench_random(&load->random) % 64];
    row->vector = bench_vector(load->next);
    row->event_time_ms =
        (int64_t)(load->next * load->windows * COMPACTION_WINDOW_MS / load->records);
    load->next++;
    return true;
}

static double per_user_byte(double bytes, uint64_t user_bytes)
{
    return bytes / (double)user_bytes;
}

static double space(const struct compaction_result *result)
{
    return (double)result->folder_bytes / ((double)result->distinct * BENCH_RECORD_BYTES);
}

static void print_json(const struct compaction_result *results, size_t count,
                       const struct options *options, uint64_t user_bytes)
{
    printf("{\"user_bytes\":%llu,\"windows\":%llu,\"upsert_percent\":%llu,\"results\":[",
           (unsigned long long)user_bytes, (unsigned long long)options->windows,
           (unsigned long long)options->upsert_percent);
    for (size_t i = 0; i < count; i++) {
        const struct compaction_result *result = &results[i];
        printf("%s{\"name\":\"%s\",\"device_bytes\":%llu,\"write_amplification\":%.3f,"
               "\"log_bytes\":%.0f,\"flush_bytes\":%.0f,\"merge_bytes\":%.0f,"
               "\"living_rows\":%llu,\"folder_bytes\":%llu,"
               "\"space_amplification\":%.3f,\"files\":%llu,\"deepest_level\":%u",
               i > 0 ? "," : "", result->name, (unsigned long long)result->device_bytes,
               per_user_byte((double)result->device_bytes, user_bytes), result->log_bytes,
               result->flush_bytes, result->merge_bytes, (unsigned long long)result->distinct,
               (unsigned long long)result->folder_bytes, space(result),
               (unsigned long long)result->folder_files, result->deepest_level);
        if (result->seals + result->compactions > 0) {
            printf(",\"seals\":%llu,\"tiers\":%llu,\"compactions\":%llu,\"read_into_level\":[",
                   (unsigned long long)result->seals, (unsigned long long)result->tiers,
                   (unsigned long long)result->compactions);
            for (size_t level = 0; level < COMPACTION_LEVELS; level++)
                printf("%s%llu", level > 0 ? "," : "",
                       (unsigned long long)result->read_into_level[level]);
            putchar(']');
        }
        putchar('}');
    }
    puts("]}");
}

static void print_text(const struct compaction_result *results, size_t count,
                       const struct options *options, uint64_t user_bytes)
{
    printf("%.0f MB over %llu windows, %llu %% upserts; bytes for each user byte, space for each "
           "byte of living rows\n",
           (double)user_bytes / 1e6, (unsigned long long)options->windows,
           (unsigned long long)options->upsert_percent);
    printf("%-24s %8s %8s %8s %8s %8s %8s %8s\n", "", "device", "log", "flush", "merges", "space",
           "files", "levels");
    for (size_t i = 0; i < count; i++) {
        const struct compaction_result *result = &results[i];
        printf("%-24s %8.2f %8.2f %8.2f %8.2f %8.2f %8llu %8u\n", result->name,
               per_user_byte((double)result->device_bytes, user_bytes),
               per_user_byte(result->log_bytes, user_bytes),
               per_user_byte(result->flush_bytes, user_bytes),
               per_user_byte(result->merge_bytes, user_bytes), space(result),
               (unsigned long long)result->folder_files, result->deepest_level + 1);
    }
}

static int parse(int argc, char **argv, struct options *to)
{
    static const struct option options[] = {{"megabytes", required_argument, NULL, 'm'},
                                            {"windows", required_argument, NULL, 'w'},
                                            {"upserts", required_argument, NULL, 'u'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option;

    while ((option = getopt_long(argc, argv, "m:w:u:jh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        if (option == 'm')
            to->megabytes = strtoull(optarg, NULL, 10);
        else if (option == 'w')
            to->windows = strtoull(optarg, NULL, 10);
        else if (option == 'u')
            to->upsert_percent = strtoull(optarg, NULL, 10);
        else if (option == 'j')
            to->json = true;
        else
            return -1;
    }
    if (optind + 1 != argc)
        return -1;
    to->folder = argv[optind];
    return to->megabytes >= 1 && to->megabytes <= 100000 && to->windows >= 1 &&
                   to->windows <= 1000 && to->upsert_percent < 100
               ? 0
               : -1;
}

int main(int argc, char **argv)
{
    struct options options = {.megabytes = 300, .windows = 8};
    static struct compaction_result results[RESULTS_MAX];
    size_t ours = compaction_windrow_count();
    size_t count = ours + compaction_rocksdb_count();
    uint64_t records;

    if (parse(argc, argv, &options) != 0) {
        fputs(help, stderr);
        return 64;
    }
    if (count > RESULTS_MAX)
        abort();
    records = options.megabytes * 1000000 / BENCH_RECORD_BYTES;
    logger_set_level(LOGGER_WARNING);
    (void)mkdir(options.folder, 0700);
    for (size_t i = 0; i < count; i++) {
        struct compaction_load load = {.records = records,
                                       .windows = (uint32_t)options.windows,
                                       .upsert_percent = (uint32_t)options.upsert_percent,
                                       .random = 88172645463325252u};
        const char *folder = bench_subfolder(options.folder, "compaction");
        if (i < ours)
            compaction_windrow_run(i, folder, &load, &results[i]);
        else
            compaction_rocksdb_run(i - ours, folder, &load, &results[i]);
    }
    (void)bench_subfolder(options.folder, "compaction");
    if (options.json)
        print_json(results, count, &options, records * BENCH_RECORD_BYTES);
    else
        print_text(results, count, &options, records * BENCH_RECORD_BYTES);
    return 0;
}
