/* runtime.c -- implements luaflow.h: opens the house, closes it in reverse. */
#include "replay.h"
#include "runtime.h"
#include "clock.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <unistd.h>

/* So many events are kept where the host does not say. */
enum { EVENT_QUEUE = 65536 };

/* So long, in seconds, a host that polls may have to wait for who is just posting an event. */
static const double LEAST = 0.0002;

struct luaflow_flow {
    lf_flow *flow;
};

struct luaflow_run {
    lf_ear ear;
    luaflow *rt;
    luaflow_run *next;
    lf_facts *facts;
    luaflow_event_fn on_event;
    void *payload;
    bool finished, closing;
    int status;
    luaflow_error problem;
};

/* ---- flows ---- */

static int wrap_flow(int rc, lf_flow *flow, luaflow_flow **out, luaflow_error *err)
{
    if (rc != LUAFLOW_OK)
        return rc;
    luaflow_flow *f = malloc(sizeof *f);
    if (f == NULL) {
        lf_flow_close(flow);
        return lf_fail_memory(err);
    }
    f->flow = flow;
    *out = f;
    return LUAFLOW_OK;
}

int luaflow_flow_load(const char *path, const luaflow_flow_options *options, luaflow_flow **out,
                      luaflow_error *err)
{
    luaflow_flow_options o;
    lf_flow *flow = NULL;
    int rc = lf_host_options(options, &o, sizeof o, "luaflow_flow_options", err);
    if (rc == LUAFLOW_OK)
        rc = lf_flow_load(path, &o, &flow, err);
    return wrap_flow(rc, flow, out, err);
}

int luaflow_flow_load_string(const char *source, size_t size, const char *name,
                             const luaflow_flow_options *options, luaflow_flow **out,
                             luaflow_error *err)
{
    luaflow_flow_options o;
    lf_flow *flow = NULL;
    int rc = lf_host_options(options, &o, sizeof o, "luaflow_flow_options", err);
    if (rc == LUAFLOW_OK)
        rc = lf_flow_load_string(source, size, name, &o, &flow, err);
    return wrap_flow(rc, flow, out, err);
}

int luaflow_flow_load_lua(lua_State *L, int index, const char *name,
                          const luaflow_flow_options *options, luaflow_flow **out, luaflow_error *err)
{
    luaflow_flow_options o;
    lf_flow *flow = NULL;
    int rc = lf_host_options(options, &o, sizeof o, "luaflow_flow_options", err);
    if (rc == LUAFLOW_OK)
        rc = lf_flow_load_lua(L, index, name, &o, &flow, err);
    return wrap_flow(rc, flow, out, err);
}

const void *luaflow_flow_describe(const luaflow_flow *f, size_t *size)
{
    lf_slice description = lf_flow_description(f->flow);
    *size = description.size;
    return description.data;
}

int luaflow_flow_params(luaflow_flow *f, const luaflow_param *params, size_t n, void **value,
                        size_t *size, luaflow_error *err)
{
    lf_bytes bytes = {0};
    int rc = lf_flow_params(f->flow, params, n, &bytes, err);
    if (rc == LUAFLOW_OK && value != NULL) {
        *value = bytes.data;
        *size = bytes.size;
        return rc;
    }
    lf_bytes_fini(&bytes);
    return rc;
}

lf_flow *lf_runtime_flow(const luaflow_flow *f) { return f->flow; }

void luaflow_flow_close(luaflow_flow *f)
{
    if (f == NULL)
        return;
    lf_flow_close(f->flow);
    free(f);
}

/* ---- opening and closing ---- */

/* Says it when the store is where it cannot be trusted. */
static void look_around(const luaflow *rt)
{
    struct statfs fs;
    const char *dir = lf_store_dir(rt->store);
    const char *name = statfs(dir, &fs) == 0 ? lf_store_shared((long)fs.f_type) : NULL;
    if (name != NULL)
        lf_host_log(&rt->host, LUAFLOW_LOG_WARNING,
                    "the store %s is on %s, which other machines may share; "
                    "keep it on a disk of this machine (--store, LUAFLOW_STORE)", dir, name);
}

