/* embedder: words to vectors, by the service that a collection's config names (embedder.url).
 *
 * The texts of all queries that wait at the same time travel together. Answers are kept: the same words
 * have the same vector. One thread, made when it is first needed, drives the requests. */
#ifndef INDEXER_ENDPOINT_EMBEDDER_EMBEDDER_H
#define INDEXER_ENDPOINT_EMBEDDER_EMBEDDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "base/stop.h"
#include "config/config.h"

enum { EMBEDDER_TEXT_MAX_BYTES = 64 * 1024 };

struct embedder;

/** `config` may get more collections while it is in use, and new keys. */
struct embedder *embedder_new(const struct config *config, struct metrics *metrics, struct io *io);
/** Nobody is in a call any more. NULL is allowed. */
void embedder_delete(struct embedder *embedder);

struct embedder_text {
    const char *text; /* up to EMBEDDER_TEXT_MAX_BYTES */
    uint32_t text_bytes, model_bytes;
    const char *model;   /* for an endpoint without a model of its own; model_bytes 0: none */
    const float *vector; /* filled: the collection's `dim` numbers, in the arena. NULL: not known */
};

/** Fills the vectors of texts that were asked for before; returns how many are not known. The
 * collection has an embedder. Any thread. */
size_t embedder_find(struct embedder *embedder, const struct config_collection *collection,
                     struct embedder_text *texts, size_t count, struct arena *arena);
/** Asks for the others and waits: until the stop says so, or embedder.timeout has passed. The errors are
 * sentences for the client: ERROR_UPSTREAM, ERROR_UPSTREAM_TIMEOUT, ERROR_BUSY when too many texts wait
 * already, those of the stop. Any thread. */
int embedder_fetch(struct embedder *embedder, const struct config_collection *collection,
                   struct embedder_text *texts, size_t count, struct arena *arena,
                   struct stop *stop, struct error *error);

#endif
