# cmake -DPROGRAM=windrow -DFOLDER=f -P: what the program itself writes for its installation. man1/windrow.1 and
# man1/windrow-COMMAND.1 come from the tables behind --help, windrow.schema.json from the property table.
function(write_file file)
  execute_process(COMMAND ${PROGRAM} ${ARGN} OUTPUT_FILE ${FOLDER}/${file} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER}/man1)
write_file(windrow.schema.json check-config --schema)
write_file(man1/windrow.1 --man)
file(STRINGS ${FOLDER}/man1/windrow.1 commands REGEX "^\\.BR windrow\\\\-")
foreach(line IN LISTS commands)
  string(REGEX REPLACE "^\\.BR windrow\\\\-([^ ]+) .*" "\\1" command ${line})
  string(REPLACE "\\-" "-" command ${command})
  write_file(man1/windrow-${command}.1 --man ${command})
endforeach()
file(CREATE_LINK windrow-bench.1 ${FOLDER}/man1/windrow-bench-index.1 SYMBOLIC)
