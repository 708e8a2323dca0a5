windrow_add_tests(query_filter_test LABEL unit SOURCES query_filter.c LIBRARIES windrow_query)
windrow_add_tests(query_search_test LABEL component SOURCES query_search.c query_world.c
  LIBRARIES windrow_query)
windrow_add_tests(query_records_test LABEL component SOURCES query_records.c query_world.c
  LIBRARIES windrow_query)
windrow_add_tests(query_hammer_test LABEL component SOURCES query_hammer.c query_world.c
  LIBRARIES windrow_query)
foreach(name query_filter_test query_records_test)
  target_compile_definitions(${name} PRIVATE
    WINDROW_FILTER_CASES="${CMAKE_CURRENT_SOURCE_DIR}/filter_cases.json")
endforeach()
