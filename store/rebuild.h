/* What is left of a rebuild that a crash ended. */
#ifndef STORE_REBUILD_H
#define STORE_REBUILD_H

struct store;

/** Removes all shadows. The store is being opened: no rebuild is under way. */
void rebuild_remove_shadows(struct store *store);

#endif
