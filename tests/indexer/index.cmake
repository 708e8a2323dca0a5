windrow_add_tests(index_kernels_test LABEL unit SOURCES index_kernels.c tile_emulator.c LIBRARIES windrow_index)
windrow_add_tests(index_build_test LABEL component SOURCES index_build.c index_fixture.c
  LIBRARIES windrow_index TIMEOUT 300)
target_compile_definitions(index_build_test PRIVATE SOURCE_DIRECTORY="${CMAKE_SOURCE_DIR}")
windrow_add_tests(index_members_test LABEL component SOURCES index_members.c index_fixture.c
  LIBRARIES windrow_index)
windrow_add_tests(index_search_test LABEL component SOURCES index_search.c index_fixture.c
  LIBRARIES windrow_index)
windrow_add_tests(index_segment_test LABEL component SOURCES index_segment.c index_fixture.c
  LIBRARIES windrow_index)
windrow_add_tests(index_ivf_test LABEL component SOURCES index_ivf.c index_fixture.c
  LIBRARIES windrow_index)
windrow_add_tests(index_ivf_segment_test LABEL component SOURCES index_ivf_segment.c index_fixture.c
  LIBRARIES windrow_index)
windrow_add_fuzzer(index_segment_fuzz SOURCES index_segment_fuzz.c LIBRARIES windrow_index
  CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/index_corpus)
# The kernel sets that this CPU would not choose. None under the thread sanitizer, where they would be
# a sixth of the whole time: threads do the same whatever the kernels are.
set(other_kernels scalar avx2)
if(WINDROW_SANITIZE STREQUAL "thread")
  set(other_kernels)
endif()
foreach(simd ${other_kernels})
  foreach(test index_build_test.recall_on_the_shipped_sample_of_real_text_is_high
               index_search_test.filtered_search_returns_k_or_asks_for_a_scan_at_every_selectivity
               index_ivf_test.recall_is_high_for_all_metrics_and_thread_counts)
    string(REPLACE "." ";" parts ${test})
    add_test(NAME ${test}.${simd} COMMAND ${parts})
    set_tests_properties(${test}.${simd} PROPERTIES LABELS component TIMEOUT 300 SKIP_RETURN_CODE 77
      ENVIRONMENT WINDROW_SIMD=${simd})
  endforeach()
endforeach()
