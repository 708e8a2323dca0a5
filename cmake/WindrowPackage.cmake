# The Debian package: `cmake --build --preset release && (cd build/release && cpack)`. Staging installs with the
# prefix /usr below DESTDIR, so that completed templates name installed paths.
set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CONTACT "windrow maintainers <maintainers@windrow.example>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "search over the last days of a stream of embeddings")
set(CPACK_PACKAGE_DESCRIPTION
  "windrow consumes embeddings from Kafka, stores them in time windows, indexes
 each closed window in the background and answers nearest-neighbour queries
 over HTTP, from the newest record back to the edge of the TTL. Stock Qdrant
 clients work unchanged.")
string(REPLACE "\n " "\n" CPACK_PACKAGE_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION}")

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "prometheus, bash-completion")
set(debian ${CMAKE_SOURCE_DIR}/cmake/debian)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${debian}/conffiles ${debian}/postinst ${debian}/prerm ${debian}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/DebianStage.cmake)
# What the stage script reads.
set(CPACK_WINDROW_SOURCE ${CMAKE_SOURCE_DIR})
set(CPACK_WINDROW_RELEASE_DATE ${WINDROW_RELEASE_DATE})
include(CPack)

# The sources of the last commit as build/PRESET/windrow-VERSION.tar.gz, the same bytes for the same commit.
find_program(GIT git)
if(GIT)
  add_custom_target(dist COMMAND ${GIT} -C ${CMAKE_SOURCE_DIR} archive --format=tar.gz --prefix=windrow-${PROJECT_VERSION}/
    -o ${CMAKE_BINARY_DIR}/windrow-${PROJECT_VERSION}.tar.gz HEAD VERBATIM)
endif()
