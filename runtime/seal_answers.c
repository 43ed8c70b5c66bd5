/* seal_answers.c -- what the step of an open task asks, answered from its envelope, from its
 * inputs in memory, and from the store. */
#include "seal_inside.h"

#include <stdlib.h>

static lf_seal *seal_of(lf_world *w) { return (lf_seal *)(void *)w; }

bool lf_seal_find(const lf_seal *s, lf_slice name, lf_found *out)
{
    if (s->task->join == NULL)
        return lf_inputs_find(s->task, name, out);
    for (uint32_t i = 0; i < s->n_propagated; i++)
        if (lf_slice_equal(s->propagated[i]->name, name)) {
            *out = (lf_found){s->propagated[i]->ref, s->propagated[i]->blob};
            return true;
        }
    return false;
}

/* The bytes of what was found: as they lie there, if they do. */
static int give(lf_seal *s, const lf_found *found, lf_given *out, luaflow_error *err)
{
    out->found = true;
    if (found->ref.kind == LF_REF_INLINE) {
        out->bytes = found->ref.bytes;
        return LUAFLOW_OK;
    }
    int rc = lf_inputs_load(s->store, found, &out->buf, err);
    out->bytes = lf_buf_slice(rc == LUAFLOW_OK ? out->buf : NULL);
    return rc;
}

static int fetch(lf_world *w, lf_slice name, lf_given *out, luaflow_error *err)
{
    lf_seal *s = seal_of(w);
    lf_found found;
    *out = (lf_given){.found = false};
    return lf_seal_find(s, name, &found) ? give(s, &found, out, err) : LUAFLOW_OK;
}

static int level(lf_world *w, uint32_t n, lf_level *out, luaflow_error *err)
{
    const lf_seal *s = seal_of(w);
    const lf_split *split = s->task->split;
    uint32_t index = s->task->split_index;
    for (; n > 0 && split != NULL; n--) {
        index = split->up_index;
        split = split->up;
    }
    if (split == NULL)
        return lf_fail(err, LUAFLOW_EVALUE, "there is no such foreach around the task");
    *out = (lf_level){lf_graph_step(s->graph, split->step)->name, index, split->list.size,
                      &split->list, index};
    return LUAFLOW_OK;
}

/* ---- inputs of a join ---- */

static int load(lf_world *w, uint32_t slot, lf_slice name, lf_given *out, luaflow_error *err)
{
    lf_seal *s = seal_of(w);
    lf_gathered got = {.found = false};
    *out = (lf_given){.found = false};
    lf_bytes_clear(&s->scratch);
    int rc = lf_inputs_gather(s->store, s->task, name, slot, 1, &s->scratch, &got, err);
    if (rc != LUAFLOW_OK || !got.found)
        return rc;
    lf_found found = lf_gathered_at(&got, &s->scratch);
    return give(s, &found, out, err);
}

/* Looks up the inputs from `slot` on. */
static int gather(lf_seal *s, uint32_t slot, lf_slice name, luaflow_error *err)
{
    uint32_t left = s->task->join->n - slot;
    s->block_from = slot;
    s->block_size = left < LF_GATHER ? left : LF_GATHER;
    memset(s->block, 0, s->block_size * sizeof s->block[0]);
    lf_bytes_clear(&s->collected);
    int rc = lf_inputs_gather(s->store, s->task, name, slot, s->block_size, &s->collected, s->block, err);
    if (rc != LUAFLOW_OK)
        s->block_size = 0;
    return rc;
}

static int collect(lf_world *w, uint32_t slot, lf_slice name, lf_given *out, luaflow_error *err)
{
    lf_seal *s = seal_of(w);
    *out = (lf_given){.found = false};
    if (slot == 0 || slot - s->block_from >= s->block_size) {
        int rc = gather(s, slot, name, err);
        if (rc != LUAFLOW_OK)
            return rc;
    }
    const lf_gathered *got = &s->block[slot - s->block_from];
    if (!got->found)
        return LUAFLOW_OK;
    lf_found found = lf_gathered_at(got, &s->collected);
    return give(s, &found, out, err);
}

