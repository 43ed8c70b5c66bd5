#!/usr/bin/env luajit
-- Programs of C and C++ with an installed luaflow: found by pkg-config and by CMake, shared and static.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, equal = support.test, support.equal
local contains, lacks = support.contains, support.lacks

local HOST = support.root .. "/tests/install/host.c"
local STRICT = "-Wall -Wextra -Werror -pedantic"

local function pkg_config(w, prefix, ...)
  local directory = tree.directory(tree.find(w, prefix, "luaflow.pc"))
  return tree.sh(w, ("PKG_CONFIG_PATH='%s' pkg-config luaflow %s"):format(directory, table.concat({ ... }, " ")))
end

-- Runs a host that finds the library, and the command, by what comes before it.
local function expect_sum(w, program)
  equal(tree.sh(w, tree.plainly(program) .. " store"), "sum is 12")
end

test("a program of C is built by pkg-config and runs an isolated step", function(w)
  local prefix = tree.install(w)
  tree.sh(w, ("%s -std=c11 %s '%s' -o host %s"):format(tree.cc, STRICT, HOST, pkg_config(w, prefix, "--cflags --libs")))
  local libraries = tree.directory(tree.find(w, prefix, "libluaflow.so.0"))
  expect_sum(w, ("LD_LIBRARY_PATH='%s' ./host"):format(libraries))
  contains(tree.sh(w, ("LD_LIBRARY_PATH='%s' ldd host"):format(libraries)), libraries .. "/libluaflow.so.0")
end)

test("it can have all of luaflow in itself", function(w)
  local prefix = tree.install(w)
  local flags = pkg_config(w, prefix, "--static --cflags --libs")
  -- Beside a shared library the linker would take that.
  os.remove(tree.find(w, prefix, "libluaflow.so"))
  tree.sh(w, ("%s -std=c11 %s '%s' -o host %s"):format(tree.cc, STRICT, HOST, flags))
  lacks(tree.sh(w, "ldd host"), "libluaflow")
  expect_sum(w, ("LUAFLOW_EXE='%s/bin/luaflow' ./host"):format(prefix))
end)

test("where its Lua loads the module as well, both are one", function(w)
  local prefix = tree.install(w)
  tree.sh(w, ("%s -std=c11 %s '%s/tests/install/both.c' -o both %s")
    :format(tree.cc, STRICT, support.root, pkg_config(w, prefix, "--cflags --libs")))
  local said = tree.sh(w, tree.plainly(("LD_LIBRARY_PATH='%s' LUA_CPATH='%s/?.so' ./both store '%s'"):format(
    tree.directory(tree.find(w, prefix, "libluaflow.so.0")), tree.directory(tree.find(w, prefix, "luaflow.so")),
    'return (select(2, require("luaflow.core").compact("store")))')))
  equal(said, "cannot give space of store back while this process has it open")
end)

test("a tree that was moved still works", function(w)
  tree.install(w)
  tree.sh(w, "mkdir apart && mv prefix apart/there")
  local prefix = w.dir .. "/apart/there"
  tree.sh(w, ("%s '%s' -o host %s"):format(tree.cc, HOST, pkg_config(w, prefix, "--cflags --libs")))
  expect_sum(w, ("LD_LIBRARY_PATH='%s' ./host"):format(tree.directory(tree.find(w, prefix, "libluaflow.so.0"))))
end)

test("CMake finds the package, and both its libraries", function(w)
  local prefix = tree.install(w)
  tree.sh(w, ("cmake -S '%s/tests/install/cmake' -B build -DCMAKE_PREFIX_PATH='%s' -DCMAKE_C_COMPILER='%s'")
    :format(support.root, prefix, tree.cc))
  tree.sh(w, "cmake --build build")
  expect_sum(w, "build/with_shared")
  expect_sum(w, ("LUAFLOW_EXE='%s/bin/luaflow' build/with_static"):format(prefix))
end)

if tree.cxx then
  test("a program of C++ is built the same way", function(w)
    local prefix = tree.install(w)
    tree.sh(w, ("%s -std=c++11 %s -x c++ '%s' -x none -o host %s")
      :format(tree.cxx, STRICT, HOST, pkg_config(w, prefix, "--cflags --libs")))
    expect_sum(w, ("LD_LIBRARY_PATH='%s' ./host"):format(tree.directory(tree.find(w, prefix, "libluaflow.so.0"))))
  end)
end

support.done()
