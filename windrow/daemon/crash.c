#include "windrow/daemon/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/version.h"

enum { CALLS_MAX = 64, THREAD_NAME_BYTES = 16 };

static void say(const char *text)
{
    size_t length = strlen(text);

    while (length > 0) {
        ssize_t put = write(STDERR_FILENO, text, length);
        if (put <= 0)
            return;
        text += put;
        length -= (size_t)put;
    }
}

/* Only what may be called in a signal handler; backtrace() is one of them once it has run before.
 * The handler is gone by now (SA_RESETHAND): a second fault in here just ends the process, and so
 * does the signal when it is raised again, as soon as this returns. */
static void report(int number)
{
    char thread[THREAD_NAME_BYTES + 1] = "";
    void *calls[CALLS_MAX];

    (void)prctl(PR_GET_NAME, thread, 0, 0, 0);
    say("windrow " WINDROW_VERSION " died of SIG");
    say(sigabbrev_np(number));
    say(" in thread ");
    say(thread);
    say("; the calls that led there:\n");
    backtrace_symbols_fd(calls, backtrace(calls, CALLS_MAX), STDERR_FILENO);
    (void)raise(number);
}

void crash_report_install(void)
{
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action = {.sa_handler = report, .sa_flags = (int)SA_RESETHAND};
    void *call;

    (void)backtrace(&call, 1); /* the first call loads a library */
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            (void)sigaction(numbers[i], &action, NULL);
    }
}
