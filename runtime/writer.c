/* writer.c -- the thread that makes things durable. */
#include "writer.h"

#include "clock.h"
#include "thread.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

/* One transaction takes so many tasks, or so many bytes of blobs, and no more. */
enum { GROUP_TASKS = 16384, GROUP_BYTES = 64 << 20 };

/* Who calls goes first, but not at the cost of everything else: letters have this long between two
 * rounds of calls, of which each has so many. */
enum { PATIENCE_US = 2000, CALLS = 64 };

/* A commit costs the same for one task as for hundreds. So the first after a quiet time is at once,
 * and the next takes what comes within so long of it, unless that is much already. */
enum { PACE_US = 4000, ENOUGH_TASKS = 256, ENOUGH_BYTES = 1 << 20 };

struct lf_writer {
    pthread_t thread;
    lf_store *store;
    lf_mailbox *box, *home;
    lf_mailbox *calls;   /* apart, since they go first */
    /* the thread's own */
    lf_queue called;     /* taken from `calls` and not answered yet */
    lf_write *txn;
    lf_queue group;      /* letters written in this transaction */
    uint64_t n_tasks, n_bytes;
    lf_facts **touched;  /* runs whose state it has to put */
    uint32_t n_touched, touched_room;
    uint64_t committed;     /* the tick when the last commit was done */
    lf_bytes record, counts;
    uint32_t *numbers;
    uint32_t numbers_room;
};

/* ---- letters ---- */

lf_state_letter *lf_state_letter_new(lf_facts *facts)
{
    lf_state_letter *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->letter.kind = LF_LETTER_STATE;
    l->facts = lf_facts_ref(facts);
    return l;
}

void lf_state_letter_free(lf_state_letter *l)
{
    if (l == NULL)
        return;
    lf_facts_free(l->facts);
    free(l->problem);
    free(l->started);
    luaflow_error_clear(&l->error);
    free(l);
}

typedef struct call_letter {
    lf_letter letter;
    lf_work_fn work;
    void *payload;
    luaflow_error *err;
    int code;
    lf_mailbox *answer;
} call_letter;

static lf_letter *letter_of(lf_node *n) { return LF_OF(n, lf_letter, node); }
static lf_batch *batch_of(lf_letter *l) { return LF_OF(l, lf_batch, letter); }
static lf_state_letter *state_of(lf_letter *l) { return LF_OF(l, lf_state_letter, letter); }
static lf_log_letter *log_of(lf_letter *l) { return LF_OF(l, lf_log_letter, letter); }

static lf_facts *facts_of(lf_letter *l)
{
    switch (l->kind) {
    case LF_LETTER_BATCH:
        return batch_of(l)->facts;
    case LF_LETTER_LOG:
        return log_of(l)->facts;
    default:
        return state_of(l)->facts;
    }
}

static bool is_final(lf_letter *l) { return l->kind == LF_LETTER_STATE && state_of(l)->final; }

/* ---- what is counted ---- */

/* Counts a batch's tasks in, or out again when they could not be committed. */
static void tally(const lf_batch *b, int sign)
{
    lf_facts *facts = b->facts;
    for (uint32_t i = 0; i < b->n; i++) {
        const lf_task *t = &b->tasks[i];
        if (t->outcome == LF_UNSTARTED || t->outcome == LF_RETRYING)
            continue;
        luaflow_counts *step = &facts->tally[t->step];
        uint64_t one = (uint64_t)(int64_t)sign;
        *(t->outcome == LF_SUCCEEDED ? &step->done : &step->failed) += one;
        *(t->outcome == LF_SUCCEEDED ? &facts->total.done : &facts->total.failed) += one;
        if (t->origin_run != 0) {
            step->reused += one;
            facts->total.reused += one;
        }
    }
}

static bool touch(lf_writer *w, lf_facts *facts)
{
    for (uint32_t i = 0; i < w->n_touched; i++)
        if (w->touched[i] == facts)
            return true;
    if (w->n_touched == w->touched_room) {
        uint32_t room = w->touched_room ? w->touched_room * 2 : 4;
        lf_facts **touched = realloc(w->touched, room * sizeof *touched);
        if (touched == NULL)
            return false;
        w->touched = touched;
        w->touched_room = room;
    }
    w->touched[w->n_touched++] = facts;
    return true;
}

