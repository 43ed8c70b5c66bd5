/* replay_table.c -- what became of the tasks of an origin, by step and place. */
#include "replay_table.h"

#include <stdlib.h>

void lf_replay_table_init(lf_replay_table *t)
{
    *t = (lf_replay_table){.n = 0};
    pthread_mutex_init(&t->lock, NULL);
    atomic_init(&t->index, NULL);
}

void lf_replay_table_fini(lf_replay_table *t)
{
    free(t->list);
    free(atomic_load(&t->index));
    pthread_mutex_destroy(&t->lock);
}

bool lf_replay_table_add(lf_replay_table *t, lf_replay_entry entry)
{
    if (t->n == t->room) {
        size_t room = t->room ? t->room * 2 : 64;
        lf_replay_entry *list = realloc(t->list, room * sizeof *list);
        if (list == NULL)
            return false;
        t->list = list;
        t->room = room;
    }
    t->list[t->n++] = entry;
    return true;
}

/* The index has a slot for each of the lowest bits of a hash, and at least half of them are free. */
static uint32_t *make_index(lf_replay_table *t)
{
    size_t room = 64;
    while (room < t->n * 2)
        room *= 2;
    uint32_t *index = calloc(room, sizeof *index);
    if (index == NULL)
        return NULL;
    for (size_t i = 0; i < t->n; i++) {
        size_t at = t->list[i].hash & (room - 1);
        while (index[at] != 0)
            at = (at + 1) & (room - 1);
        index[at] = (uint32_t)i + 1;
    }
    t->index_room = room;
    return index;
}

static uint32_t *index_of(lf_replay_table *t)
{
    uint32_t *index = atomic_load_explicit(&t->index, memory_order_acquire);
    if (index != NULL)
        return index;
    pthread_mutex_lock(&t->lock);
    index = atomic_load_explicit(&t->index, memory_order_relaxed);
    if (index == NULL && (index = make_index(t)) != NULL)
        atomic_store_explicit(&t->index, index, memory_order_release);
    pthread_mutex_unlock(&t->lock);
    return index;
}

const lf_replay_entry *lf_replay_table_next(lf_replay_table *t, lf_replay_search *s)
{
    if (!s->guessed) {
        s->guessed = true;
        if (s->guess < t->n && t->list[s->guess].hash == s->hash)
            return &t->list[s->guess];
    }
    const uint32_t *index = index_of(t);
    s->failed = index == NULL;
    if (s->failed)
        return NULL;
    size_t mask = t->index_room - 1;
    s->at = s->begun ? (s->at + 1) & mask : s->hash & mask;
    s->begun = true;
    for (; index[s->at] != 0; s->at = (s->at + 1) & mask)
        if (t->list[index[s->at] - 1].hash == s->hash)
            return &t->list[index[s->at] - 1];
    return NULL;
}
