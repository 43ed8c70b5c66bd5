-- `luarocks make` in the source tree builds and installs the module and the command.
rockspec_format = "3.0"
package = "luaflow"
version = "0.1.0-1"
source = { url = "luaflow-0.1.0.tar.gz" }
description = {
  summary = "Runs flows written in Lua",
  detailed = [[
A flow is a Lua file with the steps of a computation and how they follow each other. luaflow runs them in
parallel on all cores, stores every result, resumes what failed or was interrupted, and shows any run
afterwards. Needs LuaJIT.]],
}
supported_platforms = { "linux" }
dependencies = { "lua == 5.1" }
external_dependencies = {
  LUAJIT = { header = "luajit-2.1/luajit.h" },
  LIBEVENT = { header = "event2/event.h" },
  LMDB = { header = "lmdb.h" },
  XXHASH = { header = "xxhash.h" },
}
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "Release",
    CMAKE_INTERPROCEDURAL_OPTIMIZATION = "ON",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    CMAKE_INSTALL_BINDIR = "$(BINDIR)",
    LUAFLOW_INSTALL_CMODDIR = "$(LIBDIR)",
    LUAFLOW_LIBRARY = "OFF",
    LUAFLOW_TESTS = "OFF",
  },
}
