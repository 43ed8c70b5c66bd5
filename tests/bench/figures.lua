--- What was measured: rounds of ours and the limit, medians and spreads, ratios and aims; as a table,
--- as a document, and beside an earlier document. Pure: knows no command and no clock.
local json = require "luaflow.json"

local figures = {}

local Figures = {}
Figures.__index = Figures

function figures.new() return setmetatable({ list = {}, by_name = {} }, Figures) end

local AIMS = {
  ratio_at_least = { "≥", "", function(f, aim) return f.ratio.median >= aim end },
  ratio_at_most = { "≤", "", function(f, aim) return f.ratio.median <= aim end },
  ours_below = { "<", "unit", function(f, aim) return f.ours.median < aim end },
}

--- Adds one round to a figure. `round` has name, unit (of s, MB, B, instructions or something per s),
--- ours, and where there is one limit and aim: one of { ratio_at_least= }, { ratio_at_most= } and
--- { ours_below= }. A ratio is ours / limit.
function Figures:add(round)
  local row = self.by_name[round.name]
  if not row then
    row = { name = round.name, unit = round.unit, aim = round.aim, ours = {}, limit = {}, ratio = {} }
    self.by_name[round.name] = row
    table.insert(self.list, row)
  end
  table.insert(row.ours, round.ours)
  if round.limit then
    table.insert(row.limit, round.limit)
    table.insert(row.ratio, round.ours / round.limit)
  end
end

--- { median=, min=, max= }, or nil for no values.
function figures.spread(values)
  if #values == 0 then return nil end
  local sorted = { unpack(values) }
  table.sort(sorted)
  local half = #sorted / 2
  local median = #sorted % 2 == 1 and sorted[half + 0.5] or (sorted[half] + sorted[half + 1]) / 2
  return { median = median, min = sorted[1], max = sorted[#sorted] }
end

--- Every figure with its spreads, in the order of the first round:
--- { name=, unit=, ours=, limit=, ratio=, aim=, met= }.
function Figures:summary()
  local list = {}
  for i, row in ipairs(self.list) do
    local f = {
      name = row.name, unit = row.unit, aim = row.aim,
      ours = figures.spread(row.ours), limit = figures.spread(row.limit), ratio = figures.spread(row.ratio),
    }
    if row.aim then
      local kind, value = next(row.aim)
      f.met = AIMS[kind][3](f, value)
    end
    list[i] = f
  end
  return list
end

-- ---- in words ---------------------------------------------------------------------------------

--- Three digits, and no more than four of them behind the point; thousands apart.
function figures.number(n)
  local digits = n == 0 and 1 or math.floor(math.log10(math.abs(n))) + 1
  if digits <= 3 then return ("%%.%df"):format(math.max(0, math.min(4, 3 - digits))):format(n) end
  local step = 10 ^ (digits - 3)
  local text = ("%d"):format(math.floor(n / step + 0.5) * step)
  return (text:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local SMALLER = { { 1, "s" }, { 1e-3, "ms" }, { 1e-6, "µs" }, { 0, "ns" } }

--- The unit in which `n` seconds are read best, and by what they are multiplied.
local function unit_of(f)
  if f.unit ~= "s" then return f.unit, 1 end
  for _, unit in ipairs(SMALLER) do
    if f.ours.median >= unit[1] then return unit[2], unit[1] == 0 and 1e9 or 1 / unit[1] end
  end
end

local function cell(spread, scale)
  if not spread then return "" end
  return ("%s (%s..%s)"):format(figures.number(spread.median * scale), figures.number(spread.min * scale),
    figures.number(spread.max * scale))
end

local function aim_of(f)
  if not f.aim then return "" end
  local kind, value = next(f.aim)
  local sign, unit = unpack(AIMS[kind])
  if unit == "" then return ("%s %g"):format(sign, value) end
  local name, scale = unit_of(f)
  return ("%s %g %s"):format(sign, value * scale, name)
end

--- UTF-8's following bytes take no room.
local function width(text) return #text:gsub("[\128-\191]", "") end

--- Lines of cells; the first column is the words, the others stand at the right.
local function columns(lines)
  local widths, out = {}, {}
  for _, line in ipairs(lines) do
    for i, text in ipairs(line) do widths[i] = math.max(widths[i] or 0, width(text)) end
  end
  for n, line in ipairs(lines) do
    local cells = {}
    for i, text in ipairs(line) do
      local room = (" "):rep(widths[i] - width(text))
      cells[i] = i == 1 and text .. room or room .. text
    end
    out[n] = table.concat(cells, " | "):gsub(" +$", "")
  end
  return table.concat(out, "\n")
end

function figures.table(summary)
  local lines = { { "", "ours", "limit", "ratio", "aim", "" } }
  for _, f in ipairs(summary) do
    local unit, scale = unit_of(f)
    table.insert(lines, {
      f.name .. ", " .. unit, cell(f.ours, scale), cell(f.limit, scale), cell(f.ratio, 1), aim_of(f),
      f.met == false and "missed" or "",
    })
  end
  return columns(lines)
end

-- ---- as a document ----------------------------------------------------------------------------

local SPREADS = { "ours", "limit", "ratio" }

--- Medians by their names, spreads beside them.
function figures.document(summary, machine, rounds)
  local list = {}
  for i, f in ipairs(summary) do
    local item = { name = f.name, unit = f.unit, met = f.met, spread = {} }
    for _, what in ipairs(SPREADS) do
      item[what] = f[what] and f[what].median
      item.spread[what] = f[what] and { f[what].min, f[what].max }
    end
    item.spread = json.ordered(SPREADS, item.spread)
    if f.aim then
      local kind, value = next(f.aim)
      item.aim = { [kind] = value }
    end
    list[i] = json.ordered({ "name", "unit", "ours", "limit", "ratio", "spread", "aim", "met" }, item)
  end
  return json.encode({ machine = machine, rounds = rounds, figures = list })
end

--- The summary that a document was made of; nil, message for what is none.
function figures.read(text)
  local ok, document = pcall(json.decode, text)
  if not ok or type(document) ~= "table" or type(document.figures) ~= "table" then
    return nil, "is no result of ./dev bench --json"
  end
  for _, f in ipairs(document.figures) do
    for _, what in ipairs(SPREADS) do
      local range = f.spread[what]
      f[what] = range and { median = f[what], min = range[1], max = range[2] }
    end
  end
  return document.figures
end

-- ---- two of them ------------------------------------------------------------------------------

local function is_rate(unit) return unit:find("/s", 1, true) ~= nil end

--- How many times as good `after` is; more than 1 is better. By the ratio where there is one, since
--- the limit shares the machine's moods.
local function gain(before, after)
  local what = before.ratio and after.ratio and "ratio" or "ours"
  local times = after[what].median / before[what].median
  local overlap = after[what].min <= before[what].max and before[what].min <= after[what].max
  return is_rate(after.unit) and times or 1 / times, overlap
end

--- The figures that both have. "~": the spreads overlap, so it may be nothing.
function figures.comparison(before, after)
  local earlier = {}
  for _, f in ipairs(before) do earlier[f.name] = f end
  local lines = { { "", "before", "after", "ratio before", "ratio after", "times as good", "" } }
  for _, f in ipairs(after) do
    local old = earlier[f.name]
    if old then
      local unit, scale = unit_of(f)
      local times, overlap = gain(old, f)
      table.insert(lines, {
        f.name .. ", " .. unit, cell(old.ours, scale), cell(f.ours, scale), cell(old.ratio, 1), cell(f.ratio, 1),
        figures.number(times), overlap and "~" or "",
      })
    end
  end
  return columns(lines)
end

return figures
