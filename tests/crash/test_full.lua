--- Disks that are full, small or may only be read, and limits of file size and memory, as they
--- really are (tests/prove/full.lua lets each single call fail).
package.path = (arg[0]:match "^(.*/)" or "./") .. "../flows/?.lua;" .. package.path
local support = require "support"

local test, check, contains = support.test, support.check, support.contains

local UNSHARE = support.shell "id -u" == "0" and "unshare -m" or "unshare -rm"
local may_mount = support.shell("mkdir -p /tmp/luaflow-mount; " .. UNSHARE
  .. " mount -t tmpfs tmpfs /tmp/luaflow-mount 2>&1 && echo yes; rmdir /tmp/luaflow-mount 2>/dev/null") == "yes"

-- A test that mounts: where that is forbidden it is skipped, and says so.
local function mounting_test(sentence, body)
  if may_mount then return test(sentence, body) end
  print(("# SKIPPED, since nothing can be mounted here: %s"):format(sentence))
end

local function flow(name) return ("%s/tests/crash/flows/%s.lua"):format(support.root, name) end

-- Runs a script in `disk`, a new file system of some size. In it `call WORDS` calls luaflow and
-- puts what it says and its exit code where `said` finds them, `fill` leaves no free byte, and
-- `grow SIZE` makes room.
local SCRIPT = [[
set -u
mount -t tmpfs -o size=%s,mode=700 tmpfs disk || exit
cd disk
export LUAFLOW_EXE='%s'
call() {
  "$LUAFLOW_EXE" "$@" >../out 2>&1
  code=$?
  echo "[$code] $*"
  cat ../out
}
fill() { cat /dev/zero >filler 2>/dev/null; [ "$(stat -f -c %%a .)" = 0 ] || echo "not full"; }
grow() { mount -o "remount,size=$1" tmpfs . ; }
%s
]]

local function on_disk(w, size, script)
  w:shell "mkdir -p disk"
  w:write("script", SCRIPT:format(size, support.command, script))
  return w:shell(UNSHARE .. " sh ./script 2>&1")
end

