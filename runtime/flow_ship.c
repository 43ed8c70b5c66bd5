/* flow_ship.c -- a flow that somebody's Lua state has as a table: taken out of that state, and
 * unpacked in ours. What of it can go, and how, is decided in lua/luaflow/ship.lua. Knows
 * nothing of the store, which never sees what is packed here. */
#include "flow_inside.h"

#include <stdlib.h>

#include <lauxlib.h>

typedef struct shipping {
    lua_State *carrier; /* a coroutine of the host's, with the flow's table */
    const char *name;   /* or NULL */
    lf_flow *f;
    lf_bytes packed, words;
    char *called;       /* the flow's name as it is now known */
    luaflow_error *err;
    int rc;
} shipping;

/* What a protected call is about cannot be handed to it but by a coroutine: everything else would
 * have to be anchored first, which may raise. */
static int make_carrier(lua_State *L)
{
    shipping *s = lua_touserdata(L, 1);
    s->carrier = lua_newthread(L);                                  /* s, carrier */
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

/* Pushes the table that the carrier has, and lets go of the carrier.  [-0, +1, raises] */
LF_RAISES static void take_over(lua_State *L, shipping *s)
{
    lua_xmove(s->carrier, L, 1);
    lua_pushlightuserdata(L, s);
    lua_pushnil(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* Pushes the function of luaflow.ship by that name, in any state.  [-0, +1, raises] */
LF_RAISES static void push_ship(lua_State *L, const char *name)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luaflow.ship");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

/* Appends the string at `index`.  [-0, +0, -] */
static void put_string(lua_State *L, int index, lf_bytes *out)
{
    size_t size;
    const char *text = lua_tolstring(L, index, &size);
    lf_bytes_put(out, text, size);
}

static int pack(lua_State *L)
{
    enum { FLOW = 2, PARCEL, TEXT, WORDS, NAME };
    shipping *s = lua_touserdata(L, 1);
    luaL_checkstack(L, 20, "a flow");
    take_over(L, s);                                                /* s, flow */
    if (!lua_istable(L, FLOW)) {
        s->rc = lf_fail(s->err, LUAFLOW_EFLOW, "a flow is a table, { steps = { start = function(self) … end } }, "
                        "or the path of its file, not a %s", luaL_typename(L, FLOW));
        return 0;
    }
    lf_state_furnish(L);
    lf_codec_prepare(L);
    lf_state_natives(L);
    lua_pop(L, 1);
    push_ship(L, "pack");
    lua_pushvalue(L, FLOW);
    lua_pushstring(L, s->name);
    lua_call(L, 2, 4);                                  /* s, flow, parcel, text, words, name */
    if (lua_isnil(L, PARCEL)) {
        s->rc = lf_fail_text(s->err, LUAFLOW_EFLOW, lua_tostring(L, TEXT));
        return 0;
    }
    s->rc = lf_codec_encode(L, PARCEL, "flow", &s->packed, s->err);
    put_string(L, TEXT, &s->f->source);
    put_string(L, WORDS, &s->words);
    s->called = strdup(lua_tostring(L, NAME));
    return 0;
}

/* Fills `s` from the table at `index`.  [-0, +0, never raises] */
static int pack_protected(lua_State *L, int index, shipping *s)
{
    int failed = lua_cpcall(L, make_carrier, s);
    if (failed == 0) {
        lua_pushvalue(L, index);
        lua_xmove(L, s->carrier, 1);
        failed = lua_cpcall(L, pack, s);
    }
    if (failed == 0 && s->rc == LUAFLOW_OK &&
        (s->packed.failed || s->words.failed || s->f->source.failed || s->called == NULL))
        return lf_fail_memory(s->err);
    if (failed == 0)
        return s->rc;
    const char *why = lua_tostring(L, -1);
    int rc = failed == LUA_ERRMEM
                 ? lf_fail_memory(s->err)
                 : lf_fail(s->err, LUAFLOW_EFLOW, "the flow cannot be sent to a worker: %s",
                           why != NULL ? why : "an error without a text");
    lua_pop(L, 1);
    return rc;
}

int lf_flow_load_lua(lua_State *L, int index, const char *name, const luaflow_flow_options *options,
                     lf_flow **out, luaflow_error *err)
{
    shipping s = {.name = name, .f = lf_flow_new(), .err = err};
    int rc = s.f == NULL || !lf_buf_start(&s.packed) ? lf_fail_memory(err) : pack_protected(L, index, &s);
    if (rc == LUAFLOW_OK && (s.f->parcel = lf_buf_adopt(&s.packed)) == NULL)
        rc = lf_fail_memory(err);
    if (rc == LUAFLOW_OK) {
        lf_flow_words words = {s.called, s.called, lf_slice_of(s.words.data, s.words.size)};
        rc = lf_flow_finish(s.f, &words, options, out, err);
    } else {
        lf_flow_free(s.f);
    }
    lf_bytes_fini(&s.packed);
    lf_bytes_fini(&s.words);
    free(s.called);
    return rc;
}

int lf_flow_push_shipped(lua_State *L, const lf_flow *f, luaflow_error *err)
{
    push_ship(L, "unpack");
    int rc = lf_codec_decode(L, lf_buf_slice(f->parcel), err);
    if (rc != LUAFLOW_OK) {
        lua_pop(L, 1);
        return rc;
    }
    lua_pushboolean(L, f->description.size == 0); /* while the flow is looked at, all of it is needed */
    lua_call(L, 2, 1);
    return LUAFLOW_OK;
}
