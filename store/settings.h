/* Settings that cannot change under stored records.
 *
 * The manifest of a shard keeps them. Records that were written under one metric are not what another one
 * ranks (cosine stores unit vectors, l2 what came), and keys that another rule reads become other ids. So a
 * config that contradicts them is refused, by the name of the setting and with both values. `vectors.storage`
 * and `vectors.codec` are none of them: each file says how its vectors are stored. */
#ifndef STORE_SETTINGS_H
#define STORE_SETTINGS_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"
#include "base/vector_row.h"
#include "config/config.h"

struct manifest_state;

struct store_settings {
    uint32_t dim;
    enum vector_metric metric;
    uint16_t key_rule; /* enum config_key_rule + 1; 0: not known, and contradicts nothing */
};

/** Those that a config has of a collection. */
struct store_settings store_settings_wanted(const struct config_collection *collection);
/** Those that a manifest keeps. */
struct store_settings store_settings_stored(const struct manifest_state *state);

/** ERROR_INVALID with each setting that differs. */
int store_settings_check(const struct store_settings *stored, const struct store_settings *wanted,
                         struct error *error);

/** Reads the manifests of a collection, which a service may have open. ERROR_INVALID when a shard contradicts the
 * config, with its name and both values; another code when a manifest cannot be read. */
int store_settings_check_data(struct io *io, const char *data_dir,
                              const struct config_collection *collection, struct error *error);

/** Compares what lies in a data folder with the collections of a config, reading manifests only: a service may have the
 * folder open. Appends a line "collections.NAME: ..." for each collection that could not be opened with the config,
 * and for each that cannot be judged. Returns how many lines. */
size_t store_settings_compare(struct io *io, const char *data_dir, const struct config *config,
                              struct buffer *report);

#endif
