# What `cpack` makes: a Debian package with all that is installed, below /usr whatever prefix this
# build has.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "The luaflow maintainers <maintainers@luaflow.invalid>")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS luajit)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libluajit-5.1-dev, libevent-dev, liblmdb-dev")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A flow is a Lua file with the steps of a computation and how they follow
each other. luaflow runs them in parallel on all cores, stores every result,
resumes what failed or was interrupted, and shows any run afterwards.
This package has the command, the module for LuaJIT and the library for C;
programs that use the library are compiled with the packages it suggests.")

# For packages whose programs use the library.
file(WRITE ${CMAKE_BINARY_DIR}/debian/shlibs "libluaflow ${abi} luaflow (>= ${PROJECT_VERSION})\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/debian/shlibs)

# There LuaJIT looks for modules in a directory that other prefixes do not have.
set(CPACK_INSTALL_CMAKE_PROJECTS "${CMAKE_BINARY_DIR};luaflow;Unspecified;/")
if(LUAFLOW_INSTALL_CMODDIR STREQUAL "lib/lua/5.1" AND CMAKE_LIBRARY_ARCHITECTURE)
  install(TARGETS module LIBRARY DESTINATION lib/${CMAKE_LIBRARY_ARCHITECTURE}/lua/5.1
    COMPONENT module_in_usr EXCLUDE_FROM_ALL)
  list(APPEND CPACK_INSTALL_CMAKE_PROJECTS ${CMAKE_BINARY_DIR} luaflow module_in_usr /)
else()
  list(APPEND CPACK_INSTALL_CMAKE_PROJECTS ${CMAKE_BINARY_DIR} luaflow module /)
endif()

include(CPack)
