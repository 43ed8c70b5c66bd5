/* state_inside.h -- what the files of the room `state` share. Nobody else includes it. */
#ifndef LF_STATE_INSIDE_H
#define LF_STATE_INSIDE_H

#include "state.h"

/* Adds what starts child processes to the table at the top.  [-0, +0, raises] */
LF_RAISES void lf_state_children(lua_State *L);

#endif
