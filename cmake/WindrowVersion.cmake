# project() has the version; the newest heading of CHANGELOG.md has the same one, and the date of its release.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/CHANGELOG.md)
file(STRINGS ${CMAKE_SOURCE_DIR}/CHANGELOG.md release LIMIT_COUNT 1 REGEX "^## ")
if(NOT release MATCHES "^## ${PROJECT_VERSION} \\(([0-9]+-[0-9]+-[0-9]+)\\)$")
  message(FATAL_ERROR "CHANGELOG.md begins with \"${release}\", expected \"## ${PROJECT_VERSION} (YYYY-MM-DD)\"")
endif()
set(WINDROW_RELEASE_DATE ${CMAKE_MATCH_1})
