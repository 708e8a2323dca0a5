/* The routes of operators: /livez, /readyz, /status, /backup, /clock/trust, and compact, rebuild,
 * pause and resume of a collection. */
#ifndef WINDROW_DAEMON_ADMINISTRATION_H
#define WINDROW_DAEMON_ADMINISTRATION_H

struct http_server;
struct service;

/** Before the server starts. The service must outlive the server. */
void administration_add_routes(struct service *service, struct http_server *server);

#endif
