/* frame.c -- frames as bytes. */
#include "frame.h"

#include <stdlib.h>

static const char MAGIC[8] = "luaflow";

/* ---- headers ---- */

void lf_frame_header_put(uint8_t out[LF_FRAME_HEADER], const lf_frame_header *h)
{
    out[0] = (uint8_t)h->kind;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(h->head >> 8 * (3 - i));
    for (int i = 0; i < 8; i++)
        out[5 + i] = (uint8_t)(h->payload >> 8 * (7 - i));
}

bool lf_frame_header_get(const uint8_t in[LF_FRAME_HEADER], lf_frame_header *out)
{
    lf_reader r = lf_reader_of(in, LF_FRAME_HEADER);
    uint8_t kind = lf_read_u8(&r);
    *out = (lf_frame_header){(lf_frame_kind)kind, lf_read_u32be(&r), lf_read_u64be(&r)};
    return kind > 0 && kind < LF_FRAME_KINDS && out->head <= LF_FRAME_HEAD_MAX &&
           out->payload <= SIZE_MAX / 4;
}

/* ---- heads ---- */

static lf_reader reader_of(lf_slice head) { return lf_reader_of(head.data, head.size); }

static bool is_read(const lf_reader *r) { return !r->bad && lf_reader_left(r) == 0; }

/* With its NUL, so that it can be read where it lies. */
static void put_text(lf_bytes *out, const char *text)
{
    lf_bytes_put_string(out, text, strlen(text) + 1);
}

static const char *read_text(lf_reader *r)
{
    lf_slice s = lf_read_string(r);
    if (s.size == 0 || memchr(s.data, 0, s.size) != s.data + s.size - 1) {
        r->bad = true;
        return "";
    }
    return (const char *)s.data;
}

static void put_slice(lf_bytes *out, lf_slice s) { lf_bytes_put_string(out, s.data, s.size); }

static uint32_t read_u32(lf_reader *r)
{
    uint64_t v = lf_read_varint(r);
    r->bad = r->bad || v > UINT32_MAX;
    return (uint32_t)v;
}

static bool read_flag(lf_reader *r)
{
    uint8_t v = lf_read_u8(r);
    r->bad = r->bad || v > 1;
    return v == 1;
}

void lf_frame_hello_put(lf_bytes *out)
{
    lf_bytes_put(out, MAGIC, sizeof MAGIC);
    lf_bytes_put_varint(out, LF_FRAME_VERSION);
    put_text(out, LUAFLOW_VERSION);
}

int lf_frame_hello_get(lf_slice head, luaflow_error *err)
{
    lf_reader r = reader_of(head);
    lf_slice magic = lf_read(&r, sizeof MAGIC);
    uint32_t version = read_u32(&r);
    const char *release = read_text(&r);
    if (r.bad || memcmp(magic.data, MAGIC, sizeof MAGIC) != 0)
        return lf_fail(err, LUAFLOW_EUSAGE, "the other side does not speak as luaflow %s does", LUAFLOW_VERSION);
    if (version != LF_FRAME_VERSION)
        return lf_fail(err, LUAFLOW_EUSAGE,
                       "luaflow %.40s runs isolated steps in another way (%u) than luaflow %s (%d): "
                       "use the same release for both", release, version, LUAFLOW_VERSION, LF_FRAME_VERSION);
    return LUAFLOW_OK;
}

void lf_frame_task_put(lf_bytes *out, const lf_frame_task *task)
{
    const lf_who *who = &task->who;
    put_text(out, who->step);
    lf_bytes_put_u8(out, who->has_function);
    lf_bytes_put_u8(out, who->is_join);
    lf_bytes_put_varint(out, who->run);
    lf_bytes_put_varint(out, who->origin);
    lf_bytes_put_varint(out, who->task);
    lf_bytes_put_varint(out, who->attempt);
    lf_bytes_put_varint(out, who->depth);
    lf_bytes_put_varint(out, who->index);
    lf_bytes_put_varint(out, who->n_inputs);
    lf_bytes_put_u64be(out, who->seed);
    put_slice(out, who->params);
    lf_bytes_put_varint(out, who->n_tags);
    put_slice(out, who->tags);
    put_text(out, who->store);
    put_text(out, task->path);
    put_text(out, task->flow);
    put_slice(out, task->source);
    put_slice(out, task->description);
    lf_bytes_put_varint(out, task->n_env);
    put_slice(out, task->env);
    put_slice(out, task->near);
}