static int take_host(luaflow *rt, const luaflow_options *o, luaflow_error *err)
{
    rt->host = (lf_host){.on_state = o->on_state, .state_payload = o->state_payload,
                         .on_log = o->on_log, .log_payload = o->log_payload};
    if (o->executable != NULL && (rt->host.executable = strdup(o->executable)) == NULL)
        return lf_fail_memory(err);
    rt->events = lf_events_new(o->event_queue > 0 ? o->event_queue : EVENT_QUEUE, o->wait_for_host);
    if (rt->events == NULL)
        return lf_fail_memory(err);
    lf_events_report(rt->events, &rt->host);
    return LUAFLOW_OK;
}

int luaflow_open(const luaflow_options *options, luaflow **out, luaflow_error *err)
{
    luaflow_options o;
    int rc = lf_host_options(options, &o, sizeof o, "luaflow_options", err);
    if (rc == LUAFLOW_OK && o.store == NULL)
        rc = lf_fail(err, LUAFLOW_EUSAGE, "luaflow_options.store must name the store's directory");
    if (rc != LUAFLOW_OK)
        return rc;
    luaflow *rt = calloc(1, sizeof *rt);
    if (rt == NULL)
        return lf_fail_memory(err);
    rc = take_host(rt, &o, err);
    if (rc == LUAFLOW_OK)
        rc = lf_store_open(o.store, o.create, &rt->store, err);
    if (rc == LUAFLOW_OK)
        rc = lf_owner_open(o.store, &rt->owner, err);
    if (rc != LUAFLOW_OK) {
        luaflow_close(rt);
        return rc;
    }
    look_around(rt);
    *out = rt;
    return LUAFLOW_OK;
}

int lf_runtime_start(luaflow *rt, lf_flow *flow, luaflow_error *err)
{
    int rc = LUAFLOW_OK;
    if (rt->box == NULL && (rt->box = lf_mailbox_new()) == NULL)
        return lf_fail_memory(err);
    if (rt->staged == NULL && (rt->staged = lf_staged_new()) == NULL)
        return lf_fail_memory(err);
    if (rt->writer == NULL)
        rc = lf_writer_open(rt->store, rt->box, &rt->writer, err);
    if (rc == LUAFLOW_OK && rt->pool == NULL)
        rc = lf_pool_open(&(lf_pool_needs){rt->store, rt->staged, rt->box, &rt->host, flow}, &rt->pool, err);
    if (rc == LUAFLOW_OK && rt->sched == NULL)
        rc = lf_sched_open(rt->box, lf_pool_runner(rt->pool), rt->writer, rt->staged, &rt->sched,
                           err);
    return rc;
}

void luaflow_close(luaflow *rt)
{
    if (rt == NULL)
        return;
    for (luaflow_run *r = rt->runs; r != NULL; r = r->next)
        luaflow_cancel(r);
    while (rt->runs != NULL)
        luaflow_run_close(rt->runs);
    lf_sched_close(rt->sched);
    lf_pool_close(rt->pool);
    lf_writer_close(rt->writer);
    lf_staged_free(rt->staged);
    lf_mailbox_free(rt->box);
    lf_events_free(rt->events);
    lf_owner_close(rt->owner);
    lf_store_close(rt->store);
    free(rt->host.executable);
    free(rt);
}

int luaflow_fd(const luaflow *rt) { return lf_events_fd(rt->events); }

uint64_t luaflow_events_lost(const luaflow *rt) { return lf_events_lost(rt->events); }

/* ---- events ---- */

static double monotonic(void) { return (double)lf_tick_us() / 1e6; }

static void deliver(luaflow *rt, lf_event *e)
{
    luaflow_run *r = LF_OF(e->owner, luaflow_run, ear);
    if (e->told.type == LUAFLOW_RUN_FINISHED) {
        r->finished = true;
        r->status = e->told.status;
        if (e->told.message != NULL)
            lf_fail_text(&r->problem, -(int)e->told.attempt, e->told.message);
        e->told.attempt = 0;
        lf_owner_release(rt->owner, r->facts->run);
    }
    if (r->on_event != NULL && !r->closing)
        r->on_event(r->payload, &e->told);
    lf_events_done(rt->events, e);
}

int luaflow_poll(luaflow *rt, double seconds)
{
    int n = 0;
    double left = seconds, end = monotonic() + seconds;
    for (lf_event *e; (e = lf_events_take_within(rt->events, left > LEAST ? left : LEAST)) != NULL;) {
        deliver(rt, e);
        n++;
        left = end - monotonic();
        if (!(left > 0)) /* also when that is no number */
            break;
    }
    return n;
}

