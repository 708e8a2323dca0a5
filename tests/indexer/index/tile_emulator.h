/* Tile instructions (AMX) on processors without them: each is an illegal instruction there, and the
 * handler of that signal does what it says. So the instructions that the compiler made are run, and
 * their operands, shapes and strides are held against the rules of the architecture, wherever the
 * tests run. Slow, and for one thread. */
#ifndef TESTS_INDEXER_INDEX_TILE_EMULATOR_H
#define TESTS_INDEXER_INDEX_TILE_EMULATOR_H

#include <stdbool.h>

/** From here on SIGILL is the emulator's. What is no tile instruction, or one that the processor
 * would refuse, is reported and ends the process by SIGILL. */
void tile_emulator_start(void);

/** How many instructions were done so far. */
unsigned long tile_emulator_count(void);

/** Whether all tiles were released. */
bool tile_emulator_idle(void);

#endif
