/* prompt_inside.h -- what the files of the room `prompt` share. Nobody else includes it. */
#ifndef LF_PROMPT_INSIDE_H
#define LF_PROMPT_INSIDE_H

#include "prompt.h"

#include <lauxlib.h>

#define LF_RAISES /* may jump with a Lua error over its caller */

/* Each adds its functions to the module's table on top.  [-0, +0, raises] */
LF_RAISES void lf_prompt_calls(lua_State *L);
LF_RAISES void lf_prompt_editors(lua_State *L);
LF_RAISES void lf_prompt_files(lua_State *L);

#endif
