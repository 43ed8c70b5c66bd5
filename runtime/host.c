/* host.c -- what a host has given to the library. */
#include "host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lf_host_log(const lf_host *host, int level, const char *format, ...)
{
    if (host == NULL || host->on_log == NULL)
        return;
    char *sentence;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&sentence, format, args);
    va_end(args);
    if (n < 0) { /* out of memory: better without its words than not at all */
        host->on_log(host->log_payload, level, format);
        return;
    }
    host->on_log(host->log_payload, level, sentence);
    free(sentence);
}

int lf_host_options(const void *given, void *out, size_t known, const char *name, luaflow_error *err)
{
    size_t size = known;
    memset(out, 0, known);
    if (given != NULL)
        memcpy(&size, given, sizeof size);
    if (size < sizeof size)
        return lf_fail(err, LUAFLOW_EUSAGE,
                       "%s.size is %zu; start from its initialiser, which sets it to sizeof(%s)", name, size, name);
    if (size > known)
        return lf_fail(err, LUAFLOW_EUSAGE,
                       "%s.size is %zu, and luaflow %s knows %zu bytes of it: the program was compiled for a newer "
                       "luaflow, or did not start from its initialiser", name, size, LUAFLOW_VERSION, known);
    if (given != NULL)
        memcpy(out, given, size);
    memcpy(out, &known, sizeof known);
    return LUAFLOW_OK;
}
