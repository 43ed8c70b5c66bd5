--- Finds what was meant by a mistyped name. Runs anywhere.
local nearest = {}

--- How many letters to put in, take out, replace or swap with their neighbour.
local function distance(a, b)
  local higher, above = {}, {}
  for j = 0, #b do above[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(above[j - 1] + (same and 0 or 1), above[j] + 1, row[j - 1] + 1)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, higher[j - 2] + 1)
      end
      row[j] = best
    end
    higher, above = above, row
  end
  return above[#b]
end

--- An abbreviation is nearly the name.
local function unlikeness(name, candidate)
  if #name > 1 and candidate:sub(1, #name) == name then return 0.5 end
  return distance(name, candidate)
end

-- The most like one, of several the first in the alphabet, and how unlike it still is.
local function closest(name, names)
  local found, least
  for _, candidate in ipairs(names) do
    local d = unlikeness(name:lower(), candidate:lower())
    if not found or d < least or (d == least and candidate < found) then
      found, least = candidate, d
    end
  end
  return found, least
end

--- The one of `names` that is most like `name`; of several, the first in the alphabet.
--- @return string?  nil when there are no names
function nearest.name(name, names) return (closest(name, names)) end

--- The same, if it is near enough to be surely meant: a letter in three may be wrong.
--- @return string?
function nearest.near(name, names)
  local found, unlike = closest(name, names)
  return found and unlike <= math.max(#name, #found) / 3 and found or nil
end

return nearest
