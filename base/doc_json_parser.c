#include "base/doc_json_parser.h"

static int fail_code(struct json_parser *parser, int code, const char *at, const char *what)
{
    char path[DOC_PATH_BYTES];

    doc_frame_path(parser->frame, &parser->scratch, path);
    return error_set(parser->error, code, "byte %zu (%s): %s", (size_t)(at - parser->start), path,
                     what);
}

int json_fail(struct json_parser *parser, const char *at, const char *what)
{
    return fail_code(parser, ERROR_INVALID, at, what);
}

int json_fail_memory(struct json_parser *parser)
{
    return fail_code(parser, ERROR_MEMORY, parser->at, "does not fit the memory limit");
}