static bool are_strings(lf_slice strings, uint32_t n)
{
    lf_reader r = reader_of(strings);
    for (uint32_t i = 0; i < n && !r.bad; i++)
        lf_read_string(&r);
    return is_read(&r);
}

static bool are_env(lf_slice env, uint32_t n)
{
    lf_reader r = reader_of(env);
    const char *name, *value;
    for (uint32_t i = 0; i < n; i++)
        if (!lf_frame_env_next(&r, &name, &value))
            return false;
    return is_read(&r);
}

bool lf_frame_task_get(lf_slice head, lf_frame_task *out)
{
    lf_reader r = reader_of(head);
    lf_who *who = &out->who;
    *out = (lf_frame_task){0}; /* what is not said is not at hand there */
    who->step = read_text(&r);
    who->has_function = read_flag(&r);
    who->is_join = read_flag(&r);
    who->run = read_u32(&r);
    who->origin = read_u32(&r);
    who->task = read_u32(&r);
    who->attempt = read_u32(&r);
    who->depth = read_u32(&r);
    who->index = read_u32(&r);
    who->n_inputs = read_u32(&r);
    who->seed = lf_read_u64be(&r);
    who->params = lf_read_string(&r);
    who->n_tags = read_u32(&r);
    who->tags = lf_read_string(&r);
    who->store = read_text(&r);
    out->path = read_text(&r);
    out->flow = read_text(&r);
    out->source = lf_read_string(&r);
    out->description = lf_read_string(&r);
    out->n_env = read_u32(&r);
    out->env = lf_read_string(&r);
    out->near = lf_read_string(&r);
    return is_read(&r) && are_strings(who->tags, who->n_tags) && are_env(out->env, out->n_env);
}

void lf_frame_env_put(lf_bytes *out, const char *name, const char *value)
{
    put_text(out, name);
    put_text(out, value);
}

bool lf_frame_env_next(lf_reader *r, const char **name, const char **value)
{
    *name = read_text(r);
    *value = read_text(r);
    return !r->bad;
}

void lf_frame_words_put(lf_bytes *out, uint32_t number, lf_slice name)
{
    lf_bytes_put_varint(out, number);
    put_slice(out, name);
}

bool lf_frame_words_get(lf_slice head, lf_frame_words *out)
{
    lf_reader r = reader_of(head);
    out->number = read_u32(&r);
    out->name = lf_read_string(&r);
    return is_read(&r);
}

void lf_frame_names_begin(lf_bytes *out, uint32_t n) { lf_bytes_put_varint(out, n); }

void lf_frame_names_add(lf_bytes *out, lf_slice name, uint32_t number)
{
    lf_frame_words_put(out, number, name);
}

int lf_frame_names_get(lf_slice head, lf_frame_words **out, uint32_t *n, luaflow_error *err)
{
    lf_reader r = reader_of(head);
    *n = read_u32(&r);
    if (r.bad || *n > lf_reader_left(&r) / 2) /* each has two bytes or more */
        return lf_fail(err, LUAFLOW_EVALUE, "a list of names is damaged");
    lf_frame_words *names = calloc(*n + (size_t)1, sizeof *names);
    if (names == NULL)
        return lf_fail_memory(err);
    for (uint32_t i = 0; i < *n; i++) {
        names[i].number = read_u32(&r);
        names[i].name = lf_read_string(&r);
    }
    if (!is_read(&r)) {
        free(names);
        return lf_fail(err, LUAFLOW_EVALUE, "a list of names is damaged");
    }
    *out = names;
    return LUAFLOW_OK;
}

