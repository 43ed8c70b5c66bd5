/* description.c -- a flow's description as it was stored with a run, read back. */
#include "description.h"
#include "inputs.h"

/* Cuts what can only be an array of values. */
static int cut(lf_list *list, lf_slice bytes, luaflow_error *err)
{
    int rc = lf_list_init(list, bytes, err);
    if (rc == LUAFLOW_ENOMEM || (rc == LUAFLOW_OK && list->kind == LF_LIST_ARRAY))
        return rc;
    if (rc == LUAFLOW_OK)
        lf_list_fini(list);
    return lf_fail(err, LUAFLOW_ESTORE, "the description of a run is damaged; run luaflow verify");
}

int lf_description_read(lf_view *v, const lf_run_record *run, lf_description *out, luaflow_error *err)
{
    lf_buf *bytes;
    int rc = lf_view_blob(v, &run->description, &bytes, err);
    return rc == LUAFLOW_OK ? lf_description_of(bytes, out, err) : rc;
}

int lf_description_of(lf_buf *bytes, lf_description *out, luaflow_error *err)
{
    *out = (lf_description){.bytes = bytes};
    int rc = cut(&out->steps, lf_inputs_param(lf_buf_slice(bytes), lf_slice_of("steps", 5)), err);
    if (rc != LUAFLOW_OK)
        lf_buf_free(bytes);
    return rc;
}

void lf_description_fini(lf_description *d)
{
    lf_list_fini(&d->steps);
    lf_buf_free(d->bytes);
}

/* A canonical str: its text. */
static lf_slice text_of(lf_slice value)
{
    lf_reader r = lf_reader_of(value.data, value.size);
    uint8_t head = lf_read_u8(&r);
    size_t size = (head & 0xe0) == 0xa0 ? (size_t)(head & 0x1f) : lf_read_u8(&r);
    return lf_read(&r, size);
}

lf_slice lf_description_field(const lf_description *d, uint64_t step, const char *field)
{
    if (step >= d->steps.size)
        return (lf_slice){NULL, 0};
    const uint64_t *at = &d->steps.offsets[step];
    lf_slice one = {d->steps.bytes.data + at[0], at[1] - at[0]};
    return lf_inputs_param(one, lf_slice_of(field, strlen(field)));
}

lf_slice lf_description_text(const lf_description *d, uint64_t step, const char *field)
{
    lf_slice value = lf_description_field(d, step, field);
    return value.size == 0 ? value : text_of(value);
}

lf_slice lf_description_name(const lf_description *d, uint64_t step)
{
    lf_slice name = lf_description_text(d, step, "name");
    return name.size == 0 ? lf_slice_of("?", 1) : name;
}

int lf_description_next(const lf_description *d, uint64_t step, lf_list *out, luaflow_error *err)
{
    return cut(out, lf_description_field(d, step, "next"), err);
}

lf_slice lf_description_target(const lf_list *next, uint64_t i)
{
    const uint64_t *at = &next->offsets[i];
    return text_of(lf_slice_of(next->bytes.data + at[0], at[1] - at[0]));
}

uint32_t lf_description_find(const lf_description *d, lf_slice name)
{
    for (uint64_t i = 0; i < d->steps.size; i++)
        if (lf_slice_equal(lf_description_name(d, i), name))
            return (uint32_t)i;
    return LF_ANY;
}
