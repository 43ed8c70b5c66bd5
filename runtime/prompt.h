/* prompt.h -- what `luaflow repl` asks of the terminal: lines that can be edited, Ctrl-C
 * that ends what is evaluated, a history file. Only the command is linked with it. Knows
 * nothing of flows, of Lua's syntax or of what the prompt says. The main thread. */
#ifndef LF_PROMPT_H
#define LF_PROMPT_H

#include <lua.h>

/* Pushes the module luaflow.prompt:
 *
 *   prompt.open { complete = f } -> an editor of lines typed on the terminal that stdin and
 *     stdout are. Tab calls f(what stands before the cursor) -> what to insert there or nil,
 *     what to show below or nil.
 *   editor:read(text) -> a line typed after `text`; or nil and "end" (of the input),
 *     "interrupt" (Ctrl-C), "terminate" (SIGTERM), or why it cannot be read
 *   editor:remember(entry)   puts text of one line or more into what the arrow keys show
 *   editor:close()           gives the terminal back
 *     From open to close SIGINT waits until a line is read or a function called:
 *   prompt.call(f, handler) -> as xpcall; meanwhile SIGINT makes f raise "interrupted". When
 *     f has not noticed, being in C, the next ends the process as it would anywhere.
 *   prompt.append(path, text), prompt.replace(path, text) -> true, or nil and why not. A file
 *     for its owner alone, made with the directories above it if need be.
 *   prompt.list(directory) -> the names in it, those of directories with a slash; or nil
 *
 * [-0, +1, raises] */
int lf_prompt_open(lua_State *L);

#endif
