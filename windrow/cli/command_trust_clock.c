/* windrow trust-clock: an operator confirms that the system clock is right. */
#include <stdio.h>

#include "base/text.h"
#include "windrow/cli/command.h"
#include "windrow/cli/options.h"

static void print_times(const struct doc *reply, const void *context)
{
    const struct doc *result = reply_get(reply, "result");
    char before[TEXT_TIME_BYTES], now[TEXT_TIME_BYTES];

    (void)context;
    text_format_time(reply_number(result, "before_ms", 0), before);
    text_format_time(reply_number(result, "now_ms", 0), now);
    if (reply_is_true(result, "was_frozen"))
        printf("the clock was frozen at %s and is now %s\n", before, now);
    else
        printf("the clock was not frozen: it is %s\n", now);
}

int command_trust_clock(int argc, char **argv)
{
    const char *config_path = NULL;
    struct config *config = NULL;
    bool json = false;
    const struct option_row rows[] = {OPTION_ROW_CONFIG(config_path), OPTION_ROWS_SERVICE,
                                      OPTION_ROW_JSON(json)};
    const struct command_line line = {
        .usage = "[-c FILE] [--json]",
        .about = "Confirms to the running service (http.listen of the config) that the system "
                 "clock is right. "
                 "Use it when `windrow status` says that the clock is frozen and the time that the "
                 "system clock "
                 "shows is correct. Records past their TTL then expire at once, and waiting "
                 "records are stored. "
                 "Prints the service's time before and after.",
        .examples = "windrow trust-clock -c /etc/windrow/windrow.yaml",
        .rows = rows,
        .row_count = OPTION_ROWS(rows),
    };
    const struct buffer body = {.data = (uint8_t *)"{}", .size = 2};
    int status = options_parse(&line, argc, argv);

    if (status != -1)
        return status;
    status = command_load_config_quietly(config_path, &config);
    if (status == COMMAND_OK)
        status = ask_service(
            config, &(struct ask){
                        .path = "/clock/trust", .body = &body, .json = json, .print = print_times});
    config_free(config);
    return status;
}
