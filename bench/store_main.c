/* The store beside RocksDB and beside what the device can do, in one run on one folder.
 *
 * The three take turns, a slice each: what else the machine does meets all of them. Both stores
 * flush behind the writer; a slice ends when nothing is left to do behind it, so that no one pays
 * for another's work. windrow seals at the end of each slice, as it does at the end of each window:
 * the first rate is that of the appends, the second has flushes and seals in it (RocksDB: flushes).
 * Times of a shared machine mean little: read the ratios. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/logger.h"
#include "bench/measure.h"
#include "bench/store_load.h"

static const char help[] =
    "Usage: windrow bench store [--megabytes N] [--part PART] [--json] FOLDER\n\n"
    "Measures windrow's store beside RocksDB (FIFO, WAL synced for each batch) and beside the\n"
    "device (O_DIRECT | O_DSYNC onto zero-written files), in turns on FOLDER: 768-d float32\n"
    "vectors, 16-byte keys, 64-byte payloads, one writer, 40 windows. N is 2000 when not given.\n"
    "PART is groups, singles, recovery or drops; all of them when not given.\n\n"
    "Example:\n  windrow bench store /var/tmp/bench\n";

enum {
    SLICES = 40, /* each a window */
    SINGLE_SLICES = 20,
    SINGLES = 100,     /* commits of one record in a slice */
    FLOOR_WRITES = 64, /* of the device in a slice */
    LOOKUP_SLICES = 20,
    LOOKUPS = 2000,
    FRAME_BYTES = 204800, /* of a group of 64: what windrow's log writes */
    SINGLE_FRAME_BYTES = 4096,
    DROP_FEW = 1000,
    DROP_MANY = 1000000,
    DROP_ROUNDS = 3
};

struct report {
    uint64_t user_bytes;
    struct bench_side ours, theirs, our_singles, their_singles;
    struct bench_floor floor, single_floor;
    double our_space, their_space; /* bytes on the device for each user byte */
    double read_amplification;
    double recovery_bytes, recovery_seconds, recovery_floor_seconds;
    double few_seconds, many_seconds; /* to drop a window */
};

static void progress(const char *what, int slice, int slices)
{
    static bool shown;

    if (slice < slices && isatty(fileno(stderr))) {
        fprintf(stderr, "\r%s %d/%d   ", what, slice + 1, slices);
        shown = true;
    } else if (shown && slice == slices) {
        fputs("\r\033[K", stderr);
        shown = false;
    }
}

static void measure_groups(const char *folder, uint64_t records, struct report *report)
{
    char *ours = strdup(bench_subfolder(folder, "windrow"));
    char *theirs = strdup(bench_subfolder(folder, "rocksdb"));
    struct bench_windrow_options options = {.folder = ours,
                                            .records = records,
                                            .windows = SLICES,
                                            .memory_bytes = UINT64_C(1) << 30,
                                            .behind = true};
    struct bench_windrow *windrow = bench_windrow_open(&options);
    struct bench_rocksdb *rocksdb = bench_rocksdb_open(theirs);
    uint64_t our_random = 88172645463325252u;
    uint64_t their_random = our_random;

    bench_floor_open(&report->floor, folder, FRAME_BYTES, UINT64_C(64) << 20);
    for (int i = 0; i < SLICES; i++) {
        progress("groups", i, SLICES);
        bench_floor_slice(&report->floor, FLOOR_WRITES);
        bench_windrow_write(windrow, records / SLICES, BENCH_GROUP, &report->ours);
        bench_rocksdb_write(rocksdb, records / SLICES, BENCH_GROUP, &report->theirs);
    }
    bench_windrow_finish(windrow, &report->ours);
    bench_rocksdb_finish(rocksdb, &report->theirs);
    report->user_bytes = report->ours.records * BENCH_RECORD_BYTES;
    report->our_space = (double)bench_folder_bytes(ours) / (double)report->user_bytes;
    report->their_space = (double)bench_folder_bytes(theirs) / (double)report->user_bytes;
    for (int i = 0; i < LOOKUP_SLICES; i++) {
        progress("lookups", i, LOOKUP_SLICES);
        bench_windrow_look_up(windrow, LOOKUPS, &our_random, &report->ours);
        bench_rocksdb_look_up(rocksdb, LOOKUPS, &their_random, &report->theirs);
    }
    progress("lookups", LOOKUP_SLICES, LOOKUP_SLICES);
    report->read_amplification = bench_windrow_read_amplification(windrow);
    bench_windrow_close(windrow);
    bench_rocksdb_close(rocksdb);
    bench_floor_close(&report->floor);
    free(ours);
    free(theirs);
}

