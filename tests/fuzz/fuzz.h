/* fuzz.h -- a fuzz target is one file: what it does with bytes, and what must hold of them. It
 * is linked with libFuzzer, or with driver.c, which needs no special compiler. */
#ifndef FUZZ_H
#define FUZZ_H

#include "bytes.h"
#include "error.h"

#include <lua.h>

/* One case. Returns 0; ends the process when something does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) \
    do { \
        if (!(condition)) fuzz_stop("%s:%d: %s does not hold", __FILE__, __LINE__, #condition); \
    } while (0)

/* Says why and aborts. */
void fuzz_stop(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- Lua ---- */

/* The state that all cases of this process share. */
lua_State *fuzz_state(void);

/* Calls `run` with `payload` as its only argument; a Lua error in it does not hold. */
void fuzz_call(lua_CFunction run, void *payload);

/* Pushes what the Lua file of this directory returns; it is loaded once.  [-0, +1, raises] */
void fuzz_push_file(lua_State *L, const char *name);

/* ---- values from bytes ---- */

/* Pushes a value that the next bytes ask for: any bytes ask for some value, small changes of
 * them for similar ones. With `odd` also things that cannot be stored.  [-0, +1, raises] */
void fuzz_push_value(lua_State *L, lf_reader *in, bool odd);

/* The same for what a flow file may return, right or nearly so.  [-0, +1, raises] */
void fuzz_push_flow(lua_State *L, lf_reader *in);

#endif
