--- Makes flows by chance: the text of a flow file that is valid and gives the same artifacts
--- every time it is run. What its steps do stands in kit.lua.
local random = require "random"

local generate = {}

local NAMES = { "a", "b", "c", "d", "e", "f" } -- artifacts that steps play with
local MAX_DEPTH = 4
local MAX_ISOLATED = 6 -- tasks: each costs a process

-- ---- the graph --------------------------------------------------------------------------------
-- A step is made first and given its transition later. What is open at the end of a part of the
-- graph is a list of ends: a step without transition, or a step and a key of its switch.

local Maker = {}
Maker.__index = Maker

function Maker:step()
  local number = #self.steps + 1
  local step = {
    name = ("%s%d"):format(self.random:pick { "k", "m", "p", "x" }, number),
    times = self.times,            -- how many tasks it has at most
    is_in_loop = self.loops > 0,
    next = {},
  }
  self.steps[number] = step
  self.tasks = self.tasks + self.times
  return step
end

local function connect(ends, target)
  for _, one in ipairs(ends) do
    if one.key == nil then
      one.step.kind = "linear"
      one.step.next = { target.name }
    else
      one.step.next[one.key] = target.name
    end
  end
end

-- One step to go on from: the only one that is open, or another behind all that are.
function Maker:single(ends)
  if #ends == 1 and ends[1].key == nil and self.random:chance(0.6) then return ends[1].step end
  local step = self:step()
  connect(ends, step)
  return step
end

function Maker:is_full() return self.tasks + 3 * self.times > self.budget end

local blocks = {}

--- Some blocks one after another from `step` on, which has no transition yet. Gives the ends.
function Maker:sequence(step, most)
  local ends = { { step = step } }
  self.depth = self.depth + 1
  for _ = 1, self.random:between(0, most) do
    if self:is_full() then break end
    local kind = "line"
    if self.depth <= MAX_DEPTH then
      kind = self.random:weighted { line = 2, branch = 2, foreach = 3, switch = 2, loop = 1.5 }
    end
    ends = blocks[kind](self, self:single(ends))
  end
  self.depth = self.depth - 1
  return ends
end

function blocks.line(maker, from)
  local step = maker:step()
  connect({ { step = from } }, step)
  return { { step = step } }
end

