/* Pages in man(7) format, made from what --help prints: `windrow --man` and `windrow --man COMMAND`
 * write them, the build installs them. `mandoc -Tlint` accepts them. */
#ifndef WINDROW_CLI_MANUAL_H
#define WINDROW_CLI_MANUAL_H

#include "base/buffer.h"
#include "windrow/cli/options.h"

/** The part of a command's page that its table holds, from SYNOPSIS on. */
void manual_write_command(struct buffer *out, const struct command_line *line, const char *command);

#endif
