#!/usr/bin/env luajit
-- The examples in C, built as they say, with an installed luaflow.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "../install/?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, check, contains, equal = support.test, support.check, support.contains, support.equal

-- Builds examples/NAME.c by the command that stands in it; gives what the program prints.
local function build_and_run(w, name, arguments)
  local source = support.root .. "/examples/" .. name .. ".c"
  local command = w:read(source):match("\n %*%s+(cc %-o [^\n]+)\n")
  check(command, name .. ".c says how it is built")
  local prefix = tree.install(w)
  local pkg_config = tree.directory(tree.find(w, prefix, "luaflow.pc"))
  local libraries = tree.directory(tree.find(w, prefix, "libluaflow.so.0"))
  tree.sh(w, ("cp '%s' . && export PKG_CONFIG_PATH='%s' && %s -std=c11 -Wall -Wextra -Werror -pedantic")
    :format(source, pkg_config, (command:gsub("^cc", tree.cc))))
  return tree.sh(w, tree.plainly(("LD_LIBRARY_PATH='%s' ./%s %s"):format(libraries, name:match("[^/]+$"), arguments)))
end

test("the host in C feeds a flow its own function and reads the joined artifact", function(w)
  local said = build_and_run(w, "c-host/host", support.root .. "/examples/c-host/heights.lua")
  for i = 1, 4 do contains(said, ("row[%d] is done"):format(i)) end
  contains(said, "finish says: looked at 4 rows")
  contains(said, "the highest point is 100.0")
end)

test("the game goes on while its light is baked", function(w)
  local said = build_and_run(w, "game-loop/game", support.root .. "/examples/game-loop/level.lua")
  local tiles, bytes, frames, worst = said:match("(%d+) tiles, (%d+) bytes of light, (%d+) frames, ([%d.]+) ms")
  equal(tiles, "400")
  check(tonumber(bytes) > 400 * 16 * 16 * 4, "all texels are there")
  check(tonumber(frames) > 0, "frames were drawn")
  -- Of the thread's own time, so another program's load does not count.
  check(tonumber(worst) < 1000 / 60, "no frame was missed for luaflow: " .. worst .. " ms")
end)

support.done()
