windrow_add_tests(query_filter_test LABEL unit SOURCES query_filter.c LIBRARIES windrow_query)
target_compile_definitions(query_filter_test PRIVATE
  WINDROW_FILTER_CASES="${CMAKE_CURRENT_SOURCE_DIR}/filter_cases.json")
windrow_add_tests(query_search_test LABEL component SOURCES query_search.c query_world.c
  LIBRARIES windrow_query)
windrow_add_tests(query_records_test LABEL component SOURCES query_records.c query_world.c
  LIBRARIES windrow_query)
windrow_add_tests(query_hammer_test LABEL component SOURCES query_hammer.c query_world.c
  LIBRARIES windrow_query)
