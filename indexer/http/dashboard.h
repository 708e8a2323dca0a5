/* The embedded page (dashboard.html), as bytes. */
#ifndef INDEXER_HTTP_DASHBOARD_H
#define INDEXER_HTTP_DASHBOARD_H

extern const char dashboard_html[];
extern const char dashboard_html_end[];

#endif