static void measure_singles(const char *folder, struct report *report)
{
    char *ours = strdup(bench_subfolder(folder, "windrow"));
    char *theirs = strdup(bench_subfolder(folder, "rocksdb"));
    struct bench_windrow_options options = {.folder = ours,
                                            .records = (uint64_t)SINGLES * SINGLE_SLICES,
                                            .memory_bytes = UINT64_C(1) << 30};
    struct bench_windrow *windrow = bench_windrow_open(&options);
    struct bench_rocksdb *rocksdb = bench_rocksdb_open(theirs);

    bench_floor_open(&report->single_floor, folder, SINGLE_FRAME_BYTES, UINT64_C(64) << 20);
    for (int i = 0; i < SINGLE_SLICES; i++) {
        progress("commits of one record", i, SINGLE_SLICES);
        bench_floor_slice(&report->single_floor, SINGLES);
        bench_windrow_write(windrow, SINGLES, 1, &report->our_singles);
        bench_rocksdb_write(rocksdb, SINGLES, 1, &report->their_singles);
    }
    progress("", SINGLE_SLICES, SINGLE_SLICES);
    bench_windrow_close(windrow);
    bench_rocksdb_close(rocksdb);
    bench_floor_close(&report->single_floor);
    free(ours);
    free(theirs);
}

static void measure_recovery(const char *folder, uint64_t records, struct report *report)
{
    struct bench_windrow_options options = {.folder = bench_subfolder(folder, "windrow"),
                                            .records = records,
                                            .memory_bytes = UINT64_C(3) << 30};
    struct bench_side side = {0};
    struct bench_windrow *windrow = bench_windrow_open(&options);
    struct bench_floor floor;
    double before;

    bench_windrow_write(windrow, records, BENCH_GROUP, &side);
    bench_windrow_close(windrow);
    bench_floor_open(&floor, folder, FRAME_BYTES, UINT64_C(64) << 20);
    bench_floor_close(&floor);
    report->recovery_bytes = (double)records * BENCH_RECORD_BYTES;
    report->recovery_floor_seconds = bench_floor_read(folder, (uint64_t)report->recovery_bytes / 2);
    before = bench_now();
    windrow = bench_windrow_open(&options);
    report->recovery_seconds = bench_now() - before;
    report->recovery_floor_seconds +=
        bench_floor_read(folder, (uint64_t)report->recovery_bytes / 2);
    bench_windrow_close(windrow);
}

/* The report. */

static double rate(const struct bench_side *side, double seconds)
{
    return (double)side->records * BENCH_RECORD_BYTES / 1e6 / seconds;
}

static double amplification(const struct bench_side *side)
{
    return (double)side->device_bytes / ((double)side->records * BENCH_RECORD_BYTES);
}

static double floor_rate(const struct bench_floor *floor)
{
    return (double)floor->writes * (double)floor->write_bytes / 1e6 / floor->seconds;
}

static double commits(const struct bench_side *side)
{
    return (double)side->records / side->write_seconds;
}

static double lookup_rate(const struct bench_side *side)
{
    return (double)side->lookups / side->lookup_seconds;
}

/* What of the whole was asked for. */
enum part {
    PART_GROUPS = 1 << 0,
    PART_SINGLES = 1 << 1,
    PART_RECOVERY = 1 << 2,
    PART_DROPS = 1 << 3,
    PART_ALL = PART_GROUPS | PART_SINGLES | PART_RECOVERY | PART_DROPS
};

