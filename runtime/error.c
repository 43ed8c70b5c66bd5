/* error.c -- an error value: a code and a sentence for a person. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *general(int code)
{
    switch (code) {
    case LUAFLOW_OK: return "no error";
    case LUAFLOW_ENOMEM: return "out of memory";
    case LUAFLOW_EUSAGE: return "wrong usage";
    case LUAFLOW_EFLOW: return "invalid flow";
    case LUAFLOW_ESTORE: return "the store failed";
    case LUAFLOW_ENOTFOUND: return "not found";
    case LUAFLOW_ESTEP: return "a step failed";
    case LUAFLOW_EVALUE: return "not a value that can be stored";
    default: return "unknown error";
    }
}

const char *luaflow_error_text(const luaflow_error *err)
{
    return err->message != NULL ? err->message : general(err->code);
}

void luaflow_error_clear(luaflow_error *err)
{
    if (err == NULL)
        return;
    free(err->message);
    err->message = NULL;
    err->code = LUAFLOW_OK;
}

int lf_fail(luaflow_error *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    char *message = NULL;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && (message = malloc((size_t)n + 1)) != NULL) {
        va_start(args, format);
        vsnprintf(message, (size_t)n + 1, format, args);
        va_end(args);
    }
    free(err->message); /* after formatting: it may be one of the arguments */
    err->message = message;
    err->code = code;
    return code;
}

int lf_fail_text(luaflow_error *err, int code, const char *text)
{
    return lf_fail(err, code, "%s", text);
}

int luaflow_error_set(luaflow_error *err, int code, const char *text)
{
    return lf_fail_text(err, code, text);
}

int lf_fail_memory(luaflow_error *err)
{
    luaflow_error_clear(err);
    if (err != NULL)
        err->code = LUAFLOW_ENOMEM;
    return LUAFLOW_ENOMEM;
}

int lf_error_move(luaflow_error *to, luaflow_error *from)
{
    int code = from->code;
    if (to == from)
        return code;
    if (to != NULL) {
        luaflow_error_clear(to);
        *to = *from;
        *from = (luaflow_error)LUAFLOW_ERROR_INIT;
    } else {
        luaflow_error_clear(from);
    }
    return code;
}
