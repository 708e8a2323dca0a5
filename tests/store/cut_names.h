/* A process that dies between two operations on names, on the real disk: after so many of them all fail. */
#ifndef TESTS_STORE_CUT_NAMES_H
#define TESTS_STORE_CUT_NAMES_H

#include "base/io.h"

/** The disk on which `operations` on names (files made, moved, removed; folders made, synced) succeed. It is one for
 * the process: a call begins anew. */
struct io *cut_names_io(unsigned operations);

#endif
