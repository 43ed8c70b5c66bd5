/* log.c -- what the task that a worker runs has printed so far. */
#include "log.h"
#include "clock.h"

#include <pthread.h>
#include <stdlib.h>

/* A line longer than this is told and kept in parts. */
enum { LINE_MAX_BYTES = 64 * 1024 };

struct lf_log {
    /* the worker's own */
    const lf_task *task;
    const char *step_name;
    lf_bytes partial[2]; /* of stdout and stderr: a line without its end */
    /* shared with the scheduler */
    pthread_mutex_t lock; /* a leaf */
    lf_bytes entries;
    lf_facts *facts;      /* counted; NULL while nothing was printed */
    uint32_t number, step, attempt, sequence;
    uint64_t began_us;
};

lf_log *lf_log_new(void)
{
    lf_log *log = calloc(1, sizeof *log);
    if (log != NULL)
        pthread_mutex_init(&log->lock, NULL);
    return log;
}

void lf_log_free(lf_log *log)
{
    if (log == NULL)
        return;
    for (int i = 0; i < 2; i++)
        lf_bytes_fini(&log->partial[i]);
    lf_bytes_fini(&log->entries);
    lf_facts_free(log->facts);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

void lf_log_begin(lf_log *log, const lf_task *t, const char *step)
{
    log->task = t;
    log->step_name = step;
}

/* Keeps and tells one piece: a line with its end, or what there is of it. */
static void put(lf_log *log, int stream, const char *text, size_t size)
{
    const lf_task *t = log->task;
    uint64_t now = lf_now_us();
    pthread_mutex_lock(&log->lock);
    if (log->facts == NULL) {
        log->facts = lf_facts_ref(t->batch->facts);
        log->number = t->number;
        log->step = t->step;
        log->attempt = t->attempt;
        log->sequence = 0;
        log->began_us = now;
    }
    lf_log_entry_put(&log->entries, now, (uint8_t)stream, lf_slice_of(text, size));
    pthread_mutex_unlock(&log->lock);
    if (size > 0 && text[size - 1] == '\n')
        size--;
    lf_bytes place = {0};
    lf_task_place(t, &place);
    lf_task_tell(t, lf_slice_of(place.data, place.size), log->step_name,
                 (luaflow_event){.type = LUAFLOW_LINE, .stream = stream, .text = text,
                                 .text_size = size, .time = (double)now / 1e6});
    lf_bytes_fini(&place);
}

static void put_partial(lf_log *log, int stream)
{
    lf_bytes *partial = &log->partial[stream - 1];
    if (partial->size > 0)
        put(log, stream, (const char *)partial->data, partial->size);
    lf_bytes_clear(partial);
}

void lf_log_write(lf_log *log, int stream, const char *text, size_t size)
{
    if (log->task == NULL)
        return;
    lf_bytes *partial = &log->partial[stream - 1];
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t n = end != NULL ? (size_t)(end - text) + 1 : size;
        if (end != NULL && partial->size == 0) {
            put(log, stream, text, n);
        } else {
            lf_bytes_put(partial, text, n);
            if (end != NULL || partial->size > LINE_MAX_BYTES)
                put_partial(log, stream);
        }
        text += n;
        size -= n;
    }
}

void lf_log_end(lf_log *log, lf_task *t)
{
    put_partial(log, 1);
    put_partial(log, 2);
    log->task = NULL;
    if (log->facts == NULL) /* only this thread sets it */
        return;
    pthread_mutex_lock(&log->lock);
    lf_facts *facts = log->facts;
    log->facts = NULL;
    t->log_sequence = log->sequence;
    t->log_at = t->batch->arena.size;
    t->log_size = log->entries.size;
    lf_bytes_put(&t->batch->arena, log->entries.data, log->entries.size);
    if (log->entries.failed)
        t->batch->arena.failed = true;
    lf_bytes_clear(&log->entries);
    pthread_mutex_unlock(&log->lock);
    lf_facts_free(facts);
}

lf_log_letter *lf_log_collect(lf_log *log, uint64_t before_us)
{
    lf_log_letter *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->letter.kind = LF_LETTER_LOG;
    pthread_mutex_lock(&log->lock);
    if (log->facts != NULL && log->entries.size > 0 && log->began_us < before_us) {
        l->facts = lf_facts_ref(log->facts);
        l->task = log->number;
        l->step = log->step;
        l->attempt = log->attempt;
        l->sequence = log->sequence++;
        l->entries = log->entries;
        log->entries = (lf_bytes){0};
    }
    pthread_mutex_unlock(&log->lock);
    if (l->facts != NULL)
        return l;
    free(l);
    return NULL;
}

void lf_log_letter_free(lf_log_letter *l)
{
    if (l == NULL)
        return;
    lf_facts_free(l->facts);
    lf_bytes_fini(&l->entries);
    free(l);
}