static void print_json_groups(const struct report *report)
{
    const struct bench_side *ours = &report->ours;
    const struct bench_side *theirs = &report->theirs;

    printf(",\"user_bytes\":%llu,\"group\":%d,", (unsigned long long)report->user_bytes,
           BENCH_GROUP);
    printf("\"floor_mb_s\":%.1f,\"windrow_mb_s\":%.1f,\"rocksdb_mb_s\":%.1f,"
           "\"ratio\":%.2f,\"of_floor\":%.2f,",
           floor_rate(&report->floor), rate(ours, ours->write_seconds),
           rate(theirs, theirs->write_seconds), theirs->write_seconds / ours->write_seconds,
           rate(ours, ours->write_seconds) / floor_rate(&report->floor));
    printf("\"windrow_sealed_mb_s\":%.1f,\"rocksdb_flushed_mb_s\":%.1f,\"sealed_ratio\":%.2f,",
           rate(ours, ours->wall_seconds), rate(theirs, theirs->wall_seconds),
           theirs->wall_seconds / ours->wall_seconds);
    printf("\"windrow_write_amplification\":%.3f,\"rocksdb_write_amplification\":%.3f,"
           "\"windrow_space\":%.3f,\"rocksdb_space\":%.3f,",
           amplification(ours), amplification(theirs), report->our_space, report->their_space);
    printf("\"windrow_lookups_s\":%.0f,\"rocksdb_lookups_s\":%.0f,\"lookup_ratio\":%.2f,"
           "\"read_amplification\":%.3f",
           lookup_rate(ours), lookup_rate(theirs), lookup_rate(ours) / lookup_rate(theirs),
           report->read_amplification);
}

static void print_json(const struct report *report, unsigned parts)
{
    double single_floor = (double)report->single_floor.writes / report->single_floor.seconds;

    printf("{\"dim\":%d", BENCH_DIM);
    if (parts & PART_GROUPS)
        print_json_groups(report);
    if (parts & PART_SINGLES)
        printf(",\"floor_commits_s\":%.0f,\"windrow_commits_s\":%.0f,\"rocksdb_commits_s\":%.0f,"
               "\"commit_ratio\":%.2f,\"commits_of_floor\":%.2f",
               single_floor, commits(&report->our_singles), commits(&report->their_singles),
               commits(&report->our_singles) / commits(&report->their_singles),
               commits(&report->our_singles) / single_floor);
    if (parts & PART_RECOVERY)
        printf(",\"recovery_bytes\":%.0f,\"recovery_seconds\":%.3f,"
               "\"recovery_read_floor_seconds\":%.3f",
               report->recovery_bytes, report->recovery_seconds, report->recovery_floor_seconds);
    if (parts & PART_DROPS)
        printf(",\"drop_1000_seconds\":%.6f,\"drop_1000000_seconds\":%.6f", report->few_seconds,
               report->many_seconds);
    puts("}");
}

static void print_text_groups(const struct report *report)
{
    const struct bench_side *ours = &report->ours;
    const struct bench_side *theirs = &report->theirs;

    printf("%.0f MB in synced groups of %d; device %.0f MB/s\n", (double)report->user_bytes / 1e6,
           BENCH_GROUP, floor_rate(&report->floor));
    printf("%-10s %10s %12s %14s %8s %12s\n", "", "MB/s", "MB/s, all", "device/user", "space",
           "lookups/s");
    printf("%-10s %10.0f %12.0f %14.2f %8.2f %12.0f\n", "windrow", rate(ours, ours->write_seconds),
           rate(ours, ours->wall_seconds), amplification(ours), report->our_space,
           lookup_rate(ours));
    printf("%-10s %10.0f %12.0f %14.2f %8.2f %12.0f\n", "rocksdb",
           rate(theirs, theirs->write_seconds), rate(theirs, theirs->wall_seconds),
           amplification(theirs), report->their_space, lookup_rate(theirs));
    printf("%-10s %9.1fx %11.1fx %14s %8s %11.1fx\n", "ratio",
           theirs->write_seconds / ours->write_seconds, theirs->wall_seconds / ours->wall_seconds,
           "", "", lookup_rate(ours) / lookup_rate(theirs));
    printf("of the device's rate: windrow %.2f, rocksdb %.2f\n",
           rate(ours, ours->write_seconds) / floor_rate(&report->floor),
           rate(theirs, theirs->write_seconds) / floor_rate(&report->floor));
    printf("tables searched for a lookup: %.3f\n", report->read_amplification);
}

