#!/usr/bin/env luajit
-- Every lesson in flows/ prints what it promises, with one worker and with four.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local support = require "support"
local test, equal, contains = support.test, support.equal, support.contains

--- Tests that a flow of ours, given these arguments, prints `lines`.
local function prints(name, arguments, lines)
  for _, workers in ipairs { "1", "4" } do
    local title = table.concat({ name, unpack(arguments) }, " ")
    test(("%s prints its lines (workers: %s)"):format(title, workers), function(w)
      local result = w:run(support.flow(name), "--max-workers", workers, unpack(arguments))
      equal(w:logs("last"), table.concat(lines, "\n") .. "\n")
      for _, line in ipairs(lines) do contains(result.out, "] " .. line .. "\n") end
      contains(result.out, "Workflow starting (run-id 1)", "Done! ")
    end)
  end
end

prints("linear.lua", {}, { "hello 10 20 30" })
prints("branch.lua", {}, { "mean 14.6, range 12" })

prints("merge.lua", {}, {
  "x is 2",
  "left_only is from the left",
  "common is the same everywhere",
  "notes are gone",
})

prints("foreach.lua", {}, {
  "Stranger Things processed",
  "House of Cards processed",
  "Narcos processed",
})
prints("foreach.lua", { "--suffix", "seen twice" }, {
  "Stranger Things seen twice",
  "House of Cards seen twice",
  "Narcos seen twice",
})

prints("nested.lua", {}, {
  "seas: MD has 8 letters (1 of 2, 1 of 2)",
  "seas: TI has 14 letters (1 of 2, 2 of 2)",
  "robots: RUR has 3 letters (2 of 2, 1 of 1)",
})

prints("switch.lua", {}, { "42 is middling: about 10 to the 2" })
prints("switch.lua", { "--n", "7" }, { "7 is small: 7 exactly" })
prints("switch.lua", { "--n=70000" }, { "70000 is large: about 10 to the 5" })

prints("loop.lua", {}, { "y = 3.00 x + 1.00 after 32 turns" })
prints("loop.lua", { "--max-turns", "1" }, { "y = 1.20 x + 0.20 after 1 turns" })

prints("retry.lua", {}, {
  "Oslo: -3 degrees, at attempt 1",
  "Quito: 14 degrees, at attempt 2",
  "Atlantis: nobody is there, tried 3 times",
  "Lima: timed out after 0.5 s, tried 3 times",
})

test("parameters.lua prints its defaults", function(w)
  w:run(support.flow("parameters.lua"), { env = { HOSTNAME = "here" } })
  equal(w:logs("last"), table.concat({
    "who: world", "ratio: 0.5", "polite: true", "copies: 2", "level: low",
    "colours: red and blue", "sides: 4", "letter: none", "host: here", "",
  }, "\n"))
end)

test("parameters.lua prints what it is given", function(w)
  w:write("letter.txt", "dear me")
  w:run(support.flow("parameters.lua"), "--who=me", "--ratio=-1.5", "--no-polite", "--copies", "3",
    "--level", "high", "--colours", "green,black,white", "--shape", '{"sides": 6}',
    "--letter", "letter.txt", "--host", "there")
  equal(w:logs("last"), table.concat({
    "who: me", "ratio: -1.5", "polite: false", "copies: 3", "level: high",
    "colours: green and black and white", "sides: 6", "letter: 7 bytes", "host: there", "",
  }, "\n"))
end)

test("the turns of loop.lua are tasks, kept with their artifacts", function(w)
  w:run(support.flow("loop.lua"))
  local turns = w:tasks("last/train", "--include", "turn,loss")
  equal(#turns, 32)
  for i, task in ipairs(turns) do
    equal(task.path, i == 1 and "train" or "train#" .. i)
    equal(task.artifacts.turn, i)
    support.check(i == 1 or task.artifacts.loss < turns[i - 1].artifacts.loss, "the loss falls")
  end
end)

test("every lesson says what it is about, and can be shown and checked", function(w)
  for name in support.shell("cd '" .. support.root .. "/flows' && ls *.lua"):gmatch("%S+") do
    w:expect(0, "check", support.flow(name))
    local shown = w:json("show", support.flow(name))
    support.check(type(shown.doc) == "string" and #shown.doc > 0, name .. " has a doc")
    contains(w:expect(0, "show", support.flow(name)).out, shown.doc)
  end
end)

support.done()