static int put_state(lf_writer *w, lf_facts *facts, const lf_state_letter *final, luaflow_error *err)
{
    lf_run_state state = {.status = LUAFLOW_RUNNING, .n_steps = facts->n_steps};
    lf_bytes_clear(&w->counts);
    facts->total.started = 0;
    for (uint32_t i = 0; i < facts->n_steps; i++) {
        luaflow_counts *c = &facts->tally[i];
        if (c->started < c->done + c->failed || final != NULL)
            c->started = c->done + c->failed;
        facts->total.started += c->started;
        lf_counts_put(&w->counts, c);
    }
    if (w->counts.failed)
        return lf_fail_memory(err);
    state.total = facts->total;
    state.counts = lf_slice_of(w->counts.data, w->counts.size);
    if (final != NULL) {
        bool lost = facts->lost.code != LUAFLOW_OK; /* which the sender could not know */
        const char *problem = lost ? luaflow_error_text(&facts->lost) : final->problem;
        state.status = lost ? LUAFLOW_FAILED : (uint8_t)final->status;
        state.finished_us = lf_now_us();
        if (problem != NULL)
            state.problem = lf_slice_of(problem, strlen(problem));
    }
    return lf_write_state(w->txn, facts->run, &state, err);
}

/* ---- writing ---- */

static int put_blob(lf_writer *w, lf_blob *blob, luaflow_error *err)
{
    uint8_t salt = 0;
    lf_buf *bytes = lf_blob_bytes(blob);
    assert(bytes != NULL); /* a batch is committed once */
    int rc = lf_write_blob(w->txn, lf_blob_key(blob), lf_buf_slice(bytes), &salt, err);
    w->n_bytes += bytes->size;
    lf_buf_free(bytes);
    if (rc == LUAFLOW_OK)
        lf_blob_settle(blob, salt);
    return rc;
}

/* Puts the blobs that the batch's tasks made. All of them before any record: a very large one
 * may commit what there is on its way. */
static int put_blobs(lf_writer *w, const lf_batch *b, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    do {
        for (uint32_t i = 0; rc == LUAFLOW_OK && i < b->n_held; i++)
            if (b->held[i].own && b->held[i].blob != NULL)
                rc = put_blob(w, b->held[i].blob, err);
    } while (rc == LUAFLOW_OK && lf_write_was_pruned(w->txn));
    return rc;
}

/* Finds the record as it is to be stored: that of the batch, or a copy in which the salts of
 * colliding blobs are set. */