int luaflow_wait(luaflow_run *r, double seconds)
{
    if (!(seconds < 1e9))
        seconds = -1;
    double end = monotonic() + seconds;
    for (;;) {
        double left = end - monotonic();
        lf_event *e = r->finished ? NULL : lf_events_take(r->rt->events);
        if (r->finished)
            return 1;
        if (seconds >= 0 && left <= 0) {
            if (e != NULL)
                deliver(r->rt, e);
            return r->finished;
        }
        if (e != NULL)
            deliver(r->rt, e);
        else if (!lf_events_wait(r->rt->events, seconds < 0 ? -1 : left))
            return 0;
    }
}

/* ---- runs ---- */

/* Says where a value is to be found; large ones become blobs. */
static int put_value(lf_write *txn, lf_slice bytes, lf_ref *ref, luaflow_error *err)
{
    *ref = (lf_ref){.kind = LF_REF_INLINE, .bytes = bytes, .size = bytes.size};
    if (bytes.size <= LF_INLINE_MAX)
        return LUAFLOW_OK;
    ref->kind = LF_REF_KEY;
    ref->key = lf_key_of(0, bytes.data, bytes.size);
    return lf_write_blob(txn, &ref->key, bytes, &ref->salt, err);
}

typedef struct creation {
    luaflow *rt;
    lf_facts *facts;
} creation;

/* A run that may be resumed, read where nobody can remove it meanwhile: it is there, of this
 * flow, and nobody runs it. */
static int check_origin(luaflow *rt, lf_view *v, const lf_flow *flow, uint32_t origin,
                        lf_run_record *record, luaflow_error *err)
{
    lf_run_state state;
    int rc = lf_view_run(v, origin, record, &state, err);
    if (rc != LUAFLOW_OK)
        return rc;
    const char *name = lf_flow_name(flow);
    if (!lf_slice_equal(record->flow, lf_slice_of(name, strlen(name))))
        return lf_fail(err, LUAFLOW_EUSAGE, "run %u is one of flow %.*s, and this is flow %s", origin,
                       (int)record->flow.size, (const char *)record->flow.data, name);
    if (state.status == LUAFLOW_RUNNING && lf_owner_alive(rt->owner, origin))
        return lf_fail(err, LUAFLOW_EUSAGE,
                       "run %u is still running; wait for it, or end it with Ctrl-C, before it is "
                       "resumed", origin);
    return LUAFLOW_OK;
}

/* Runs in a transaction of the writer's: the run is claimed before it can be seen. */
static int create_run(void *payload, lf_write *txn, luaflow_error *err)
{
    const creation *c = payload;
    lf_facts *facts = c->facts;
    lf_run_record origin;
    if (facts->origin != 0) {
        int checked = check_origin(c->rt, lf_write_view(txn), facts->flow, facts->origin, &origin, err);
        if (checked != LUAFLOW_OK)
            return checked;
    }
    lf_run_record record = {.created_us = lf_now_us(), .seed = facts->seed, .origin = facts->origin,
                            .n_tags = facts->n_tags};
    lf_run_state state = {.status = LUAFLOW_RUNNING, .n_steps = facts->n_steps};
    const char *name = lf_flow_name(facts->flow);
    record.flow = lf_slice_of(name, strlen(name));
    record.tags = lf_slice_of(facts->tags.data, facts->tags.size);
    lf_bytes counts = {0};
    for (uint32_t i = 0; i < facts->n_steps; i++)
        lf_counts_put(&counts, &facts->tally[i]);
    state.counts = lf_slice_of(counts.data, counts.size);
    int rc = counts.failed ? lf_fail_memory(err) : lf_write_next_run(txn, &facts->run, err);
    if (rc == LUAFLOW_OK)
        rc = lf_owner_claim(c->rt->owner, facts->run, err);
    if (rc == LUAFLOW_OK)
        rc = put_value(txn, lf_flow_source(facts->flow), &record.source, err);
    if (rc == LUAFLOW_OK)
        rc = put_value(txn, lf_flow_description(facts->flow), &record.description, err);
    if (rc == LUAFLOW_OK)
        rc = put_value(txn, lf_buf_slice(facts->params), &record.params, err);
    if (rc == LUAFLOW_OK)
        rc = lf_write_run(txn, &record, &state, &facts->run, err);
    lf_bytes_fini(&counts);
    return rc;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int lf_runtime_check_tag(const char *tag, luaflow_error *err)
{
    size_t size = strlen(tag);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)tag[i] < ' ' || tag[i] == 0x7f)
            return lf_fail(err, LUAFLOW_EUSAGE, "a tag has no control characters; this one has byte %d",
                           (unsigned char)tag[i]);
    if (size == 0 || size > 128)
        return lf_fail(err, LUAFLOW_EUSAGE, "a tag has 1 to 128 bytes, not %zu", size);
    return LUAFLOW_OK;
}

