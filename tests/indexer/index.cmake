windrow_add_tests(index_kernels_test LABEL unit SOURCES index_kernels.c LIBRARIES windrow_index)
windrow_add_tests(index_build_test LABEL component SOURCES index_build.c index_fixture.c
  LIBRARIES windrow_index TIMEOUT 300)
target_compile_definitions(index_build_test PRIVATE SOURCE_DIRECTORY="${CMAKE_SOURCE_DIR}")
windrow_add_tests(index_search_test LABEL component SOURCES index_search.c index_fixture.c
  LIBRARIES windrow_index)
windrow_add_tests(index_segment_test LABEL component SOURCES index_segment.c index_fixture.c
  LIBRARIES windrow_index)
windrow_add_fuzzer(index_segment_fuzz SOURCES index_segment_fuzz.c LIBRARIES windrow_index
  CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/index_corpus)
