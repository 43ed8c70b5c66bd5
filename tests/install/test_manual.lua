#!/usr/bin/env luajit
-- The manual and the completion know all that the command knows.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, check, equal = support.test, support.check, support.equal

-- The commands that the overview lists, in its order.
local function commands(w)
  local names = {}
  for name in w:expect(0, "--help").out:match("Commands:\n(.-)\n\n"):gmatch("\n?   ([%l]+) [^\n]*") do
    names[#names + 1] = name
  end
  check(#names > 10, "there are more commands than " .. #names)
  return names
end

-- The options that every command has are told once.
local COMMON = { store = true, help = true }

local function sorted(set)
  local list = {}
  for name in pairs(set) do
    if not COMMON[name] then list[#list + 1] = name end
  end
  table.sort(list)
  return table.concat(list, " ")
end

-- The long options that a command's help has.
local function options_of(w, command)
  local names = {}
  for name in w:expect(0, command, "--help").out:match("Options:\n.*"):gmatch("[ ,]%-%-(%l[%l-]*)") do
    names[name] = true
  end
  return names
end

-- The manual's section of each command, and all before them.
local function manual(w)
  local sections, name = {}, "all"
  local text = w:read(support.root .. "/man/luaflow.1"):match("\n%.Sh COMMANDS\n(.-\n)%.Sh ")
  for line in text:gmatch("([^\n]*)\n") do
    name = line:match("^%.Ss (%S+)") or name
    sections[name] = (sections[name] or "") .. line .. "\n"
  end
  return sections
end

-- The long options that a section has where it says what they do; or anywhere, where it has no list.
local function documented(section)
  local names = {}
  for line in section:gsub("\\\n", ""):gmatch("[^\n]+") do
    if line:find("^%.It ") or not section:find("\n%.It ") then
      for name in line:gmatch("[ ,]%-(%l[%l-]*)") do names[name] = true end
    end
  end
  return names
end

test("every command and each of its options is in the manual", function(w)
  local sections = manual(w)
  equal(sorted(documented(sections.all)), "", "told of all commands")
  for _, name in ipairs(commands(w)) do
    check(sections[name], ("man/luaflow.1 has no section '%s'"):format(name))
    equal(sorted(documented(sections[name])), sorted(options_of(w, name)), "options of " .. name)
  end
end)

test("the exit codes and what is read from the environment are there", function(w)
  local text = w:read(support.root .. "/man/luaflow.1")
  for _, code in ipairs { 0, 1, 2, 3, 130 } do
    support.contains(text:match("\n%.Sh EXIT STATUS\n(.*)"), ("\n.It %d\n"):format(code))
  end
  for _, name in ipairs { "LUAFLOW_STORE", "LUAFLOW_PARAM_NAME", "LUAFLOW_EXE", "NO_COLOR" } do
    support.contains(text:match("\n%.Sh ENVIRONMENT\n(.*)"), ("\n.It Ev %s\n"):format(name))
  end
end)

-- What bash would offer after these words.
local function complete(w, ...)
  local words = { ... }
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = "'" .. word .. "'" end
  return (tree.sh(w, ([[bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _luaflow
    echo "${COMPREPLY[*]}"' - '%s' '%s' %s]])
    :format(support.root .. "/completions/luaflow", support.command, table.concat(quoted, " "))))
end

test("bash completes commands and their options, and else files", function(w)
  equal(complete(w, ""), table.concat(commands(w), " "))
  equal(complete(w, "ve"), "verify version")
  equal(complete(w, "help", "res"), "resume")
  equal(complete(w, "run", "--max"), "--max-num-splits --max-workers")
  equal(complete(w, "runs", "--st"), "--status --store")
  equal(complete(w, "run", "fl"), "")
end)

support.done()
