# Fuzz targets: what reads bytes or values that somebody else made. Every test run gives each its
# corpus and some thousand changes of it (driver.c); with a clang that has libFuzzer, preset fuzz
# makes of the same targets what ./dev prove fuzz runs at length.

set(fuzz ${CMAKE_SOURCE_DIR}/tests/fuzz)
add_library(fuzz_common OBJECT EXCLUDE_FROM_ALL ${fuzz}/fuzz.c ${fuzz}/values.c)
target_link_libraries(fuzz_common PUBLIC house PkgConfig::LUAJIT)
target_include_directories(fuzz_common PUBLIC ${fuzz})
target_compile_definitions(fuzz_common PUBLIC FUZZ_DIRECTORY="${fuzz}")
add_custom_target(fuzz)

# luaflow_fuzz(NAME SAMPLE [LUA]): a target, how many cases of it a test run has, and the file
# that target_lua.c is made for.
function(luaflow_fuzz name sample)
  set(program fuzz_${name})
  if(ARGN)
    add_executable(${program} ${fuzz}/target_lua.c)
    target_compile_definitions(${program} PRIVATE FUZZ_TARGET="${ARGN}")
  else()
    add_executable(${program} ${fuzz}/target_${name}.c)
  endif()
  target_link_libraries(${program} PRIVATE fuzz_common)
  set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY fuzz)
  add_dependencies(fuzz ${program})
  if(LUAFLOW_FUZZ)
    target_link_options(${program} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${program} PRIVATE ${fuzz}/driver.c)
    luaflow_test(fuzz/${name} fuzz 120 ${program} ${fuzz}/corpus/${name} ${sample})
  endif()
endfunction()

luaflow_fuzz(codec 50000)
luaflow_fuzz(record 50000)
luaflow_fuzz(frame 20000)
luaflow_fuzz(graph 20000)
luaflow_fuzz(params 10000)
luaflow_fuzz(values 20000 target_values.lua)
luaflow_fuzz(flow 2000 target_flow.lua)
luaflow_fuzz(json 20000 target_json.lua)
luaflow_fuzz(pathspec 20000 target_pathspec.lua)
