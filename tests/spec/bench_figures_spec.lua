package.path = "tests/bench/?.lua;" .. package.path
local json = require "luaflow.json"
local figures = require "figures"

--- One figure of so many rounds, each { ours, limit }.
local function summary_of(unit, aim, rounds)
  local all = figures.new()
  for _, round in ipairs(rounds) do
    all:add { name = "f", unit = unit, ours = round[1], limit = round[2], aim = aim }
  end
  return all:summary()
end

describe("a figure of the benchmark", function()
  it("is the median of its rounds, and says how far they are apart", function()
    local f = summary_of("s", nil, { { 5, 1 }, { 1, 1 }, { 2, 1 } })[1]
    assert.same({ median = 2, min = 1, max = 5 }, f.ours)
    assert.same({ median = 2.5, min = 2, max = 3 }, figures.spread { 2, 3 })
  end)

  it("has the median of the rounds' own ratios, not the ratio of the medians", function()
    local f = summary_of("s", nil, { { 10, 10 }, { 40, 20 }, { 30, 30 } })[1]
    assert.equal(1, f.ratio.median)
  end)

  it("meets its aim or misses it", function()
    assert.is_true(summary_of("s", { ratio_at_most = 2 }, { { 2, 1 } })[1].met)
    assert.is_false(summary_of("s", { ratio_at_most = 2 }, { { 3, 1 } })[1].met)
    assert.is_true(summary_of("tasks/s", { ratio_at_least = 0.5 }, { { 1, 2 } })[1].met)
    assert.is_false(summary_of("tasks/s", { ratio_at_least = 0.5 }, { { 1, 3 } })[1].met)
    assert.is_true(summary_of("MB", { ours_below = 400 }, { { 399 } })[1].met)
    assert.is_nil(summary_of("MB", nil, { { 399 } })[1].met)
  end)

  it("may have no limit", function()
    local text = figures.table(summary_of("MB", { ours_below = 400 }, { { 401 } }))
    assert.equal("      |           ours | limit | ratio |      aim |\n"
      .. "f, MB | 401 (401..401) |       |       | < 400 MB | missed", text)
  end)
end)

describe("the table of figures", function()
  it("shows seconds in the unit in which they are read best", function()
    assert.is_truthy(figures.table(summary_of("s", nil, { { 0.0123, 0.01 } })):find("f, ms | 12.3 ", 1, true))
    assert.is_truthy(figures.table(summary_of("s", nil, { { 2e-6, 1e-6 } })):find("f, µs | 2.00 ", 1, true))
  end)

  it("shows three digits, thousands apart", function()
    assert.equal("1,230,000", figures.number(1234567))
    assert.equal("12.3", figures.number(12.345))
    assert.equal("0.0001", figures.number(0.0001))
    assert.equal("0.00", figures.number(0))
  end)
end)

describe("a document of figures", function()
  local summary = summary_of("tasks/s", { ratio_at_least = 0.5 }, { { 1, 2 }, { 2, 2 }, { 3, 2 } })
  local text = figures.document(summary, { cores = 2 }, 3)

  it("has what each is, its medians and spreads, and its aim", function()
    assert.same({
      name = "f", unit = "tasks/s", ours = 2, limit = 2, ratio = 1,
      spread = { ours = { 1, 3 }, limit = { 2, 2 }, ratio = { 0.5, 1.5 } },
      aim = { ratio_at_least = 0.5 }, met = true,
    }, json.decode(text).figures[1])
  end)

  it("is read back as the summary that it was", function()
    local read = figures.read(text)
    assert.equal(figures.table(summary), figures.table(read))
  end)

  it("is told from anything else", function()
    assert.same({ nil, "is no result of ./dev bench --json" }, { figures.read "{}" })
    assert.same({ nil, "is no result of ./dev bench --json" }, { figures.read "no JSON" })
  end)
end)

describe("a comparison of two results", function()
  local function times(unit, before, after)
    local text = figures.comparison(summary_of(unit, nil, before), summary_of(unit, nil, after))
    return text:match "([%d.]+) |([ ~]*)$"
  end

  it("says how many times as good the later one is, whichever way is better", function()
    assert.equal("2.00", (times("tasks/s", { { 1, 10 } }, { { 2, 10 } })))
    assert.equal("2.00", (times("s", { { 2, 1 } }, { { 1, 1 } })))
    assert.equal("0.500", (times("MB", { { 1 } }, { { 2 } })))
  end)

  it("goes by the ratio, for the limit has the machine's moods too", function()
    assert.equal("1.00", (times("s", { { 1, 1 } }, { { 3, 3 } })))
  end)

  it("says where it may be nothing", function()
    local _, mark = times("s", { { 1, 1 }, { 3, 1 } }, { { 2, 1 }, { 2.5, 1 } })
    assert.equal(" ~", mark)
  end)

  it("leaves out what only one of them has", function()
    local other = figures.new()
    other:add { name = "g", unit = "s", ours = 1 }
    assert.is_nil(figures.comparison(summary_of("s", nil, { { 1 } }), other:summary()):find "\n")
  end)
end)
