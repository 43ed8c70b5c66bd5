# The program in which allocations fail: those of our own objects go through it.

add_executable(oom tests/crash/oom.c)
target_link_libraries(oom PRIVATE house PkgConfig::LUAJIT)
foreach(name IN ITEMS malloc calloc realloc free strdup strndup realpath asprintf fopencookie pthread_create
    event_base_new_with_config event_new luaL_newstate lua_newstate)
  target_link_options(oom PRIVATE -Wl,--wrap=${name})
endforeach()
set_target_properties(oom PROPERTIES RUNTIME_OUTPUT_DIRECTORY tests)

if(TARGET luaflow)
  luaflow_test(prove/oom prove 120 oom --every 23)
  set_property(TEST prove/oom APPEND PROPERTY ENVIRONMENT LUAFLOW_EXE=$<TARGET_FILE:luaflow>)
endif()
