--- `luaflow repl`, typed at on a terminal that util-linux's `script` makes, and fed by a pipe.
package.path = arg[0]:gsub("[^/]*$", "") .. "?.lua;" .. package.path
local ffi = require "ffi"
local support = require "support"
local test, equal, contains, lacks = support.test, support.equal, support.contains, support.lacks

ffi.cdef [[ void (*signal(int number, void (*handler)(int)))(int); ]]
ffi.C.signal(13, ffi.cast("void (*)(int)", 1)) -- a prompt that is gone is told by what it did not write

local UP, CTRL_C, CTRL_D = "\27[A", "\3", "\4"

-- ---- a terminal -------------------------------------------------------------------

local Terminal = {}
Terminal.__index = Terminal

-- Starts the prompt; all that tests compare is without colours unless `variables` say otherwise. A
-- shell stands between, since `script` stops with the program that it has started.
local function open(w, arguments, variables)
  local self = setmetatable({ w = w, seen = 1 }, Terminal)
  local set = { "TERM=xterm", "HOME=" .. w.dir, "XDG_STATE_HOME=", "NO_COLOR=1", variables or "" }
  w:shell("rm -f keys screen code; mkfifo keys")
  os.execute(([[cd '%s' && (env -u LUAFLOW_STORE %s timeout -k 5 60 \
    script -qfec 'trap : INT; %s repl %s; exit $?' screen <keys >/dev/null 2>&1; echo $? >code) &]])
    :format(w.dir, table.concat(set, " "), support.command, arguments or ""))
  self.keys = assert(io.open(w.dir .. "/keys", "w"))
  self:expect("> ")
  return self
end

function Terminal:screen() return (self.w:read("screen") or ""):gsub("\r", "") end

-- Waits for text to appear below what was waited for last.
function Terminal:expect(...)
  for _, text in ipairs { ... } do
    local ok = pcall(support.wait_for, text, function()
      local _, last = self:screen():find(text, self.seen, true)
      self.seen = last and last + 1 or self.seen
      return last
    end)
    if not ok then error(("waited in vain for '%s' in: %s"):format(text, self:screen():sub(self.seen)), 2) end
  end
end

function Terminal:type(text)
  self.keys:write(text)
  self.keys:flush()
end

-- Types a line and waits for it to be read. (What is typed too early is shown twice.)
function Terminal:enter(line, ...)
  self:type(line .. "\n")
  self:expect(line .. "\n", ...)
end

function Terminal:code()
  local code = support.wait_for("the prompt to end", function() return (self.w:read("code") or ""):match("%d+\n") end)
  self.keys:close()
  return tonumber(code)
end

-- Leaves, and gives all that was shown.
function Terminal:leave()
  self:type(CTRL_D)
  equal(self:code(), 0, "exit code")
  return self:screen()
end

local function piped(w, text)
  w:write("input.lua", text)
  w:shell(("LUAFLOW_STORE=%s/.luaflow %s repl <input.lua >out 2>err; echo $? >code"):format(w.dir, support.command))
  return { out = w:read("out"), err = w:read("err"), code = tonumber(w:read("code")) }
end

-- ---- typing -----------------------------------------------------------------------

test("a prompt shows values, goes on after errors and is left by Ctrl-D", function(w)
  local t = open(w)
  contains(t:screen(), "luaflow 0.", "store .luaflow, which the first run makes", "Ctrl-D leaves")
  t:enter("1 + 1", "2\n", "> ")
  t:enter("=1, 'a', { b = { 1, 2 } }", '1\n"a"\n{ b = { 1, 2 } }\n', "> ")
  t:enter("error 'boom'", "stdin:1: boom\n", "> ")
  t:enter("x y", "stdin:1: '=' expected near 'y'\n", "> ")
  t:enter("_", "1\n", "> ")
  t:leave()
  equal(w:shell("ls -A | grep luaflow"), "", "no store is made")
end)

