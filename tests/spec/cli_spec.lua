-- The commands, on a store and a process that are tables.
local commands = require "commands"
local luaflow, refused = commands.luaflow, commands.refused

local cli = require "luaflow.cli"
local json = require "luaflow.json"

local world
before_each(function() world = commands.new_world() end)

describe("the command", function()
  it("lists what it can do", function()
    local code, text = luaflow "--help"
    assert.equal(0, code)
    for _, name in ipairs { "run", "resume", "step", "check", "show", "runs", "status", "dump", "get", "logs", "tag",
      "version" } do
      assert.truthy(text:find("\n   " .. name .. " ", 1, true), name)
    end
  end)

  it("without a word is a usage error", function()
    local code, text, complaint = luaflow ""
    assert.same({ 2, "" }, { code, text })
    assert.truthy(complaint:find("^Usage: luaflow COMMAND"))
  end)

  it("suggests what was meant", function()
    refused("rn f.lua", "luaflow: unknown command 'rn'; did you mean 'run'?\nTry 'luaflow --help'.")
    refused("--versio", "luaflow: unknown option '--versio'; did you mean '--version'?")
    refused("status --jsn 1", "unknown option '--jsn'\nDid you mean '--json'?\nTry 'luaflow status --help'.")
    refused("rnu f.lua", "luaflow: unknown command 'rnu'; did you mean 'run'?\n")
    refused("status", "missing argument")
  end)

  it("suggests nothing that is not near", function()
    refused("frobnicate", "luaflow: unknown command 'frobnicate'\n")
    refused("-x", "luaflow: unknown option '-x'\n")
    refused("--xyz", "luaflow: unknown option '--xyz'\n")
    refused("status -x 1", "luaflow: unknown option '-x'\nTry")
    refused("run f.lua --nonsense", "luaflow: unknown option '--nonsense': flow F has no such parameter\n")
  end)

  it("helps in words too", function()
    assert.same({ luaflow "--help" }, { luaflow "help" })
    assert.same({ luaflow "status --help" }, { luaflow "help status" })
    assert.same({ luaflow "run f.lua --help" }, { luaflow "help run f.lua" })
    refused("help statis", "luaflow: unknown command 'statis'; did you mean 'status'?")
  end)

  it("takes _ for - in the name of any option", function()
    local code, text = luaflow "dump 1/start --max_value_size 0 --include=x"
    assert.equal(0, code)
    assert.truthy(text:find("x = (number, 1 byte)", 1, true))
    refused("tag add 1 --no_option", "unknown option '--no-option'")
    luaflow "tag add 1 -- --a_tag"
    assert.same({ "--a_tag" }, world.tagged.add)
  end)

  it("has a help for each of its commands", function()
    for _, name in ipairs { "run", "resume", "step", "check", "show", "runs", "status", "dump", "get", "logs", "tag",
      "version" } do
      for _, option in ipairs { "--help", "-h" } do
        local code, text = luaflow(name .. " " .. option)
        assert.equal(0, code)
        assert.truthy(text:find("^Usage: luaflow " .. name), name)
        assert.truthy(text:find("--store DIR", 1, true), name)
      end
    end
  end)

  it("tells its versions both ways", function()
    assert.same({ 0, "luaflow 0.1.0\nLuaJIT 2.1\n", "" }, { luaflow "--version" })
    assert.same({ 0, "luaflow 0.1.0\nLuaJIT 2.1\n", "" }, { luaflow "version" })
  end)

  it("reports a full disk", function()
    world.broken = true
    local code, _, complaint = luaflow "version"
    assert.equal(2, code)
    assert.equal("luaflow: cannot write to standard output: No space left on device\n", complaint)
    for _, command in ipairs { "--help", "status --help", "runs", "run f.lua" } do
      assert.same({ 2, "", complaint }, { luaflow(command) })
    end
  end)

  it("steers no terminal", function()
    world.terminals = { true, true }
    local _, _, complaint = luaflow "run \27[31m.lua \7"
    assert.equal("luaflow: unexpected argument '^G'\nTry 'luaflow run --help'.\n", complaint)
    world.runs = commands.runs()
    world.runs[2].flow, world.runs[2].tags = "\27]0;F", { "\27[31mred" }
    assert.truthy(select(2, luaflow "runs"):find("^[]0;F", 1, true))
    assert.equal("^[[31mred\n", (select(2, luaflow "tag list 2")))
    assert.falsy(select(2, luaflow "status 2"):find("\27", 1, true))
    world.terminals = {}
    assert.equal("\27[31mred\n", (select(2, luaflow "tag list 2")))
  end)
end)

