# What ctest runs. Labels: unit (C rooms), spec (the Lua library), flows (whole runs of
# the command), fuzz (bytes that somebody else made), crash (stores whose disk fails), prove (a
# few cases of what ./dev prove does at length), install (what others find installed), examples, style (the
# source itself).

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_program(BUSTED busted REQUIRED)
find_program(LUACHECK luacheck REQUIRED)

set(sanitizers
  ASAN_OPTIONS=detect_leaks=1
  UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
  TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1)
if(LUAFLOW_SANITIZE)
  set(patience 5) # how much slower things may be
else()
  set(patience 1)
endif()

# luaflow_test(NAME LABEL SECONDS COMMAND…)
function(luaflow_test name label seconds)
  math(EXPR timeout "${seconds} * ${patience}")
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${timeout} ENVIRONMENT "${sanitizers}")
endfunction()

# One program a room. They take from the library of all rooms what they need.
add_library(house STATIC EXCLUDE_FROM_ALL $<TARGET_OBJECTS:rooms>)
target_link_libraries(house PUBLIC $<TARGET_PROPERTY:rooms,INTERFACE_LINK_LIBRARIES>)
target_include_directories(house PUBLIC $<TARGET_PROPERTY:rooms,INTERFACE_INCLUDE_DIRECTORIES>)
target_compile_options(house PUBLIC $<TARGET_PROPERTY:rooms,INTERFACE_COMPILE_OPTIONS>)
file(GLOB files CONFIGURE_DEPENDS tests/unit/test_*.c)
foreach(file IN LISTS files)
  cmake_path(GET file STEM program)
  string(REPLACE test_ "" room ${program})
  add_executable(${program} ${file})
  target_link_libraries(${program} PRIVATE house PkgConfig::LUAJIT PkgConfig::CMOCKA)
  set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY tests)
  luaflow_test(unit/${room} unit 60 ${program})
endforeach()

# The public header, to the letter of both languages.
target_compile_options(test_header PRIVATE -pedantic)
set_target_properties(test_header PROPERTIES C_EXTENSIONS OFF)
include(CheckLanguage)
check_language(CXX)
if(CMAKE_CXX_COMPILER)
  enable_language(CXX)
  add_executable(test_header_cxx tests/unit/test_header_cxx.cpp)
  target_link_libraries(test_header_cxx PRIVATE house PkgConfig::LUAJIT)
  set_target_properties(test_header_cxx PROPERTIES RUNTIME_OUTPUT_DIRECTORY tests CXX_STANDARD 11
    CXX_EXTENSIONS OFF COMPILE_OPTIONS "-Wall;-Wextra;-Wshadow;-pedantic") # not those for C
  luaflow_test(unit/header_cxx unit 60 test_header_cxx)
endif()

# Their host is plain luajit, which cannot load a module that wants a sanitizer's runtime.
if(NOT LUAFLOW_SANITIZE)
  file(GLOB files CONFIGURE_DEPENDS tests/spec/*_spec.lua)
  foreach(file IN LISTS files)
    cmake_path(GET file STEM name)
    string(REGEX REPLACE _spec$ "" name ${name})
    luaflow_test(spec/${name} spec 60 ${CMAKE_SOURCE_DIR}/tests/run_spec ${CMAKE_BINARY_DIR} ${file})
  endforeach()
endif()

include(cmake/fuzz.cmake)
include(cmake/oom.cmake)

if(TARGET luaflow)
  file(GLOB files CONFIGURE_DEPENDS tests/flows/test_*.lua)
  foreach(file IN LISTS files)
    cmake_path(GET file STEM name)
    string(REPLACE test_ "" name ${name})
    luaflow_test(flows/${name} flows 120 ${LUAJIT} ${file})
    set_property(TEST flows/${name} APPEND PROPERTY ENVIRONMENT LUAFLOW=$<TARGET_FILE:luaflow>)
  endforeach()
  luaflow_test(prove/resume prove 120 ${LUAJIT} ${CMAKE_SOURCE_DIR}/tests/prove/run resume --count 12)
  set_property(TEST prove/resume APPEND PROPERTY ENVIRONMENT LUAFLOW=$<TARGET_FILE:luaflow>)
endif()

# Stores whose process, disk or power fails. A library is preloaded, which does not go with a
# sanitizer's.
if(TARGET luaflow AND NOT LUAFLOW_SANITIZE)
  add_library(faults MODULE tests/crash/faults.c)
  target_link_libraries(faults PRIVATE ${CMAKE_DL_LIBS})
  target_compile_options(faults PRIVATE $<TARGET_PROPERTY:rooms,INTERFACE_COMPILE_OPTIONS>)
  set_target_properties(faults PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY tests C_VISIBILITY_PRESET default)
  add_executable(collide tests/crash/collide.c)
  target_link_libraries(collide PRIVATE house)
  set_target_properties(collide PROPERTIES RUNTIME_OUTPUT_DIRECTORY tests)
  file(GLOB files CONFIGURE_DEPENDS tests/crash/test_*.lua)
  foreach(file IN LISTS files)
    cmake_path(GET file STEM name)
    string(REPLACE test_ "" name ${name})
    luaflow_test(crash/${name} crash 120 ${LUAJIT} ${file})
    set_property(TEST crash/${name} APPEND PROPERTY ENVIRONMENT LUAFLOW=$<TARGET_FILE:luaflow>)
  endforeach()
  foreach(sample kill:15 calls:20 power:40 full:30 many:1 signals:15 damage:40 prune:6)
    string(REPLACE ":" ";" sample ${sample})
    list(GET sample 0 part)
    list(GET sample 1 count)
    luaflow_test(prove/${part} prove 120 ${LUAJIT} ${CMAKE_SOURCE_DIR}/tests/prove/run ${part} --count ${count})
    set_property(TEST prove/${part} APPEND PROPERTY ENVIRONMENT LUAFLOW=$<TARGET_FILE:luaflow>)
  endforeach()
endif()

# What was installed, as others find it, and the examples.
if(TARGET shared)
  file(GLOB files CONFIGURE_DEPENDS tests/install/test_*.lua)
  file(GLOB more CONFIGURE_DEPENDS tests/examples/test_*.lua)
  foreach(file IN LISTS files more)
    cmake_path(GET file STEM name)
    string(REPLACE test_ "" name ${name})
    cmake_path(GET file PARENT_PATH kind)
    cmake_path(GET kind FILENAME kind)
    luaflow_test(${kind}/${name} ${kind} 120 ${LUAJIT} ${file})
    set_property(TEST ${kind}/${name} APPEND PROPERTY ENVIRONMENT LUAFLOW=$<TARGET_FILE:luaflow>
      LUAFLOW_BUILD=${CMAKE_BINARY_DIR} CC=${CMAKE_C_COMPILER} $<$<BOOL:${CMAKE_CXX_COMPILER}>:CXX=${CMAKE_CXX_COMPILER}>)
  endforeach()
endif()

if(NOT LUAFLOW_SANITIZE)
  luaflow_test(layers style 10 ${LUAJIT} ${CMAKE_SOURCE_DIR}/tests/layers ${CMAKE_SOURCE_DIR}/runtime)
  luaflow_test(manners style 10 ${LUAJIT} ${CMAKE_SOURCE_DIR}/tests/manners ${CMAKE_SOURCE_DIR}/runtime)
  luaflow_test(luacheck style 60 ${LUACHECK} --quiet --no-color lua flows examples tests tests/layers tests/manners tests/bench/run tests/prove/run cmake/embed.lua)
  include(cmake/bench.cmake)
endif()