local function append(list, more)
  for _, one in ipairs(more) do list[#list + 1] = one end
end

-- The join of what `from` split; `first` is the number of the first step in between.
local function join(maker, from, ends, first)
  local step = maker:step()
  step.joins, step.how = from, maker.random:weighted { merge = 5, include = 2, collect = 1 }
  step.inner = {}
  for i = first, #maker.steps - 1 do step.inner[maker.steps[i]] = true end
  connect(ends, step)
  return { { step = step } }
end

function blocks.branch(maker, from)
  from.kind = "branch"
  local first, ends = #maker.steps + 1, {}
  for i = 1, maker.random:between(2, 3) do
    local arm = maker:step()
    from.next[i] = arm.name
    append(ends, maker:sequence(arm, 2))
  end
  return join(maker, from, ends, first)
end

function blocks.foreach(maker, from)
  local r = maker.random
  from.kind = "foreach"
  from.elements = r:pick { "numbers", "texts", "tables", "block", "count", "parameter" }
  from.size = from.elements == "parameter" and #maker.list or r:weighted { 0.3, 1, 2, 2, 1, 1, 0.7 }
  local room = math.floor((maker.budget - maker.tasks) / (2 * maker.times))
  if from.elements ~= "parameter" then from.size = math.max(1, math.min(from.size, room)) end
  -- A join of nothing has no artifacts, and would not know which turn it is.
  if from.elements ~= "parameter" and maker.loops == 0 and r:chance(0.08) then from.size = 0 end
  maker.times = maker.times * math.max(from.size, 1)
  local first = #maker.steps + 1
  local element = maker:step()
  from.next = { element.name }
  local ends = maker:sequence(element, 3)
  maker.times = maker.times / math.max(from.size, 1)
  return join(maker, from, ends, first)
end

function blocks.switch(maker, from)
  local r = maker.random
  local keys = r:pick { { "small", "large" }, { true, false }, { 1, 2, 3 }, { "x y", "end", "7" }, { 1, 2 } }
  from.kind, from.keys = "switch", keys
  local ends = {}
  for i, key in ipairs(keys) do
    if i > 1 and r:chance(0.3) then
      ends[#ends + 1] = { step = from, key = key }
    else
      local case = maker:step()
      from.next[key] = case.name
      append(ends, maker:sequence(case, 1))
    end
  end
  return ends
end

function blocks.loop(maker, from)
  local turns = maker.random:between(2, 3)
  maker.loops, maker.times = maker.loops + 1, maker.times * turns
  local head = maker:step()
  connect({ { step = from } }, head)
  local tail = maker:single(maker:sequence(head, 2))
  maker.loops, maker.times = maker.loops - 1, maker.times / turns
  tail.kind, tail.turns = "loop", turns
  tail.next[true] = head.name
  return { { step = tail, key = false } }
end

-- ---- attributes -------------------------------------------------------------------------------

local function give_attributes(maker)
  local r = maker.random
  local isolated = r:chance(0.25) and MAX_ISOLATED or 0
  for _, step in ipairs(maker.steps) do
    local attributes = {}
    if r:chance(0.12) then
      step.retries, step.fails = r:between(1, 3), 0
      step.fails = r:between(0, step.retries)
      attributes[1] = step.retries == 1 and "retry = 1"
        or ("retry = { times = %d, delay = %s, backoff = 1 }"):format(step.retries, r:pick { "0", "0.001" })
    end
    -- A task that is caught keeps nothing of its own, and would not know its next turn.
    if step.kind == "linear" and not step.is_in_loop and r:chance(0.08) then
      step.is_caught = true
      if r:chance(0.7) then step.fails = (step.retries or 0) + 1 end
      attributes[#attributes + 1] = 'catch = "failure"'
    end
    if step.times <= isolated and r:chance(0.3) then
      isolated = isolated - step.times
      step.is_isolated = true
      attributes[#attributes + 1] = r:pick { "isolate = true", "timeout = 60", 'env = { PROVE_TINT = "blue" }' }
    end
    if r:chance(0.05) then
      attributes[#attributes + 1] = r:pick { "max_parallel = 1", "max_parallel = 2", "resources = { cpu = 2 }" }
    end
    step.attributes = attributes
  end
end

-- ---- what a step does -------------------------------------------------------------------------

local operations = {
  number = function(r, name) return ("self.%s = kit.number(kit.mix(self:get(%q), %d))"):format(name, r:pick(NAMES),
    r:between(0, 999)) end,
  short = function(r, name) return ("self.%s = kit.text(acc, %d)"):format(name, r:between(0, 40)) end,
  long = function(r, name) return ("self.%s = kit.text(acc, %d)"):format(name, r:between(250, 1200)) end,
  table = function(r, name) return ("self.%s = kit.table(kit.mix(acc, self:get(%q)), %d)"):format(name, r:pick(NAMES),
    r:pick { 0, 2, 5, 80 }) end,
  point = function(_, name) return ("self.%s = kit.point(acc)"):format(name) end,
  block = function(r, name) return ("self.%s = kit.block(acc, %q, %d)"):format(name,
    r:pick { "double", "float", "int8_t", "uint16_t", "int64_t" }, r:pick { 1, 7, 60, 300 }) end,
  int64 = function(_, name) return ("self.%s = kit.int64(acc)"):format(name) end,
  change = function(r, name) return ("kit.change(self, %q, %d)"):format(name, r:between(0, 999)) end,
  remove = function(_, name) return ("self.%s = nil"):format(name) end,
  random = function(_, name) return ("self.%s = math.random() + math.random(1000000)"):format(name) end,
  copy = function(r, name) return ("self.%s = self:get(%q)"):format(name, r:pick(NAMES)) end,
  fold = function(_, name) return ("self.acc = kit.mix(self:get \"acc\", self:get(%q))"):format(name) end,
  scratch = function(_, name) return ("self._%s = self:get(%q)"):format(name, name) end,
  stand = function() return "kit.stand(self)" end,
  parameters = function() return 'self.acc = kit.mix(self:get "acc", self.knob, self.list, self.word)' end,
  environment = function() return 'self.acc = kit.mix(self:get "acc", os.getenv "PROVE_TINT")' end,
  failure = function() return 'self.acc = kit.mix(self:get "acc", self:get "failure")' end,
}

local WEIGHTS = {
  number = 2, short = 2, long = 1.5, table = 2, point = 1, block = 1.5, int64 = 1, change = 7, remove = 1.5,
  random = 2, copy = 1.5, fold = 4, scratch = 0.5, stand = 2, parameters = 1, environment = 0.5, failure = 0.5,
}

local function literal(key) return type(key) == "string" and ("%q"):format(key) or tostring(key) end

local function literals(keys)
  if #keys == 0 then return "{}" end
  local texts = {}
  for i, key in ipairs(keys) do texts[i] = literal(key) end
  return "{ " .. table.concat(texts, ", ") .. " }"
end

-- The counters that a join takes over, and those of the elements that it closes.
local function counters_of(maker, step)
  local kept, gone = {}, {}
  for _, other in ipairs(maker.steps) do
    local list = step.joins.kind == "foreach" and step.inner[other] and gone or kept
    if other.is_in_loop then list[#list + 1] = "n_" .. other.name end
    if other.kind == "loop" then list[#list + 1] = "t_" .. other.name end
  end
  return kept, gone
end

local function entry_of(maker, step)
  if not step.joins then return { ("kit.enter(self, %q, %s)"):format(step.name, step.is_in_loop) } end
  local kept, gone = counters_of(maker, step)
  return {
    ("kit.enter_join(self, inputs, %q, %s, %s)"):format(step.name, step.is_in_loop, literals(kept)),
    ("kit.join(self, inputs, %q, names, %s, %d)"):format(step.how, literals(gone), maker.random:between(0, 999)),
  }
end

local function decision_of(step)
  if step.kind == "foreach" and step.elements ~= "parameter" then
    return ("self.items = kit.elements(kit.mix(self:get \"acc\"), %q, %d)"):format(step.elements, step.size)
  elseif step.kind == "switch" then
    return "self.way = kit.choose(self, " .. literals(step.keys) .. ")"
  elseif step.kind == "loop" then
    return ("self.again = kit.again(self, %q, %d)"):format("t_" .. step.name, step.turns)
  end
end

local function body_of(maker, step)
  local r = maker.random
  local lines = entry_of(maker, step)
  lines[#lines + 1] = 'local acc = kit.mix(self:get "acc", ' .. r:between(0, 999) .. ")"
  local count = r:between(1, 6)
  local failing = step.fails and step.fails > 0 and r:between(0, count)
  if failing == 0 then lines[#lines + 1] = ("kit.fail(self, %d)"):format(step.fails) end
  for i = 1, count do
    lines[#lines + 1] = operations[r:weighted(WEIGHTS)](r, r:pick(NAMES))
    if failing == i then lines[#lines + 1] = ("kit.fail(self, %d)"):format(step.fails) end
  end
  lines[#lines + 1] = "self.acc = kit.mix(acc, self:get \"acc\")"
  lines[#lines + 1] = decision_of(step)
  lines[#lines + 1] = "kit.leave(self)"
  return lines
end

-- The step behind a case that is never chosen. Its name puts it before most others.
local EXTRA = "a0"

local function transition_of(step, is_extended)
  if step.kind == nil then return nil end
  if step.kind == "linear" then return ("next = %q"):format(step.next[1]) end
  if step.kind == "branch" then return "next = " .. literals(step.next) end
  if step.kind == "foreach" then
    return ("next = %q, foreach = %q"):format(step.next[1], step.elements == "parameter" and "list" or "items")
  end
  local cases = {}
  for _, key in ipairs(step.keys or { true, false }) do
    cases[#cases + 1] = ("[%s] = %q"):format(literal(key), step.next[key])
  end
  if is_extended then cases[#cases + 1] = ("never = %q"):format(EXTRA) end
  return ("next = { %s }, switch = %q"):format(table.concat(cases, ", "), step.kind == "loop" and "again" or "way")
end

-- ---- the file ---------------------------------------------------------------------------------

local HEAD = [[
-- Made by chance from seed %d.
local kit = require "kit"
local names = { "a", "b", "c", "d", "e", "f", "items", "way", "again", "failure" }

return {
  name = %q,
  params = {
    knob = { default = 0 },
    list = { default = { 0 }, separator = "," },
    word = { default = "" },
  },
  steps = {
]]

-- `bodies` are the lines of each step. In the text the switch of step `extended`, if it is not
-- nil, has one case more.
local function text_of(maker, bodies, seed, name, extended)
  local out = { HEAD:format(seed, name) }
  for i, step in ipairs(maker.steps) do
    local head = { transition_of(step, step == extended) }
    append(head, step.attributes)
    head[#head + 1] = step.joins and "function(self, inputs)" or "function(self)"
    out[#out + 1] = ("    %s = { %s\n"):format(step.name, table.concat(head, ", "))
    for _, line in ipairs(bodies[i]) do out[#out + 1] = "      " .. line .. "\n" end
    out[#out + 1] = "    end },\n"
  end
  if extended then
    local target = extended.next[extended.keys and extended.keys[1] or false]
    out[#out + 1] = ("    %s = { next = %q },\n"):format(EXTRA, target)
  end
  out[#out + 1] = "  },\n}\n"
  return table.concat(out)
end

local function first_switch(steps)
  for _, step in ipairs(steps) do
    if step.kind == "switch" or step.kind == "loop" then return step end
  end
end

-- name → set of the steps at and after it.
local function reach(steps)
  local after = {}
  for _, step in ipairs(steps) do
    local set, waiting = {}, { step.name }
    while #waiting > 0 do
      local name = table.remove(waiting)
      if not set[name] then
        set[name] = true
        for _, target in pairs(steps.by_name[name].next) do waiting[#waiting + 1] = target end
      end
    end
    after[step.name] = set
  end
  return after
end

--- A flow of some `budget` tasks. Gives its `name`, its `text`, where it has a switch an
--- `extended` text, with a case that is never chosen (so that its steps are other ones, and
--- numbered otherwise, but nothing else changes), its `steps` (by name: `retries`,
--- `fails`, `is_caught`, `is_isolated`), the `arguments` of a run, the name of its
--- `last` step, and `after`, which has for each step the set of those at and after it.
function generate.flow(seed, budget)
  local r = random.new(seed, "flow")
  local maker = setmetatable({
    random = r, steps = {}, tasks = 0, times = 1, loops = 0, depth = 0, budget = budget,
    list = {},
  }, Maker)
  for i = 1, r:between(1, 4) do maker.list[i] = r:between(0, 99) end
  local start = maker:step()
  start.name = "start"
  local ends = maker:sequence(start, 2)
  while not maker:is_full() and r:chance(0.8) do ends = maker:sequence(maker:single(ends), 3) end
  local last = ends[1].step
  if #ends > 1 or ends[1].key ~= nil then
    last = maker:step()
    connect(ends, last)
  end
  give_attributes(maker)
  local by_name = {}
  for _, step in ipairs(maker.steps) do by_name[step.name] = step end
  maker.steps.by_name = by_name
  local name, bodies, switch = "Chance" .. seed, {}, first_switch(maker.steps)
  for i, step in ipairs(maker.steps) do bodies[i] = body_of(maker, step) end
  return {
    name = name,
    text = text_of(maker, bodies, seed, name),
    extended = switch and text_of(maker, bodies, seed, name, switch),
    steps = by_name,
    arguments = {
      "--knob", tostring(r:between(0, 999)), "--list", table.concat(maker.list, ","), "--word", "w" .. seed,
    },
    last = last.name,
    after = reach(maker.steps),
  }
end

return generate