describe("a store that other machines may share", function()
  it("is warned of once, and used", function()
    world.warnings = { "the store s is on NFS" }
    local code, _, complaint = luaflow "runs"
    assert.same({ 0, "luaflow: warning: the store s is on NFS\n" }, { code, complaint })
  end)
end)

describe("what goes wrong beside a run", function()
  it("is warned of when it has ended", function()
    world.warns_later = { "cannot start worker 3", "no process can be made ready" }
    local code, _, complaint = luaflow "run f.lua"
    assert.same(0, code)
    assert.truthy(complaint:find("luaflow: warning: cannot start worker 3\n" ..
      "luaflow: warning: no process can be made ready\n", 1, true), complaint)
  end)
end)

describe("the store of a command", function()
  local getenv = os.getenv
  after_each(function() os.getenv = getenv end) -- luacheck: ignore 122

  local function opened(command)
    luaflow(command)
    return world.opened.store
  end

  it("is the nearest .luaflow here or above, else one here", function()
    assert.equal(".luaflow", opened "runs")
    world.directories["/home/.luaflow"] = true
    assert.equal("/home/.luaflow", opened "runs")
    world.directories["/home/me/flows/.luaflow"] = true
    assert.equal("/home/me/flows/.luaflow", opened "runs")
  end)

  it("may stand at the root", function()
    world.directories["/.luaflow"] = true
    assert.equal("/.luaflow", opened "runs")
  end)

  it("is $LUAFLOW_STORE, and --store before that", function()
    os.getenv = function(name) return name == "LUAFLOW_STORE" and "/var/store" or nil end -- luacheck: ignore 122
    world.directories["/home/me/flows/.luaflow"] = true
    assert.equal("/var/store", opened "runs")
    assert.equal("elsewhere", opened "runs --store elsewhere")
  end)

  it("is made by run alone", function()
    luaflow "runs"
    assert.is_false(world.opened.create)
    luaflow "run f.lua"
    assert.is_true(world.opened.create)
  end)

  it("that is not there is named", function()
    world.open_fails = { "cannot open", "notfound" }
    refused("status 1 --store here", "there is no store at here")
    refused("dump last --store here", "there is no store at here")
    assert.same({ 0, '{"runs":[]}\n', "" }, { luaflow "runs --json" })
  end)

  it("that cannot be opened is exit code 3", function()
    world.open_fails = { "the disk is full", "store" }
    for _, command in ipairs { "runs", "status 1", "run f.lua", "tag list 1" } do
      local code, _, complaint = luaflow(command)
      assert.equal(3, code)
      assert.equal("luaflow: the disk is full\n", complaint)
    end
  end)
end)

