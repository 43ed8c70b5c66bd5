--- What faults.c is asked for, and what its journal tells: the disks that could be left by a
--- power cut. Runs in the host only.
local ffi = require "ffi"
local support = require "support"

ffi.cdef [[
  struct faults_entry { uint32_t kind, flags; uint64_t file, at, size; };
]]

local faults = {}

local WRITE, TRUNCATE, SYNC, MAKE, RENAME, REMOVE, SAY = 1, 2, 3, 4, 5, 6, 7
local DURABLE, DIRECTORY, FAILED = 1, 2, 4
local ENTRY = ffi.sizeof "struct faults_entry"
local SECTOR = 512

--- The library to preload.
faults.library = support.command:match "^(.*)/" .. "/tests/faults.so"

--- The environment in which calls of luaflow that use `store` in place `at` are watched.
--- `options`: journal (a file), at ("NUMBER WHAT"), no_sync.
function faults.environment(at, store, options)
  local list = {
    "LD_PRELOAD=" .. faults.library,
    ("FAULTS_STORE=%s/%s"):format(at.dir, store),
  }
  if options.journal then list[#list + 1] = ("FAULTS_JOURNAL=%s/%s"):format(at.dir, options.journal) end
  if options.at then list[#list + 1] = "FAULTS_AT=" .. options.at end
  if options.no_sync then list[#list + 1] = "FAULTS_NOSYNC=1" end
  return list
end

-- ---- the journal ------------------------------------------------------------------------------

local Journal = {}
Journal.__index = Journal

--- Reads a journal.
function faults.read(path)
  local file = assert(io.open(path, "rb"), "faults: there is no journal " .. path)
  local text = file:read("*a")
  file:close()
  local self = setmetatable({ text = text, entries = {}, n_calls = 0 }, Journal)
  local bytes, at = ffi.cast("const uint8_t *", text), 0
  while at < #text do
    local raw = ffi.cast("const struct faults_entry *", bytes + at)
    local entry = {
      kind = raw.kind,
      flags = raw.flags,
      file = tostring(raw.file),
      at = tonumber(raw.at),
      size = tonumber(raw.size),
      data = bytes + at + ENTRY,
    }
    if raw.kind == MAKE or raw.kind == RENAME or raw.kind == REMOVE then
      entry.name, entry.to = ffi.string(entry.data, entry.size):match "^(%Z*)%z(%Z*)"
    end
    if raw.kind ~= SAY then self.n_calls = self.n_calls + 1 end
    self.entries[#self.entries + 1] = entry
    at = at + ENTRY + entry.size
  end
  return self
end

--- What was said before entry `cut`.
function Journal:said_before(cut)
  local parts = {}
  for i = 1, cut - 1 do
    local entry = self.entries[i]
    if entry.kind == SAY then parts[#parts + 1] = ffi.string(entry.data, entry.size) end
  end
  return table.concat(parts)
end

-- ---- a disk -----------------------------------------------------------------------------------
-- A file is its bytes that are safe, and the calls since its last sync, of which some may have
-- come to the disk, in parts. A directory is the names that are safe, and the calls since.

local File = {}
File.__index = File

local function new_file()
  return setmetatable({ bytes = ffi.new("uint8_t[?]", 65536), room = 65536, size = 0, pending = {} }, File)
end

function File:resize(size)
  if size > self.room then
    local room = math.max(size, self.room * 2)
    local bytes = ffi.new("uint8_t[?]", room)
    ffi.copy(bytes, self.bytes, self.size)
    self.bytes, self.room = bytes, room
  elseif size < self.size then
    ffi.fill(self.bytes + size, self.size - size)
  end
  self.size = size
end

function File:write(entry, from, to)
  self:resize(math.max(self.size, entry.at + to))
  ffi.copy(self.bytes + entry.at + from, entry.data + from, to - from)
end

-- Those sectors of a write that `is_kept`. A sector is whole or not there.
function File:write_some(entry, is_kept)
  local from = 0
  while from < entry.size do
    local to = math.min(entry.size, SECTOR - (entry.at + from) % SECTOR + from)
    if is_kept() then self:write(entry, from, to) end
    from = to
  end
end

local function always() return true end

function File:sync(is_kept)
  for _, entry in ipairs(self.pending) do
    if entry.kind == TRUNCATE then
      if is_kept == always or is_kept() then self:resize(entry.at) end
    elseif is_kept == always or entry.is_safe then
      self:write(entry, 0, entry.size)
    else
      self:write_some(entry, is_kept)
    end
  end
  self.pending = {}
end

-- The calls before `cut`, and the write that is cut, on a disk.
local function replay(journal, cut)
  local files, places, above = {}, {}, { safe = {}, pending = {} }
  local directories = {}
  local function directory_of(path)
    local number = places[path:match "^(.*)/"]
    return number and directories[number] or above
  end
  for i = 1, cut do
    local entry = journal.entries[i]
    local kind = entry.kind
    local is_cut = i == cut
    if bit.band(entry.flags, FAILED) ~= 0 or is_cut and kind ~= WRITE then
      kind = 0
    elseif kind == WRITE or kind == TRUNCATE then
      local file = files[entry.file] or new_file()
      files[entry.file] = file
      file.pending[#file.pending + 1] = setmetatable(
        { is_safe = not is_cut and bit.band(entry.flags, DURABLE) ~= 0 }, { __index = entry })
    elseif kind == SYNC then
      if files[entry.file] then
        files[entry.file]:sync(always)
      else
        local directory = directories[entry.file] or above
        for _, change in ipairs(directory.pending) do change(directory.safe) end
        directory.pending = {}
      end
    end
    if kind == MAKE then
      places[entry.name] = entry.file
      if bit.band(entry.flags, DIRECTORY) ~= 0 then
        directories[entry.file] = { safe = {}, pending = {} }
      else
        files[entry.file] = new_file()
      end
    end
    if kind == MAKE or kind == RENAME or kind == REMOVE then
      local number = places[entry.name]
      local directory = directory_of(entry.name)
      directory.pending[#directory.pending + 1] = function(names)
        if kind ~= MAKE then names[entry.name:match "[^/]*$"] = nil end
        if kind ~= REMOVE then names[(kind == RENAME and entry.to or entry.name):match "[^/]*$"] = number end
      end
      if kind == RENAME then
        places[entry.to] = number
        for path, inner in pairs(places) do
          if path:sub(1, #entry.name + 1) == entry.name .. "/" then
            places[entry.to .. path:sub(#entry.name + 1)] = inner
          end
        end
      end
    end
  end
  return files, directories, above
end

local function garbage(random, size)
  local bytes = ffi.new("uint8_t[?]", size)
  for i = 0, size - 1 do bytes[i] = random:next() % 256 end
  return bytes
end

local function save(path, bytes, size)
  local file = assert(io.open(path, "wb"))
  assert(file:write(ffi.string(bytes, size)))
  file:close()
end

-- How much of what was not synced came to the disk.
local function chance(random)
  local likelihood = random:pick { 0, 0.1, 0.5, 0.9, 1 }
  return function() return random:chance(likelihood) end
end

--- Writes into `dir` what a disk may have after the power was cut during entry `cut`.
function Journal:image(cut, random, dir)
  local files, directories, above = replay(self, cut)
  local is_kept = chance(random)
  local function change(directory)
    for _, one in ipairs(directory.pending) do
      if is_kept() then one(directory.safe) end
    end
  end
  -- In an order that is the same each time: chance is drawn on the way.
  local numbers = {}
  for number in pairs(files) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  for _, number in ipairs(numbers) do files[number]:sync(is_kept) end
  change(above)
  for name, number in pairs(above.safe) do
    local directory = directories[number]
    change(directory)
    support.shell(("mkdir -p '%s/%s'"):format(dir, name))
    for file, inner in pairs(directory.safe) do
      local bytes, size = files[inner].bytes, files[inner].size
      -- It is written through a map and never synced.
      if file == "lock.mdb" and size > 0 and random:chance(0.5) then bytes = garbage(random, size) end
      save(("%s/%s/%s"):format(dir, name, file), bytes, size)
    end
  end
end

return faults
