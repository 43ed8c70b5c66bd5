/* bench.h -- what the programs behind the benchmarks share: a clock, an LMDB environment,
 * and an end with a sentence. They know nothing of luaflow: each does, by the barest means,
 * what luaflow has to do too, and prints how long that took. */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds of a clock that never goes back. */
static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Ends the program unless `rc` is 0; it is an errno or a code of LMDB's. */
static inline void check(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bench: cannot %s: %s\n", what, mdb_strerror(rc));
    exit(1);
}

static inline void *take_memory(size_t size)
{
    void *memory = malloc(size);
    check(memory == NULL ? ENOMEM : 0, "get memory");
    return memory;
}

/* A whole number of 1 or more from the command line. */
static inline size_t number_of(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno == 0 && *end == '\0' && n > 0)
        return n;
    fprintf(stderr, "bench: '%s' is not a number\n", text);
    exit(2);
}

/* The environment in the directory `dir`; with `flags` 0 every commit is synced. */
static inline MDB_env *open_env(const char *dir, unsigned flags)
{
    MDB_env *env;
    check(mdb_env_create(&env), "make an environment");
    check(mdb_env_set_maxdbs(env, 16), "make room for tables");
    if ((flags & MDB_RDONLY) == 0)
        check(mdb_env_set_mapsize(env, (size_t)1 << 34), "set the map's size");
    check(mdb_env_open(env, dir, flags, 0600), dir);
    return env;
}

static inline MDB_txn *begin(MDB_env *env, unsigned flags)
{
    MDB_txn *txn;
    check(mdb_txn_begin(env, NULL, flags, &txn), "begin a transaction");
    return txn;
}

#endif
