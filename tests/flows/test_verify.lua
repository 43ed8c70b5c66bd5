#!/usr/bin/env luajit
-- What is damaged in a store is found and named, and no command dies of it.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check
local contains = support.contains

local PAGE = 4096

local FLOW = [[
return { name = "Flow", steps = {
  start = { next = "work", foreach = "n", function(self) self.n = 3; self.text = ("some text "):rep(400) end },
  work = { next = "finish", function(self)
    print("line", self.index)
    self.picture = ("picture %d;"):format(self.index):rep(300)
  end },
  finish = function(self, inputs)
    if not os.getenv "FIXED" then error "broken" end
    self.all = inputs:collect "picture"
  end,
} }]]

local function make(w)
  w:write("flow.lua", FLOW)
  w:expect(1, "run", "flow.lua", "--quiet")
  w:expect(0, "resume", "flow.lua", "--quiet", { env = { FIXED = "1" } })
end

-- Changes one byte of the blob in the store's file that is a text of 3,000 bytes and begins so.
local function hurt(w, text)
  local data = w:read ".luaflow/data.mdb"
  local _, at = data:find("\0\218\11\184" .. text, 1, true)
  check(at, "the text lies in the file")
  w:write(".luaflow/data.mdb", data:sub(1, at) .. "#" .. data:sub(at + 2))
end

test("of a sound store is said how much is in it", function(w)
  make(w)
  local result = w:expect(0, "verify")
  support.matches(result.out, "^verified 2 runs, 10 tasks, %d+ artifacts, %d+%.%d kB: all is well\n$")
  local sum = w:json "verify"
  equal({ sum.runs, sum.tasks, sum.findings }, { 2, 10, {} })
  check(sum.bytes > 10000 and sum.blobs >= 5)
end)

test("without a store there is nothing to verify", function(w)
  contains(w:expect(0, "verify").out, "verified 0 runs")
  equal(w:json("verify").findings, {})
  equal(w:shell "ls -A | grep -c luaflow || true", "0")
end)

test("a damaged artifact is named, with its task and those who reuse it", function(w)
  make(w)
  hurt(w, "picture 2;")
  local result = w:expect(3, "verify")
  local task = result.out:match
    "run 1, step work, task (%d+) %(work%[2%]%), artifact 'picture': its blob %x+ is damaged\n"
  check(task, result.out)
  contains(result.out, "run 2, step work, task ", "it reuses task " .. task .. " of run 1", " findings\n")
  contains(result.err, "luaflow resume FLOW.lua STEP")
  local sum = support.decode(w:expect(3, "verify", "--json").out)
  local first = sum.findings[1]
  equal({ first.run, first.step, first.path, first.artifact }, { 1, "work", "work[2]", "picture" })
  equal(first.task, tonumber(task))
  -- And it is mended by what the last line says.
  contains(w:expect(3, "dump", "1/work").err, "luaflow verify")
  w:expect(0, "resume", "flow.lua", "work", "--quiet", { env = { FIXED = "1" } })
  contains(w:expect(0, "verify").out, "all is well")
end)

test("a damaged page of the tree is found, and no command dies of a signal", function(w)
  make(w)
  local data = w:read ".luaflow/data.mdb"
  local sound = w:expect(0, "dump", "2", "--json").out
  for page = 0, #data / PAGE - 1 do
    local flags = data:byte(page * PAGE + 11)
    if flags == 1 or flags == 2 or flags == 8 then
      w:write(".luaflow/data.mdb", data:sub(1, page * PAGE) .. ("\0"):rep(PAGE) .. data:sub((page + 1) * PAGE + 1))
      os.remove(w.dir .. "/.luaflow/lock.mdb")
      local verified, dumped = w:luaflow "verify", w:luaflow("dump", "2", "--json")
      check(verified.code == 0 or verified.code == 3, ("page %d: verify gives %d"):format(page, verified.code))
      check(dumped.code <= 3, ("page %d: dump gives %d"):format(page, dumped.code))
      check(verified.code == 3 or dumped.out == sound, ("page %d is not found"):format(page))
      if verified.code == 3 then contains(verified.out, "data.mdb") end
    end
  end
end)

test("a run beside it is no finding", function(w)
  w:write("many.lua", [[ return { steps = {
    start = { next = "a", foreach = "n", function(self) self.n = 60 end },
    a = { next = "b", function(self) self.x = ("x" .. self.index):rep(500); os.execute "sleep 0.01" end },
    b = { next = "finish", function(self) self.y = self.x:reverse() .. self.index end },
    finish = function(self, inputs) self.all = inputs:collect "y" end } } ]])
  local process = w:spawn("run", "many.lua", "--quiet")
  support.wait_for("the store", function() return w:read ".luaflow/data.mdb" end)
  for _ = 1, 12 do
    local result = w:luaflow "verify"
    equal(result.code, 0, result.all)
  end
  equal(process:wait(), 0)
  contains(w:expect(0, "verify").out, "all is well")
end)

support.done()
