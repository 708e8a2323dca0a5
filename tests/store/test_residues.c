/* Residues: ids that a partitioner placed tell their partitions apart, and an id that was added is never
 * excluded. */
#include <stdio.h>
#include <string.h>

#include "store/files/key.h"
#include "store/files/residues.h"
#include "tests/support/test_main.h"

enum { IDS = 4000, PARTITIONS = 12 };

/* Numbers, texts and UUIDs. */
static void make_key(uint64_t number, struct store_key *key)
{
    char text[40];
    uint8_t uuid[16] = {0};

    (void)snprintf(text, sizeof(text), "doc-%llu", (unsigned long long)number);
    memcpy(uuid, &number, sizeof(number));
    if (number % 3 == 0)
        store_key_from_u64(number, key);
    else if (number % 3 == 1)
        ck_assert_int_eq(store_key_from_text(text, strlen(text), false, key, ERROR_IGNORED), 0);
    else
        store_key_from_uuid(uuid, key);
}

static uint32_t partition_of(enum key_hash hash, const struct store_key *key, uint32_t partitions)
{
    struct key_hashes hashes;

    key_hashes_of(key->bytes, key->size_bytes, &hashes);
    return hashes.by[hash] % partitions;
}

/* Of the partitions of ids first .. first + IDS - 1. */
static void fill(struct key_residues *residues, enum key_hash hash, uint32_t partitions,
                 uint64_t first)
{
    struct store_key key;

    for (uint32_t i = 0; i < partitions; i++)
        residues[i] = KEY_RESIDUES_NONE;
    for (uint64_t id = first; id < first + IDS; id++) {
        make_key(id, &key);
        key_residues_add(&residues[partition_of(hash, &key, partitions)], key.bytes,
                         key.size_bytes);
    }
}

static bool may_hold(const struct key_residues *residues, const struct store_key *key)
{
    struct key_hashes hashes;

    key_hashes_of(key->bytes, key->size_bytes, &hashes);
    return key_residues_may_hold(residues, &hashes);
}

/* The first three are of Kafka's own unit test of murmur2, the last one is the check value of the checksum. */
START_TEST(hashes_are_those_of_the_partitioners)
{
    static const struct {
        const char *text;
        enum key_hash which;
        uint32_t hash;
    } known[] = {{"21", KEY_HASH_MURMUR2, (uint32_t)-973932308 & 0x7fffffff},
                 {"foobar", KEY_HASH_MURMUR2, (uint32_t)-790332482 & 0x7fffffff},
                 {"a-little-bit-long-string", KEY_HASH_MURMUR2, (uint32_t)-985981536 & 0x7fffffff},
                 {"123456789", KEY_HASH_CRC32, 0xcbf43926}};
    struct key_hashes hashes;
    struct store_key key;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        ck_assert_int_eq(
            store_key_from_text(known[i].text, strlen(known[i].text), true, &key, ERROR_IGNORED),
            0);
        key_hashes_of(key.bytes, key.size_bytes, &hashes);
        ck_assert_uint_eq(hashes.by[known[i].which], known[i].hash);
    }
}
END_TEST

START_TEST(ids_of_other_partitions_are_excluded_and_own_ones_never)
{
    struct key_residues residues[PARTITIONS];
    uint64_t first = test_seed() >> 8;
    struct store_key key;

    for (uint32_t partitions = 2; partitions <= PARTITIONS; partitions++)
        for (enum key_hash hash = 0; hash < KEY_HASHES; hash++) {
            fill(residues, hash, partitions, first);
            for (uint64_t id = first; id < first + IDS; id += 7) {
                make_key(id, &key);
                for (uint32_t i = 0; i < partitions; i++)
                    ck_assert_int_eq(may_hold(&residues[i], &key),
                                     partition_of(hash, &key, partitions) == i);
            }
        }
}
END_TEST

