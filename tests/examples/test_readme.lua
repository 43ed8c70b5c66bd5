#!/usr/bin/env luajit
-- The code in README.md for who has luaflow inside, or types at a prompt, as it stands there.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "../install/?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, equal, check, contains = support.test, support.equal, support.check, support.contains

-- The section of README.md with this title.
local function section_of(w, title)
  local text = w:read(support.root .. "/README.md")
  return check(text:match("\n## " .. title .. "\n(.-)\n## "), "README.md has a section: " .. title)
end

-- The only block of code in a language, in a text.
local function block(text, language)
  local found, after = text:match("```" .. language .. "\n(.-)```()")
  check(found and not text:find("```" .. language .. "\n", after, true), "one block: " .. language)
  return found
end

-- What a program prints in a luajit that finds the installed module.
local function luajit(w, words)
  local module = tree.directory(tree.find(w, tree.install(w), "luaflow.so"))
  local command = ("LUAFLOW_STORE=.luaflow LUA_CPATH='%s/?.so' luajit %s"):format(module, words)
  return tree.sh(w, tree.plainly(command)) .. "\n"
end

test("what README.md types at the prompt prints what it shows", function(w)
  local prompt = section_of(w, "From the prompt")
  w:write("typed.lua", block(prompt, "lua"))
  equal(luajit(w, "typed.lua"), block(prompt, "text"))
end)

test("it does so where it is typed line by line", function(w)
  local prompt = section_of(w, "From the prompt")
  w:write("typed.lua", block(prompt, "lua"))
  local shown = luajit(w, "-i <typed.lua")
  for line in block(prompt, "text"):gmatch("[^\n]+") do contains(shown, line .. "\n") end
end)

test("the host in C is built by the command that stands in it, and prints what README.md says", function(w)
  local section = section_of(w, "Embed it")
  local source = block(section, "c")
  w:write("embed.c", source)
  local prefix = tree.install(w)
  local pkg_config = tree.directory(tree.find(w, prefix, "luaflow.pc"))
  local libraries = tree.directory(tree.find(w, prefix, "libluaflow.so.0"))
  local command = check(source:match("/%* cc (%-o [^\n]+) %*/"), "it says how it is built")
  tree.sh(w, ("PKG_CONFIG_PATH='%s' && export PKG_CONFIG_PATH && %s -Wall -Wextra -Werror %s")
    :format(pkg_config, tree.cc, command))
  equal(tree.sh(w, tree.plainly(("LD_LIBRARY_PATH='%s' ./embed"):format(libraries))),
    section:match("It prints `([^`]+)`"))
end)

test("the host in Lua prints what README.md shows", function(w)
  local section = section_of(w, "Embed it")
  w:write("primes.lua", block(section_of(w, "A flow"), "lua"))
  w:write("host.lua", block(section, "lua"))
  equal(luajit(w, "host.lua"), block(section, "text"))
end)

test("README.md knows every example, and there is each that it names", function(w)
  local section = section_of(w, "Embed it")
  for name in w:shell(("ls '%s/examples'"):format(support.root)):gmatch("[^\n]+") do
    contains(section, ("[%s](examples/%s)"):format(name, name))
  end
  for path in w:read(support.root .. "/README.md"):gmatch("%]%((examples/[^)]+)%)") do
    check(io.open(support.root .. "/" .. path), path .. " is there")
  end
end)

support.done()
