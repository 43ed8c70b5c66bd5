#!/usr/bin/env luajit
-- The flow in README.md prints, and its artifacts show, what README.md says.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check = support.test, support.equal, support.check

local file = assert(io.open(support.root .. "/README.md"))
local readme = file:read("*a")
file:close()

-- The blocks of code in a language, in order.
local function blocks(language)
  local list = {}
  for block in readme:gmatch("```" .. language .. "\n(.-)```") do list[#list + 1] = block end
  return unpack(list)
end

local flow, prices = blocks "lua"
local printed, dumped, failed, resumed = blocks "text"

-- Times, workers and the order of parallel tasks differ from run to run.
local function plain(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    line = line:gsub("^%d+%-%d+%-%d+ %S+ ", ""):gsub("%(worker %d+%)", ""):gsub("in %d+%.%d+ s", "")
    lines[#lines + 1] = line
  end
  table.sort(lines)
  return lines
end

test("the flow of README.md prints what README.md shows", function(w)
  w:write("primes.lua", flow)
  local out = w:run("primes.lua", "--max-workers", "2").out
  equal(plain(out), plain(printed))
end)

test("dump shows of it what README.md shows", function(w)
  w:write("primes.lua", flow)
  w:run("primes.lua", "--max-workers", "2")
  equal(w:expect(0, "dump", "last/count").out, dumped)
end)

test("the flow of README.md that fails does so, and is resumed when it is mended", function(w)
  w:write("prices.lua", prices)
  local out = w:expect(1, "run", "prices.lua", "--keep-going").out -- so that each element has its turn
  local has = {}
  for _, line in ipairs(plain(out)) do has[line] = true end
  for _, line in ipairs(plain(failed)) do check(has[line], "the run prints: " .. line) end
  w:expect(1, "step", "prices.lua", "parse", "--from", "prices/1/parse/4")
  local mended, n = prices:gsub('self%.input:match%("%%d%+"%)', "(%0 or 0)")
  equal(n, 1)
  w:write("prices.lua", mended)
  equal(plain(w:expect(0, "resume", "prices.lua", "--origin-run-id", "1", "--explain").out), plain(resumed))
  w:expect(0, "step", "prices.lua", "parse", "--from", "prices/1/parse/4")
  w:expect(0, "resume", "prices.lua", "parse")
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
