/* records.c -- the least a store does for so many tasks: a record for each, appended under
 * an 8-byte key, an entry in the index for every 256 of them, the state of the run with
 * each commit, all in so many synced transactions.
 *
 *     records DIRECTORY TASKS COMMITS BYTES      BYTES of a record; prints: seconds
 *
 * Counts from the first transaction on. What is in the directory stays. */
#include "bench.h"

#include <endian.h>

enum { PER_ENTRY = 256, INDEX_KEY = 13, STATE_SIZE = 128 };

typedef struct tables {
    MDB_dbi tasks, steps, runs;
} tables;

static tables open_tables(MDB_env *env)
{
    tables t;
    MDB_txn *txn = begin(env, 0);
    check(mdb_dbi_open(txn, "tasks", MDB_CREATE, &t.tasks), "make a table");
    check(mdb_dbi_open(txn, "steps", MDB_CREATE, &t.steps), "make a table");
    check(mdb_dbi_open(txn, "runs", MDB_CREATE, &t.runs), "make a table");
    check(mdb_txn_commit(txn), "commit");
    return t;
}

static uint64_t next_number(MDB_env *env, const tables *t)
{
    MDB_txn *txn = begin(env, MDB_RDONLY);
    MDB_cursor *c;
    MDB_val key, value;
    uint64_t last = 0;
    check(mdb_cursor_open(txn, t->tasks, &c), "read a table");
    if (mdb_cursor_get(c, &key, &value, MDB_LAST) == 0)
        memcpy(&last, key.mv_data, sizeof last);
    mdb_cursor_close(c);
    mdb_txn_abort(txn);
    return be64toh(last) + 1;
}

static void put(MDB_txn *txn, MDB_dbi table, void *key, size_t key_size, void *value, size_t size)
{
    MDB_val k = {key_size, key}, v = {size, value};
    check(mdb_put(txn, table, &k, &v, 0), "put an entry");
}

static void put_tasks(MDB_txn *txn, const tables *t, uint64_t from, size_t n, MDB_val record)
{
    MDB_cursor *c;
    check(mdb_cursor_open(txn, t->tasks, &c), "write a table");
    for (uint64_t number = from; number < from + n; number++) {
        uint64_t big_endian = htobe64(number);
        MDB_val key = {sizeof big_endian, &big_endian};
        memcpy(record.mv_data, &number, sizeof number);
        check(mdb_cursor_put(c, &key, &record, MDB_APPEND), "append a record");
    }
    mdb_cursor_close(c);
    for (size_t i = 0; i < n; i += PER_ENTRY) {
        uint8_t key[INDEX_KEY] = {0}, gaps[PER_ENTRY] = {0};
        uint64_t big_endian = htobe64(from + i);
        memcpy(key + sizeof key - sizeof big_endian, &big_endian, sizeof big_endian);
        put(txn, t->steps, key, sizeof key, gaps, n - i < PER_ENTRY ? n - i : PER_ENTRY);
    }
    uint32_t run = 1;
    uint8_t state[STATE_SIZE] = {0};
    memcpy(state, &from, sizeof from);
    put(txn, t->runs, &run, sizeof run, state, sizeof state);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: records DIRECTORY TASKS COMMITS BYTES\n");
        return 2;
    }
    size_t left = number_of(argv[2]), commits = number_of(argv[3]), size = number_of(argv[4]);
    MDB_val record = {size, take_memory(size + sizeof(uint64_t))};
    memset(record.mv_data, 1, size);
    MDB_env *env = open_env(argv[1], 0);
    tables t = open_tables(env);
    uint64_t number = next_number(env, &t);

    double started = now();
    for (; commits > 0; commits--) {
        size_t n = left / commits;
        MDB_txn *txn = begin(env, 0);
        put_tasks(txn, &t, number, n, record);
        check(mdb_txn_commit(txn), "commit");
        number += n;
        left -= n;
    }
    printf("%.9f\n", now() - started);
    mdb_env_close(env);
    free(record.mv_data);
    return 0;
}
