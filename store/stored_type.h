/* stored_type: in which type a sealed run stores its vectors.
 *
 * The collection names a type. Before a seal a sample of its rows says what that type would cost:
 * of the nearest NEIGHBOURS of some of the rows, the share that is still found when the others are
 * looked at as they would be stored. Below the collection's recall the run keeps float32, and the
 * log says so; also when a value is outside of what the type holds.
 *
 * Rows that an earlier seal stored in another type than float32 come as the values that they stand
 * for. To store them in the same type again loses nothing (vector_row.h), so the run never promises
 * more than the worst of its inputs. */
#ifndef STORE_STORED_TYPE_H
#define STORE_STORED_TYPE_H

#include "store/compaction_internal.h"

/** Sets codec and recall of the compaction's outputs. Its inputs are there. */
int stored_type_choose(struct compaction *compaction, struct error *error);
/** A row does not fit: float32 after all. */
void stored_type_refuse(struct compaction *compaction, const char *why);

#endif
