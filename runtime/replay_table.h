/* replay_table.h -- what became of the tasks of an origin, by step and place. Part of the room
 * `replay`.
 *
 * The tasks of a resumed run come nearly in the order that those of its origin had. So they are
 * kept in that order, and looked for where the last one's successor is; only when that fails is
 * everything put into a hash table, once. */
#ifndef LF_REPLAY_TABLE_H
#define LF_REPLAY_TABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What became of a task in the origin. */
typedef enum lf_fate {
    LF_FATE_NONE = 0,
    LF_FATE_TAKEN,  /* it succeeded, and is taken over */
    LF_FATE_FAILED,
    LF_FATE_NAMED,  /* it succeeded, but its step is to run again */
    LF_FATE_AFTER   /* it succeeded, but what comes before it runs again */
} lf_fate;

typedef struct lf_replay_entry {
    uint64_t hash;   /* of step and place; two tasks may share one */
    uint32_t number;
    lf_fate fate;
} lf_replay_entry;

typedef struct lf_replay_table {
    lf_replay_entry *list; /* ascending by number */
    size_t n, room;
    pthread_mutex_t lock;  /* held while the index is made */
    _Atomic(uint32_t *) index; /* open addressing: a position in the list, from 1; or NULL */
    size_t index_room;
} lf_replay_table;

void lf_replay_table_init(lf_replay_table *t);
void lf_replay_table_fini(lf_replay_table *t);

/* False when out of memory. Before anybody looks. */
bool lf_replay_table_add(lf_replay_table *t, lf_replay_entry entry);

/* A search for the entries of one hash. Zeroed but for the first two it begins. */
typedef struct lf_replay_search {
    uint64_t hash;
    size_t guess;  /* where in the list the wanted entry most likely is */
    /* private */
    bool guessed, begun, failed;
    size_t at;
} lf_replay_search;

/* The next entry found, perhaps one for the second time; NULL when there is none left, or memory
 * ran out: then `failed` is set. Any thread. */
const lf_replay_entry *lf_replay_table_next(lf_replay_table *t, lf_replay_search *search);

#endif