/* Sorted, each once. */
static int set_tags(lf_facts *facts, const luaflow_run_options *o, luaflow_error *err)
{
    const char **tags = malloc((o->n_tags + 1) * sizeof *tags);
    if (tags == NULL)
        return lf_fail_memory(err);
    int rc = LUAFLOW_OK;
    for (size_t i = 0; i < o->n_tags && rc == LUAFLOW_OK; i++) {
        tags[i] = o->tags[i];
        rc = lf_runtime_check_tag(tags[i], err);
    }
    if (rc == LUAFLOW_OK)
        qsort(tags, o->n_tags, sizeof *tags, compare_texts);
    for (size_t i = 0; i < o->n_tags && rc == LUAFLOW_OK; i++)
        if (i == 0 || strcmp(tags[i], tags[i - 1]) != 0) {
            lf_bytes_put_string(&facts->tags, tags[i], strlen(tags[i]));
            facts->n_tags++;
        }
    free(tags);
    return rc != LUAFLOW_OK ? rc : facts->tags.failed ? lf_fail_memory(err) : LUAFLOW_OK;
}

static void drop_flow(struct lf_flow *flow) { lf_flow_free(flow); }

/* All but parameters and seed. */
static int make_facts(luaflow *rt, lf_flow *flow, const luaflow_run_options *o, lf_facts **out,
                      luaflow_error *err)
{
    lf_facts *facts = lf_facts_new(lf_graph_size(lf_flow_graph(flow)));
    if (facts == NULL)
        return lf_fail_memory(err);
    facts->flow = lf_flow_ref(flow);
    facts->drop_flow = drop_flow;
    facts->events = rt->events;
    facts->listened = o->on_event != NULL;
    facts->keep_going = o->keep_going;
    facts->progress_after = o->progress_after;
    facts->max_num_splits = o->max_num_splits > 0 ? o->max_num_splits : 1000000;
    facts->store = strdup(lf_store_dir(rt->store));
    int rc = facts->store == NULL ? lf_fail_memory(err) : set_tags(facts, o, err);
    if (rc != LUAFLOW_OK) {
        lf_facts_free(facts);
        return rc;
    }
    *out = facts;
    return LUAFLOW_OK;
}

/* The seed and the parameters that the caller gave, or their defaults. */
static int set_params(lf_facts *facts, const luaflow_run_options *o, luaflow_error *err)
{
    facts->seed = o->seed;
    if (!o->has_seed) {
        if (getrandom(&facts->seed, sizeof facts->seed, 0) != sizeof facts->seed)
            return lf_fail(err, LUAFLOW_ESTORE, "no random seed from the system: %s", strerror(errno));
        facts->seed >>= 11; /* a number that Lua and JSON can say */
    }
    lf_bytes params = {0};
    int rc = lf_flow_seed(facts->flow, facts->seed, err);
    if (rc == LUAFLOW_OK)
        rc = lf_flow_params(facts->flow, o->params, o->n_params, &params, err);
    if (rc == LUAFLOW_OK && (facts->params = lf_buf_copy(params.data, params.size)) == NULL)
        rc = lf_fail_memory(err);
    lf_bytes_fini(&params);
    return rc;
}

/* The parameters of the origin, and defaults of those that are new. */
static int keep_params(lf_view *v, lf_facts *facts, const lf_run_record *origin, luaflow_error *err)
{
    lf_buf *values = NULL, *description = NULL;
    lf_bytes params = {0};
    int rc = lf_view_blob(v, &origin->params, &values, err);
    if (rc == LUAFLOW_OK)
        rc = lf_view_blob(v, &origin->description, &description, err);
    if (rc == LUAFLOW_OK)
        rc = lf_flow_seed(facts->flow, facts->seed, err);
    if (rc == LUAFLOW_OK)
        rc = lf_flow_params_again(facts->flow, lf_buf_slice(values), lf_buf_slice(description), &params, err);
    if (rc == LUAFLOW_OK && (facts->params = lf_buf_copy(params.data, params.size)) == NULL)
        rc = lf_fail_memory(err);
    lf_bytes_fini(&params);
    lf_buf_free(values);
    lf_buf_free(description);
    return rc;
}