static void print_text(const struct report *report, unsigned parts)
{
    double single_floor = (double)report->single_floor.writes / report->single_floor.seconds;

    if (parts & PART_GROUPS)
        print_text_groups(report);
    if (parts & PART_SINGLES)
        printf("commits of one record: windrow %.0f/s, rocksdb %.0f/s: %.1fx; device %.0f/s: "
               "%.2f\n",
               commits(&report->our_singles), commits(&report->their_singles),
               commits(&report->our_singles) / commits(&report->their_singles), single_floor,
               commits(&report->our_singles) / single_floor);
    if (parts & PART_RECOVERY)
        printf("recovery of a log tail of %.0f MB: %.2f s; reading as much from the device: "
               "%.2f s\n",
               report->recovery_bytes / 1e6, report->recovery_seconds,
               report->recovery_floor_seconds);
    if (parts & PART_DROPS)
        printf("dropping a window of %d rows: %.2f ms, of %d rows: %.2f ms\n", DROP_FEW,
               report->few_seconds * 1e3, DROP_MANY, report->many_seconds * 1e3);
}

struct arguments {
    uint64_t megabytes;
    unsigned parts;
    bool json;
    const char *folder;
};

static unsigned part_of(const char *name)
{
    static const char *const names[] = {"groups", "singles", "recovery", "drops"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return 1u << i;
    return 0;
}

static int parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {{"megabytes", required_argument, NULL, 'm'},
                                            {"part", required_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option;

    while ((option = getopt_long(argc, argv, "m:p:jh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        if (option == 'm')
            arguments->megabytes = strtoull(optarg, NULL, 10);
        else if (option == 'p')
            arguments->parts = part_of(optarg);
        else if (option == 'j')
            arguments->json = true;
        else
            return 64;
    }
    if (optind + 1 != argc || arguments->parts == 0 || arguments->megabytes < 10 ||
        arguments->megabytes > 1000000)
        return 64;
    arguments->folder = argv[optind];
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.megabytes = 2000, .parts = PART_ALL};
    struct report report = {0};
    const char *folder;
    uint64_t records;

    if (parse(argc, argv, &arguments) != 0) {
        fputs(help, stderr);
        return 64;
    }
    folder = arguments.folder;
    records = arguments.megabytes * 1000000 / BENCH_RECORD_BYTES / (SLICES * BENCH_GROUP) *
              (SLICES * BENCH_GROUP);
    records = records ? records : SLICES * BENCH_GROUP;
    logger_set_level(LOGGER_WARNING);
    (void)mkdir(folder, 0700);
    (void)bench_vector(0);
    if (arguments.parts & PART_GROUPS)
        measure_groups(folder, records, &report);
    if (arguments.parts & PART_SINGLES)
        measure_singles(folder, &report);
    if (arguments.parts & PART_RECOVERY)
        measure_recovery(folder, records < 317440 ? records : 317440, &report);
    if (arguments.parts & PART_DROPS)
        bench_windrow_drops(bench_subfolder(folder, "windrow"), DROP_FEW, DROP_MANY, DROP_ROUNDS,
                            &report.few_seconds, &report.many_seconds);
    (void)bench_subfolder(folder, "windrow");
    (void)bench_subfolder(folder, "rocksdb");
    (void)bench_subfolder(folder, "floor");
    if (arguments.json)
        print_json(&report, arguments.parts);
    else
        print_text(&report, arguments.parts);
    return 0;
}
