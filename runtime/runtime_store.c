/* runtime_store.c -- the part of luaflow.h that is about the store itself: what is wrong with it
 * is told by the names that a user knows. */
#include "description.h"
#include "runtime.h"

/* ---- verifying ---- */

typedef struct hearer {
    luaflow_finding_fn tell;
    void *payload;
} hearer;

/* Appends the name of the finding's step, or what stands for it. */
static void put_step(lf_bytes *out, const lf_finding *f)
{
    lf_description flow;
    lf_buf *copy = f->description.size == 0 ? NULL : lf_buf_copy(f->description.data, f->description.size);
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

const char *luaflow_inside_store(void) { return lf_store_inside(); }