test("a chunk of several lines is one entry of the history, also next time", function(w)
  local t = open(w)
  t:enter("for i = 1, 2 do", ">> ")
  t:enter("print('line ' .. i)", ">> ")
  t:enter("end", "line 1\nline 2\n", "> ")
  t:enter("'ü' .. 1", '"ü1"\n', "> ")
  t:leave()
  equal(w:read(".local/state/luaflow/history"), "for i = 1, 2 do\\nprint('line ' .. i)\\nend\n'ü' .. 1\n")
  equal(w:shell("stat -c %a .local/state/luaflow/history .local/state/luaflow"), "600\n700")
  t = open(w)
  t:type(UP .. UP .. "\n")
  t:expect("line 1\nline 2\n", "> ")
  t:type(UP .. UP .. "\27[D2\n") -- before the last character
  t:expect('"ü21"\n', "> ")
  t:leave()
end)

test("a history that cannot be written is no reason to stop", function(w)
  w:write(".local", "in the way")
  local t = open(w)
  t:enter("1 + 1", "2\n", "> ")
  t:leave()
end)

test("Tab completes names and paths, and shows what there is to choose from", function(w)
  w:write("first flow.lua", "")
  local t = open(w)
  t:type("luaflow.ver\t\n")
  t:expect('"0.', "> ")
  t:type("string.re\t")
  t:expect("rep      reverse\n", "> string.re")
  t:type("v\t('ab')\n")
  t:expect('"ba"\n', "> ")
  t:type("f = 'first\t\n")
  t:enter("f", '"first flow.lua"\n', "> ")
  t:leave()
end)

test("values are coloured and as wide as the terminal, where it can", function(w)
  local t = open(w, "", "NO_COLOR= COLUMNS=80")
  t:type("{ 1, 'a' }\n")
  t:expect("{ \27[36m1\27[0m, \27[32m\"a\"\27[0m }\n", "> ")
  t:leave()
end)

-- ---- Ctrl-C and other signals -------------------------------------------------------

test("Ctrl-C at the prompt drops what was typed", function(w)
  local t = open(w)
  t:enter("for i = 1, 2 do", ">> ")
  t:type("no")
  t:expect("no")
  t:type(CTRL_C)
  t:expect("^C\n> ")
  t:enter("1 + 1", "2\n", "> ")
  t:leave()
end)

-- ThreadSanitizer keeps a signal to itself until the program calls something.
local hears_in_loops = support.shell("grep -c __tsan_init " .. support.command) == "0"
local function test_loop(...) if hears_in_loops then test(...) end end

for what, code in pairs {
  ["an empty loop"] = "while true do end",
  ["a loop that is compiled"] = "x = 0 for i = 1, math.huge do x = x + i end",
  ["a loop that makes garbage"] = "while true do x = { {}, {} } end",
  ["a recursion"] = "function f(n) return n > 0 and f(n - 1) + 1 or 0 end while true do f(50) end",
  ["a coroutine"] = "coroutine.wrap(function() while true do end end)()",
} do
  test_loop("Ctrl-C ends " .. what, function(w)
    local t = open(w)
    t:enter(code)
    support.sleep(0.1) -- let it be compiled
    t:type(CTRL_C)
    t:expect("interrupted", "\n> ")
    t:enter("1 + 1", "2\n", "> ")
    t:leave()
  end)
end

test("Ctrl-C ends a wait for input, and for a run", function(w)
  w:write("held.lua", [=[return { steps = { start = function()
    while not io.open("go") do os.execute("sleep 0.01") end end } }]=])
  local t = open(w)
  t:enter("assert(io.read())")
  t:type(CTRL_C)
  t:expect("interrupted", "\n> ")
  t:enter("run = luaflow.start('held.lua')", "> ")
  t:enter("run:wait()")
  t:type(CTRL_C)
  t:expect("interrupted", "\n> ")
  t:enter("run.status", '"running"\n', "> ")
  w:write("go", "")
  t:enter("run:wait()", "true\n", "> ")
  t:leave()
end)

