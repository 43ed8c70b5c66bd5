/* contents.c -- what a store holds, so that a limit does neither more nor less.
 *
 *     contents DIRECTORY                prints: commits tasks bytes bytes bytes
 *
 * The transactions that made it, the entries of the table "tasks", the bytes of their
 * values, the bytes of all keys and values, the bytes of the file. Nobody may be writing. */
#include "bench.h"

typedef struct sums {
    size_t entries, values, bytes;
} sums;

static sums sum_table(MDB_txn *txn, MDB_dbi table)
{
    sums s = {0, 0, 0};
    MDB_cursor *c;
    MDB_val key, value;
    int rc;
    check(mdb_cursor_open(txn, table, &c), "read a table");
    while ((rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0) {
        s.entries++;
        s.values += value.mv_size;
        s.bytes += key.mv_size + value.mv_size;
    }
    check(rc == MDB_NOTFOUND ? 0 : rc, "read a table");
    mdb_cursor_close(c);
    return s;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: contents DIRECTORY\n");
        return 2;
    }
    MDB_env *env = open_env(argv[1], MDB_RDONLY);
    MDB_envinfo info;
    check(mdb_env_info(env, &info), "look at the store");
    MDB_stat stat;
    check(mdb_env_stat(env, &stat), "look at the store");

    MDB_txn *txn = begin(env, MDB_RDONLY);
    MDB_dbi names;
    MDB_cursor *c;
    MDB_val name, ignored;
    int rc;
    sums tasks = {0, 0, 0};
    size_t bytes = 0;
    check(mdb_dbi_open(txn, NULL, 0, &names), "read the tables");
    check(mdb_cursor_open(txn, names, &c), "read the tables");
    while ((rc = mdb_cursor_get(c, &name, &ignored, MDB_NEXT)) == 0) {
        char text[32];
        MDB_dbi table;
        snprintf(text, sizeof text, "%.*s", (int)name.mv_size, (const char *)name.mv_data);
        check(mdb_dbi_open(txn, text, 0, &table), text);
        sums s = sum_table(txn, table);
        bytes += s.bytes;
        if (strcmp(text, "tasks") == 0)
            tasks = s;
    }
    check(rc == MDB_NOTFOUND ? 0 : rc, "read the tables");
    printf("%zu %zu %zu %zu %zu\n", info.me_last_txnid, tasks.entries, tasks.values, bytes,
           (info.me_last_pgno + 1) * stat.ms_psize);
    mdb_cursor_close(c);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return 0;
}
