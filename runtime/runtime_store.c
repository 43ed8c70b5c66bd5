/* runtime_store.c -- the part of luaflow.h that is about the store itself: what is wrong with it
 * is told by the names that a user knows. */
#include "clock.h"
#include "description.h"
#include "runtime.h"

#include <stdlib.h>

/* ---- verifying ---- */

typedef struct hearer {
    luaflow_finding_fn tell;
    void *payload;
} hearer;

/* Appends the name of the finding's step, or what stands for it. */
static void put_step(lf_bytes *out, const lf_finding *f)
{
    lf_description flow;
    lf_buf *copy =
        f->description.size == 0 ? NULL : lf_buf_copy(f->description.data, f->description.size);
    if (copy != NULL && lf_description_of(copy, &flow, NULL) == LUAFLOW_OK) {
        lf_slice name = lf_description_name(&flow, f->step);
        lf_bytes_put(out, name.data, name.size);
        lf_description_fini(&flow);
    } else {
        lf_bytes_printf(out, "number %u", f->step);
    }
}

static void tell_finding(void *payload, const lf_finding *f)
{
    const hearer *h = payload;
    lf_bytes step = {0}, path = {0}, name = {0}, text = {0};
    luaflow_finding told = {.size = sizeof told, .run = f->run, .task = f->task};
    if (f->run != 0)
        lf_bytes_printf(&text, "run %u", f->run);
    if (f->step != LF_ANY) {
        put_step(&step, f);
        told.step = lf_bytes_cstr(&step);
        lf_bytes_printf(&text, ", step %s", told.step != NULL ? told.step : "?");
    }
    if (f->task != 0)
        lf_bytes_printf(&text, ", task %u", f->task);
    if (f->place.size > 0 && told.step != NULL) {
        lf_path_format(&path, told.step, f->place);
        told.path = lf_bytes_cstr(&path);
        lf_bytes_printf(&text, " (%s)", told.path != NULL ? told.path : "?");
    }
    if (f->name.data != NULL) {
        lf_bytes_put(&name, f->name.data, f->name.size);
        told.artifact = lf_bytes_cstr(&name);
        lf_bytes_printf(&text, ", artifact '%.*s'", (int)f->name.size, (const char *)f->name.data);
    }
    lf_bytes_printf(&text, "%s%s", f->run != 0 ? ": " : "", f->text);
    const char *whole = lf_bytes_cstr(&text);
    told.text = whole != NULL ? whole : f->text;
    h->tell(h->payload, &told);
    lf_bytes_fini(&step);
    lf_bytes_fini(&path);
    lf_bytes_fini(&name);
    lf_bytes_fini(&text);
}

static void hear_nothing(void *payload, const luaflow_finding *finding)
{
    (void)payload;
    (void)finding;
}

int luaflow_verify(const char *store, luaflow_finding_fn tell, void *payload, luaflow_verified *sum,
                   luaflow_error *err)
{
    hearer h = {tell != NULL ? tell : hear_nothing, payload};
    return lf_store_verify(store, tell_finding, &h, sum, err);
}

/* ---- pruning ---- */

typedef struct pruning {
    luaflow *rt;
    lf_prune_rule rule;
    luaflow_pruned *sum;
    uint32_t *runs; /* that go */
    size_t n_runs, n_done;
    lf_needed *needed;
    lf_sweep sweep;
    bool begun, ended;
} pruning;

enum { RUNS_AT_ONCE = 512, NO_RUN = 0 };

static bool is_alive(void *payload, uint32_t run) { return lf_owner_alive(payload, run); }

static int begin(void *payload, lf_write *txn, luaflow_error *err)
{
    pruning *p = payload;
    return lf_prune_begin(txn, &p->begun, err);
}

static int unlink_some(void *payload, lf_write *txn, luaflow_error *err)
{
    pruning *p = payload;
    size_t left = p->n_runs - p->n_done, n = left < RUNS_AT_ONCE ? left : RUNS_AT_ONCE;
    int rc = lf_prune_unlink(txn, &p->rule, p->runs + p->n_done, n, p->sum, err);
    p->n_done += n;
    return rc;
}

static int sweep_some(void *payload, lf_write *txn, luaflow_error *err)
{
    pruning *p = payload;
    return lf_prune_sweep(txn, p->needed, &p->sweep, p->sum, err);
}

static int end_some(void *payload, lf_write *txn, luaflow_error *err)
{
    pruning *p = payload;
    return lf_prune_end(txn, &p->ended, err);
}

