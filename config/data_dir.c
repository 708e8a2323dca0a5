/* Whether the service could keep its data where the config says. Only what holds for every user is an
 * error: who checks the config is often not who runs the service. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "config/load.h"

/* The nearest folder on the way to `path` that exists; cuts `path` there. 0, or what errno was. */
static int find_existing(char *path, struct stat *found)
{
    while (stat(path, found) != 0) {
        char *slash = strrchr(path, '/');
        if (errno != ENOENT || !slash)
            return errno;
        slash[slash == path] = '\0';
        if (slash == path && stat(path, found) != 0)
            return errno;
    }
    return 0;
}

/* NULL: somebody may write there. */
static const char *why_not(const char *path, const struct stat *found)
{
    struct statvfs system;

    if (!S_ISDIR(found->st_mode))
        return "is not a folder";
    if (statvfs(path, &system) == 0 && (system.f_flag & ST_RDONLY))
        return "is on a file system that is mounted read-only";
    if ((found->st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)) == 0)
        return "is writable for nobody";
    return NULL;
}

int config_check_data_dir(const struct config *config, struct buffer *out)
{
    const struct loaded_config *loaded = (const struct loaded_config *)config;
    struct report_mark mark = loaded->marks[property_find("data_dir") - properties];
    struct arena arena;
    struct report report = {.arena = &arena, .file = config->path};
    struct stat found;
    const char *why;
    char *path;
    int code;

    arena_create(&arena, 0);
    path = arena_copy(&arena, config->data_dir, strlen(config->data_dir));
    if (mark.line == 0 || mark.line == LOADED_FROM_ENVIRONMENT)
        mark = (struct report_mark){1, 1};
    code = find_existing(path, &found);
    why = code == 0 ? why_not(path, &found) : NULL;
    if (code == ENOTDIR)
        report_error(&report, mark, "data_dir: a part of %s is not a folder", config->data_dir);
    else if (why)
        report_error(&report, mark, "data_dir: %s %s (the service keeps its data there)", path,
                     why);
    report_write(&report, out);
    code = report.error_count > 0 ? ERROR_INVALID : 0;
    arena_destroy(&arena);
    return code;
}
