#!/usr/bin/env luajit
-- The example for Neovim: it runs a flow, and edits meanwhile.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "../install/?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, equal, matches = support.test, support.equal, support.matches

-- Its parts wait for a file that the editor writes.
local HELD = [[
local ffi = require "ffi"
ffi.cdef "int usleep(unsigned int microseconds);"
return { steps = {
  start  = { next = "part", foreach = "parts", function(self) self.parts = 3 end },
  part   = { next = "finish", function()
    while not io.open("go") do ffi.C.usleep(1000) end
    print("went on")
  end },
  finish = function(_, inputs) print(#inputs .. " parts") end,
} }
]]

-- Runs a script in the editor and gives what its `say` was told.
local function neovim(w, script)
  local prefix = tree.install(w)
  local module = tree.directory(tree.find(w, prefix, "luaflow.so"))
  w:write("script.lua", [[
    local out = io.open("said", "w")
    function say(...) out:write(table.concat({ ... }, " "), "\n") end
    function wait_for(what, is_there)
      if not vim.wait(30000, is_there, 5) then say("waited in vain for", what) end
    end
    function status() return vim.g.luaflow_status end
    function quickfix() return vim.fn.getqflist({ title = 0, items = 0 }) end
    local ok, problem = pcall(function() ]] .. script .. [[ end)
    if not ok then say(problem) end
    out:close()
  ]])
  tree.sh(w, tree.plainly(("LUAFLOW_STORE=.luaflow HOME='%s' LUA_CPATH='%s/?.so' "
    .. "timeout -k 5 60 nvim --headless --clean --cmd 'set rtp+=%s/examples/neovim' -c 'luafile script.lua' -c 'qall!'")
    :format(w.dir, module, support.root)))
  return w:read("said")
end

test("the editor edits and writes files while a flow runs, and shows how far it is", function(w)
  w:write("held.lua", HELD)
  equal(neovim(w, [[
    vim.cmd "LuaflowRun held.lua"
    say(status())
    wait_for("a part", function() return status():find "1/2" or status():find "1/3" end)
    vim.cmd "edit go" -- what the flow waits for is done by the editor itself
    vim.cmd "normal ihello"
    vim.cmd "write"
    wait_for("the end", function() return status():find "done" end)
    say(status())
    say(quickfix().title)
    for _, item in ipairs(quickfix().items) do say(item.valid, item.text) end
    say(vim.api.nvim_buf_get_lines(0, 0, -1, false)[1])
  ]]), "held/1 running\nheld/1 done 5/5\nLuaflowRun held.lua\n0 went on\n0 went on\n0 went on\n0 3 parts\nhello\n")
end)

test("a failure is a place to go to, and so is what is wrong with a flow", function(w)
  w:write("fails.lua", 'return { steps = {\n  start = function()\n    error("too hot")\n  end,\n} }\n')
  w:write("wrong.lua", 'return { steps = {\n  start = { next = "missing", function() end },\n} }\n')
  local said = neovim(w, [[
    vim.cmd "LuaflowRun fails.lua"
    wait_for("the end", function() return status():find "failed" end)
    vim.cmd "cfirst"
    say(vim.fn.expand "%", vim.fn.line ".", quickfix().items[1].text)
    vim.cmd "LuaflowRun wrong.lua"
    say(status())
    vim.cmd "cfirst"
    say(vim.fn.expand "%", vim.fn.line ".", quickfix().items[1].text)
    vim.cmd "LuaflowRun nowhere.lua"
    say(status(), quickfix().items[1].text)
  ]])
  matches(said, "^fails.lua 3 too hot\nwrong.lua cannot start\nwrong.lua 2 .-missing.-\n"
    .. "nowhere.lua cannot start cannot read nowhere.lua: .-\n$")
end)

test("two flows run at once, each with a list of its own", function(w)
  w:write("held.lua", HELD)
  w:write("quick.lua", 'return { steps = { start = function() print "quick" end } }')
  equal(neovim(w, [[
    vim.cmd "LuaflowRun held.lua"
    vim.cmd "LuaflowRun quick.lua"
    io.open("go", "w"):close()
    wait_for("the second", function() return #quickfix().items == 1 end)
    say(quickfix().title)
    vim.cmd "colder"
    wait_for("the first", function() return #quickfix().items == 4 end)
    say(quickfix().title)
  ]]), "LuaflowRun quick.lua\nLuaflowRun held.lua\n")
end)

test("the editor can be left while a flow runs, which is then resumed from the command line", function(w)
  w:write("held.lua", HELD)
  neovim(w, [[
    vim.cmd "LuaflowRun held.lua"
    wait_for("a part", function() return status():find "1/2" or status():find "1/3" end)
  ]])
  equal(w:json("runs").runs[1].status, "interrupted")
  w:write("go", "")
  w:expect(0, "resume", "held.lua")
end)

support.done()