/* Appends a list of the one element at `at`, with its length in front. */
static void put_element(lf_bytes *out, const lf_list *list, uint64_t at)
{
    static const uint8_t widths[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8}; /* of elements, as codec.h numbers them */
    static const uint8_t heads[] = {[1] = 0xd4, [2] = 0xd5, [4] = 0xd6, [8] = 0xd7};
    const uint8_t *data = list->bytes.data;
    size_t width;
    switch (list->kind) {
    case LF_LIST_RANGE:
        lf_bytes_put_varint(out, 0);
        break;
    case LF_LIST_ARRAY:
        data += list->offsets[at - 1];
        width = list->offsets[at] - list->offsets[at - 1];
        lf_bytes_put_varint(out, width + 1);
        lf_bytes_put_u8(out, 0x91);
        lf_bytes_put(out, data, width);
        break;
    case LF_LIST_NUMBERS:
        width = widths[list->element];
        data += list->bytes.size - (list->size - at + 1) * width;
        lf_bytes_put_varint(out, width + 2);
        lf_bytes_put_u8(out, heads[width]);
        lf_bytes_put_u8(out, (uint8_t)(16 + list->element));
        lf_bytes_put(out, data, width);
        break;
    }
}

void lf_frame_level_put(lf_bytes *out, const lf_level *level)
{
    put_text(out, level->step);
    lf_bytes_put_varint(out, level->index);
    lf_bytes_put_varint(out, level->size);
    put_element(out, level->list, level->at);
}

bool lf_frame_level_get(lf_slice head, lf_frame_level *out)
{
    lf_reader r = reader_of(head);
    out->step = read_text(&r);
    out->index = read_u32(&r);
    out->size = lf_read_varint(&r);
    out->list = lf_read_string(&r);
    return is_read(&r);
}

void lf_frame_failure_put(lf_bytes *out, const char *message, const char *traceback)
{
    lf_bytes_put_string(out, message, strlen(message));
    lf_bytes_put_string(out, traceback, traceback != NULL ? strlen(traceback) : 0);
}

static bool has_nul(lf_slice s) { return s.size > 0 && memchr(s.data, 0, s.size) != NULL; }

bool lf_frame_failure_get(lf_slice head, lf_frame_failure *out)
{
    lf_reader r = reader_of(head);
    out->message = lf_read_string(&r);
    out->traceback = lf_read_string(&r);
    return is_read(&r) && !has_nul(out->message) && !has_nul(out->traceback);
}

void lf_frame_problem_put(lf_bytes *out, const luaflow_error *err)
{
    const char *text = luaflow_error_text(err);
    lf_frame_words_put(out, (uint32_t)-err->code, lf_slice_of(text, strlen(text)));
}

int lf_frame_problem_get(lf_slice head, luaflow_error *err)
{
    lf_frame_words words;
    if (!lf_frame_words_get(head, &words) || words.number < (uint32_t)-LUAFLOW_ENOMEM ||
        words.number > (uint32_t)-LUAFLOW_EVALUE)
        return lf_fail(err, LUAFLOW_EVALUE, "an error is damaged");
    if (words.number == (uint32_t)-LUAFLOW_ENOMEM)
        return lf_fail_memory(err);
    return lf_fail(err, -(int)words.number, "%.*s", (int)(words.name.size & INT32_MAX),
                   (const char *)words.name.data);
}

/* ---- payloads ---- */

bool lf_frame_is_value(lf_slice bytes)
{
    return bytes.size > 0 && bytes.data[0] != 0xc0 && lf_codec_skip(bytes) == bytes.size;
}

void lf_frame_block_add(lf_bytes *out, const lf_given *given)
{
    lf_bytes_put_u8(out, given->found);
    if (given->found)
        put_slice(out, given->bytes);
}

bool lf_frame_block_next(lf_reader *r, lf_given *out)
{
    *out = (lf_given){.found = read_flag(r)};
    if (out->found)
        out->bytes = lf_read_string(r);
    return !r->bad;
}
