# What `cmake --install` puts where, but for the library (library.cmake): the command, the Lua module,
# and what people, their editors and shells read.

set(LUAFLOW_INSTALL_CMODDIR ${CMAKE_INSTALL_LIBDIR}/lua/5.1 CACHE STRING "Where LuaJIT finds C modules")

install(TARGETS luaflow)
install(TARGETS module LIBRARY DESTINATION ${LUAFLOW_INSTALL_CMODDIR} COMPONENT module)
install(FILES man/luaflow.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES completions/luaflow DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES README.md SECURITY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs flows DESTINATION ${CMAKE_INSTALL_DOCDIR} PATTERN .luaflow EXCLUDE)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL PATTERN .luaflow EXCLUDE)
# Told to lua-language-server as a library, it completes flows and luaflow's functions.
install(FILES lua/library/luaflow.lua DESTINATION ${CMAKE_INSTALL_DATADIR}/luaflow/library)
