--- What the steps of a generated flow are made of. Lies beside the flow file, which requires
--- it; runs in workers.
---
--- A step enters, computes and leaves. What it computes is a mix of what it was given, such
--- that a value which is wrong, stale, lost or in the wrong order changes all that follows.
--- On entering and leaving a step looks whether it is the one to be disturbed:
---   PROVE_DISTURB   "HOW WHEN ATTEMPT PATH": HOW is raise, crash, kill or interrupt; WHEN is
---                   early or late; ATTEMPT is a number or *
---   PROVE_HOST      the process of the command, to be killed or interrupted (default: this one)
---   PROVE_EXECUTED  a file to which every execution appends "PATH ATTEMPT RUN"
local ffi = require "ffi"
local luaflow = require "luaflow"

ffi.cdef [[
  int kill(int pid, int signal);
  int getpid(void);
]]

local SIGINT, SIGKILL = 2, 9
local MAX_COLLECTED = 2000 -- bytes

local kit = {}

-- ---- values -----------------------------------------------------------------------------------

local Point = {}
Point.__index = Point
luaflow.register("Point", Point)

local canonical

local function canonical_table(t)
  local parts = { getmetatable(t) == Point and "Point{" or "{" }
  for key, value in luaflow.sorted_pairs(t) do
    parts[#parts + 1] = canonical(key) .. "=" .. canonical(value)
  end
  parts[#parts + 1] = "}"
  return table.concat(parts, ",")
end

-- What an FFI array is made of; nil for what is none.
local function element_of(value)
  return type(value) == "cdata" and tostring(ffi.typeof(value)):match("^ctype<(.-) ?%[[%d?]+%]>$")
end

--- Text that is the same for equal values and for no others.
function canonical(value)
  local kind = type(value)
  if kind == "number" then return value ~= value and "nan" or ("%.17g"):format(value) end
  if kind == "string" then return "s" .. #value .. ":" .. value end
  if kind == "table" then return canonical_table(value) end
  if kind ~= "cdata" then return tostring(value) end
  local element = element_of(value)
  return element and element .. ":" .. ffi.string(value, ffi.sizeof(value)) or tostring(value)
end

--- A whole number below 2^32, made of all that is given, in this order.
function kit.mix(...)
  local hash = select("#", ...)
  for i = 1, select("#", ...) do
    local text = canonical((select(i, ...)))
    for at = 1, #text do hash = (hash * 65599 + text:byte(at) + 1) % 2^32 end
  end
  return hash
end

local MINUS_ZERO = -1 / math.huge
local ODD_NUMBERS = { 0, MINUS_ZERO, 0 / 0, math.huge, -math.huge, 2^53, -2^53, 2^53 + 2, 1e300, 5e-324, 0.1 }

--- A number of any kind.
function kit.number(seed)
  local odd = ODD_NUMBERS[seed % 40 + 1]
  if odd then return odd end
  if seed % 3 == 0 then return seed / 7 end
  return (seed % 2 == 0 and 1 or -1) * (seed % 2^(seed % 32))
end

--- A string of `size` bytes, readable ones or any.
function kit.text(seed, size)
  local bytes = {}
  local any = seed % 3 == 0
  for i = 1, size do
    seed = (seed * 65599 + 12345) % 2^32
    local high = math.floor(seed / 2^16)
    bytes[i] = string.char(any and high % 256 or 97 + high % 26)
  end
  return table.concat(bytes)
end

--- A table with `size` elements and some names.
function kit.table(seed, size)
  local t = { list = {}, seed = seed, nested = { { deep = seed % 1000 } }, [true] = "yes" }
  for i = 1, size do t.list[i] = kit.mix(seed, i) % 100000 end
  if seed % 2 == 0 then t[seed % 50] = kit.text(seed, 5) end
  return t
end

function kit.point(seed) return setmetatable({ x = seed % 100, y = seed % 7 }, Point) end

--- An FFI array of `size` elements.
function kit.block(seed, element, size)
  local block = ffi.new(element .. "[?]", size)
  for i = 0, size - 1 do block[i] = kit.mix(seed, i) % 127 end
  return block
end

function kit.int64(seed) return 0x20000000000000LL * (seed % 5 - 2) + seed end

--- The things a foreach goes over: `kind` is "numbers", "texts", "tables", "block" or "count".
function kit.elements(seed, kind, size)
  if kind == "count" then return size end
  if kind == "block" then return kit.block(seed, "int32_t", size) end
  local list = {}
  for i = 1, size do
    local one = kit.mix(seed, i)
    if kind == "numbers" then
      list[i] = one % 1000
    elseif kind == "texts" then
      list[i] = kit.text(one, one % 400)
    else
      list[i] = { id = one, tags = { one % 3, "t" .. one % 5 } }
    end
  end
  return list
end

-- ---- what a step does to its artifacts ---------------------------------------------------------

--- Changes an artifact, in place where it can be.
function kit.change(self, name, salt)
  local value = self:get(name)
  local kind = type(value)
  if kind == "table" then
    value.changed = kit.mix(value.changed, salt)
    local list = value.list or value
    list[#list + 1] = salt
  elseif element_of(value) then
    value[salt % (ffi.sizeof(value) / ffi.sizeof(element_of(value)))] = salt % 100
  elseif kind == "string" then
    self[name] = value .. string.char(97 + salt % 26)
  else
    self[name] = kit.mix(value, salt)
  end
end

--- Takes into account all that tells where in its foreaches a task stands.
function kit.stand(self)
  local all = {}
  for i, level in ipairs(self:foreach_stack()) do
    all[i] = kit.mix(level.step, level.index, level.size, level.input)
  end
  self.acc = kit.mix(self:get("acc"), self.input, self.index, unpack(all))
end

--- One of `keys`.
function kit.choose(self, keys) return keys[kit.mix(self:get("acc")) % #keys + 1] end

--- Whether a loop of `turns` turns goes on; the artifact that counts them is gone at its end.
function kit.again(self, name, turns)
  local turn = self:get(name, 0) + 1
  self[name] = turn < turns and turn or nil
  return turn < turns
end

-- ---- joins ------------------------------------------------------------------------------------

-- What the inputs have under `name`: how many, and the value if they agree.
local function survey(inputs, name)
  local count, first, is_conflict = 0, nil, false
  for _, input in ipairs(inputs) do
    if input:has(name) then
      local text = canonical(input[name])
      is_conflict = is_conflict or count > 0 and text ~= first
      count, first = count + 1, text
    end
  end
  return count, is_conflict
end

-- The counters of steps and loops: what the branches of a loop's body counted, and nothing
-- of what was counted inside the elements of a foreach.
local function join_counters(self, inputs, counters)
  for _, name in ipairs(counters) do
    local most
    for _, input in ipairs(inputs) do
      local count = input:get(name)
      most = count and math.max(count, most or 0) or most
    end
    self[name] = most
  end
end

-- What becomes of a conflict: the choice of one input, something of all, or nothing.
local function settle(self, inputs, name, salt)
  if salt % 3 == 0 then return false end
  local all = {}
  for i, input in ipairs(inputs) do all[i] = kit.mix(i, input:get(name)) end
  if salt % 3 == 1 then
    self[name] = inputs[all[1] % #inputs + 1]:get(name)
  else
    self[name] = kit.mix(unpack(all))
  end
  return true
end

-- Lists of lists of lists would outgrow everything.
local function bounded(value)
  local text = canonical(value)
  return #text <= MAX_COLLECTED and value or kit.mix(text)
end

--- Joins. `how` is "merge" (all but what is dropped), "include" (only what is named) or
--- "collect" (no merge). `names` are those of all artifacts but the counters; `gone` are the
--- counters that do not pass.
function kit.join(self, inputs, how, names, gone, salt)
  self.acc = kit.mix(salt, unpack(inputs:collect("acc", 0)))
  local excluded, included = { unpack(gone) }, {}
  for i, name in ipairs(names) do
    local count, is_conflict = survey(inputs, name)
    if how == "collect" then
      if count > 0 and i % 2 == salt % 2 then self[name] = bounded(inputs:collect(name, false)) end
    elseif is_conflict then
      if not settle(self, inputs, name, salt + i) then excluded[#excluded + 1] = name end
    elseif count > 0 then
      included[#included + 1] = name
    end
  end
  if how == "include" then
    self:merge_artifacts(inputs, { include = included })
  elseif how == "merge" then
    self:merge_artifacts(inputs, { exclude = excluded })
  end
end

-- ---- entering and leaving ---------------------------------------------------------------------

local host = tonumber(os.getenv("PROVE_HOST")) or ffi.C.getpid()
local how, when, attempt, place = (os.getenv("PROVE_DISTURB") or ""):match("^(%S+) (%S+) (%S+) (%S+)$")

local function disturb()
  if how == "interrupt" then
    ffi.C.kill(host, SIGINT)
    return
  end
  if how == "kill" then ffi.C.kill(host, SIGKILL) end
  if how == "crash" and ffi.C.getpid() ~= host then ffi.C.kill(ffi.C.getpid(), SIGKILL) end
  error("disturbed", 0)
end

local function may_disturb(self, now)
  local is_now = now == when and self.at == place
  if is_now and (attempt == "*" or tonumber(attempt) == luaflow.current.retry_count) then disturb() end
end

-- Steps in a loop count their runs in an artifact; the path has those of the step and of the
-- foreaches around it.
local function path_of(self, step, is_counted)
  local parts = { step }
  local function count(name)
    local turn = self:get("n_" .. name, 1)
    if turn > 1 then parts[#parts + 1] = "#" .. turn end
  end
  for _, level in ipairs(self:foreach_stack()) do
    count(level.step)
    parts[#parts + 1] = "[" .. level.index .. "]"
  end
  if is_counted then count(step) end
  return table.concat(parts)
end

local function record(path)
  local file = os.getenv("PROVE_EXECUTED")
  if not file then return end
  local current = luaflow.current
  local out = assert(io.open(file, "a"))
  out:write(("%s %d %s\n"):format(path, current.retry_count, current.run_id))
  out:close()
end

--- Begins a step. A join does this when it has its counters, with their help.
function kit.enter(self, step, is_counted)
  if is_counted then self["n_" .. step] = self:get("n_" .. step, 0) + 1 end
  self.at = path_of(self, step, is_counted)
  record(self.at)
  may_disturb(self, "early")
end

--- Begins a join.
function kit.enter_join(self, inputs, step, is_counted, counters)
  join_counters(self, inputs, counters)
  kit.enter(self, step, is_counted)
end

--- Fails the first `times` attempts.
function kit.fail(self, times)
  local now = luaflow.current.retry_count
  if now >= times then return end
  print(("%s attempt %d fails, %d"):format(self.at, now, kit.mix(self:get("acc"), math.random())))
  error("planned", 0)
end

function kit.leave(self)
  print(("%s %d"):format(self.at, self:get("acc", 0)))
  io.stderr:write(self.at, " is done\n")
  may_disturb(self, "late")
end

return kit