static int settle_record(lf_writer *w, const lf_task *t, lf_slice *record, luaflow_error *err)
{
    *record = lf_task_record_bytes(t);
    for (uint32_t i = 0; i < t->n_held; i++) {
        const lf_held *held = &t->batch->held[t->held_at + i];
        uint8_t salt = held->blob == NULL ? 0 : lf_blob_salt(held->blob);
        if (salt == 0)
            continue;
        if (record->data != w->record.data) {
            lf_bytes_clear(&w->record);
            lf_bytes_put(&w->record, record->data, record->size);
            if (w->record.failed)
                return lf_fail_memory(err);
            *record = lf_slice_of(w->record.data, w->record.size);
        }
        lf_task_record_salt(w->record.data, w->record.size, held->salt_at, salt);
    }
    return LUAFLOW_OK;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Enters the batch's tasks with this outcome into the index of steps. */
static int put_index(lf_writer *w, const lf_batch *b, lf_outcome outcome, luaflow_error *err)
{
    uint32_t n = 0;
    bool sorted = true;
    for (uint32_t i = 0; i < b->n; i++)
        if (b->tasks[i].outcome == outcome) {
            w->numbers[n] = b->tasks[i].number;
            sorted = sorted && (n == 0 || w->numbers[n - 1] < w->numbers[n]);
            n++;
        }
    if (n == 0)
        return LUAFLOW_OK;
    if (!sorted)
        qsort(w->numbers, n, sizeof w->numbers[0], ascending);
    return lf_write_index(w->txn, b->facts->run, b->tasks[0].step, outcome == LF_BROKE, w->numbers, n,
                          err);
}

static int put_batch(lf_writer *w, lf_batch *b, luaflow_error *err)
{
    uint32_t run = b->facts->run;
    if (!touch(w, b->facts))
        return lf_fail_memory(err);
    if (w->numbers_room < b->n) {
        free(w->numbers);
        w->numbers_room = 0;
        if ((w->numbers = malloc(b->n * sizeof w->numbers[0])) == NULL)
            return lf_fail_memory(err);
        w->numbers_room = b->n;
    }
    int put = put_blobs(w, b, err);
    if (put != LUAFLOW_OK)
        return put;
    for (uint32_t i = 0; i < b->n; i++) {
        const lf_task *t = &b->tasks[i];
        if (t->outcome == LF_UNSTARTED)
            continue;
        lf_slice record;
        int rc = settle_record(w, t, &record, err);
        if (rc == LUAFLOW_OK)
            rc = t->outcome == LF_RETRYING
                     ? lf_write_attempt(w->txn, run, t->number, t->attempt, record, err)
                     : lf_write_task(w->txn, run, t->number, record, err);
        if (rc == LUAFLOW_OK && t->log_size > 0) {
            lf_log_piece piece = {t->step, {b->arena.data + t->log_at, t->log_size}};
            rc = lf_write_log(w->txn, run, t->number, t->attempt, t->log_sequence, &piece, err);
        }
        if (rc != LUAFLOW_OK)
            return rc;
    }
    int rc = put_index(w, b, LF_SUCCEEDED, err);
    if (rc == LUAFLOW_OK)
        rc = put_index(w, b, LF_BROKE, err);
    return rc;
}

static int put_log(lf_writer *w, const lf_log_letter *l, luaflow_error *err)
{
    lf_log_piece piece = {l->step, {l->entries.data, l->entries.size}};
    return lf_write_log(w->txn, l->facts->run, l->task, l->attempt, l->sequence, &piece, err);
}

static int put_state_letter(lf_writer *w, lf_state_letter *l, luaflow_error *err)
{
    if (!touch(w, l->facts))
        return lf_fail_memory(err);
    for (uint32_t i = 0; l->started != NULL && i < l->facts->n_steps; i++)
        if (l->facts->tally[i].started < l->started[i])
            l->facts->tally[i].started = l->started[i];
    return LUAFLOW_OK;
}

static int put_letter(lf_writer *w, lf_letter *l, luaflow_error *err)
{
    switch (l->kind) {
    case LF_LETTER_BATCH:
        w->n_tasks += batch_of(l)->n;
        return put_batch(w, batch_of(l), err);
    case LF_LETTER_LOG:
        return put_log(w, log_of(l), err);
    default:
        return put_state_letter(w, state_of(l), err);
    }
}

/* ---- ending a transaction ---- */

static const lf_state_letter *final_state(const lf_writer *w, const lf_facts *facts)
{
    for (lf_node *n = w->group.head; n != NULL; n = n->next)
        if (is_final(letter_of(n)) && facts_of(letter_of(n)) == facts)
            return state_of(letter_of(n));
    return NULL;
}

static void let_blobs_go(const lf_batch *b)
{
    for (uint32_t i = 0; i < b->n_held; i++)
        if (b->held[i].own && b->held[i].blob != NULL)
            lf_blob_committed(b->held[i].blob);
}

/* Puts a letter that is done with into `home`, or frees it. */
static void finish_letter(lf_letter *l, lf_queue *home)
{
    const luaflow_error *lost = &facts_of(l)->lost;
    if (l->kind == LF_LETTER_BATCH) {
        lf_batch *b = batch_of(l);
        if (lost->code != LUAFLOW_OK)
            lf_fail_text(&b->error, lost->code, luaflow_error_text(lost));
        else
            let_blobs_go(b);
        l->kind = LF_LETTER_COMMITTED;
        lf_queue_push(home, &l->node);
    } else if (is_final(l)) {
        if (lost->code != LUAFLOW_OK)
            lf_fail_text(&state_of(l)->error, lost->code, luaflow_error_text(lost));
        lf_queue_push(home, &l->node);
    } else if (l->kind == LF_LETTER_STATE) {
        lf_state_letter_free(state_of(l));
    } else {
        lf_log_letter_free(log_of(l));
    }
}

/* `err` is why a letter was not stored: then nothing after it is, so that what is on disk
 * stays a prefix. */
static void lose(lf_letter *l, const luaflow_error *err)
{
    lf_facts *facts = facts_of(l);
    if (facts->lost.code == LUAFLOW_OK)
        lf_fail_text(&facts->lost, err->code, luaflow_error_text(err));
    if (l->kind == LF_LETTER_BATCH)
        tally(batch_of(l), -1);
}

/* Stores the last state of a run whose last tasks could not be stored with it; if not even that
 * can be, the run shows as interrupted, which is as true. */
static void put_final_alone(lf_writer *w, const lf_state_letter *l)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    if (lf_write_begin(w->store, &w->txn, &err) != LUAFLOW_OK)
        w->txn = NULL;
    else if (put_state(w, l->facts, l, &err) == LUAFLOW_OK)
        lf_write_commit(w->txn, &err);
    else
        lf_write_abort(w->txn);
    w->txn = NULL;
    luaflow_error_clear(&err);
}

