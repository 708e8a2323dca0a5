/* The assembler takes the page in as it is: no generated source, no copy in a string literal. */
#include "indexer/http/dashboard.h"

__asm__(".section .rodata\n"
        ".global dashboard_html\n"
        ".global dashboard_html_end\n"
        "dashboard_html:\n"
        ".incbin \"" DASHBOARD_HTML_PATH "\"\n"
        "dashboard_html_end:\n"
        ".byte 0\n"
        ".text\n");