/* What a resumed run has of its origin: seed, parameters, and what is taken over. */
static int set_origin(luaflow *rt, lf_facts *facts, uint32_t origin, const char *step,
                      luaflow_error *err)
{
    lf_run_record record;
    lf_view *v;
    int rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = check_origin(rt, v, facts->flow, origin, &record, err);
    if (rc == LUAFLOW_OK) {
        facts->seed = record.seed;
        facts->origin = origin;
        rc = keep_params(v, facts, &record, err);
    }
    lf_view_end(v);
    facts->drop_replay = lf_replay_free;
    if (rc == LUAFLOW_OK)
        rc = lf_replay_new(rt->store, lf_flow_graph(facts->flow), origin, step, &facts->replay, err);
    return rc;
}

/* Opened before the run is made, so that a wrong path makes none. */
static int open_id_file(const char *path, FILE **out, luaflow_error *err)
{
    *out = path == NULL ? NULL : fopen(path, "we");
    if (path != NULL && *out == NULL)
        return lf_fail(err, LUAFLOW_EUSAGE, "cannot write the run's id to %s: %s", path, strerror(errno));
    return LUAFLOW_OK;
}

static int write_id_file(FILE *f, const char *path, uint32_t run, luaflow_error *err)
{
    if (f == NULL)
        return LUAFLOW_OK;
    bool ok = fprintf(f, "%u\n", (unsigned)run) > 0;
    if (fclose(f) != 0 || !ok)
        return lf_fail(err, LUAFLOW_EUSAGE, "cannot write the run's id to %s: %s", path, strerror(errno));
    return LUAFLOW_OK;
}