describe("run", function()
  local function texts(arguments)
    local code, _, complaint = luaflow("run " .. arguments)
    assert.equal(0, code, complaint)
    return world.options.texts
  end

  it("takes parameters in every spelling", function()
    assert.same({ suffix = "seen" }, texts "f.lua --suffix seen")
    assert.same({ suffix = "seen" }, texts "--suffix seen f.lua")
    assert.same({ suffix = "a", debug_mode = "true" }, texts "--suffix a --debug-mode f.lua")
    assert.same({ suffix = "-" }, texts "f.lua --suffix -")
    assert.same({ suffix = "a" }, texts "--suffix a -- f.lua")
    assert.same({ suffix = "-1" }, texts "f.lua --suffix=-1")
    assert.same({ suffix = "a=b" }, texts "f.lua --suffix=a=b")
    assert.same({ suffix = "" }, texts "f.lua --suffix=")
    assert.same({ max_depth = "3" }, texts "f.lua --max-depth 3")
    assert.same({ max_depth = "3" }, texts "f.lua --max_depth=3")
    assert.same({ suffix = "b" }, texts "f.lua --suffix a --suffix b")
    assert.same({}, texts "f.lua")
  end)

  it("takes booleans as switches too", function()
    assert.same({ debug_mode = "true" }, texts "f.lua --debug-mode")
    assert.same({ debug_mode = "true" }, texts "--debug_mode f.lua")
    assert.same({ debug_mode = "false" }, texts "f.lua --no-debug-mode")
    assert.same({ debug_mode = "YES" }, texts "f.lua --debug-mode=YES")
    assert.same({ debug_mode = "0" }, texts "f.lua --debug-mode 0")
    assert.same({ debug_mode = "true", suffix = "a" }, texts "f.lua --debug-mode --suffix a")
  end)

  it("hands its own options on", function()
    luaflow "run f.lua --max-workers 4 --max_num_splits=10 --tag a --tag b --seed 18446744073709551615"
    assert.same({ 4, 10, { "a", "b" }, "18446744073709551615" },
      { world.options.max_workers, world.options.max_num_splits, world.options.tags, world.options.seed })
    luaflow "run f.lua --with retry=2 --with timeout=0.5 --run-id-file id --keep-going"
    assert.same({ { name = "retry", value = "2" }, { name = "timeout", value = "0.5" } }, world.with)
    assert.same({ "id", true, 50 },
      { world.options.run_id_file, world.options.keep_going, world.options.progress_after })
    luaflow "run f.lua --verbose"
    assert.equal(0, world.options.progress_after)
    luaflow "run f.lua --json"
    assert.equal(0, world.options.progress_after)
  end)

  it("refuses what it does not understand", function()
    refused("run", "missing argument")
    refused("run gone.lua", "there is no file gone.lua")
    refused("run f.lua other.lua", "unexpected argument 'other.lua'")
    refused("run f.lua --sufix a", "unknown option '--sufix': flow F has no such parameter; did you mean '--suffix'?")
    refused("run f.lua --sed 1", "did you mean '--seed'?")
    refused("run f.lua --suffix", "option '--suffix' needs a value (string)")
    refused("run f.lua --suffix -1", "one that begins with '-' is written --suffix=VALUE")
    refused("run f.lua --no-debug-mode=1", "'--no-debug-mode' takes no value")
    refused("run f.lua --no-suffix", "unknown option '--no-suffix'")
    refused("run f.lua --max-workers", "option '--max-workers' needs a value: N")
    refused("run f.lua --tag --json", "option '--tag' needs a value: T")
    refused("run f.lua --json=yes", "option '--json' takes no value")
    refused("run f.lua -x", "unknown option '-x'")
    refused("run f.lua --max-workers 0", "'0' is not a whole number from 1 to 4294967295")
    refused("run f.lua --max-workers two", "'two' is not a whole number")
    refused("run f.lua --seed=-1", "option '--seed': '-1' is not a whole number from 0 to 18446744073709551615")
    refused("run f.lua --seed 18446744073709551616", "'18446744073709551616' is not a whole number")
    refused("run f.lua --with retry", "option '--with': 'retry' is not NAME=VALUE, as in --with retry=2")
    local all = "retry, timeout, catch, isolate, env, resources, max_parallel"
    refused("run f.lua --with doc=hello", "option '--with': 'doc' is each step's own; all can be given " .. all)
    refused("run f.lua --with rety=1", "option '--with': there is no attribute 'rety'; the nearest is 'retry' "
      .. "(there are " .. all .. ")")
    refused("run bad.lua", "step 'start' is missing\nstep 'a' goes nowhere")
    world.start_fails = { "parameter 'max_depth' takes a number, not 'deep' (--max-depth)", "usage" }
    refused("run f.lua --max-depth deep", "takes a number, not 'deep'")
  end)

  it("lists the flow's parameters in its help", function()
    local code, text = luaflow "run f.lua --help"
    assert.equal(0, code)
    assert.truthy(text:find("Parameters of F:", 1, true))
    assert.truthy(text:find("--suffix STRING +what to append %(default: x%)"))
    assert.truthy(text:find("--max-depth NUMBER", 1, true))
    assert.truthy(text:find("--debug-mode, --no-debug-mode", 1, true))
    assert.truthy(text:find("LUAFLOW_PARAM_NAME", 1, true))
    assert.falsy(select(2, luaflow "run --help"):find("Parameters", 1, true))
  end)

  it("shows the console and ends with 0", function()
    local code, text, complaint = luaflow "run f.lua"
    assert.same({ 0, "" }, { code, complaint })
    assert.truthy(text:find("Workflow starting (run-id 3)\n", 1, true))
    assert.truthy(text:find("Done! 2 tasks in 0.500 s.\n", 1, true))
    assert.is_true(world.watched)
  end)

  it("shows events with --json", function()
    local _, text = luaflow "run f.lua --json"
    assert.equal('{"event":"run_started","run":3,"time":1}\n'
      .. '{"event":"run_finished","run":3,"time":1.5,"status":"done"}\n', text)
  end)

  it("ends with 1 when the run failed, and with 3 when the store did", function()
    world.ends = "failed"
    local code, text = luaflow "run f.lua --store my/$tore"
    assert.equal(1, code)
    assert.truthy(text:find(
      "    luaflow resume f.lua --origin-run-id 3 --store 'my/$tore'\n", 1, true))
    world.problem = { "disk full", "store" }
    assert.equal(3, (luaflow "run f.lua"))
  end)

  it("says once that nobody can be told", function()
    world.broken = true
    local code, _, complaint = luaflow "run f.lua"
    assert.equal(2, code)
    assert.truthy(complaint:find("cannot write to standard output: No space left on device", 1, true))
  end)

  it("starts no more at the first Ctrl-C", function()
    world.is_stuck, world.interrupts, world.last_interrupts = true, { 0, 0 }, 1
    local code, text = luaflow "run f.lua"
    assert.equal(130, code)
    assert.truthy(text:find("Interrupted: no further task is started.\n", 1, true))
    assert.truthy(text:find("was interrupted: 2 tasks done", 1, true))
    assert.truthy(text:find("luaflow resume f.lua --origin-run-id 3", 1, true))
  end)

  it("leaves at the second one", function()
    world.is_stuck, world.interrupts, world.last_interrupts = true, { 0 }, 2
    local ended = {}
    commands.process.exit = function(code)
      ended.code = code
      world.is_stuck = false
    end
    local _, text = luaflow "run f.lua"
    assert.equal(130, ended.code)
    assert.truthy(text:find("Abandoned run 3. Resume with:\n    luaflow resume f.lua", 1, true))
  end)

  it("tells programs of no end when it left", function()
    world.is_stuck, world.interrupts, world.last_interrupts = true, { 0 }, 2
    local told
    commands.process.exit = function()
      told = commands.written()
      world.is_stuck = false
    end
    local _, _, complaint = luaflow "run f.lua --json"
    assert.equal("", told)
    assert.truthy(complaint:find("Abandoned run 3. Resume with:", 1, true))
  end)

  it("has colours and a status line only on a terminal that can do that", function()
    local getenv, term = os.getenv, nil
    os.getenv = function(name) return name == "TERM" and term or nil end -- luacheck: ignore 122
    local function is_painted()
      local _, text, status = luaflow "run f.lua"
      return (text .. status):find("\27", 1, true) ~= nil
    end
    world.terminals = { true, true }
    local painted = { is_painted() }
    for _, name in ipairs { "dumb", "xterm" } do
      term = name
      painted[#painted + 1] = is_painted()
    end
    os.getenv = getenv -- luacheck: ignore 122
    assert.same({ false, false, true }, painted)
  end)

  it("gives a command to copy whatever the file is called", function()
    world.ends = "failed"
    local _, text = luaflow "run \27[2J'\194\155.lua"
    assert.truthy(text:find("luaflow resume $'\\033[2J\\047\\302\\233.lua' --origin-run-id 3\n", 1, true))
  end)

  it("only says what it would do with --dry-run", function()
    local code, text = luaflow "run f.lua --dry-run --max-depth 2"
    assert.equal(0, code)
    assert.equal([[
Would run flow F (f.lua).
Parameters:
    max_depth = 2
    suffix = "x"
Steps:
    start
    finish
]], text)
    assert.is_nil(world.opened)
    refused("run f.lua --dry-run --max-depth deep", "takes a number, not 'deep'")
  end)
end)

describe("check", function()
  it("has a line for a good flow and the list for a bad one", function()
    assert.same({ 0, "f.lua: flow F is valid, 2 steps\n", "" }, { luaflow "check f.lua" })
    assert.same({ 2, "step 'start' is missing\nstep 'a' goes nowhere\n", "" }, { luaflow "check bad.lua" })
    assert.same({ 2, '{"file":"bad.lua","problems":["step \'start\' is missing","step \'a\' goes nowhere"]}\n', "" },
      { luaflow "check bad.lua --json" })
    refused("check gone.lua", "luaflow: there is no file gone.lua")
    refused("check locked.lua", "luaflow: cannot read locked.lua: Permission denied")
  end)
end)

describe("show", function()
  it("draws as asked", function()
    assert.truthy(select(2, luaflow "show f.lua"):find("Step start\n    => finish\n", 1, true))
    assert.truthy(select(2, luaflow "show f.lua --dot"):find('"start" -> "finish";', 1, true))
    assert.equal("F", json.decode(select(2, luaflow "show f.lua --json")).name)
    refused("show f.lua --dot --json", "can not be used together")
  end)
end)

describe("runs", function()
  it("lists the newest first", function()
    local code, text = luaflow "runs"
    assert.equal(0, code)
    local lines = {}
    for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.equal(3, #lines)
    assert.truthy(lines[1]:find("^RUN  FLOW  STATUS  STARTED +DURATION  DONE  FAILED  TAGS$"))
    assert.truthy(lines[2]:find("^2    F     failed  .* 1%.000 s +1 +1$"))
    assert.truthy(lines[3]:find("^1    F     done    .* 1%.500 s +2 +0 +nightly, x$"))
  end)

  it("has a document", function()
    assert.equal('{"runs":[{"id":2,"flow":"F","status":"failed","tags":[],"origin_run_id":1,'
      .. '"tasks":{"done":1,"failed":1,"reused":1}},'
      .. '{"id":1,"flow":"F","status":"done","tags":["nightly","x"],"origin_run_id":null,'
      .. '"tasks":{"done":2,"failed":0,"reused":0}}]}\n', (select(2, luaflow "runs --json")))
  end)

  it("has columns as wide as their characters", function()
    world.runs = commands.runs()
    world.runs[2].flow = "Größe"
    local _, text = luaflow "runs"
    assert.truthy(text:find("^RUN  FLOW   STATUS"))
    assert.truthy(text:find("\n2    Größe  failed", 1, true))
    assert.truthy(text:find("\n1    F      done", 1, true))
  end)

  it("chooses by flow, status and tags", function()
    local function ids(options)
      local list = {}
      for i, run in ipairs(json.decode(select(2, luaflow("runs --json " .. options))).runs) do list[i] = run.id end
      return list
    end
    assert.same({ 2 }, ids "--status failed")
    assert.same({ 1 }, ids "--tag nightly")
    assert.same({}, ids "--tag nightly --tag other")
    assert.same({}, ids "G")
    assert.same({ 2, 1 }, ids "F")
    refused("runs --status lost", "must be one of")
  end)
end)

describe("status", function()
  it("has every step and every failure", function()
    local code, text = luaflow "status 2"
    assert.equal(0, code)
    assert.truthy(text:find("^Run F/2: failed\n"))
    assert.truthy(text:find("Resumed from run 1\n", 1, true))
    assert.truthy(text:find("STEP    TASKS  DONE  RUNNING  FAILED  REUSED\n", 1, true))
    assert.truthy(text:find("finish  1      0     0        1       0\n", 1, true))
    assert.truthy(text:find(
      "F/2/finish/2 failed:\n    f.lua:3: no\n    stack traceback:\n    \tf.lua:3\n", 1, true))
  end)

  it("tells of the attempts before the last", function()
    world.attempts = { { message = "f.lua:3: once\nand", traceback = "" }, { message = "timed out", traceback = "" } }
    assert.truthy(select(2, luaflow "status last"):find("F/2/finish/2 failed:\n    attempt 1: f.lua:3: once\n    and\n"
      .. "    attempt 2: timed out\n    f.lua:3: no\n", 1, true))
    assert.truthy(select(2, luaflow "status last --json"):find('"attempts":[{"message":"f.lua:3: once\\nand",'
      .. '"traceback":""},{"message":"timed out","traceback":""}]}]}\n', 1, true))
  end)

  it("counts what a killed run never ended", function()
    world.runs = commands.runs()
    world.runs[1].status, world.runs[1].steps[2].done = "interrupted", 0
    assert.truthy(select(2, luaflow "status 1"):find(
      "STEP    TASKS  DONE  RUNNING  FAILED  REUSED  LOST\n"
      .. "start   1      1     0        0       0       0\n"
      .. "finish  1      0     0        0       0       1\n", 1, true))
  end)

  it("has a document", function()
    assert.equal('{"id":2,"flow":"F","status":"failed","tags":[],"origin_run_id":1,'
      .. '"tasks":{"done":1,"failed":1,"reused":1},"steps":['
      .. '{"name":"start","tasks":1,"done":1,"failed":0,"reused":0},'
      .. '{"name":"finish","tasks":1,"done":0,"failed":1,"reused":0}],"failures":['
      .. '{"pathspec":"F/2/finish/2","path":"finish","message":"f.lua:3: no",'
      .. '"traceback":"stack traceback:\\n\\tf.lua:3"}]}\n',
      (select(2, luaflow "status last --json")))
  end)

  it("names a run that is not there", function()
    refused("status 7", "run 7 is not in this store")
    refused("status G/1", "G/1 is not in this store: run 1 is of flow F")
    refused("status 1/start", "'1/start' names more than a run")
    world.is_empty = true
    refused("status last", "there is no run in this store yet")
  end)
end)

describe("dump", function()
  it("shows each task and its artifacts, long ones by kind and size", function()
    assert.equal("F/1/start/1  start  done\n"
      .. "    long = (string, 2000 bytes)\n"
      .. "    x = 1\n"
      .. "F/1/finish/2  finish  done\n"
      .. '    list = [1,{"a":true}]\n'
      .. '    picture = {"$type":"bytes","base64":"iVBORw=="}\n', (select(2, luaflow "dump F/1")))
  end)

  it("has a document, in which a failed task has no artifacts", function()
    assert.equal('{"tasks":[{"pathspec":"F/1/start/1","path":"start","status":"done","artifacts":{"x":1}}]}\n',
      (select(2, luaflow "dump 1/start --json --include x")))
    assert.equal('{"tasks":[{"pathspec":"F/2/finish/2","path":"finish","status":"failed","artifacts":{}}]}\n',
      (select(2, luaflow "dump last/finish/2 --json")))
    assert.equal(2000, #json.decode(select(2, luaflow "dump 1/start --json")).tasks[1].artifacts.long)
  end)

  it("cuts where it is told to", function()
    assert.truthy(select(2, luaflow "dump 1/start/1 --max-value-size 0"):find("x = (number, 1 byte)", 1, true))
    assert.truthy(select(2, luaflow "dump 1/start/1 --max_value_size=1"):find("x = 1\n", 1, true))
    assert.truthy(select(2, luaflow "dump 1/finish/2 --max-value-size 13"):find("list = (list, 14 bytes)", 1, true))
    assert.truthy(select(2, luaflow "dump 1/finish/2 --max-value-size 14"):find('list = [1,{"a":true}]', 1, true))
    assert.truthy(select(2, luaflow "dump 1/start/1 --max-value-size 2000"):find('long = "yyy', 1, true))
    assert.truthy(select(2, luaflow "dump 1/start/1 --max-value-size 1999"):find("(string, 2000 bytes)", 1, true))
    assert.truthy(select(2, luaflow "dump 1/start --json --max-value-size 100"):find(
      '"long":{"$type":"omitted","kind":"string","size":2000}', 1, true))
  end)

  it("counts an FFI array's memory", function()
    world.has_numbers = true
    assert.truthy(select(2, luaflow "dump 1/start --max-value-size 23"):find("numbers = (array, 24 bytes)", 1, true))
    assert.truthy(select(2, luaflow "dump 1/start --max-value-size 24"):find('"values":[0.5,1,2]', 1, true))
  end)

  it("names an artifact that no task has", function()
    assert.truthy(select(2, luaflow "dump 1 --include x"):find("x = 1", 1, true))
    assert.equal(0, cli.main { "dump", "1", "--include", "list, x ", "--include", "picture" })
    refused("dump 1 --include x,nothing,y",
      "no task here has an artifact 'nothing'; there is list, long, picture, x")
    refused("dump 2/finish --include x", "no task here has an artifact 'x'; there is none")
  end)

  it("ends its document where something cannot be read", function()
    world.damaged = "list"
    local code, text, complaint = luaflow "dump 1 --json"
    assert.same({ 3, "luaflow: artifact list is damaged\n" }, { code, complaint })
    assert.same({ "F/1/start/1" }, { json.decode(text).tasks[1].pathspec })
    assert.equal(3, (luaflow "dump 1"))
  end)

  it("gives canonical bytes of one task's artifact", function()
    assert.equal("\0x", (select(2, luaflow "dump 1/start/1 --raw x")))
    assert.equal("\0x", (select(2, luaflow "dump 1/start --raw x")))
    refused("dump 1 --raw x",
      "--raw writes the artifact of one task, and this names 2; say which, as in Flow/run/step/task")
    refused("dump 1/start/1 --raw y", "F/1/start/1 has no artifact 'y'; it has long, x")
  end)
end)

describe("get", function()
  it("writes a string's bytes and anything else as JSON", function()
    assert.equal("\137PNG", (select(2, luaflow "get 1/picture")))
    assert.equal('[1,{"a":true}]\n', (select(2, luaflow "get F/1/finish/list")))
  end)

  it("writes an FFI array's memory", function()
    commands.ARTIFACTS.list = require("ffi").new("int16_t[?]", 2, { 1, -1 })
    assert.equal("\1\0\255\255", (select(2, luaflow "get 1/list")))
    commands.ARTIFACTS.list = { 1, { a = true } }
  end)

  it("writes to a file", function()
    local path = os.tmpname()
    assert.same({ 0, "", "" }, { luaflow("get 1/picture -o " .. path) })
    local file = assert(io.open(path, "rb"))
    assert.equal("\137PNG", file:read("*a"))
    file:close()
    os.remove(path)
    refused("get 1/picture -o /nowhere/at/all", "cannot write /nowhere/at/all")
    assert.same({ 0, "\137PNG", "" }, { luaflow "get 1/picture -o -" })
  end)

  it("names what a task has when it has not this", function()
    refused("get 1/y", "F/1/finish/2 has no artifact 'y'; it has list, picture")
    refused("get 2/finish/2/y", "F/2/finish/2 has no artifact 'y'; it failed, so it has none")
    refused("get 1", "names no artifact")
  end)
end)

describe("logs", function()
  it("shows bare lines in task order", function()
    assert.equal("out 1\nerr 1out 2\nerr 2", (select(2, luaflow "logs last")))
    assert.equal("out 1\nout 2\n", (select(2, luaflow "logs 1 --stdout")))
    assert.equal("err 2", (select(2, luaflow "logs 1/finish --stderr")))
  end)

  it("ends the last line on a terminal, and obeys no control characters there", function()
    world.terminals = { true }
    assert.equal("out 1\nerr 1\nout 2\nerr 2\n", (select(2, luaflow "logs last")))
    world.log = "a\27[31mb\27[2J"
    assert.equal("a\27[31mb^[[2J\27[0m\n", (select(2, luaflow "logs 1/start --stdout")))
  end)

  it("shows when they were written", function()
    assert.equal(os.date("%Y-%m-%d %H:%M:%S", 1700000000) .. ".500 out 1\n",
      (select(2, luaflow "logs 1/start --stdout --timestamps")))
  end)

  it("has a document", function()
    assert.equal('{"lines":[{"task":2,"attempt":0,"time":1700000000.5,"stream":"stdout","text":"out 2"}]}\n',
      (select(2, luaflow "logs 1/finish/2 --stdout --json")))
  end)
end)

describe("tag", function()
  it("lists, adds and removes", function()
    assert.same({ 0, "nightly\nx\n", "" }, { luaflow "tag list 1" })
    assert.same({ 0, "", "" }, { luaflow "tag list 2" })
    assert.same({ 0, '{"run":1,"tags":["nightly","x"]}\n', "" }, { luaflow "tag list 1 --json" })
    assert.same({ 0, "", "" }, { luaflow "tag add F/1 a b" })
    assert.same({ id = 1, add = { "a", "b" }, remove = {} }, world.tagged)
    luaflow "tag remove last a"
    assert.same({ id = 2, add = {}, remove = { "a" } }, world.tagged)
  end)

  it("wants to know which", function()
    refused("tag add 1", "'tag add' needs at least one tag")
    refused("tag list 1 a", "'tag list' takes a run and no tags")
    refused("tag put 1 a", "must be one of")
    refused("tag add 9 a", "run 9 is not in this store")
  end)
end)
