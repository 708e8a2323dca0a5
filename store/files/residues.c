#include "store/files/residues.h"

#include <string.h>
#include <zlib.h>

#include "store/files/key.h"

/* Hashes. */

/* org.apache.kafka.common.utils.Utils.murmur2, and toPositive of it. */
static uint32_t murmur2(const uint8_t *bytes, size_t size_bytes)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t hash = 0x9747b28c ^ (uint32_t)size_bytes;

    for (; size_bytes >= 4; bytes += 4, size_bytes -= 4) {
        uint32_t k;
        memcpy(&k, bytes, sizeof(k));
        k *= m;
        k ^= k >> 24;
        hash = (hash * m) ^ (k * m);
    }
    if (size_bytes > 0) {
        for (size_t i = 0; i < size_bytes; i++)
            hash ^= (uint32_t)bytes[i] << (8 * i);
        hash *= m;
    }
    hash ^= hash >> 13;
    hash *= m;
    hash ^= hash >> 15;
    return hash & 0x7fffffff;
}

static uint32_t hash_of(enum key_hash which, const struct store_message_key *key)
{
    const uint8_t *bytes = (const uint8_t *)key->bytes;

    return which == KEY_HASH_MURMUR2 ? murmur2(bytes, key->size_bytes)
                                     : (uint32_t)crc32(0, bytes, key->size_bytes);
}

void key_hashes_of(const uint8_t *key, size_t key_bytes, struct key_hashes *hashes)
{
    struct store_message_key message;

    store_key_to_message(key, key_bytes, &message);
    for (enum key_hash i = 0; i < KEY_HASHES; i++)
        hashes->by[i] = hash_of(i, &message);
}

/* Residues. */

static uint32_t greatest_divisor(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static bool is_none(struct key_residue one)
{
    return one.step == 1 && one.rest == 1;
}

static bool is_all(struct key_residue one)
{
    return one.step == 1 && one.rest == 0;
}

static bool residue_has(struct key_residue one, uint32_t hash)
{
    return (one.step == 0 ? hash : hash % one.step) == one.rest;
}

static struct key_residue residue_joined(struct key_residue a, struct key_residue b)
{
    uint32_t apart, step;

    if (is_none(a) || (a.step == b.step && a.rest == b.rest))
        return b;
    if (is_none(b) || is_all(a))
        return a;
    apart = a.rest > b.rest ? a.rest - b.rest : b.rest - a.rest;
    step = greatest_divisor(greatest_divisor(a.step, b.step), apart);
    return (struct key_residue){step, step == 0 ? a.rest : a.rest % step};
}

void key_residues_add(struct key_residues *residues, const uint8_t *key, size_t key_bytes)
{
    struct store_message_key message;

    message.size_bytes = 0;
    if (!store_key_is_sound(key, key_bytes)) { /* of no partitioner */
        *residues = KEY_RESIDUES_ALL;
        return;
    }
    for (enum key_hash i = 0; i < KEY_HASHES; i++) {
        uint32_t hash;
        if (is_all(residues->by[i]))
            continue;
        if (message.size_bytes == 0)
            store_key_to_message(key, key_bytes, &message);
        hash = hash_of(i, &message);
        if (!residue_has(residues->by[i], hash))
            residues->by[i] = residue_joined(residues->by[i], (struct key_residue){0, hash});
    }
}

void key_residues_merge(struct key_residues *residues, const struct key_residues *other)
{
    for (enum key_hash i = 0; i < KEY_HASHES; i++)
        residues->by[i] = residue_joined(residues->by[i], other->by[i]);
}

bool key_residues_may_hold(const struct key_residues *residues, const struct key_hashes *hashes)
{
    for (enum key_hash i = 0; i < KEY_HASHES; i++)
        if (!residue_has(residues->by[i], hashes->by[i]))
            return false;
    return true;
}

/* Shared. */

void key_residues_share(struct key_residues_shared *shared)
{
    for (enum key_hash i = 0; i < KEY_HASHES; i++)
        atomic_init(&shared->by[i], KEY_RESIDUES_NONE.by[i]);
}

struct key_residues key_residues_read(const struct key_residues_shared *shared)
{
    struct key_residues residues;

    for (enum key_hash i = 0; i < KEY_HASHES; i++)
        residues.by[i] = atomic_load_explicit(&shared->by[i], memory_order_relaxed);
    return residues;
}

void key_residues_share_add(struct key_residues_shared *shared, const uint8_t *key,
                            size_t key_bytes)
{
    const struct key_residues before = key_residues_read(shared);
    struct key_residues after = before;

    key_residues_add(&after, key, key_bytes);
    for (enum key_hash i = 0; i < KEY_HASHES; i++)
        if (after.by[i].step != before.by[i].step || after.by[i].rest != before.by[i].rest)
            atomic_store_explicit(&shared->by[i], after.by[i], memory_order_relaxed);
}