test_loop("a second Ctrl-C ends also what catches the error of the first", function(w)
  local t = open(w)
  t:enter("while true do pcall(function() while true do end end) end")
  t:type(CTRL_C)
  support.wait_for("the loop to end", function() -- signals that come too fast are one
    t:type(CTRL_C)
    support.sleep(0.1)
    return t:screen():find("interrupted", 1, true)
  end)
  t:enter("1 + 1", "2\n", "> ")
  t:leave()
end)

test_loop("Ctrl-C before the prompt has begun to evaluate is not lost", function(w)
  local t = open(w)
  for _ = 1, 5 do
    t:type("while true do end\n")
    t:expect("end\n")
    t:type(CTRL_C)
    t:expect("interrupted", "\n> ")
  end
  t:leave()
end)

local function pid_of(t)
  t:enter([=[io.open("/proc/self/stat"):read("*n")]=], "\n> ")
  return t:screen():match("\n(%d+)\n> $")
end

test("a line goes on after the prompt was stopped, or its window changed", function(w)
  local t = open(w)
  local pid = pid_of(t)
  for _, signals in ipairs { "-WINCH %s", "-STOP %s; kill -CONT %s" } do
    t:type("1 + ")
    t:expect("1 + ")
    w:shell("kill " .. signals:gsub("%%s", pid))
    t:expect("1 + ") -- drawn anew
    t:type("1\n")
    t:expect("2\n", "> ")
  end
  t:leave()
end)

test("a prompt that is told to end gives the terminal back", function(w)
  local t = open(w)
  w:shell("kill -TERM " .. pid_of(t))
  equal(t:code(), 130)
end)

-- ---- runs ---------------------------------------------------------------------------

local TITLES = [=[return { name = "Titles", params = { suffix = { default = "seen" } }, steps = {
  start = { next = "finish", function(self) self.title = "Narcos " .. self.suffix end },
  finish = function(self) print(self.title) end } }]=]

-- Its first step ends when the file `go` is there.
local HELD = [=[return { name = "Held", steps = {
  start = { next = "finish", function() print "begun"
    while not io.open("go") do os.execute("sleep 0.01") end end },
  finish = function() print "finished" end } }]=]

test("a run at the prompt is shown as it goes, and read afterwards", function(w)
  w:write("titles.lua", TITLES)
  local t = open(w)
  t:enter("run = luaflow.run('titles.lua', { params = { suffix = 'heard' } })", "Workflow starting (run-id 1)\n",
    "[1/finish/2 (worker", "Narcos heard\n", "Done! 2 tasks in ", "> ")
  t:enter("run", "<run Titles/1 done>\n", "> ")
  t:enter("=run.data.title, run:step('finish'):tasks()[1].stdout", '"Narcos heard"\n"Narcos heard\\n"\n', "> ")
  t:type("run.da\t.ti\t\n")
  t:expect('"Narcos heard"\n', "> ")
  t:enter("luaflow.run 'gone.lua'", "nil\n", "gone.lua", "> ")
  t:leave()
  equal(w:logs("Titles/1"), "Narcos heard\n")
end)

test("a flow typed at the prompt runs, and its failure names what was typed", function(w)
  local t = open(w, "--store elsewhere")
  t:enter("factor = 3", "> ")
  t:enter("flow = { name = 'Typed', steps = {", ">> ")
  t:enter("  start = { next = 'each', foreach = 'n',", ">> ")
  t:enter("    function(self) self.n = { 1, 2 } end },", ">> ")
  t:enter("  each = { next = 'finish',", ">> ")
  t:enter("    function(self) self.x = self.input * 2 end },", ">> ")
  t:enter("  finish = function(self, inputs)", ">> ")
  t:enter("    self.all = inputs:collect 'x'", ">> ")
  t:enter("    if factor == nil then error 'boom' end end } }", "> ")
  t:enter("run = luaflow.run(flow)", "boom\n", "Run 1 failed: 1 task failed. Resume with:\n",
    "    luaflow.resume(flow, { origin_run_id = 1 })\n", "> ")
  t:enter("run", "<run Typed/1 failed>\n", "> ")
  t:enter("function flow.steps.finish(self, inputs)", ">> ")
  t:enter("  self.all = inputs:collect 'x' end", "> ")
  t:enter("luaflow.resume(flow).data.all", "{ 2, 4 }\n", "> ")
  contains(t:screen(), "print(luaflow.Task(\"Typed/1/finish/4\").stdout)")
  contains(t:leave(), "finish = function(self, inputs)")
  contains(w:expect(0, "runs", "--store", "elsewhere").out, "Typed")
end)

