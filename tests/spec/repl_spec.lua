package.loaded["luaflow.native"] = { register = function() end }
local repl = require "luaflow.repl"

-- A prompt at which these lines are typed ({ why } is no line), what it wrote, and why it ended.
local function typed(lines, more)
  local out, prompts, entries, at = {}, {}, {}, 0
  local options = {
    read = function(prompt)
      at = at + 1
      prompts[#prompts + 1] = prompt
      if lines[at] == nil then return nil, "end" end
      if type(lines[at]) == "table" then return nil, lines[at][1] end
      return lines[at]
    end,
    write = function(text) out[#out + 1] = text end,
    warn = function(text) out[#out + 1] = text end,
    flush = function() end,
    call = xpcall,
    remember = function(entry) entries[#entries + 1] = entry end,
    width = function() return 80 end,
    is_terminal = true,
    globals = _G,
  }
  for name, value in pairs(more or {}) do options[name] = value end
  local why = repl.new(options):run()
  _G._ = nil
  return table.concat(out), { why = why, prompts = table.concat(prompts), entries = entries }
end

local function shows(expected, ...) assert.equal(expected .. "\n", (typed { ... })) end

describe("the prompt", function()
  after_each(function() _G.it_was = nil end)

  it("shows the values of expressions, with or without =", function()
    shows("3\n", "1 + 2")
    shows("3\n", "=1 + 2")
    shows("3\n", "  = 1 + 2")
    shows('1\nnil\n"x"\n', "1, nil, 'x'")
    shows("nil\n", "nothing_of_that_name")
    shows("{ a = 1 }\n", "{ a = 1 }")
  end)

  it("does what statements say, and shows nothing", function()
    shows("2\n", "it_was = 2", "it_was")
    shows("", "", "  ", "-- nothing")
    shows("", "(function() end)()")
  end)

  it("keeps the last value in _", function()
    shows("41\n42\n", "41", "_ + 1")
    shows("41\n41\n", "41", "it_was = 1", "_")
  end)

  it("waits for the end of a chunk", function()
    local out, about = typed { "for i = 1, 2 do", "", "it_was = i", "end", "it_was" }
    assert.equal("2\n\n", out)
    assert.equal("> >> >> >> > > ", about.prompts)
    shows("{ 1, 2 }\n", "{ 1,", "2 }")
    shows("3\n", "=1 +", "2")
    shows('"a\\nb"\n', "[[a", "b]]")
    shows("6\n", "math.max(1,", "6", ")")
  end)

  it("says what is wrong and goes on", function()
    shows("stdin:1: '=' expected near 'y'\n1\n", "x y", "1")
    shows("stdin:1: boom\n1\n", "error 'boom'", "1")
    shows("stdin:2: boom\n", "do", "error 'boom' end")
    shows("stdin:1: unfinished string near ''y'\n1\n", "x = 'y", "1")
    shows("error: { code = 1 }\n", "error { code = 1 }")
    shows("error: nil\n", "error()")
    shows("stdin:1: unexpected symbol near '='\n", "==1")
  end)

  it("shows where an error comes from, in the user's own functions", function()
    local out = typed { "function it_was() error 'boom' end", "do", "it_was() end" }
    assert.equal([=[
[string "function it_was() error 'boom' end"]:1: boom
stack traceback:
	[string "function it_was() error 'boom' end"]:1: in function 'it_was'
	stdin:2: in main chunk

]=], out)
    out = typed { "function it_was(n) return 1 + it_was(n) end it_was(1)" }
    assert.truthy(out:find("stack overflow\n", 1, true))
    assert.truthy(out:find("\n\t...\n\n$"))
  end)

  it("survives a value that cannot say what it is", function()
    local out = typed { "setmetatable({}, { __tostring = function() error 'no' end })", "1" }
    assert.truthy(out:find("no>\n1\n\n$"))
  end)

  it("gives a function the text it was typed in", function()
    typed { "function it_was()", "  return 1", "end" }
    local about = debug.getinfo(_G.it_was, "S")
    assert.equal("function it_was()\n  return 1\nend", about.source)
    assert.equal(1, about.linedefined)
    typed { "it_was = {", "function() end }" }
    assert.equal("it_was = {\nfunction() end }", debug.getinfo(_G.it_was[1], "S").source)
  end)

  it("never takes bytecode", function()
    local out = typed { string.dump(function() _G.it_was = 1 end) }
    assert.is_nil(_G.it_was)
    assert.truthy(out:find("attempt to load chunk with wrong mode", 1, true))
  end)

  it("drops what was typed when it is interrupted", function()
    local out, about = typed { "for i = 1, 2 do", { "interrupt" }, "1" }
    assert.equal("^C\n1\n\n", out)
    assert.equal("> >> > > ", about.prompts)
  end)

  it("remembers chunks, whatever became of them", function()
    local _, about = typed { "1", "", "for i = 1, 2 do", "end", "x y" }
    assert.same({ "1", "for i = 1, 2 do\nend", "x y" }, about.entries)
  end)

  it("ends where the input does, or when it is told to", function()
    local out, about = typed {}
    assert.equal("\n", out)
    assert.equal("end", about.why)
    assert.equal("terminate", select(2, typed { "1", { "terminate" } }).why)
    out = typed { "for i = 1, 2 do" }
    assert.truthy(out:find("'end' expected (to close 'for' at line 1) near '<eof>'", 1, true))
  end)

  it("reddens errors where colours are wanted", function()
    assert.equal("\27[31mstdin:1: no\27[0m\n\27[36m1\27[0m\n\n", (typed({ "error 'no'", "1" }, { has_colours = true })))
  end)
end)

describe("a script", function()
  local function script(...) return typed({ ... }, { is_terminal = false }) end

  it("is evaluated to its end", function()
    local out, about = script("it_was = 1", "it_was + 1")
    assert.equal("2\n", out)
    assert.equal("end", about.why)
  end)

  it("ends where something fails", function()
    local out, about = script("1", "", "do", "error 'boom'", "end", "2")
    assert.equal("1\nluaflow: stdin:4: boom\n", out)
    assert.equal("failed", about.why)
    out, about = script("for i = 1, 2 do")
    assert.equal("luaflow: stdin:2: 'end' expected (to close 'for' at line 1) near '<eof>'\n", out)
    assert.equal("failed", about.why)
  end)
end)
