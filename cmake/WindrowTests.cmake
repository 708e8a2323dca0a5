# Test files are tests/FOLDER/test_NOUN.c, fuzz targets tests/FOLDER/fuzz_NOUN.c. The last folder's name and the noun make
# the name of the program: tests/indexer/index/test_build.c is test_index_build, its tests are test_index_build.TEST.
function(windrow_test_target prefix noun out)
  cmake_path(GET CMAKE_CURRENT_SOURCE_DIR FILENAME folder)
  set(${out} ${prefix}_${folder}_${noun} PARENT_SCOPE)
endfunction()

# windrow_add_tests(NOUN LABEL unit|component|integration|slow [FILE f] [SOURCES helper.c...] LIBRARIES l... [TIMEOUT s])
#
# Builds one binary from FILE (test_NOUN.c if not given) and registers one ctest entry per START_TEST(name) found in it,
# so that ctest names the behaviour that broke. Each entry runs alone in its process: `binary test_name`.
function(windrow_add_tests noun)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT;FILE" "SOURCES;LIBRARIES" ${ARGN})
  windrow_test_target(test ${noun} name)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300) # several times what the slowest takes under the thread sanitizer
  endif()
  if(NOT ARG_FILE)
    set(ARG_FILE test_${noun}.c)
  endif()
  add_executable(${name} ${ARG_FILE} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE windrow_test_support ${ARG_LIBRARIES})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ARG_FILE})
  file(STRINGS ${ARG_FILE} starts REGEX "^START_TEST\\(")
  foreach(line ${starts})
    string(REGEX REPLACE "^START_TEST\\(([a-zA-Z0-9_]+)\\).*" "\\1" test ${line})
    add_test(NAME ${name}.${test} COMMAND ${name} ${test})
    set_tests_properties(${name}.${test} PROPERTIES
      LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77)
  endforeach()
endfunction()

# windrow_add_fuzzer(NOUN [FILE f] [SOURCES helper.c...] LIBRARIES l...)
#
# fuzz_NOUN.c with the inputs in corpus/NOUN. With WINDROW_FUZZ a libFuzzer binary; without it a plain program that
# replays the corpus, so that every build (sanitizers included) runs the committed inputs. Both define
# LLVMFuzzerTestOneInput.
function(windrow_add_fuzzer noun)
  cmake_parse_arguments(ARG "" "FILE" "SOURCES;LIBRARIES" ${ARGN})
  windrow_test_target(fuzz ${noun} name)
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${noun})
  if(NOT ARG_FILE)
    set(ARG_FILE fuzz_${noun}.c)
  endif()
  add_executable(${name} ${ARG_FILE} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE windrow_compile ${ARG_LIBRARIES})
  if(WINDROW_FUZZ)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    # libFuzzer writes what it finds into its first folder: that must not be the committed one.
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/found/${name})
    add_test(NAME ${name} COMMAND ${name} -runs=20000 -max_total_time=20
      ${CMAKE_CURRENT_BINARY_DIR}/found/${name} ${corpus})
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/replay_corpus.c)
    add_test(NAME ${name} COMMAND ${name} ${corpus})
  endif()
  set_tests_properties(${name} PROPERTIES LABELS component TIMEOUT 120)
endfunction()
