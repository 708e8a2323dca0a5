# windrow_add_tests(NAME LABEL unit|component|integration|slow SOURCES a.c... LIBRARIES l... [TIMEOUT s])
#
# Builds one binary and registers one ctest entry per START_TEST(name) found in its sources, so that
# ctest names the behaviour that broke. Each entry runs alone in its process: `binary test_name`.
function(windrow_add_tests name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300) # several times what the slowest takes under the thread sanitizer
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE windrow_test_support ${ARG_LIBRARIES})
  foreach(source ${ARG_SOURCES})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    file(STRINGS ${source} starts REGEX "^START_TEST\\(")
    foreach(line ${starts})
      string(REGEX REPLACE "^START_TEST\\(([a-zA-Z0-9_]+)\\).*" "\\1" test ${line})
      add_test(NAME ${name}.${test} COMMAND ${name} ${test})
      set_tests_properties(${name}.${test} PROPERTIES
        LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77)
    endforeach()
  endforeach()
endfunction()

# windrow_add_fuzzer(NAME SOURCES a.c... LIBRARIES l... CORPUS dir)
#
# With WINDROW_FUZZ a libFuzzer binary; without it a plain program that replays the corpus, so that
# every build (sanitizers included) runs the committed inputs. Both define LLVMFuzzerTestOneInput.
function(windrow_add_fuzzer name)
  cmake_parse_arguments(ARG "" "CORPUS" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE windrow_compile ${ARG_LIBRARIES})
  if(WINDROW_FUZZ)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    # libFuzzer writes what it finds into its first folder: that must not be the committed one.
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/found/${name})
    add_test(NAME fuzz.${name} COMMAND ${name} -runs=20000 -max_total_time=20
      ${CMAKE_CURRENT_BINARY_DIR}/found/${name} ${ARG_CORPUS})
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/replay_corpus.c)
    add_test(NAME fuzz.${name} COMMAND ${name} ${ARG_CORPUS})
  endif()
  set_tests_properties(fuzz.${name} PROPERTIES LABELS component TIMEOUT 120)
endfunction()
