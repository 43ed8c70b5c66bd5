--- Proves that no damage of a store goes unnoticed or does harm. A case damages a copy of a sound
--- store in one place, and then
---   * no command dies of a signal or hangs,
---   * what is read is what was stored, or is said to be damaged,
---   * where anything that was stored cannot be read any more, `verify` says so,
---   * where `verify` finds nothing, a run can be added, and what was there stays as it was.
local place = require "place"
local random = require "random"

local damage = {
  name = "damage",
  summary = "whatever is damaged in a store: verify finds it, and no read gives wrong bytes",
  count = 6000,
}

local SLOW = 5 -- seconds
local PAGE = 4096
local KINDS = { bit = 50, byte = 12, zeroed = 10, swapped = 10, copied = 6, cut = 8, rubbish = 4 }

local FLOW = [[
local ffi = require "ffi"
return { name = "Many", steps = {
  start = { next = "work", foreach = "parts", function(self)
    self.parts = 40
    self.shared = ("shared "):rep(100)
    self.small = { 1, 2, { x = "y" } }
  end },
  work = { next = "after", retry = 1, function(self)
    if self.index % 8 == 0 and require("luaflow").current.retry_count == 0 then error "not yet" end
    print(("line of %d "):format(self.index):rep(self.index % 7 * 40))
    self.text = ("%d,"):format(self.index):rep(self.index * 97)
    self.block = ffi.new("double[?]", self.index * 11, self.index)
  end },
  after = { next = "finish", function(self)
    if self.index == 17 and not os.getenv "FIXED" then error "broken" end
    self.n = #self.text
  end },
  finish = function(self, inputs)
    self.sizes = inputs:collect "n"
    self.shared = nil
  end,
} }
]]

local LARGE = [[
return { name = "Large", steps = { start = function(self)
  local list = {}
  for i = 1, 600000 do list[i] = ("%07d"):format(i) end
  self.large = table.concat(list)
end } }
]]

local SMALL = [[
return { name = "Small", steps = {
  start = { next = "part", foreach = "n", function(self) self.n = 30 end },
  part = { next = "finish" },
  finish = function(self, inputs) self.m = ("z"):rep(3000) end,
} }
]]

local function fail(text, ...) error({ difference = text:format(...) }, 0) end

-- ---- a sound store ---------------------------------------------------------------------------

local READS = {
  { "runs", "--json" }, { "dump", "1", "--json" }, { "dump", "2", "--json" }, { "logs", "2" },
  { "status", "2", "--json" }, { "get", "Large/3/start/1/large" }, { "tag", "list", "2" },
}

