/* codec.h -- one Lua value and one run of canonical bytes: MessagePack with one
 * way to write each value (SPEC 2). Knows nothing of LMDB or threads; a state's
 * own thread only.
 *
 *   nil c0, false c2, true c3; whole numbers up to 2^53 as the shortest integer,
 *   -0, nan, inf and all others as float64 (the one NaN is 7ff8000000000000);
 *   UTF-8 strings as str, others as bin; a table with keys 1..n as array (the
 *   empty one too), any other as map whose keys are sorted by their bytes;
 *   ext 1 / 2: int64_t / uint64_t, eight bytes, little-endian;
 *   ext 3: an instance of a registered class: its name, then its table;
 *   ext 16 + e: an FFI array of element e (0 int8 1 uint8 2 int16 3 uint16 4 int32
 *   5 uint32 6 int64 7 uint64 8 float 9 double), raw little-endian elements; an
 *   array of 2^32 bytes or more does not fit an ext and is refused. */
#ifndef LF_CODEC_H
#define LF_CODEC_H

#include "bytes.h"
#include "error.h"

#include <lua.h>

#define LF_RAISES /* may jump with a Lua error over its caller */
#define LF_DEPTH_MAX 200

/* Prepares a state: puts into the registry what the functions below need (the
 * FFI's types and the table of registered classes). A second time does nothing. The
 * others do it where it was not done, and then raise where this does (a state without
 * `require` and the FFI).  [-0, +0, raises] */
LF_RAISES void lf_codec_prepare(lua_State *L);

/* Registers the metatable at the top of the stack as class `name` in this state:
 * instances encode as ext 3 and get it back. The last one of a name is the one they
 * get; instances of an older one encode as long as it lives.  [-1, +0, raises] */
LF_RAISES void lf_codec_register(lua_State *L, const char *name);

/* Pushes the metatable registered as class `name`, or nil.  [-0, +1, raises] */
LF_RAISES void lf_codec_registered(lua_State *L, const char *name);

/* Pushes the name of the class whose metatable is at the top, or nil.  [-1, +1, raises] */
LF_RAISES void lf_codec_class(lua_State *L);

/* Forgets class `name`: its instances are plain tables again.  [-0, +0, raises] */
LF_RAISES void lf_codec_unregister(lua_State *L, const char *name);

/* Appends the canonical bytes of the value at `index`. LUAFLOW_EVALUE with
 * "artifact 'model' cannot be stored: model.layers[3].act is a function" when it
 * has none; `name` is the artifact's.  [-0, +0, raises only when out of memory] */
LF_RAISES int lf_codec_encode(lua_State *L, int index, const char *name, lf_bytes *out,
                              luaflow_error *err);

/* If the value at `index` is an FFI array that can be stored, tells its bytes as they lie: what
 * stands before the elements, written to `head`, and the elements, good as long as the value is.
 * They are canonical if every NaN is the one NaN.  [-0, +0, raises only when out of memory] */
enum { LF_ARRAY_HEAD = 6 };
LF_RAISES bool lf_codec_array(lua_State *L, int index, uint8_t head[LF_ARRAY_HEAD], lf_parts *bytes);

/* Pushes the value that `bytes` stand for. LUAFLOW_EVALUE when they are damaged,
 * not canonical, too deep, or too long for what they say; never reads outside
 * them.  [-0, +1 on success and +0 on failure, raises only when out of memory] */
LF_RAISES int lf_codec_decode(lua_State *L, lf_slice bytes, luaflow_error *err);

/* The same, for those that show values: an instance of any class, registered or not,
 * gets the metatable { __luaflow_class = "Vec2" } instead of its own. */
LF_RAISES int lf_codec_decode_marked(lua_State *L, lf_slice bytes, luaflow_error *err);

/* The length of the one value at the start of `bytes`, checked as decoding would but
 * without a state; 0 when it is damaged. Bounded: no deeper than LF_DEPTH_MAX. */
size_t lf_codec_skip(lf_slice bytes);

/* ---- single values, without a Lua state ---- */

/* Appends canonical bytes. */
void lf_codec_put_number(lf_bytes *out, double n);
void lf_codec_put_string(lf_bytes *out, const char *s, size_t size);

/* ---- lists, without a Lua state ---- */

typedef enum lf_list_kind {
    LF_LIST_ARRAY,   /* an array of values */
    LF_LIST_NUMBERS, /* an FFI array */
    LF_LIST_RANGE    /* a whole number n >= 0: 1..n */
} lf_list_kind;

/* A value a foreach can go over, cut into its elements once. */
typedef struct lf_list {
    lf_list_kind kind;
    uint64_t size;
    uint8_t element;    /* of an FFI array: e as above */
    lf_slice bytes;     /* borrowed: the whole value */
    uint64_t *offsets;  /* array: where each element starts, and the end */
} lf_list;

/* Cuts `bytes`. LUAFLOW_EVALUE when they are no list, saying what they are, or damaged.
 * After success the caller calls lf_list_fini; `bytes` must stay as long. */
int lf_list_init(lf_list *list, lf_slice bytes, luaflow_error *err);
void lf_list_fini(lf_list *list);

/* Pushes element i (from 1); LUAFLOW_EVALUE when there is none.
 * [-0, +1 on success, raises only when out of memory] */
LF_RAISES int lf_list_push(lua_State *L, const lf_list *list, uint64_t i, luaflow_error *err);

/* Whether pushing element i, which there is, costs next to nothing. */
static inline bool lf_list_is_cheap(const lf_list *list, uint64_t i)
{
    enum { NUMBER = 9 }; /* bytes */
    return list->kind != LF_LIST_ARRAY || list->offsets[i] - list->offsets[i - 1] <= NUMBER;
}

/* Appends the canonical bytes of element i, which there is. */
void lf_list_put(lf_bytes *out, const lf_list *list, uint64_t i);

enum { LF_KIND_MAX = 120 }; /* a buffer that the words below fit into */

/* What the value is, in words for a message: "a string", "a table that is not a
 * list", "the number 2.5", "nil". Returns `buffer`. */
const char *lf_codec_kind(lf_slice bytes, char *buffer, size_t size);

#endif
