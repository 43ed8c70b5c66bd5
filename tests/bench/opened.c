/* opened.c -- the least that a program does which stores one thing: opens an environment that
 * is there already, puts one record, commits, closes.
 *
 *     opened DIRECTORY                  prints: seconds
 *
 * The first time, in an empty directory, it makes what is to be opened. */
#include "bench.h"

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: opened DIRECTORY\n");
        return 2;
    }
    double started = now();
    MDB_env *env = open_env(argv[1], 0);
    MDB_txn *txn = begin(env, 0);
    MDB_dbi table;
    uint8_t record[100] = {0};
    MDB_val key = {sizeof started, &started}, value = {sizeof record, record};
    check(mdb_dbi_open(txn, "tasks", MDB_CREATE, &table), "make a table");
    check(mdb_put(txn, table, &key, &value, 0), "put a record");
    check(mdb_txn_commit(txn), "commit");
    mdb_env_close(env);
    printf("%.9f\n", now() - started);
    return 0;
}