local function call(at, words, environment)
  local call_words = { unpack(words) }
  call_words[#call_words + 1] = "--store"
  call_words[#call_words + 1] = "store"
  return at:call(call_words, environment and { environment = environment })
end

local function must(at, code, ...)
  local result = call(at, { ... })
  if result.code == code then return end
  fail("luaflow %s: exit code %s\n%s", table.concat({ ... }, " "), result.code, result.err)
end

-- The parts of a dump that tell one task each, as a set; the last one only when the dump is whole.
local function tasks_of(text, is_whole)
  local tasks, from = {}, text:find('{"pathspec":', 1, true)
  while from do
    local next_from = text:find('{"pathspec":', from + 1, true)
    if next_from or is_whole then
      local task = text:sub(from, (next_from or 0) - 1):gsub("[%s,%]}]+$", "")
      tasks[task] = true
    end
    from = next_from
  end
  return tasks
end

-- The bytes of a store that is sound, and what the reads of it say.
local function build(dir)
  local at = place.new(dir, "sound")
  at:write("many.lua", FLOW)
  at:write("large.lua", LARGE)
  at:write("small.lua", SMALL)
  must(at, 1, "run", "many.lua", "--quiet", "--seed", "1")
  local fixed = call(at, { "resume", "many.lua", "--quiet" }, { "FIXED=1" })
  if fixed.code ~= 0 then fail("the run cannot be resumed: %s", fixed.err) end
  must(at, 0, "run", "large.lua", "--quiet")
  must(at, 0, "tag", "add", "2", "good", "better")
  must(at, 0, "verify")
  local sound = { data = at:read "store/data.mdb", said = {}, tasks = {}, at = at }
  for i, words in ipairs(READS) do
    local result = call(at, words)
    if result.code ~= 0 then fail("luaflow %s fails: %s", table.concat(words, " "), result.err) end
    sound.said[i], sound.tasks[i] = result.out, tasks_of(result.out, true)
  end
  -- Pages that are more than the inside of a large value.
  sound.pages = {}
  for page = 0, #sound.data / PAGE - 1 do
    local number, flags = sound.data:byte(page * PAGE + 1), sound.data:byte(page * PAGE + 11)
    if number == page % 256 and (flags == 1 or flags == 2 or flags == 4 or flags == 8) then
      sound.pages[#sound.pages + 1] = page
    end
  end
  return sound
end

-- ---- damage ----------------------------------------------------------------------------------

local function replace(data, at, bytes) return data:sub(1, at) .. bytes .. data:sub(at + #bytes + 1) end

local function rubbish(chance, n)
  local bytes = {}
  for i = 1, n do bytes[i] = string.char(chance:between(0, 255)) end
  return table.concat(bytes)
end

-- A damaged copy of the file, and in words what was done to it.
local function hurt(sound, chance)
  local data, kind = sound.data, chance:weighted(KINDS)
  local pages = #data / PAGE
  local page = chance:chance(0.75) and chance:pick(sound.pages) or chance:between(0, pages - 1)
  local other = chance:pick(sound.pages)
  local offset = page * PAGE + (chance:chance(0.4) and chance:between(0, 63) or chance:between(0, PAGE - 1))
  if kind == "bit" then
    local bit = 2 ^ chance:between(0, 7)
    local byte = data:byte(offset + 1)
    local flipped = math.floor(byte / bit) % 2 == 1 and byte - bit or byte + bit
    return replace(data, offset, string.char(flipped)), ("bit %d of byte %d, in page %d"):format(bit, offset, page)
  elseif kind == "byte" then
    return replace(data, offset, rubbish(chance, 1)), ("byte %d, in page %d"):format(offset, page)
  elseif kind == "zeroed" then
    return replace(data, page * PAGE, ("\0"):rep(PAGE)), ("page %d is zeroed"):format(page)
  elseif kind == "rubbish" then
    local n = chance:between(1, 200)
    return replace(data, offset, rubbish(chance, n)):sub(1, #data), ("%d bytes at %d"):format(n, offset)
  elseif kind == "cut" then
    local size = chance:chance(0.5) and chance:between(0, pages) * PAGE or chance:between(0, #data - 1)
    return data:sub(1, size), ("cut to %d bytes"):format(size)
  end
  local one, two = data:sub(page * PAGE + 1, (page + 1) * PAGE), data:sub(other * PAGE + 1, (other + 1) * PAGE)
  data = replace(data, other * PAGE, one)
  if kind == "copied" then return data, ("page %d over page %d"):format(page, other) end
  return replace(data, page * PAGE, two), ("pages %d and %d swapped"):format(page, other)
end

-- ---- what follows ----------------------------------------------------------------------------

local function check_end(words, result, allowed)
  local line = table.concat(words, " ")
  if result.has_hung or result.seconds > SLOW then fail("luaflow %s hangs", line) end
  if not allowed[result.code] then
    fail("luaflow %s ends with exit code %s\n%s%s", line, tostring(result.code), result.out:sub(1, 500), result.err)
  end
end

-- Whether all can be read as before.
local function read_all(sound, at)
  local is_whole = true
  for i, words in ipairs(READS) do
    local result = call(at, words)
    check_end(words, result, { [0] = true, [2] = true, [3] = true })
    is_whole = is_whole and result.code == 0 and result.out == sound.said[i]
    if words[1] == "dump" then
      for task in pairs(tasks_of(result.out, result.code == 0)) do
        if not sound.tasks[i][task] then
          fail("luaflow %s gives what was not stored: %s", table.concat(words, " "), task)
        end
      end
    elseif words[1] == "get" and result.code == 0 and result.out ~= sound.said[i] then
      fail("luaflow get gives what was not stored")
    end
  end
  return is_whole
end

local function prove_one(sound, at, chance)
  local data, what = hurt(sound, chance)
  if data == sound.data then return false end
  at:note("The copy of ../sound/store is damaged: " .. what)
  at:write("store/data.mdb", data)
  os.remove(at.dir .. "/store/lock.mdb")
  local found = call(at, { "verify" })
  check_end({ "verify" }, found, { [0] = true, [3] = true })
  local is_whole = read_all(sound, at)
  if found.code == 0 and not is_whole then fail("verify finds nothing, and not all can be read: %s", what) end
  if chance:chance(0.15) then
    local run = call(at, { "run", "small.lua", "--quiet" })
    check_end({ "run" }, run, { [0] = true, [1] = true, [2] = true, [3] = true })
    if found.code == 0 then
      if run.code ~= 0 then fail("verify finds nothing, and nothing can be run: %s", run.err) end
      local again = call(at, { "verify" })
      if again.code ~= 0 then fail("after a run, verify finds:\n%s", again.out) end
      for i, words in ipairs(READS) do
        if words[1] ~= "runs" and call(at, words).out ~= sound.said[i] then
          fail("after a run, luaflow %s says something else", table.concat(words, " "))
        end
      end
    end
  end
  return found.code == 3
end

function damage.prove(dir, seed, count, report)
  local sound = build(dir)
  local n_failed, n_found = 0, 0
  for case = seed, seed + count - 1 do
    local at = place.new(dir, "case" .. case)
    place.new(at.dir, "store")
    at:write("small.lua", SMALL)
    local ok, found = pcall(prove_one, sound, at, random.new(case, "damage"))
    if ok then
      n_found = n_found + (found and 1 or 0)
      at:remove()
    else
      n_failed = n_failed + 1
      report(case, (type(found) == "table" and found.difference or tostring(found)) .. "\n" .. at:history())
    end
  end
  if n_failed == 0 then sound.at:remove() end
  return n_failed == 0, ("%d of %d stores were damaged where it hurts, %d failed"):format(n_found, count, n_failed)
end

return damage
