/* A real nats-server with JetStream on a free port of the loopback interface. */
#ifndef TESTS_SUPPORT_NATS_SERVER_H
#define TESTS_SUPPORT_NATS_SERVER_H

#include <stdint.h>
#include <sys/types.h>

struct nats_server {
    char url[64];
    char directory[256];
    int port;
    pid_t process;
};

/** Skips the test when nats-server is not installed. Killed at exit. */
void nats_server_start(struct nats_server *server);
/** On the same port, with what it stored. */
void nats_server_restart(struct nats_server *server);
/** kill -9 */
void nats_server_kill(struct nats_server *server);
/** Between the two calls it answers nothing, as on a machine that is busy. */
void nats_server_pause(const struct nats_server *server);
void nats_server_resume(const struct nats_server *server);
/** Loses everything that was stored; to be called between kill and restart. */
void nats_server_wipe(struct nats_server *server);

#endif
