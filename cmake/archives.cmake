# The command holds its libraries in itself, as Debian's luajit does with Lua: it is started for
# every run and for the processes of isolated steps, and finding and binding eight shared libraries
# takes longer than all else that a start does. Where an archive is missing, and when looking for
# wrong memory, they are shared.

# luaflow_archives(OUT PKG NAME…): lib<NAME>.a of each, or of none.
function(luaflow_archives out package)
  set(archives "")
  if(NOT LUAFLOW_SANITIZE)
    foreach(name IN LISTS ARGN)
      find_library(LUAFLOW_${name}_ARCHIVE lib${name}.a HINTS ${${package}_LIBRARY_DIRS} ${${package}_LIBDIR})
      mark_as_advanced(LUAFLOW_${name}_ARCHIVE)
      if(NOT LUAFLOW_${name}_ARCHIVE)
        set(archives PkgConfig::${package})
        break()
      endif()
      list(APPEND archives ${LUAFLOW_${name}_ARCHIVE})
    endforeach()
  else()
    set(archives PkgConfig::${package})
  endif()
  set(${out} ${archives} PARENT_SCOPE)
endfunction()

luaflow_archives(event_archives LIBEVENT event_core)
luaflow_archives(lmdb_archives LMDB lmdb)
luaflow_archives(edit_archives LIBEDIT edit tinfo bsd md)
luaflow_archives(luajit_archives LUAJIT luajit-5.1)
if(NOT luajit_archives STREQUAL "PkgConfig::LUAJIT")
  # All of it, since C modules that a step loads find Lua in the command.
  set(luajit_archives -Wl,--whole-archive ${luajit_archives} -Wl,--no-whole-archive)
endif()