/* Makes and claims the run in the store, and says its number where asked. */
static int store_run(luaflow *rt, lf_facts *facts, const char *id_file, luaflow_error *err)
{
    FILE *f;
    int rc = open_id_file(id_file, &f, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = lf_writer_call(rt->writer, create_run, &(creation){rt, facts}, err);
    if (rc == LUAFLOW_OK)
        rc = write_id_file(f, id_file, facts->run, err);
    else if (f != NULL)
        fclose(f);
    if (rc != LUAFLOW_OK && facts->run != 0)
        lf_owner_release(rt->owner, facts->run);
    return rc;
}

static uint32_t cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

static void free_run(luaflow_run *r)
{
    lf_facts_free(r->facts);
    luaflow_error_clear(&r->problem);
    free(r);
}

/* Stores and starts the run whose facts (taken, even on failure) are made. */
static int start_run(luaflow *rt, lf_facts *facts, const luaflow_run_options *o, luaflow_run **out,
                     luaflow_error *err)
{
    luaflow_run *r = calloc(1, sizeof *r);
    if (r == NULL) {
        lf_facts_free(facts);
        return lf_fail_memory(err);
    }
    r->rt = rt;
    r->on_event = o->on_event;
    r->payload = o->payload;
    r->facts = facts;
    facts->owner = &r->ear;
    lf_run_start start = {lf_facts_ref(facts), lf_flow_graph(facts->flow),
                          o->max_workers > 0 ? o->max_workers : cores()};
    lf_sched_run *planned = NULL;
    int rc = lf_sched_run_new(&start, &planned, err);
    if (rc == LUAFLOW_OK)
        rc = store_run(rt, facts, o->run_id_file, err);
    if (rc != LUAFLOW_OK) {
        lf_sched_run_free(planned);
        free_run(r);
        return rc;
    }
    lf_sched_start(rt->sched, planned);
    r->next = rt->runs;
    rt->runs = r;
    *out = r;
    return LUAFLOW_OK;
}

int luaflow_start(luaflow *rt, luaflow_flow *flow, const luaflow_run_options *options, luaflow_run **out,
                  luaflow_error *err)
{
    luaflow_run_options o;
    lf_facts *facts = NULL;
    int rc = lf_host_options(options, &o, sizeof o, "luaflow_run_options", err);
    if (rc == LUAFLOW_OK)
        rc = lf_runtime_start(rt, flow->flow, err);
    if (rc == LUAFLOW_OK)
        rc = make_facts(rt, flow->flow, &o, &facts, err);
    if (rc == LUAFLOW_OK)
        rc = set_params(facts, &o, err);
    if (rc == LUAFLOW_OK)
        return start_run(rt, facts, &o, out, err);
    lf_facts_free(facts);
    return rc;
}

/* The number of the run to resume. */
static int find_origin(luaflow *rt, const lf_flow *flow, uint64_t wide, uint32_t *origin,
                       luaflow_error *err)
{
    if (wide != 0)
        return lf_runtime_number(wide, "run", origin, err);
    lf_view *v;
    size_t n;
    int rc = lf_view_begin(rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = lf_view_runs(v, lf_flow_name(flow), NULL, 0, origin, 1, &n, err);
    lf_view_end(v);
    if (rc == LUAFLOW_OK && n == 0)
        rc = lf_fail(err, LUAFLOW_ENOTFOUND, "flow %s has no run in %s that could be resumed",
                     lf_flow_name(flow), lf_store_dir(rt->store));
    return rc;
}

int luaflow_resume(luaflow *rt, luaflow_flow *flow, uint64_t wide, const char *step,
                   const luaflow_run_options *options, luaflow_run **out, luaflow_error *err)
{
    luaflow_run_options o;
    lf_facts *facts = NULL;
    uint32_t origin;
    int rc = lf_host_options(options, &o, sizeof o, "luaflow_run_options", err);
    if (rc == LUAFLOW_OK && (o.n_params > 0 || o.has_seed))
        rc = lf_fail(err, LUAFLOW_EUSAGE,
                     "a resumed run has the parameters and the seed of its origin; they cannot be given");
    if (rc == LUAFLOW_OK)
        rc = find_origin(rt, flow->flow, wide, &origin, err);
    if (rc == LUAFLOW_OK)
        rc = lf_runtime_start(rt, flow->flow, err);
    if (rc == LUAFLOW_OK)
        rc = make_facts(rt, flow->flow, &o, &facts, err);
    if (rc == LUAFLOW_OK)
        rc = set_origin(rt, facts, origin, step, err);
    if (rc == LUAFLOW_OK)
        return start_run(rt, facts, &o, out, err);
    lf_facts_free(facts);
    return rc;
}

void luaflow_cancel(luaflow_run *r) { lf_sched_cancel(r->rt->sched, r->facts->run); }

luaflow *lf_runtime_of(const luaflow_run *r) { return r->rt; }

uint64_t luaflow_run_id(const luaflow_run *r) { return r->facts->run; }

int luaflow_run_status(const luaflow_run *r) { return r->status; }

const char *luaflow_run_problem(const luaflow_run *r, int *code)
{
    if (code != NULL)
        *code = r->problem.code;
    return r->problem.code == LUAFLOW_OK ? NULL : luaflow_error_text(&r->problem);
}

void luaflow_run_close(luaflow_run *r)
{
    if (r == NULL)
        return;
    r->closing = true;
    while (!r->finished) {
        luaflow_cancel(r);
        luaflow_wait(r, -1); /* 0 when a signal came: go on waiting */
    }
    lf_events_tidy(r->rt->events);
    luaflow_run **at = &r->rt->runs;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    free_run(r);
}

/* ---- values and odds ---- */

void luaflow_free(void *memory) { free(memory); }

int luaflow_value_push(lua_State *L, const void *bytes, size_t size, luaflow_error *err)
{
    return lf_codec_decode(L, lf_slice_of(bytes, size), err);
}

int luaflow_value_push_marked(lua_State *L, const void *bytes, size_t size, luaflow_error *err)
{
    return lf_codec_decode_marked(L, lf_slice_of(bytes, size), err);
}

int luaflow_value_encode(lua_State *L, int index, const char *name, void **bytes, size_t *size,
                         luaflow_error *err)
{
    lf_bytes out = {0};
    int rc = lf_codec_encode(L, index, name, &out, err);
    if (rc != LUAFLOW_OK) {
        lf_bytes_fini(&out);
        return rc;
    }
    *bytes = out.data;
    *size = out.size;
    return LUAFLOW_OK;
}

const char *luaflow_version(void) { return LUAFLOW_VERSION; }

char *luaflow_versions(void)
{
    lf_bytes text = {0};
    lf_bytes_printf(&text, "luaflow %s\n%s\n%s\nlibevent %s\nxxHash %s\n", LUAFLOW_VERSION,
                    LUAJIT_VERSION, lf_store_library(), lf_sched_library(), lf_key_library());
    return lf_bytes_cstr(&text);
}

void luaflow_furnish(lua_State *L)
{
    lf_state_furnish(L);
    lf_codec_prepare(L);
    lf_state_natives(L);
    lua_pop(L, 1);
}
