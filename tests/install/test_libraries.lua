#!/usr/bin/env luajit
-- What the installed libraries show to a linker, and what they ask of it.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, check, equal = support.test, support.check, support.equal
local contains, lacks, matches = support.contains, support.lacks, support.matches

-- The functions that a library offers, as a set.
local function exports(w, library)
  local names = {}
  for name in tree.sh(w, ("nm -D --defined-only '%s'"):format(library)):gmatch("%x+ %a (%S+)") do names[name] = true end
  check(next(names), library .. " exports nothing")
  return names
end

-- The functions that luaflow.h promises.
local function promised(w, prefix)
  local header = w:read(prefix .. "/include/luaflow.h")
  local names, count = {}, 0
  for declaration in header:gmatch("\nLUAFLOW_API ([^;]+);") do
    names[declaration:match("([%w_]+)%(")] = true
    count = count + 1
  end
  check(count > 30, "luaflow.h has more functions than " .. count)
  return names
end

local function module_of(w, prefix) return tree.find(w, prefix .. "/lib", "luaflow.so") end

test("the shared library exports what luaflow.h has, and nothing else", function(w)
  local prefix = tree.install(w)
  equal(exports(w, tree.find(w, prefix, "libluaflow.so.0")), promised(w, prefix))
end)

test("so does the module", function(w)
  local prefix = tree.install(w)
  equal(exports(w, module_of(w, prefix)), promised(w, prefix))
end)

test("the shared library has a name with its ABI's number, and its version in its file's", function(w)
  local prefix = tree.install(w)
  local library = tree.find(w, prefix, "libluaflow.so")
  matches(tree.sh(w, ("readelf -d '%s'"):format(library)), "SONAME[^\n]*%[libluaflow%.so%.0%]")
  local version = w:read(prefix .. "/include/luaflow.h"):match('LUAFLOW_VERSION "([%d.]+)"')
  matches(tree.sh(w, ("readlink -f '%s'"):format(library)), "/libluaflow%.so%." .. version:gsub("%.", "%%.") .. "$")
end)

test("neither is unloaded while its threads may be returning", function(w)
  local prefix = tree.install(w)
  for _, library in ipairs { tree.find(w, prefix, "libluaflow.so"), module_of(w, prefix) } do
    matches(tree.sh(w, ("readelf -d '%s'"):format(library)), "FLAGS_1[^\n]*NODELETE")
  end
end)

test("the library brings LuaJIT, the module takes its host's", function(w)
  local prefix = tree.install(w)
  contains(tree.sh(w, ("readelf -d '%s'"):format(tree.find(w, prefix, "libluaflow.so"))), "[libluajit")
  lacks(tree.sh(w, ("readelf -d '%s'"):format(module_of(w, prefix))), "[libluajit")
end)

test("the static library is one for every linker", function(w)
  local prefix = tree.install(w)
  local sections = tree.sh(w, ("readelf -S '%s'"):format(tree.find(w, prefix, "libluaflow.a")))
  contains(sections, ".text")
  lacks(sections, ".gnu.lto_")
end)

test("no installed file says where it was built", function(w)
  local prefix = tree.install(w)
  local texts = ("find '%s' -name '*.pc' -o -name '*.cmake' -o -name '*.h'"):format(prefix)
  equal(w:shell(("%s | xargs grep -l -e '%s' -e '%s'"):format(texts, tree.build, support.root)), "")
end)

support.done()
