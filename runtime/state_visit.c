/* state_visit.c -- what a host adds to a state, and what is missing where it does not. */
#include "state.h"

#include <stdlib.h>

typedef struct visit {
    luaflow_state_fn on_state;
    void *payload;
    luaflow_error *err;
    int rc;
} visit;

static int receive_visitor(lua_State *L)
{
    visit *v = lua_touserdata(L, 1);
    lua_settop(L, 0);
    v->rc = v->on_state(v->payload, L, v->err);
    return 0;
}

int lf_state_visit(lua_State *L, luaflow_state_fn on_state, void *payload, luaflow_error *err)
{
    luaflow_error why = LUAFLOW_ERROR_INIT; /* a host may count on it to be there */
    visit v = {on_state, payload, &why, LUAFLOW_OK};
    if (on_state == NULL)
        return LUAFLOW_OK;
    lua_pushcfunction(L, receive_visitor);
    lua_pushlightuserdata(L, &v);
    int rc = lf_state_try(L, 1, 0, LUAFLOW_EFLOW, &why);
    if (rc == LUAFLOW_OK && v.rc != LUAFLOW_OK)
        rc = why.code = v.rc < LUAFLOW_EVALUE || v.rc > LUAFLOW_OK ? LUAFLOW_EFLOW : v.rc;
    if (rc == LUAFLOW_ENOMEM)
        lf_fail_memory(err);
    else if (rc != LUAFLOW_OK)
        lf_fail(err, rc, "on_state, by which the host adds to a Lua state, failed: %s", luaflow_error_text(&why));
    luaflow_error_clear(&why);
    return rc;
}

/* ---- what is missing elsewhere ---- */

typedef struct search {
    luaflow_state_fn on_state;
    void *payload;
    const char *message;
    char *found;
} search;

static int search_inside(lua_State *L)
{
    search *s = lua_touserdata(L, 1);
    if (lf_state_require(L, "luaflow.additions", NULL) != LUAFLOW_OK)
        return 0;
    lua_getfield(L, -1, "look");
    lua_call(L, 0, 1);                                                   /* search, module, find */
    if (lf_state_visit(L, s->on_state, s->payload, NULL) != LUAFLOW_OK)
        return 0;
    lua_pushstring(L, s->message);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) == LUA_TSTRING)
        s->found = strdup(lua_tostring(L, -1));
    return 0;
}

char *lf_state_missed(luaflow_state_fn on_state, void *payload, const char *message)
{
    search s = {on_state, payload, message, NULL};
    bool speaks_of_it = strstr(message, "(a nil value)") != NULL || strstr(message, "' not found") != NULL;
    lua_State *L = speaks_of_it && on_state != NULL ? lf_state_new() : NULL;
    if (L != NULL)
        lua_cpcall(L, search_inside, &s); /* what goes wrong in it has been told where it was first called */
    lf_state_free(L);
    return s.found;
}