static int choose(pruning *p, luaflow_error *err)
{
    lf_view *v;
    int rc = lf_view_begin(p->rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = lf_prune_choose(v, &p->rule, &p->runs, &p->n_runs, err);
    lf_view_end(v);
    return rc;
}

/* What the runs that stay need; without deleting anything, `gone` are those that would not. */
static int mark(pruning *p, bool is_dry, luaflow_error *err)
{
    lf_view *v;
    int rc = lf_view_begin(p->rt->store, &v, err);
    if (rc != LUAFLOW_OK)
        return rc;
    rc = lf_needed_new(v, p->runs, is_dry ? p->n_runs : 0, &p->needed, err);
    if (rc == LUAFLOW_OK && is_dry) {
        p->sum->runs = p->n_runs;
        rc = lf_prune_count(v, p->needed, p->sum, err);
    }
    lf_view_end(v);
    return rc;
}

static int prune_all(pruning *p, luaflow_error *err)
{
    lf_writer *w = p->rt->writer;
    int rc = LUAFLOW_OK;
    while (rc == LUAFLOW_OK && !p->begun)
        rc = lf_writer_call(w, begin, p, err);
    while (rc == LUAFLOW_OK && p->n_done < p->n_runs)
        rc = lf_writer_call(w, unlink_some, p, err);
    if (rc == LUAFLOW_OK)
        rc = mark(p, false, err);
    while (rc == LUAFLOW_OK && !p->sweep.done)
        rc = lf_writer_call(w, sweep_some, p, err);
    while (rc == LUAFLOW_OK && !p->ended)
        rc = lf_writer_call(w, end_some, p, err);
    return rc;
}

/* One process at a time: it has the byte of the run that never is. */
static int claim(luaflow *rt, luaflow_error *err)
{
    if (lf_owner_claim(rt->owner, NO_RUN, NULL) == LUAFLOW_OK)
        return LUAFLOW_OK;
    const char *dir = lf_store_dir(rt->store);
    if (lf_owner_alive(rt->owner, NO_RUN))
        return lf_fail(err, LUAFLOW_ESTORE,
                       "the store %s is being pruned by another process; wait for it", dir);
    return lf_fail(err, LUAFLOW_ESTORE,
                   "cannot prune %s: its file `owners` may not be written; change its permissions",
                   dir);
}

int luaflow_prune(luaflow *rt, const luaflow_prune_options *options, luaflow_pruned *sum,
                  luaflow_error *err)
{
    luaflow_prune_options o;
    int rc = lf_host_options(options, &o, sizeof o, "luaflow_prune_options", err);
    if (rc == LUAFLOW_OK && options == NULL) /* nobody means to keep nothing by saying nothing */
        rc = lf_fail(err, LUAFLOW_EUSAGE, "luaflow_prune needs options: how many runs of each flow it keeps");
    if (rc != LUAFLOW_OK)
        return rc;
    uint64_t now = lf_now_us(), age = o.older_than < 1e10 ? (uint64_t)(o.older_than * 1e6) : now;
    pruning p = {.rt = rt, .sum = sum};
    p.rule = (lf_prune_rule){o.keep, o.flow,
                             o.older_than <= 0 ? UINT64_MAX
                             : age < now       ? now - age
                                               : 0,
                             is_alive, rt->owner};
    *sum = (luaflow_pruned){0};
    rc = choose(&p, err);
    if (rc == LUAFLOW_OK && o.dry_run) {
        rc = mark(&p, true, err);
    } else if (rc == LUAFLOW_OK) {
        rc = lf_runtime_start(rt, NULL, err);
        if (rc == LUAFLOW_OK && (rc = claim(rt, err)) == LUAFLOW_OK) {
            rc = prune_all(&p, err);
            lf_owner_release(rt->owner, NO_RUN);
        }
    }
    lf_needed_free(p.needed);
    free(p.runs);
    return rc;
}

int luaflow_compact(const char *store, uint64_t *before, uint64_t *after, luaflow_error *err)
{
    luaflow_verified sum; /* a copy of damage would look sound */
    int rc = luaflow_verify(store, NULL, NULL, &sum, err);
    if (rc == LUAFLOW_OK && sum.findings > 0)
        rc = lf_fail(
            err, LUAFLOW_ESTORE,
            "the store %s is damaged and stays as it is: run `luaflow verify` to see what it hurts",
            store);
    return rc == LUAFLOW_OK ? lf_store_compact(store, before, after, err) : rc;
}

/* ---- faults ---- */

const char *luaflow_inside_store(void) { return lf_store_inside(); }
