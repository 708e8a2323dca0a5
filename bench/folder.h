/* Folders that a measurement fills. */
#ifndef BENCH_FOLDER_H
#define BENCH_FOLDER_H

#include <stdint.h>

/** Bytes of all files below a folder, as allocated. */
uint64_t bench_folder_bytes(const char *folder);
/** How many files lie below a folder. */
uint64_t bench_folder_files(const char *folder);
/** Removes a folder and everything in it; a missing one is no error. */
void bench_folder_remove(const char *path);
/** "FOLDER/NAME", emptied. Static. */
const char *bench_subfolder(const char *folder, const char *name);

#endif
