# windrow_install_template(FILE.in DESTINATION [PERMISSIONS ...]): a file that names installed paths. It is completed when
# it is installed, because only then is the prefix final: `cmake --install --prefix` may change it.
function(windrow_install_template template destination)
  cmake_path(ABSOLUTE_PATH template BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  install(CODE "
    set(template \"${template}\")
    set(destination \"${destination}\")
    set(options ${ARGN})
    set(bindir \"${CMAKE_INSTALL_BINDIR}\")
    set(docdir \"${CMAKE_INSTALL_DOCDIR}\")
    set(libexecdir \"${CMAKE_INSTALL_LIBEXECDIR}\")
    include(\"${CMAKE_SOURCE_DIR}/cmake/CompleteTemplate.cmake\")")
endfunction()
