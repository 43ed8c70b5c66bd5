# What ./dev bench runs: the command, the Lua module, and the programs behind the limits. Built by
# `--target bench` alone.

add_custom_target(bench DEPENDS luaflow module)
foreach(program IN ITEMS measure contents records pipeline opened blocks spawn frames)
  add_executable(bench_${program} EXCLUDE_FROM_ALL tests/bench/${program}.c)
  target_link_libraries(bench_${program} PRIVATE PkgConfig::LMDB PkgConfig::XXHASH Threads::Threads)
  set_target_properties(bench_${program} PROPERTIES
    OUTPUT_NAME ${program} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  add_dependencies(bench bench_${program})
endforeach()
target_link_libraries(bench_pipeline PRIVATE PkgConfig::LUAJIT)
target_link_libraries(bench_frames PRIVATE rooms PkgConfig::LUAJIT)
