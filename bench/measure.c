#include "bench/measure.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/io.h"

double bench_now(void)
{
    return (double)io_monotonic_ns(io_posix()) / 1e9;
}

double bench_cpu(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

double bench_thread_cpu(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t bench_device_bytes(void)
{
    FILE *file = fopen("/proc/self/io", "re");
    char line[128];
    unsigned long long bytes = 0;

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "write_bytes: %llu", &bytes) == 1)
            break;
    if (file)
        fclose(file);
    return bytes;
}

static uint64_t folder_sum;
static uint64_t folder_files;

static int add_size(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)path;
    (void)walk;
    folder_sum += kind == FTW_F ? (uint64_t)info->st_blocks * 512 : 0;
    folder_files += kind == FTW_F;
    return 0;
}

uint64_t bench_folder_bytes(const char *folder)
{
    folder_sum = 0;
    (void)nftw(folder, add_size, 16, FTW_PHYS);
    return folder_sum;
}

uint64_t bench_folder_files(const char *folder)
{
    folder_files = 0;
    (void)nftw(folder, add_size, 16, FTW_PHYS);
    return folder_files;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void bench_folder_remove(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *bench_subfolder(const char *folder, const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    bench_folder_remove(path);
    return path;
}