-- The calls of a script, in order: code, words, text of each.
local function calls_of(said)
  local calls, last = {}, nil
  for line in (said .. "\n"):gmatch "([^\n]*)\n" do
    local code, words = line:match "^%[(%d+)%] (.*)$"
    if code then
      last = { code = tonumber(code), words = words, text = "" }
      calls[#calls + 1] = last
    elseif last then
      last.text = last.text .. line .. "\n"
    end
  end
  return calls
end

local function expect(call, code)
  check(call, "there is a call less than expected")
  check(call.code == code,
    ("luaflow %s: expected exit code %d, got %d\n%s"):format(call.words, code, call.code, call.text))
end

mounting_test("on a full disk a store is made whole or not at all", function(w)
  local made = 0
  for size = 4, 220, 8 do
    local said = on_disk(w, size .. "k", ("call run %s --store s\nls -A . s 2>/dev/null"):format(flow "small"))
    local call = calls_of(said)[1]
    if call.code == 3 and not call.text:find "Workflow starting" then
      contains(call.text, "disk full: cannot ", " bytes free; make room, then ")
      check(not call.text:find "s%.new%-", "something is left beside the store:\n" .. call.text)
    else
      made = made + 1
      check(call.code == 3 or call.code == 0, ("%dk: exit code %d\n%s"):format(size, call.code, call.text))
    end
  end
  check(made > 0 and made < 28, "the sizes are well chosen")
end)

mounting_test("a run on a disk that fills ends in words, and goes on when there is room", function(w)
  local calls = calls_of(on_disk(w, "2m", ([[
call run %s --store s
call runs --store s --json
call dump last --store s --json --max-value-size 1000
grow 64m
call resume %s --store s
call runs --store s --json
call dump last --store s --json --max-value-size 1000
]]):format(flow "large", flow "large")))
  expect(calls[1], 3)
  contains(calls[1].text, "disk full: cannot write s/data.mdb, ",
    " bytes free; make room, then go on with `luaflow resume`",
    "luaflow resume " .. flow "large" .. " --origin-run-id 1 --store s")
  expect(calls[2], 0)
  contains(calls[2].text, '"status":"failed"')
  expect(calls[3], 0)
  expect(calls[4], 0)
  contains(calls[5].text, '"status":"done"')
  contains(calls[6].text, '"path":"finish"')
end)

mounting_test("a store on a full disk is read, and what changes it is refused in words", function(w)
  local calls = calls_of(on_disk(w, "4m", ([[
call run %s --store s --quiet
fill
call runs --store s
call status last --store s
call dump last --store s
call logs last --store s
call tag add last spring --store s
call tag list last --store s
call run %s --store s
call runs --store s --json
call prune --keep 0 --store s
call verify --store s
rm filler
call tag add last autumn --store s
call prune --keep 0 --compact --store s
call verify --store s
call run %s --store s --quiet
]]):format(flow "small", flow "large", flow "small")))
  for i = 1, 5 do expect(calls[i], 0) end
  -- There may be room for a tag in the file.
  local tag, list = calls[6], calls[7]
  expect(tag, tag.text == "" and 0 or 3)
  if tag.code == 3 then contains(tag.text, "disk full: cannot write s/data.mdb, 0 bytes free; make room") end
  expect(list, 0)
  check(list.text == (tag.code == 0 and "spring\n" or ""), "what was tagged is listed")
  local run = calls[8]
  expect(run, 3)
  contains(run.text, "disk full: cannot write s/data.mdb, 0 bytes free; make room")
  contains(calls[9].text, '"id":1,"flow":"small","status":"done"')
  local prune = calls[10]
  expect(prune, prune.text:find "disk full" and 3 or 0)
  expect(calls[11], 0)
  local is_gone = calls[12].text:find "no run" -- which may be the first of what prune does
  expect(calls[12], is_gone and 2 or 0)
  for i = 13, 15 do expect(calls[i], 0) end
end)

-- LMDB would die of SIGBUS.
mounting_test("a lock file without blocks on a full disk is told", function(w)
  for _, spoil in ipairs { "rm s/lock.mdb", ": >s/lock.mdb", "rm s/lock.mdb; truncate -s 65664 s/lock.mdb" } do
    local calls = calls_of(on_disk(w, "4m", ([[
call run %s --store s --quiet
%s
fill
call runs --store s
call run %s --store s
rm filler
call runs --store s
]]):format(flow "small", spoil, flow "small")))
    expect(calls[1], 0)
    for i = 2, 3 do
      expect(calls[i], 3)
      contains(calls[i].text, "disk full: ", "s/", " 0 bytes free; make room")
    end
    expect(calls[4], 0)
  end
end)

mounting_test("a store that may only be read is read, and what changes it is refused in words", function(w)
  local calls = calls_of(on_disk(w, "4m", ([[
call run %s --store s --quiet
mount -o remount,ro tmpfs .
call runs --store s
call status last --store s
call dump last --store s
call get last/finish/17/sum --store s
call logs last --store s
call tag add last spring --store s
call run %s --store s
]]):format(flow "small", flow "small")))
  for i = 1, 6 do expect(calls[i], 0) end
  for i = 7, 8 do
    expect(calls[i], 3)
    contains(calls[i].text, "s may only be read; change its permissions, or name another store with --store")
  end
end)

test("a limit of file size ends a run in words, and costs nothing that is stored", function(w)
  local script = ([[ulimit -f 2000; exec '%s' run %s --store s]]):format(support.command, flow "large")
  local said = w:shell(("sh -c %q 2>&1; echo code $?"):format(script))
  contains(said, "cannot write s/data.mdb: it would pass the largest file size allowed; raise the limit (ulimit -f)",
    "--origin-run-id 1", "code 3")
  w:expect(0, "resume", flow "large", "--store", "s")
end)

test("too little address space is told", function(w)
  local script = ([[ulimit -v 3000000; exec '%s' run %s --store s]]):format(support.command, flow "small")
  contains(w:shell(("sh -c %q 2>&1; echo code $?"):format(script)), "ulimit -v", "code 3")
  w:expect(0, "run", flow "small", "--store", "s")
end)

support.done()
