#!/usr/bin/env luajit
-- The flows that do real work agree with other programs that do the same work.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, check, contains = support.test, support.equal, support.check, support.contains

local COUNT = [[find %s -maxdepth 1 -type f -exec awk 1 {} + |
  tr -cs A-Za-z '\n' | tr A-Z a-z | sort | uniq -c | sort -k1,1nr -k2,2]]

--- What the shell's tools count, as a table and as sorted lines.
local function counted_by_shell(dir)
  local counts, lines = {}, {}
  for n, word in support.shell(COUNT:format(dir)):gmatch("(%d+) (%a+)") do
    counts[word] = tonumber(n)
    lines[#lines + 1] = ("%7d %s"):format(n, word)
  end
  return counts, lines
end

local LICENCES = "/usr/share/common-licenses"

if io.open(LICENCES) then
  for _, workers in ipairs { "1", "4" } do
    test("wordcount counts the licences as tr, sort and uniq do, workers: " .. workers, function(w)
      w:run(support.flow("wordcount.lua"), "--max-workers", workers)
      local counts, lines = counted_by_shell(LICENCES)
      equal(w:artifacts("last/finish").counts, counts)
      local printed = w:logs("last/finish")
      equal(printed:match("\n(.*)$"), table.concat(lines, "\n", 1, 10) .. "\n")
    end)
  end
end

test("wordcount counts files, not links or directories, whatever their names", function(w)
  w:write("texts/one.txt", "One two, TWO; three's\n")
  w:write("texts/a name with 'quotes' $(and) more", "two\0three")
  w:write("texts/below/other.txt", "hidden hidden hidden")
  w:write("texts/empty", "")
  w:shell("ln -s one.txt texts/link; ln -s nowhere texts/dangling")
  w:run(support.flow("wordcount.lua"), "--dir", "texts", "--top", "2")
  equal(w:artifacts("last/finish").counts, { one = 1, two = 3, three = 2, s = 1 })
  equal(w:logs("last/finish"), "4 words, 3 files\n      3 two\n      2 three\n")
end)

test("wordcount of an empty directory counts nothing", function(w)
  w:shell("mkdir empty")
  w:run(support.flow("wordcount.lua"), "--dir", "empty")
  equal(w:logs("last/finish"), "0 words, 0 files\n")
end)

test("wordcount names a directory that is not there", function(w)
  local result = w:expect(1, "run", support.flow("wordcount.lua"), "--dir", "nowhere")
  contains(result.out, "cannot list nowhere: No such file or directory")
end)

local function big_endian(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

test("bake makes the same picture with one worker and with four", function(w)
  local size = { "--width", "50", "--height", "30", "--tile", "16", "--samples", "4" }
  w:run(support.flow("bake.lua"), "--out", "one.png", "--max-workers", "1", unpack(size))
  w:run(support.flow("bake.lua"), "--out", "four.png", "--max-workers", "4", unpack(size))
  local png = w:read("one.png")
  check(png == w:read("four.png"), "the pictures differ")
  equal(#w:tasks("last/render", "--include", "place"), 8, "tiles")
  equal(png:sub(1, 8), "\137PNG\r\n\26\n")
  equal({ big_endian(png, 17), big_endian(png, 21) }, { 50, 30 }, "width and height")
  equal(#png, 8 + 25 + (12 + 2 + 5 + 30 * (1 + 3 * 50) + 4) + 12, "bytes")
end)

test("bake keeps the picture as an artifact that get gives back", function(w)
  w:run(support.flow("bake.lua"), "--width=20", "--height=10", "--samples=1")
  w:expect(0, "get", "last/image", "-o", "again.png")
  check(w:read("again.png") == w:read("picture.png"), "the artifact is not the file")
  check(w:expect(0, "get", "bake/1/join/image").out == w:read("picture.png"), "nor is stdout")
end)

test("bake's picture is one that other programs can read", function(w)
  w:run(support.flow("bake.lua"), "--width=300", "--height=200", "--samples=1")
  local reader = [[
import struct, sys, zlib
data, at, pixels = open(sys.argv[1], 'rb').read(), 8, b''
while at < len(data):
    size, = struct.unpack('>I', data[at:at + 4])
    chunk = data[at + 4:at + 8 + size]
    assert zlib.crc32(chunk) == struct.unpack('>I', data[at + 8 + size:at + 12 + size])[0]
    if chunk[:4] == b'IDAT':
        pixels += chunk[4:]
    at += 12 + size
pixels = zlib.decompress(pixels)
assert len(pixels) == 200 * 901 and not any(pixels[::901])
print(len(set(pixels)) > 100)
]]
  w:write("reader.py", reader)
  if w:shell("command -v python3") ~= "" then
    equal(w:shell("python3 reader.py picture.png 2>&1"), "True")
  end
end)

test("statistics agrees with awk on count and mean, and with sort on the median", function(w)
  local lines = { "group,value" }
  for i = 1, 301 do
    lines[#lines + 1] = ("g%d,%.3f"):format(i % 3, (i * 7919 % 1009) / 7)
  end
  w:write("data.csv", table.concat(lines, "\n") .. "\n")
  w:run(support.flow("statistics.lua"), "--data", "data.csv", "--group", "group", "--value", "value")
  local found = w:artifacts("last/finish").table
  equal(#found, 3)
  for i, row in ipairs(found) do
    local group = "g" .. i - 1
    equal(row.group, group)
    local sums = w:shell(("awk -F, '$1 == \"%s\" { n++; s += $2 } END { printf \"%%d %%.6f\", n, s / n }' data.csv")
      :format(group))
    equal(("%d %.6f"):format(row.count, row.mean), sums)
    local sorted = {}
    for value in w:shell(("grep ^%s, data.csv | cut -d, -f2 | sort -n"):format(group)):gmatch("%S+") do
      sorted[#sorted + 1] = tonumber(value)
    end
    local n = #sorted
    equal(row.median, (sorted[math.floor((n + 1) / 2)] + sorted[math.ceil((n + 1) / 2)]) / 2)
    equal({ row.min, row.max }, { sorted[1], sorted[n] })
  end
end)

test("statistics' quartiles lie between the values where they must", function(w)
  w:write("data.csv", "v,k\n4,a\n1,a\n3,a\n2,a\n10,b\n")
  w:run(support.flow("statistics.lua"), "--data=data.csv", "--group=k", "--value=v")
  equal(w:artifacts("last/finish").table, {
    { group = "a", count = 4, mean = 2.5, min = 1, q1 = 1.75, median = 2.5, q3 = 3.25, max = 4 },
    { group = "b", count = 1, mean = 10, min = 10, q1 = 10, median = 10, q3 = 10, max = 10 },
  })
end)

test("statistics reads quotes, commas, line ends and CRLF in fields", function(w)
  w:write("data.csv", '\239\187\191"name, quoted",n\r\n"say ""hi""",1\r\n"two\r\nlines",2\r\n\r\nplain,3')
  w:run(support.flow("statistics.lua"), "--data=data.csv", "--group=name, quoted", "--value=n")
  local names = {}
  for i, row in ipairs(w:artifacts("last/finish").table) do names[i] = row.group .. "=" .. row.mean end
  equal(names, { "plain=3", 'say "hi"=1', "two\nlines=2" })
end)

test("statistics alone looks at the mountains", function(w)
  w:run(support.flow("statistics.lua"))
  local found = w:artifacts("last/finish").table
  equal(#found, 6)
  equal({ found[2].group, found[2].count, found[2].max }, { "Asia", 10, 8849 })
  contains(w:logs("last"), "continent", "South America", "8336.50")
end)

for _, case in ipairs {
  { "line 3: 'tall' in column 'height' is not a number",
    "continent,height\nAsia,1\nAsia,tall\n" },
  { "line 4: 3 fields where the headings have 2",
    'continent,height\n"A\nB",1\nAsia,1,2\n' },
  { "line 2: a quote is opened and never closed", 'continent,height\n"Asia,1\n' },
  { "line 2: 'x' after a closing quote", 'continent,height\n"Asia"x,1\n' },
  { "line 1: no column 'height'; there are: continent, depth", "continent,depth\n" },
  { "line 1: the headings are missing", "" },
} do
  local problem, content = case[1], case[2]
  test("statistics says: " .. problem, function(w)
    w:write("data.csv", content)
    contains(w:expect(1, "run", support.flow("statistics.lua"), "--data", "data.csv").out, problem)
  end)
end

support.done()
