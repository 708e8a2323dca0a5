/* What a process that dies of a fault leaves in the log. */
#ifndef WINDROW_WINDROW_CRASH_H
#define WINDROW_WINDROW_CRASH_H

/* From here on SIGABRT, SIGSEGV, SIGBUS, SIGILL and SIGFPE write to standard error which signal it
 * was, in which thread, the version, and the calls that led there, one a line as FILE(+ADDRESS):
 * `addr2line -fe FILE ADDRESS` gives the place. Then the process dies of the signal as it would
 * have, with a core file where the system keeps them. A signal that has a handler already (of a
 * sanitizer) keeps it. */
void crash_report_install(void);

#endif
