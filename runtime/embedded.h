/* embedded.h -- the Lua library, compiled into the program as bytecode. The build
 * generates the tables from lua/ and argparse; see cmake/embed.lua. Knows nothing of
 * Lua states. Immutable, so any thread may read. */
#ifndef LF_EMBEDDED_H
#define LF_EMBEDDED_H

#include <stddef.h>

typedef struct lf_embedded {
    const char *name; /* as `require` calls it: "luaflow.cli.run" */
    const unsigned char *bytes;
    size_t size;
} lf_embedded;

/* Sorted by name. */
extern const lf_embedded lf_embedded_modules[];
extern const size_t lf_embedded_count;

#endif