/* After partitions were added an old one may hold ids that are in new ones now, and a new one no others. */
START_TEST(added_partitions_are_excluded_as_far_as_the_old_ones_tell)
{
    struct key_residues old[3], grown[6], joined[6];
    uint64_t first = test_seed() >> 8;
    struct store_key key;

    fill(old, KEY_HASH_MURMUR2, 3, first);
    fill(grown, KEY_HASH_MURMUR2, 6, first + IDS);
    for (uint32_t i = 0; i < 6; i++) {
        joined[i] = grown[i];
        if (i < 3)
            key_residues_merge(&joined[i], &old[i]);
    }
    for (uint64_t id = first; id < first + IDS; id += 7) {
        make_key(id, &key);
        for (uint32_t i = 0; i < 6; i++)
            ck_assert_int_eq(may_hold(&joined[i], &key),
                             i < 3 ? partition_of(KEY_HASH_MURMUR2, &key, 3) == i
                                   : partition_of(KEY_HASH_MURMUR2, &key, 6) == i);
    }
}
END_TEST

START_TEST(one_id_placed_in_another_way_lets_every_id_in)
{
    struct key_residues residues[3];
    uint64_t first = test_seed() >> 8;
    struct store_key key, stray;
    struct key_residues none = KEY_RESIDUES_NONE;

    fill(residues, KEY_HASH_MURMUR2, 3, first);
    make_key(first, &stray);
    ck_assert(!may_hold(&none, &stray));
    for (uint32_t i = 0; i < 3; i++)
        key_residues_add(&residues[i], stray.bytes, stray.size_bytes);
    for (uint64_t id = first; id < first + IDS; id++) {
        make_key(id, &key);
        for (uint32_t i = 0; i < 3; i++)
            ck_assert_int_eq(may_hold(&residues[i], &key),
                             i != partition_of(KEY_HASH_MURMUR2, &stray, 3) ||
                                 partition_of(KEY_HASH_MURMUR2, &key, 3) == i);
    }
    key_residues_add(&none, (const uint8_t *)"\x09not an id", 10);
    ck_assert(may_hold(&none, &stray));
}
END_TEST

START_TEST(parts_joined_and_shared_are_the_whole)
{
    struct key_residues whole = KEY_RESIDUES_NONE, parts[2] = {whole, whole};
    struct key_residues_shared shared;
    uint64_t first = test_seed() >> 8;
    struct key_residues read;
    struct store_key key;

    key_residues_share(&shared);
    for (uint64_t id = first, count = 0; count < 100; id++) {
        make_key(id, &key);
        if (partition_of(KEY_HASH_CRC32, &key, 5) != 2)
            continue;
        key_residues_add(&whole, key.bytes, key.size_bytes);
        key_residues_add(&parts[count++ % 2], key.bytes, key.size_bytes);
        key_residues_share_add(&shared, key.bytes, key.size_bytes);
    }
    key_residues_merge(&parts[0], &parts[1]);
    read = key_residues_read(&shared);
    for (enum key_hash i = 0; i < KEY_HASHES; i++) {
        ck_assert_uint_eq(parts[0].by[i].step, whole.by[i].step);
        ck_assert_uint_eq(parts[0].by[i].rest, whole.by[i].rest);
        ck_assert_uint_eq(read.by[i].step, whole.by[i].step);
        ck_assert_uint_eq(read.by[i].rest, whole.by[i].rest);
    }
    ck_assert_uint_eq(whole.by[KEY_HASH_CRC32].step % 5, 0);
}
END_TEST

TEST_TABLE(TEST(hashes_are_those_of_the_partitioners),
           TEST(ids_of_other_partitions_are_excluded_and_own_ones_never),
           TEST(added_partitions_are_excluded_as_far_as_the_old_ones_tell),
           TEST(one_id_placed_in_another_way_lets_every_id_in),
           TEST(parts_joined_and_shared_are_the_whole))
