/* module_log.c -- what the library warns of, kept until a script asks. Knows nothing of the house
 * but luaflow.h. Warnings come on any thread; they are asked for on the state's. */
#include "module_inside.h"

#include <stdlib.h>
#include <string.h>

struct lf_core_said {
    lf_core_said *next;
    char text[];
};

void lf_core_hear(void *payload, int level, const char *sentence)
{
    lf_core_runtime *rt = payload;
    size_t size = strlen(sentence) + 1;
    lf_core_said *said = level < LUAFLOW_LOG_WARNING ? NULL : malloc(sizeof *said + size);
    if (said == NULL) /* no warning, or no memory to keep one, of which others will tell */
        return;
    memcpy(said->text, sentence, size);
    said->next = atomic_load(&rt->said);
    while (!atomic_compare_exchange_weak(&rt->said, &said->next, said)) {
    }
}

/* Takes what was said, the newest first, and turns it round. */
static void take_said(lf_core_runtime *rt)
{
    lf_core_said *next = atomic_exchange(&rt->said, NULL);
    for (lf_core_said *said; (said = next) != NULL; rt->heard = said) {
        next = said->next;
        said->next = rt->heard;
    }
}

int lf_push_warning(lua_State *L, lf_core_runtime *rt)
{
    if (rt->heard == NULL)
        take_said(rt);
    lf_core_said *said = rt->heard;
    if (said == NULL)
        return 0;
    lua_pushstring(L, said->text);
    rt->heard = said->next;
    free(said);
    return 1;
}

void lf_core_forget_warnings(lf_core_runtime *rt)
{
    do {
        lf_core_said *said = rt->heard;
        if (said != NULL)
            rt->heard = said->next;
        free(said);
        if (rt->heard == NULL)
            take_said(rt);
    } while (rt->heard != NULL);
}
