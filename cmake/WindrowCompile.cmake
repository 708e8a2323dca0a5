# One interface target carries the language level, the warnings and the sanitizers of every target.
add_library(windrow_compile INTERFACE)
target_compile_features(windrow_compile INTERFACE c_std_17)
target_compile_definitions(windrow_compile INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_include_directories(windrow_compile INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(windrow_compile INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
  -fno-omit-frame-pointer -fno-strict-aliasing)
target_link_libraries(windrow_compile INTERFACE pthread m)

set(WINDROW_SANITIZE "" CACHE STRING "address (with undefined), thread, or empty")
if(WINDROW_SANITIZE STREQUAL "address")
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined)
elseif(WINDROW_SANITIZE STREQUAL "thread")
  set(sanitizers -fsanitize=thread)
endif()
target_compile_options(windrow_compile INTERFACE ${sanitizers})
target_link_options(windrow_compile INTERFACE ${sanitizers})

option(WINDROW_COVERAGE "Instrument for gcov" OFF)
if(WINDROW_COVERAGE)
  target_compile_options(windrow_compile INTERFACE --coverage)
  target_link_options(windrow_compile INTERFACE --coverage)
endif()

# libFuzzer needs clang: the fuzz preset sets both.
option(WINDROW_FUZZ "Build the fuzz targets" OFF)
if(WINDROW_FUZZ)
  target_compile_options(windrow_compile INTERFACE -fsanitize=fuzzer-no-link,address,undefined)
  target_link_options(windrow_compile INTERFACE -fsanitize=address,undefined)
endif()

# What distributions ask of programs that read what strangers send. Fortified calls need an optimising build, and
# sanitizers have checks of their own.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT WINDROW_SANITIZE)
  target_compile_definitions(windrow_compile INTERFACE _FORTIFY_SOURCE=2)
  target_link_options(windrow_compile INTERFACE -Wl,-z,relro,-z,now)
endif()

# windrow_add_library(NAME SOURCES... ): a static library of one folder.
function(windrow_add_library name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC windrow_compile)
endfunction()

# windrow_add_bench(NAME SOURCES... LIBRARIES...): the measurement windrow-bench-NAME, made of files
# in bench/. Not part of the ordinary build: `cmake --build --preset release --target benches`
# builds them all, beside windrow, where `windrow bench NAME` looks.
add_custom_target(benches)
function(windrow_add_bench name)
  cmake_parse_arguments(bench "" "" "SOURCES;LIBRARIES" ${ARGN})
  list(TRANSFORM bench_SOURCES PREPEND ${CMAKE_SOURCE_DIR}/bench/)
  add_executable(windrow-bench-${name} EXCLUDE_FROM_ALL ${bench_SOURCES})
  target_link_libraries(windrow-bench-${name} PRIVATE ${bench_LIBRARIES})
  set_target_properties(windrow-bench-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  add_dependencies(benches windrow-bench-${name})
endfunction()