/* Sends the letters of the group on their way; `err` (may be NULL) is why they failed. */
static void send_home(lf_writer *w, const luaflow_error *err)
{
    lf_queue home;
    lf_queue_init(&home);
    for (lf_node *n; (n = lf_queue_pop(&w->group)) != NULL;) {
        if (err != NULL)
            lose(letter_of(n), err);
        if (err != NULL && is_final(letter_of(n)))
            put_final_alone(w, state_of(letter_of(n)));
        finish_letter(letter_of(n), &home);
    }
    lf_mailbox_post_all(w->home, &home);
}

static void commit_group(lf_writer *w, luaflow_error *err)
{
    for (uint32_t i = 0; err->code == LUAFLOW_OK && i < w->n_touched; i++)
        put_state(w, w->touched[i], final_state(w, w->touched[i]), err);
    if (w->txn != NULL) {
        if (err->code == LUAFLOW_OK)
            lf_write_commit(w->txn, err);
        else
            lf_write_abort(w->txn);
    }
    w->txn = NULL;
    w->n_touched = 0;
    w->n_tasks = w->n_bytes = 0;
    w->committed = lf_tick_us();
    send_home(w, err->code == LUAFLOW_OK ? NULL : err);
    luaflow_error_clear(err);
}

static void answer_call(lf_writer *w, call_letter *c)
{
    lf_write *txn = NULL;
    c->code = lf_write_begin(w->store, &txn, c->err);
    if (c->code == LUAFLOW_OK) {
        c->code = c->work(c->payload, txn, c->err);
        if (c->code == LUAFLOW_OK)
            c->code = lf_write_commit(txn, c->err);
        else
            lf_write_abort(txn);
    }
    lf_mailbox_post(c->answer, &c->letter.node);
}

/* Whether somebody calls. */
static bool is_called(lf_writer *w)
{
    lf_mailbox_take(w->calls, &w->called);
    return !lf_queue_empty(&w->called);
}

/* Answers those who call, but no endless row of them. */
static void answer_calls(lf_writer *w)
{
    for (int i = 0; i < CALLS && is_called(w); i++)
        answer_call(w, LF_OF(letter_of(lf_queue_pop(&w->called)), call_letter, letter));
}

/* ---- the thread ---- */

/* Sends a letter of a run that has lost something straight home. */
static void refuse(lf_writer *w, lf_letter *l)
{
    lf_queue home;
    lf_queue_init(&home);
    finish_letter(l, &home);
    lf_mailbox_post_all(w->home, &home);
}

static void take_in(lf_writer *w, lf_letter *l, luaflow_error *err)
{
    lf_queue_push(&w->group, &l->node);
    if (l->kind == LF_LETTER_BATCH)
        tally(batch_of(l), 1);
    if (w->txn != NULL || lf_write_begin(w->store, &w->txn, err) == LUAFLOW_OK)
        put_letter(w, l, err);
}

/* Whether writing the letter may commit on its way: what came before must be whole by then. */
static bool is_huge(lf_letter *l)
{
    const lf_batch *b = l->kind == LF_LETTER_BATCH ? batch_of(l) : NULL;
    bool huge = false;
    for (uint32_t i = 0; b != NULL && !huge && i < b->n_held; i++) {
        lf_buf *bytes = b->held[i].blob == NULL ? NULL : lf_blob_bytes(b->held[i].blob);
        huge = bytes != NULL && bytes->size > LF_BLOB_AT_ONCE;
        lf_buf_free(bytes);
    }
    return huge;
}

/* Writes letters until a transaction is full, somebody has called for long enough, or there are
 * no more; true when told to stop. */
static bool write_letters(lf_writer *w, lf_queue *letters)
{
    luaflow_error err = LUAFLOW_ERROR_INIT;
    bool stop = false;
    uint64_t began = lf_tick_us();
    while (!lf_queue_empty(letters) && err.code == LUAFLOW_OK && w->n_tasks < GROUP_TASKS &&
           w->n_bytes < GROUP_BYTES && !(lf_tick_us() - began > PATIENCE_US && is_called(w))) {
        lf_letter *l = letter_of(lf_queue_pop(letters));
        if (l->kind == LF_LETTER_STOP) {
            stop = true;
        } else if (facts_of(l)->lost.code != LUAFLOW_OK && !is_final(l)) {
            refuse(w, l);
        } else if (is_huge(l) && !lf_queue_empty(&w->group)) {
            lf_queue_push_front(letters, &l->node);
            commit_group(w, &err);
        } else {
            take_in(w, l, &err);
        }
    }
    if (!lf_queue_empty(&w->group))
        commit_group(w, &err);
    return stop;
}