static int path(lf_world *w, uint32_t slot, lf_bytes *out, luaflow_error *err)
{
    lf_seal *s = seal_of(w);
    uint32_t step = 0;
    lf_bytes_clear(&s->scratch);
    int rc = lf_inputs_origin(s->store, s->task, slot, &step, &s->scratch, err);
    if (rc == LUAFLOW_OK)
        lf_path_format(out, lf_graph_step(s->graph, step)->name,
                       lf_slice_of(s->scratch.data, s->scratch.size));
    return rc;
}

/* Of a branch: first as `next` calls them, then by the step that reached the join. */
static int input_name(lf_world *w, uint32_t i, lf_slice *name, uint32_t *slot, luaflow_error *err)
{
    lf_seal *s = seal_of(w);
    const lf_join *join = s->task->join;
    const lf_step *opener = lf_graph_step(s->graph, join->step);
    uint32_t step = 0;
    int rc = LUAFLOW_OK;
    *name = (lf_slice){NULL, 0};
    if (opener->kind != LF_BRANCH || i >= opener->n_next + join->n)
        return LUAFLOW_OK;
    if (i < opener->n_next) {
        step = opener->next[i];
        *slot = i;
    } else {
        *slot = i - opener->n_next;
        lf_bytes_clear(&s->scratch);
        rc = lf_inputs_origin(s->store, s->task, *slot, &step, &s->scratch, err);
    }
    const char *text = lf_graph_step(s->graph, step)->name;
    if (rc == LUAFLOW_OK)
        *name = lf_slice_of(text, strlen(text));
    return rc;
}

static int merge(lf_world *w, uint32_t *n, luaflow_error *err)
{
    lf_seal *s = seal_of(w);
    int rc = s->merged != NULL ? LUAFLOW_OK : lf_inputs_merge(s->store, s->task, &s->merged, err);
    *n = rc == LUAFLOW_OK ? lf_merged_count(s->merged) : 0;
    return rc;
}

static void merged(lf_world *w, uint32_t i, lf_slice *name, bool *conflict)
{
    const lf_merged_entry *e = lf_merged_at(seal_of(w)->merged, i);
    *name = e->name;
    *conflict = e->conflict;
}

/* Whether `e` is among the first `n` of what is propagated. */
static bool is_propagated(const lf_seal *s, uint32_t n, const lf_merged_entry *e)
{
    for (uint32_t i = 0; i < n; i++)
        if (s->propagated[i] == e)
            return true;
    return false;
}

static int propagate(lf_world *w, const lf_slice *names, size_t n, luaflow_error *err)
{
    lf_seal *s = seal_of(w);
    uint32_t before = s->n_propagated; /* by earlier calls in this task */
    const lf_merged_entry **all = realloc(s->propagated, (before + n + 1) * sizeof *all);
    if (all == NULL)
        return lf_fail_memory(err);
    s->propagated = all;
    for (size_t i = 0; i < n; i++) {
        const lf_merged_entry *e = lf_merged_find(s->merged, names[i]);
        if (e != NULL && !is_propagated(s, before, e))
            all[s->n_propagated++] = e;
    }
    return LUAFLOW_OK;
}

/* ---- what it leaves ---- */

static int is_same(lf_world *w, lf_slice name, lf_parts bytes, bool *same, luaflow_error *err)
{
    const lf_seal *s = seal_of(w);
    lf_found before;
    *same = false;
    return lf_seal_find(s, name, &before) ? lf_inputs_same(s->store, &before, bytes, same, err)
                                          : LUAFLOW_OK;
}

static int keep(lf_world *w, lf_slice name, lf_bytes *value, luaflow_error *err)
{
    return lf_seal_keep(seal_of(w), name, value, err);
}

static int drop(lf_world *w, lf_slice name, luaflow_error *err)
{
    return lf_seal_remove(seal_of(w), name, err);
}

static void print(lf_world *w, int stream, const char *text, size_t size)
{
    lf_log_write(seal_of(w)->log, stream, text, size);
}

const lf_answers lf_seal_answers = {
    .fetch = fetch,
    .level = level,
    .load = load,
    .collect = collect,
    .path = path,
    .input_name = input_name,
    .merge = merge,
    .merged = merged,
    .propagate = propagate,
    .is_same = is_same,
    .keep = keep,
    .remove = drop,
    .print = print,
};
