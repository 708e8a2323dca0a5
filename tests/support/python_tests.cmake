# windrow_add_python_test(NAME LABEL FILE SECONDS ARGUMENTS...): a script of the calling folder. It has ports and folders of
# its own, so it runs beside any other test. It waits most of its time, so it starts before the tests that compute (COST).
# SECONDS is about what it may take among the others; one that takes three times as long hangs.
# LABEL hostile beside integration: it feeds hostile or concurrent input, so that it runs under the address sanitizer, too.
# A test that cannot run here exits 77 and says why.
function(windrow_add_python_test name label file seconds)
  math(EXPR limit_s "3 * ${seconds}")
  add_test(NAME ${name} COMMAND python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${ARGN})
  set_tests_properties(${name} PROPERTIES
    LABELS "${label}" TIMEOUT ${limit_s} SKIP_RETURN_CODE 77 COST ${seconds})
endfunction()
