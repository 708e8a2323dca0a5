/* Residues: what the ids of a table, a memtable or a shard have in common, so that two of them can be told apart
 * without looking at ids.
 *
 * A producer's partitioner puts an id into partition hash(id) % N. So the hashes of all ids of one partition are equal
 * modulo N, and modulo any divisor of it. Nobody tells windrow N or the hash, but the ids do: the greatest step
 * that divides all differences of their hashes is N, or a multiple of it. An id whose hash has another rest modulo
 * that step cannot be there. Ids that were placed in another way make the step 1, which excludes nothing. */
#ifndef STORE_FILES_RESIDUES_H
#define STORE_FILES_RESIDUES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_hash {
    KEY_HASH_MURMUR2, /* Kafka's Java client and windrow itself: Utils.toPositive(Utils.murmur2(key)) */
    KEY_HASH_CRC32, /* librdkafka's default, consistent_random */
    KEY_HASHES
};

/* Hashes of an id as text, as store_key_to_message writes it. */
struct key_hashes {
    uint32_t by[KEY_HASHES];
};

/* Hashes h with h % step == rest. Step 0: the hash `rest` alone. Step 1, rest 0: all hashes; step 1, rest 1: none. */
struct key_residue {
    uint32_t step, rest;
};

struct key_residues {
    struct key_residue by[KEY_HASHES];
};

/* The same while one thread adds to it and others read. */
struct key_residues_shared {
    _Atomic(struct key_residue) by[KEY_HASHES];
};

#define KEY_RESIDUES_NONE ((struct key_residues){{{1, 1}, {1, 1}}})
#define KEY_RESIDUES_ALL  ((struct key_residues){{{1, 0}, {1, 0}}})

/** Of a sound id (store_key_is_sound). */
void key_hashes_of(const uint8_t *key, size_t key_bytes, struct key_hashes *hashes);

/** Adds an id. Hashes that exclude nothing any more are not computed. */
void key_residues_add(struct key_residues *residues, const uint8_t *key, size_t key_bytes);
/** Adds all ids of another one. */
void key_residues_merge(struct key_residues *residues, const struct key_residues *other);
/** False: the id is certainly not among them. */
bool key_residues_may_hold(const struct key_residues *residues, const struct key_hashes *hashes);

/** Nothing is in it yet. */
void key_residues_share(struct key_residues_shared *shared);
/** Adds an id; the only writer. Who sees the row that is published afterwards (release) sees the id here. */
void key_residues_share_add(struct key_residues_shared *shared, const uint8_t *key,
                            size_t key_bytes);
struct key_residues key_residues_read(const struct key_residues_shared *shared);

#endif
