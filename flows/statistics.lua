-- Count, mean, median and quartiles of one column of a CSV file for every value of another.
--
--     luaflow run flows/statistics.lua --data sales.csv --group shop --value price
--
-- `data` is a parameter of type "file": the content is read when the run starts and stored with
-- it, so the run stays what it was when the file changes. Without --data it looks at the
-- mountains in data/peaks.csv beside this flow. Quartiles lie between the values where they must
-- (as in a spreadsheet's QUARTILE, or the default of R and NumPy).

--- Splits CSV (RFC 4180: in quotes stand commas, line ends and, doubled, quotes) into records:
--- lists of fields that also know the `line` they start on. Empty lines do not count.
local function parse_csv(text)
  text = text:gsub("^\239\187\191", ""):gsub("\r\n", "\n"):gsub("([^\n])$", "%1\n")
  local records, record, line, at = {}, { line = 1 }, 1, 1
  while at <= #text do
    local field, stop
    if text:sub(at, at) == '"' then
      local close, doubled = at
      repeat
        close = text:find('"', close + 1, true)
          or error(("line %d: a quote is opened and never closed"):format(line), 0)
        doubled = text:sub(close + 1, close + 1) == '"'
        close = doubled and close + 1 or close
      until not doubled
      field, stop = text:sub(at + 1, close - 1):gsub('""', '"'), close + 1
    else
      stop = text:find("[,\n]", at)
      field = text:sub(at, stop - 1)
    end
    record[#record + 1] = field
    line = line + select(2, field:gsub("\n", ""))

    local mark = text:sub(stop, stop)
    if mark == "\n" then
      if #record > 1 or field ~= "" then
        records[#records + 1] = record
      end
      line = line + 1
      record = { line = line }
    elseif mark ~= "," then
      error(("line %d: '%s' after a closing quote"):format(line, mark), 0)
    end
    at = stop + 1
  end
  return records
end

--- The position of the column called `name`.
local function column(header, name)
  for i, field in ipairs(header) do
    if field == name then return i end
  end
  error(("line 1: no column '%s'; there are: %s"):format(name, table.concat(header, ", ")), 0)
end

--- The value below which lies the part `q` of the sorted numbers.
local function quantile(sorted, q)
  local place = 1 + q * (#sorted - 1)
  local below = math.floor(place)
  local above = math.min(below + 1, #sorted)
  return sorted[below] + (place - below) * (sorted[above] - sorted[below])
end

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "" -- where this file is

return {
  doc    = "Statistics of a CSV file, group by group.",
  params = {
    data  = { type = "file", default = here .. "data/peaks.csv",
              help = "the CSV file, with a line of headings" },
    group = { default = "continent", help = "the column to group by" },
    value = { default = "height", help = "the column of numbers" },
  },
  steps = {
    start = { next = "summarise", foreach = "groups", function(self)
      local records = parse_csv(self.data)
      local header = table.remove(records, 1) or error("line 1: the headings are missing", 0)
      local by, of = column(header, self.group), column(header, self.value)

      local groups, known = {}, {}
      for _, record in ipairs(records) do
        if #record ~= #header then
          error(("line %d: %d fields where the headings have %d")
            :format(record.line, #record, #header), 0)
        end
        local number = record[of]:find("^[%d%s.eE+-]+$") and tonumber(record[of])
          or error(("line %d: '%s' in column '%s' is not a number")
            :format(record.line, record[of], self.value), 0)
        local group = known[record[by]]
        if not group then
          group = { name = record[by], values = {} }
          known[group.name] = group
          groups[#groups + 1] = group
        end
        table.insert(group.values, number)
      end
      table.sort(groups, function(a, b) return a.name < b.name end)
      self.groups = groups
    end },

    summarise = { next = "join", function(self)
      local values, sum = self.input.values, 0
      table.sort(values)
      for _, value in ipairs(values) do sum = sum + value end
      self.summary = {
        group  = self.input.name,
        count  = #values,
        mean   = sum / #values,
        min    = values[1],
        q1     = quantile(values, 0.25),
        median = quantile(values, 0.5),
        q3     = quantile(values, 0.75),
        max    = values[#values],
      }
    end },

    join = { next = "finish", function(self, inputs)
      self.table = inputs:collect("summary")
    end },

    finish = function(self)
      local row = "%-16s %6s %10s %10s %10s %10s %10s %10s"
      print(row:format(self.group, "count", "mean", "min", "q1", "median", "q3", "max"))
      for _, s in ipairs(self.table) do
        local cells = { s.mean, s.min, s.q1, s.median, s.q3, s.max }
        for i, cell in ipairs(cells) do cells[i] = ("%.2f"):format(cell) end
        print(row:format(s.group, s.count, unpack(cells)))
      end
    end,
  },
}
