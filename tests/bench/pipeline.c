/* pipeline.c -- the cheapest durable tasks that can be made of the same parts: threads with a
 * LuaJIT state each count through the tasks, run a trivial step on a fresh table for each, encode
 * the number it left with string.buffer and hash that; the main thread puts whatever is there
 * into LMDB in one synced transaction, and so on. No graph, no plan, no paths, no isolation, no
 * canonical bytes, no resume: what luaflow does beyond this is what it costs.
 *
 *     pipeline DIRECTORY TASKS WORKERS CHUNK inline|keyed       prints: seconds commits
 *
 * A worker hands over CHUNK tasks at a time; with one worker and a CHUNK of 1 it is a chain whose
 * steps do not wait for the disk. `inline` puts the number into the task's record, `keyed` under
 * its hash, with an entry that leads there, as any value is found that may be shared. */
#include "bench.h"

#include <endian.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <xxhash.h>

enum { VALUE_MAX = 32, RECORD_SIZE = 60, WORKERS_MAX = 64 };

typedef struct result {
    uint64_t number;
    XXH128_hash_t hash;
    size_t size;
    uint8_t value[VALUE_MAX];
} result;

typedef struct chunk {
    struct chunk *next;
    size_t n;
    result results[];
} chunk;

static size_t n_tasks, chunk_size;
static atomic_size_t next_task;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static chunk *waiting, **last_waiting = &waiting; /* under the lock */

static const char STEP[] =
    "local buffer = require('string.buffer').new()\n"
    "local steps = { work = function(self) self.out = self.input * 2 + 0.5 end }\n"
    "return function(i)\n"
    "  local self = { input = i }\n"
    "  steps.work(self)\n"
    "  return buffer:reset():encode(self.out):tostring()\n"
    "end";

/* ---- those who run tasks ---- */

static void check_lua(lua_State *L, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bench: %s\n", lua_tostring(L, -1));
    exit(1);
}

static void post(chunk *c)
{
    pthread_mutex_lock(&lock);
    bool was_empty = waiting == NULL;
    *last_waiting = c;
    last_waiting = &c->next;
    pthread_mutex_unlock(&lock);
    if (was_empty)
        pthread_cond_signal(&arrived);
}

static void run_task(lua_State *L, uint64_t number, result *r)
{
    lua_pushvalue(L, 1);
    lua_pushnumber(L, (double)number);
    check_lua(L, lua_pcall(L, 1, 1, 0));
    const char *value = lua_tolstring(L, -1, &r->size);
    check(r->size > VALUE_MAX ? ENOSPC : 0, "keep a value");
    memcpy(r->value, value, r->size);
    r->number = number;
    r->hash = XXH3_128bits(value, r->size);
    lua_settop(L, 1);
}

static void *worker(void *unused)
{
    lua_State *L = luaL_newstate();
    check(L == NULL ? ENOMEM : 0, "make a Lua state");
    luaL_openlibs(L);
    check_lua(L, luaL_loadstring(L, STEP));
    check_lua(L, lua_pcall(L, 0, 1, 0));
    for (;;) {
        size_t from = atomic_fetch_add(&next_task, chunk_size);
        if (from >= n_tasks)
            break;
        chunk *c = take_memory(sizeof *c + chunk_size * sizeof c->results[0]);
        c->next = NULL;
        c->n = n_tasks - from < chunk_size ? n_tasks - from : chunk_size;
        for (size_t i = 0; i < c->n; i++)
            run_task(L, from + i + 1, &c->results[i]);
        post(c);
    }
    lua_close(L);
    return unused;
}

/* ---- the one that stores them ---- */

typedef struct tables {
    bool keyed;
    MDB_dbi tasks, names, values;
} tables;

static void put(MDB_txn *txn, MDB_dbi table, MDB_val key, MDB_val value, unsigned flags)
{
    int rc = mdb_put(txn, table, &key, &value, flags);
    check(rc == MDB_KEYEXIST ? 0 : rc, "put an entry");
}

static void put_result(MDB_txn *txn, const tables *t, result *r)
{
    uint64_t key[2] = {htobe64(1), htobe64(r->number)};
    uint8_t record[RECORD_SIZE + VALUE_MAX] = {0};
    if (!t->keyed) {
        memcpy(record + RECORD_SIZE, r->value, r->size);
        put(txn, t->tasks, (MDB_val){sizeof key, key}, (MDB_val){RECORD_SIZE + r->size, record}, 0);
        return;
    }
    uint8_t name[sizeof key + 4] = {0};
    memcpy(name, key, sizeof key);
    memcpy(name + sizeof key, "out", 3);
    put(txn, t->tasks, (MDB_val){sizeof key, key}, (MDB_val){RECORD_SIZE, record}, 0);
    put(txn, t->names, (MDB_val){sizeof name, name}, (MDB_val){sizeof r->hash, &r->hash}, 0);
    put(txn, t->values, (MDB_val){sizeof r->hash, &r->hash}, (MDB_val){r->size, r->value},
        MDB_NOOVERWRITE);
}

static chunk *wait_for_chunks(void)
{
    pthread_mutex_lock(&lock);
    while (waiting == NULL)
        pthread_cond_wait(&arrived, &lock);
    chunk *all = waiting;
    waiting = NULL;
    last_waiting = &waiting;
    pthread_mutex_unlock(&lock);
    return all;
}

/* Returns how many commits it took. */
static size_t store_all(MDB_env *env, const tables *t)
{
    size_t commits = 0;
    for (size_t done = 0; done < n_tasks; commits++) {
        chunk *c = wait_for_chunks();
        MDB_txn *txn = begin(env, 0);
        while (c != NULL) {
            for (size_t i = 0; i < c->n; i++)
                put_result(txn, t, &c->results[i]);
            done += c->n;
            chunk *next = c->next;
            free(c);
            c = next;
        }
        check(mdb_txn_commit(txn), "commit");
    }
    return commits;
}

static tables open_tables(MDB_env *env, bool keyed)
{
    tables t = {.keyed = keyed};
    MDB_txn *txn = begin(env, 0);
    check(mdb_dbi_open(txn, "tasks", MDB_CREATE, &t.tasks), "make a table");
    check(mdb_dbi_open(txn, "names", MDB_CREATE, &t.names), "make a table");
    check(mdb_dbi_open(txn, "values", MDB_CREATE, &t.values), "make a table");
    check(mdb_txn_commit(txn), "commit");
    return t;
}

int main(int argc, char **argv)
{
    if (argc != 6 || (strcmp(argv[5], "inline") != 0 && strcmp(argv[5], "keyed") != 0)) {
        fprintf(stderr, "usage: pipeline DIRECTORY TASKS WORKERS CHUNK inline|keyed\n");
        return 2;
    }
    n_tasks = number_of(argv[2]);
    size_t n_workers = number_of(argv[3]);
    chunk_size = number_of(argv[4]);
    check(n_workers > WORKERS_MAX ? EAGAIN : 0, "start so many threads");
    MDB_env *env = open_env(argv[1], 0);
    tables t = open_tables(env, strcmp(argv[5], "keyed") == 0);

    pthread_t threads[WORKERS_MAX];
    double started = now();
    for (size_t i = 0; i < n_workers; i++)
        check(pthread_create(&threads[i], NULL, worker, NULL), "start a thread");
    size_t commits = store_all(env, &t);
    for (size_t i = 0; i < n_workers; i++)
        pthread_join(threads[i], NULL);
    printf("%.9f %zu\n", now() - started, commits);
    mdb_env_close(env);
    return 0;
}
