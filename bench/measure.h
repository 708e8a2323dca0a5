/* What every measurement reads: clocks, what this process wrote, and the folders that it fills. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>

/** Seconds of the monotonic clock. */
double bench_now(void);
/** Processor time of this process until now, in seconds. */
double bench_cpu(void);
/** The same of this thread. */
double bench_thread_cpu(void);
/** Bytes that this process has sent to devices: write_bytes of /proc/self/io. */
uint64_t bench_device_bytes(void);

/** Bytes of all files below a folder, as allocated. */
uint64_t bench_folder_bytes(const char *folder);
/** How many files lie below a folder. */
uint64_t bench_folder_files(const char *folder);
/** Removes a folder and everything in it; a missing one is no error. */
void bench_folder_remove(const char *path);
/** "FOLDER/NAME", emptied. Static. */
const char *bench_subfolder(const char *folder, const char *name);

#endif
