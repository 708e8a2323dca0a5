# Runs in cpack, after the installation into the stage and before the archive: what Debian wants beyond it.
set(debian ${CPACK_WINDROW_SOURCE}/cmake/debian)
set(stage ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(doc ${stage}/usr/share/doc/windrow)
function(release_date out format)
  execute_process(COMMAND date -u -d ${CPACK_WINDROW_RELEASE_DATE} ${format}
    OUTPUT_VARIABLE text OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(${out} ${text} PARENT_SCOPE)
endfunction()
release_date(date -R)
release_date(seconds +%s)
configure_file(${debian}/copyright.in ${doc}/copyright @ONLY)
configure_file(${debian}/changelog.in ${doc}/changelog.Debian @ONLY)
file(REMOVE ${doc}/LICENSE) # copyright names Debian's copy
file(COPY_FILE ${doc}/CHANGELOG.md ${doc}/changelog)

# copy(FROM TO): file(INSTALL) would put it below DESTDIR once more.
function(copy from to)
  cmake_path(GET to PARENT_PATH folder)
  file(MAKE_DIRECTORY ${folder})
  file(COPY_FILE ${from} ${to})
endfunction()
copy(${debian}/lintian-overrides ${stage}/usr/share/lintian/overrides/windrow)
copy(${doc}/windrow.yaml ${stage}/etc/windrow/windrow.yaml)

# The name of the compiler, which CMake's strip leaves.
file(GLOB programs ${stage}/usr/bin/*)
execute_process(COMMAND strip -R .comment ${programs} COMMAND_ERROR_IS_FATAL ANY)

file(GLOB texts ${doc}/changelog* ${stage}/usr/share/man/man1/*.1)
foreach(text IN LISTS texts)
  if(IS_SYMLINK ${text})
    file(READ_SYMLINK ${text} target)
    file(REMOVE ${text})
    file(CREATE_LINK ${target}.gz ${text}.gz SYMBOLIC)
  else()
    execute_process(COMMAND gzip -9n ${text} COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()

# The same build makes the same package: no time but the release's is in it. cpack heeds the variable for what it adds.
set(ENV{SOURCE_DATE_EPOCH} ${seconds})
execute_process(COMMAND find ${stage} -exec touch -h -d @${seconds} {} + COMMAND_ERROR_IS_FATAL ANY)