test("Ctrl-C cancels a run, a second one gives the prompt back", function(w)
  w:write("held.lua", HELD)
  local t = open(w)
  t:enter("luaflow.run 'held.lua'", "begun\n")
  t:type(CTRL_C)
  t:expect("Interrupted: waiting for 1 running task to end; press Ctrl-C again to abandon it.\n")
  w:write("go", "")
  t:expect("Run 1 was interrupted", "luaflow.resume(\"held.lua\", { origin_run_id = 1 })", "<run Held/1 interrupted>\n",
    "> ")
  w:shell("rm go")
  t:enter("luaflow.run 'held.lua'", "begun\n")
  t:type(CTRL_C)
  t:expect("Interrupted: ")
  t:type(CTRL_C)
  t:expect("Abandoned 1 running task of run 2.", "<run Held/2 running>\n", "> ")
  t:enter("1 + 1", "2\n", "> ")
  w:write("go", "")
  t:leave()
  equal(w:json("status", "2").status, "interrupted")
end)

test("whoever leaves waits for the runs that go on", function(w)
  w:write("held.lua", HELD)
  local t = open(w)
  t:enter("luaflow.start 'held.lua'", "<run Held/1 running>\n", "> ")
  t:type(CTRL_D)
  t:expect("waiting for 1 run to end; Ctrl-C cancels it\n")
  w:write("go", "")
  equal(t:code(), 0)
  equal(w:json("status", "1").status, "done")
end)

test("whoever leaves twice as fast leaves them interrupted", function(w)
  w:write("held.lua", HELD)
  local t = open(w)
  t:enter("luaflow.start 'held.lua'", "<run Held/1 running>\n", "> ")
  t:type(CTRL_D)
  t:expect("waiting for 1 run")
  t:type(CTRL_C)
  t:expect("cancelled; press Ctrl-C again")
  t:type(CTRL_C)
  equal(t:code(), 130)
  equal(w:json("status", "1").status, "interrupted")
end)

-- ---- scripts ------------------------------------------------------------------------

test("from a pipe, results are all there is", function(w)
  local result = piped(w, "x = 20\nx + 1\nfor i = 1, 2 do\n  print(i)\nend\n{ 'ü' }")
  equal(result.out, '21\n1\n2\n{ "ü" }\n')
  equal(result.err, "")
  equal(result.code, 0)
  equal(w:shell("ls -A | grep -e state -e local"), "", "no history is kept")
end)

test("from a pipe, runs are shown and waited for", function(w)
  w:write("titles.lua", TITLES)
  local result = piped(w, "luaflow.run 'titles.lua'\nrun = luaflow.start 'titles.lua'\n")
  contains(result.out, "Narcos seen\n", "Done! 2 tasks", "<run Titles/1 done>\n")
  contains(result.err, "waiting for 1 run to end")
  equal(result.code, 0)
  equal(w:json("status", "2").status, "done")
end)

test("from a pipe, the first error ends it", function(w)
  local result = piped(w, "1\n\nfunction f()\n  error 'boom'\nend\nf()\n2\n")
  equal(result.out, "1\n")
  contains(result.err, "boom\nstack traceback:\n", "stdin:6: in main chunk\n")
  lacks(result.err, "luaflow/")
  equal(result.code, 1)
  equal(piped(w, "os.exit(7)").code, 7)
end)

test("help tells how it is used", function(w)
  contains(w:expect(0, "repl", "--help").out, "--store", "Ctrl-D leaves")
  contains(w:expect(0, "help").out, "   repl       ")
  contains(w:expect(2, "repl", "--nothing").err, "unknown option '--nothing'")
end)

support.done()
