--- How many instructions the hot paths take, by callgrind: these are repeatable where clocks are not.
--- What a run costs however small it is, is taken off.
local kit = require "kit"
local shapes = require "parts.shapes"

local FEW, MANY = 2000, 22000   -- tasks of a foreach
local SHORT, LONG = 100, 1100   -- steps of a chain
local CODECS = { "luaflow", "lua-cjson", "lua-MessagePack" }
local VALUES = {
  { "small", 5, 1000, "a field of a small table" },
  { "nested", 10000, 10, "an entry of a large table" },
}

--- Instructions for each of many.
local function each(count, few, many) return (count(many) - count(few)) / (many - few) end

local function count_run(n)
  kit.fresh_store()
  return kit.command_instructions("run", kit.flows .. "each.lua", "--n", n, "--max-workers", 1, "--quiet")
end

local function count_resume(n)
  kit.run_fresh("each.lua", "--n", n)
  return kit.command_instructions("resume", kit.flows .. "each.lua", "finish", "--max-workers", 1, "--quiet")
end

local function count_check(n) return kit.command_instructions("run", shapes.write_chain(n), "--dry-run") end

local function count_chain(n)
  kit.fresh_store()
  return kit.command_instructions("run", shapes.write_chain(n), "--max-workers", 1, "--quiet")
end

local function count_pipeline(chunk)
  return function(n) return kit.program_instructions("pipeline", kit.fresh(), n, 1, chunk, "inline") end
end

local function add(figures, name, ours, limit)
  figures:add { name = name, unit = "instructions", ours = ours, limit = limit }
end

local function count_values(figures)
  for _, value in ipairs(VALUES) do
    local kind, entries, times, words = unpack(value)
    local counts = {}
    for c in ipairs(CODECS) do
      counts[c] = each(function(n) return kit.script_instructions("codecs.lua", kind, c, n) end, times, 2 * times)
        / entries
    end
    for c = 2, #CODECS do
      add(figures, ("encode and decode %s, beside %s"):format(words, CODECS[c]), counts[1], counts[c])
    end
  end
end

return {
  name = "instructions",
  summary = "instructions of a task, a resumed task, a step of a chain, an entry of a table",
  measure = function(figures)
    local least = each(count_pipeline(256), FEW, MANY)
    add(figures, "run a task of a foreach, beside a pipeline", each(count_run, FEW, MANY), least)
    add(figures, "resume a task of a foreach, beside a pipeline that runs it", each(count_resume, FEW, MANY), least)
    local loading = each(count_check, SHORT, LONG)
    add(figures, "load and check a step", loading)
    add(figures, "run a step of a chain that is checked, beside a pipeline", each(count_chain, SHORT, LONG) - loading,
      each(count_pipeline(1), SHORT, LONG))
    count_values(figures)
  end,
}