static void wait_for_mail(const lf_writer *w)
{
    struct pollfd boxes[] = {{.fd = lf_mailbox_fd(w->box), .events = POLLIN},
                             {.fd = lf_mailbox_fd(w->calls), .events = POLLIN}};
    while (poll(boxes, 2, -1) < 0 && errno == EINTR) {
    }
}

/* Whether all that has come is batches with few tasks and small values. */
static bool are_few(lf_queue *letters)
{
    uint64_t tasks = 0, bytes = 0;
    for (lf_node *n = letters->head; n != NULL; n = n->next) {
        if (letter_of(n)->kind != LF_LETTER_BATCH)
            return false;
        const lf_batch *b = batch_of(letter_of(n));
        tasks += b->n;
        bytes += b->arena.size;
        for (uint32_t i = 0; i < b->n_held; i++)
            if (b->held[i].own)
                bytes += ENOUGH_BYTES; /* a value of its own is worth a commit */
    }
    return tasks < ENOUGH_TASKS && bytes < ENOUGH_BYTES;
}

/* Lets batches gather that come right after a commit; whatever else comes ends that. */
static void gather(lf_writer *w, lf_queue *letters)
{
    uint64_t until = w->committed + PACE_US, now;
    while ((now = lf_tick_us()) < until && are_few(letters)) {
        struct pollfd boxes[] = {{.fd = lf_mailbox_fd(w->box), .events = POLLIN},
                                 {.fd = lf_mailbox_fd(w->calls), .events = POLLIN}};
        struct timespec left = {0, (long)(until - now) * 1000};
        if (ppoll(boxes, 2, &left, NULL) > 0 && boxes[1].revents != 0)
            return;
        lf_mailbox_take(w->box, letters);
    }
}

/* Calls go first, also past letters that were there before them: nothing that is called needs what
 * waits here. A run is created before there are letters of it; who tags it or prunes has seen of
 * it only what is committed, and prune leaves alone what belongs to a run that goes on. */
static void *run(void *payload)
{
    lf_writer *w = payload;
    lf_queue letters;
    lf_queue_init(&letters);
    for (bool stop = false; !stop;) {
        if (lf_queue_empty(&w->called))
            wait_for_mail(w);
        answer_calls(w);
        lf_mailbox_take(w->box, &letters);
        gather(w, &letters);
        while (!lf_queue_empty(&letters) && !stop) {
            stop = write_letters(w, &letters);
            answer_calls(w);
        }
    }
    return NULL;
}

int lf_writer_open(lf_store *store, lf_mailbox *home, lf_writer **out, luaflow_error *err)
{
    lf_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return lf_fail_memory(err);
    w->store = store;
    w->home = home;
    lf_queue_init(&w->group);
    lf_queue_init(&w->called);
    w->box = lf_mailbox_new();
    w->calls = w->box == NULL ? NULL : lf_mailbox_new();
    int failed = w->calls == NULL ? errno : lf_thread_start(&w->thread, run, w);
    if (failed != 0) {
        lf_mailbox_free(w->calls);
        lf_mailbox_free(w->box);
        free(w);
        return lf_fail(err, LUAFLOW_ENOMEM, "cannot start the writer's thread: %s", strerror(failed));
    }
    *out = w;
    return LUAFLOW_OK;
}

void lf_writer_close(lf_writer *w)
{
    if (w == NULL)
        return;
    lf_letter stop = {.kind = LF_LETTER_STOP};
    lf_mailbox_post(w->box, &stop.node);
    pthread_join(w->thread, NULL);
    lf_mailbox_free(w->calls);
    lf_mailbox_free(w->box);
    lf_bytes_fini(&w->record);
    lf_bytes_fini(&w->counts);
    free(w->touched);
    free(w->numbers);
    free(w);
}

void lf_writer_post(lf_writer *w, lf_queue *letters) { lf_mailbox_post_all(w->box, letters); }

int lf_writer_call(lf_writer *w, lf_work_fn work, void *payload, luaflow_error *err)
{
    call_letter c = {.letter = {.kind = LF_LETTER_CALL}, .work = work, .payload = payload, .err = err};
    c.answer = lf_mailbox_new();
    if (c.answer == NULL)
        return lf_fail_memory(err);
    lf_queue answered;
    lf_queue_init(&answered);
    lf_mailbox_post(w->calls, &c.letter.node);
    while (lf_queue_empty(&answered))
        lf_mailbox_wait(c.answer, -1, &answered);
    lf_mailbox_free(c.answer);
    return c.code;
}
