#!/usr/bin/env luajit
-- The Debian package that cpack makes, and the rock's description.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. here .. "../flows/?.lua;" .. package.path
local support = require "support"
local tree = require "tree"
local test, equal = support.test, support.equal
local contains, lacks, matches = support.contains, support.lacks, support.matches

local function version_of(w)
  return w:read(support.root .. "/runtime/include/luaflow.h"):match('LUAFLOW_VERSION "([%d.]+)"')
end

if support.shell("command -v dpkg-deb") ~= "" then
  test("the Debian package says what it is and has what is installed, below /usr", function(w)
    tree.sh(w, ("cpack --config '%s/CPackConfig.cmake' -B package"):format(tree.build))
    local package = tree.sh(w, "ls package/luaflow_*.deb")
    local about = tree.sh(w, ("dpkg-deb -f '%s'"):format(package))
    matches(about, "Package: luaflow\n")
    contains(about, "Version: " .. version_of(w) .. "\n", "\nMaintainer: ", "\nSection: ", "\nDescription: Runs flows")
    for _, library in ipairs { "libc6", "libluajit", "libevent", "liblmdb" } do
      matches(about:match("\nDepends: ([^\n]*)"), library, "Depends")
    end

    tree.sh(w, ("dpkg-deb -x '%s' root"):format(package))
    local files = w:shell("cd root && find . -type f -o -type l | sort") .. "\n"
    for line in files:gmatch("[^\n]+") do matches(line, "^%./usr/") end
    contains(files, "./usr/bin/luaflow\n", "./usr/include/luaflow.h\n", "/libluaflow.so.0\n", "/libluaflow.a\n",
      "/luaflow.pc\n", "/luaflow-config.cmake\n", "/man1/luaflow.1\n", "./usr/share/doc/luaflow/flows/linear.lua\n",
      "./usr/share/luaflow/library/luaflow.lua\n")
    lacks(files, ".luaflow/")
    matches(tree.sh(w, "root/usr/bin/luaflow version"), "^luaflow " .. version_of(w):gsub("%.", "%%."))

    local module = tree.find(w, "root", "luaflow.so"):match("^root(.*)luaflow%.so$") .. "?.so"
    contains(tree.sh(w, tree.plainly("luajit -e 'print(package.cpath)'")) .. ";", ";" .. module .. ";")
  end)
end

test("the rock is of this version", function(w)
  local version = version_of(w)
  local name = ("luaflow-%s-1.rockspec"):format(version)
  local rock = {}
  setfenv(assert(loadstring(w:read(support.root .. "/" .. name), "=" .. name)), rock)()
  equal({ rock.package, rock.version }, { "luaflow", version .. "-1" })
end)

support.done()
