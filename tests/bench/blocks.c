/* blocks.c -- the least that storing and loading one large array takes: to store it, a copy
 * (its owner may go on changing it), its XXH3-128, and LMDB entries of 4 MB, 64 MB in one
 * synced transaction; to load it, its bytes copied out into fresh memory, and their XXH3-128.
 *
 *     blocks DIRECTORY MEGABYTES        prints: seconds to store, seconds to load */
#include "bench.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BLOCK  ((size_t)4 << 20)
#define COMMIT ((size_t)64 << 20)

static XXH128_hash_t store(MDB_env *env, MDB_dbi table, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = take_memory(size);
    memcpy(copy, bytes, size);
    XXH128_hash_t hash = XXH3_128bits(copy, size);
    for (size_t at = 0; at < size;) {
        MDB_txn *txn = begin(env, 0);
        do {
            MDB_val key = {sizeof at, &at}, value = {BLOCK, copy + at};
            check(mdb_put(txn, table, &key, &value, 0), "put a block");
            at += BLOCK;
        } while (at % COMMIT != 0 && at < size);
        check(mdb_txn_commit(txn), "commit");
    }
    free(copy);
    return hash;
}

static XXH128_hash_t load(MDB_env *env, MDB_dbi table, size_t size, uint8_t **out)
{
    uint8_t *bytes = take_memory(size);
    MDB_txn *txn = begin(env, MDB_RDONLY);
    for (size_t at = 0; at < size; at += BLOCK) {
        MDB_val key = {sizeof at, &at}, value;
        check(mdb_get(txn, table, &key, &value), "get a block");
        memcpy(bytes + at, value.mv_data, BLOCK);
    }
    mdb_txn_abort(txn);
    *out = bytes;
    return XXH3_128bits(bytes, size);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: blocks DIRECTORY MEGABYTES\n");
        return 2;
    }
    size_t size = (number_of(argv[2]) << 20) / BLOCK * BLOCK;
    uint8_t *bytes = take_memory(size), *loaded;
    for (size_t i = 0; i < size / sizeof i; i++)
        memcpy(bytes + i * sizeof i, &i, sizeof i);
    MDB_env *env = open_env(argv[1], 0);
    MDB_dbi table;
    MDB_txn *txn = begin(env, 0);
    check(mdb_dbi_open(txn, "blocks", MDB_CREATE, &table), "make a table");
    check(mdb_txn_commit(txn), "commit");

    double started = now();
    XXH128_hash_t stored = store(env, table, bytes, size);
    double between = now();
    XXH128_hash_t found = load(env, table, size, &loaded);
    double ended = now();
    if (!XXH128_isEqual(stored, found)) {
        fprintf(stderr, "bench: what was loaded is not what was stored\n");
        return 1;
    }
    printf("%.9f %.9f\n", between - started, ended - between);
    mdb_env_close(env);
    free(loaded);
    free(bytes);
    return 0;
}
