/* The process as the kernel sees it, under the names that all Prometheus clients use; the processor
 * time of its threads and what its pools have queued; the pressure on the machine; the disk's room.
 * A file of /proc that is not there leaves its series out. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/thread.h"
#include "windrow/daemon/parts.h"
#include "windrow/daemon/telemetry.h"

static void set(struct metrics *metrics, const char *name, const char *help, double value)
{
    metric_set(metrics_gauge(metrics, name, help, NULL, 0), value);
}

static struct metric *counter(struct metrics *metrics, const char *name, const char *help,
                              const char *label, const char *value)
{
    const struct metric_label labels[] = {{label, value}};

    return metrics_counter(metrics, name, help, labels, label ? 1 : 0);
}

/* Returns the length; 0 when there is no such file. */
static size_t read_file(const char *path, char *out, size_t out_bytes)
{
    FILE *file = fopen(path, "re");
    size_t length = 0;

    if (file) {
        length = fread(out, 1, out_bytes - 1, file);
        (void)fclose(file); /* only read */
    }
    out[length] = '\0';
    return length;
}

static double seconds(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec * 1e-6;
}

/* Seconds since the epoch when the machine started, or 0. */
static double boot_seconds(void)
{
    char text[16384];
    const char *line;

    if (read_file("/proc/stat", text, sizeof(text)) == 0)
        return 0;
    line = strstr(text, "\nbtime ");
    return line ? strtod(line + 7, NULL) : 0;
}

/* Fields of /proc/PID/stat (proc(5)), counted from the third one, behind the name. */
enum { STAT_THREADS = 20 - 3, STAT_START = 22 - 3, STAT_VIRTUAL = 23 - 3, STAT_RESIDENT = 24 - 3 };

static bool read_stat(double fields[STAT_RESIDENT + 1])
{
    char text[2048];
    char *at;

    if (read_file("/proc/self/stat", text, sizeof(text)) == 0 || !(at = strrchr(text, ')')))
        return false;
    at += strcspn(at, " ") + 2; /* behind the state, a letter */
    for (size_t i = 1; i <= STAT_RESIDENT; i++)
        fields[i] = strtod(at, &at);
    return true;
}

double process_resident_bytes(void)
{
    double fields[STAT_RESIDENT + 1];

    return read_stat(fields) ? fields[STAT_RESIDENT] * (double)sysconf(_SC_PAGESIZE) : (double)NAN;
}

static void publish_stat(struct metrics *metrics)
{
    double fields[STAT_RESIDENT + 1];

    if (!read_stat(fields))
        return;
    set(metrics, "process_threads", "Threads of the process", fields[STAT_THREADS]);
    set(metrics, "process_start_time_seconds", "When the process started, since the epoch",
        boot_seconds() + fields[STAT_START] / (double)sysconf(_SC_CLK_TCK));
    set(metrics, "process_virtual_memory_bytes", "Address space of the process",
        fields[STAT_VIRTUAL]);
    set(metrics, "process_resident_memory_bytes", "Memory of the process in use",
        fields[STAT_RESIDENT] * (double)sysconf(_SC_PAGESIZE));
}

static void publish_files(struct metrics *metrics)
{
    DIR *folder = opendir("/proc/self/fd");
    struct rlimit limit;
    double count = -3; /* ".", ".." and the folder itself */

    if (folder) {
        while (readdir(folder))
            count++;
        closedir(folder);
        set(metrics, "process_open_fds", "Open file descriptors", count);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        set(metrics, "process_max_fds", "How many file descriptors may be open",
            (double)limit.rlim_cur);
}

static void publish_processors(struct metrics *metrics)
{
    struct thread_usage threads[THREAD_NAMES_MAX];
    uint32_t count = thread_usage_list(threads);
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric_raise(counter(metrics, "process_cpu_seconds_total",
                             "Processor time of the process, user and system", NULL, NULL),
                     seconds(&usage.ru_utime) + seconds(&usage.ru_stime));
    set(metrics, "windrow_processors", "Processors that the process shares out to its pools",
        thread_budget_processors());
    for (uint32_t i = 0; i < count; i++)
        metric_raise(counter(metrics, "windrow_thread_cpu_seconds_total",
                             "Processor time of threads, by name", "thread", threads[i].name),
                     threads[i].cpu_seconds);
}

static void publish_pool(struct metrics *metrics, const struct thread_pool_usage *pool)
{
    const struct metric_label labels[] = {{"pool", pool->name}};

    metric_raise(counter(metrics, "windrow_pool_tasks_total", "Tasks that a pool has begun", "pool",
                         pool->name),
                 (double)pool->tasks);
    metric_raise(counter(metrics, "windrow_pool_queue_seconds_total",
                         "Time that those tasks had waited for a thread", "pool", pool->name),
                 pool->queue_seconds);
    metric_set(metrics_gauge(metrics, "windrow_pool_queued_tasks",
                             "Tasks that wait for a thread of the pool", labels, 1),
               pool->queued);
    metric_set(metrics_gauge(metrics, "windrow_pool_running_threads", "Threads of the pool at work",
                             labels, 1),
               pool->running);
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=12345": microseconds in which some or all tasks of
 * the machine waited (Documentation/accounting/psi.rst of Linux, 4.20 and later). */
static void publish_pressure(struct metrics *metrics, const char *resource)
{
    static const char *const kinds[] = {"some", "full"};
    char path[64], text[512];

    snprintf(path, sizeof(path), "/proc/pressure/%s", resource);
    (void)read_file(path, text, sizeof(text));
    for (size_t i = 0; i < 2; i++) {
        const struct metric_label labels[] = {{"resource", resource}, {"kind", kinds[i]}};
        const char *line = strstr(text, kinds[i]);
        const char *total = line ? strstr(line, "total=") : NULL;
        if (total)
            metric_raise(metrics_counter(metrics, "windrow_pressure_seconds_total",
                                         "Time in which some or all tasks of the machine waited "
                                         "for a resource",
                                         labels, 2),
                         strtod(total + strlen("total="), NULL) * 1e-6);
    }
}

static void publish_disk(struct service *service)
{
    uint64_t free_bytes, size_bytes;

    if (!io_disk_room(service->config->data_dir, &free_bytes, &size_bytes))
        return;
    set(service->metrics, "windrow_disk_free_bytes", "Room on the disk of data_dir",
        (double)free_bytes);
    set(service->metrics, "windrow_disk_size_bytes", "Size of the disk of data_dir",
        (double)size_bytes);
}

static void refresh(void *context)
{
    struct service *service = context;
    struct thread_pool_usage pools[THREAD_POOLS_MAX];
    uint32_t count = thread_pool_usage_list(pools);

    publish_stat(service->metrics);
    publish_files(service->metrics);
    publish_processors(service->metrics);
    for (uint32_t i = 0; i < count; i++)
        publish_pool(service->metrics, &pools[i]);
    publish_pressure(service->metrics, "io");
    publish_pressure(service->metrics, "cpu");
    publish_pressure(service->metrics, "memory");
    publish_disk(service);
}

void process_metrics_register(struct service *service)
{
    metrics_on_render(service->metrics, refresh, service);
}
