#!/usr/bin/env luajit
-- The flow in README.md prints, and its artifacts show, what README.md says.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check

local file = assert(io.open(support.root .. "/README.md"))
local readme = file:read("*a")
file:close()

local flow, rest = readme:match("```lua\n(.-)```(.*)")
local printed, dumped = rest:match("```text\n(.-)```.-```text\n(.-)```")

test("the flow of README.md prints what README.md shows", function(w)
  w:write("primes.lua", flow)
  local out = w:run("primes.lua", "--max-workers", "2").out
  -- times, workers and the order of parallel tasks differ from run to run
  local function plain(text)
    local lines = {}
    for line in text:gmatch("[^\n]+") do
      line = line:gsub("^%S+ %S+ ", ""):gsub("%(worker %d+%)", ""):gsub("in %d+%.%d+ s", "")
      lines[#lines + 1] = line
    end
    table.sort(lines)
    return lines
  end
  equal(plain(out), plain(printed))
end)

test("dump shows of it what README.md shows", function(w)
  w:write("primes.lua", flow)
  w:run("primes.lua", "--max-workers", "2")
  equal(w:expect(0, "dump", "last/count").out, dumped)
end)

test("README.md knows every flow and every folder", function()
  for name in support.shell("cd '" .. support.root .. "' && ls flows/*.lua"):gmatch("flows/(%S+)") do
    check(readme:find("`" .. name .. "`", 1, true), name .. " is in README.md")
  end
  for path in readme:gmatch("\n| `([%w/_.]+)`") do
    local at = path:find("%.lua$") and "flows/" .. path or path
    check(os.rename(support.root .. "/" .. at, support.root .. "/" .. at), at .. " is there")
  end
end)

support.done()
