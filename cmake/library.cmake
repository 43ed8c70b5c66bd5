# The library for hosts in C and C++, shared and static; and what tells their compilers where it is:
# a pkg-config file and a CMake package. Nothing of these knows its prefix, so that a tree can be
# installed below any and moved; only LUAFLOW_EXECUTABLE is fixed here.

include(CMakePackageConfigHelpers)

# Raised when luaflow.h changes so that hosts must be compiled anew. Structs of options grow without
# that: they carry their size.
set(abi 0)

# As the module, it stays in memory: its threads may still be returning.
add_library(shared SHARED $<TARGET_OBJECTS:rooms>)
target_link_libraries(shared PRIVATE rooms PkgConfig::LUAJIT)
target_link_options(shared PRIVATE -Wl,-z,nodelete -Wl,-z,defs)
set_target_properties(shared PROPERTIES OUTPUT_NAME luaflow VERSION ${PROJECT_VERSION} SOVERSION ${abi}
  EXPORT_NAME luaflow)

# Of plain objects, which every linker understands, also where the rest is optimised over all files.
set(plain rooms)
if(CMAKE_INTERPROCEDURAL_OPTIMIZATION)
  set(plain plain_rooms)
  luaflow_rooms(${plain})
  set_target_properties(${plain} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
endif()
add_library(static STATIC $<TARGET_OBJECTS:${plain}>)
set_target_properties(static PROPERTIES OUTPUT_NAME luaflow)

# A host that adds its own functions to Lua states calls Lua: so Lua is part of the interface.
target_link_libraries(shared INTERFACE $<INSTALL_INTERFACE:PkgConfig::LUAFLOW_LUAJIT>)
target_link_libraries(static INTERFACE $<INSTALL_INTERFACE:PkgConfig::LUAFLOW_LUAJIT>
  $<INSTALL_INTERFACE:PkgConfig::LUAFLOW_NEEDS> Threads::Threads m ${CMAKE_DL_LIBS})

install(TARGETS shared EXPORT luaflow-shared INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS static EXPORT luaflow-static INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES runtime/include/luaflow.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/luaflow)
foreach(kind IN ITEMS shared static)
  install(EXPORT luaflow-${kind} NAMESPACE luaflow:: DESTINATION ${config_dir})
endforeach()
configure_package_config_file(cmake/luaflow-config.cmake.in luaflow-config.cmake INSTALL_DESTINATION ${config_dir})
# Before 1.0 a minor version may break what was.
write_basic_package_version_file(luaflow-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/luaflow-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/luaflow-config-version.cmake
  DESTINATION ${config_dir})

set(pkgconfig_dir ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH up ${pkgconfig_dir} ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH include_dir ${pkgconfig_dir} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(cmake/luaflow.pc.in luaflow.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/luaflow.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
