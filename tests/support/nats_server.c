#include "tests/support/nats_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/test_main.h"

enum { STARTUP_ATTEMPTS = 6000, STARTUP_PAUSE_NS = 10 * 1000 * 1000 };

static int answers(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int socket_file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int connected = connect(socket_file, (struct sockaddr *)&address, sizeof(address)) == 0;

    close(socket_file);
    return connected;
}

static void exec_server(const struct nats_server *server)
{
    char port[16];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    /* Whatever becomes of the test, no server stays. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    snprintf(port, sizeof(port), "%d", server->port);
    execlp("nats-server", "nats-server", "-js", "-sd", server->directory, "-a", "127.0.0.1", "-p",
           port, (char *)NULL);
    _exit(127);
}

void nats_server_restart(struct nats_server *server)
{
    struct timespec pause = {0, STARTUP_PAUSE_NS};

    server->process = fork();
    ck_assert_int_ge(server->process, 0);
    if (server->process == 0)
        exec_server(server);
    for (int i = 0; i < STARTUP_ATTEMPTS && !answers(server->port); i++) {
        int status;
        if (waitpid(server->process, &status, WNOHANG) == server->process)
            ck_abort_msg("nats-server ended with status %d", status);
        nanosleep(&pause, NULL);
    }
    ck_assert_msg(answers(server->port), "nats-server does not answer");
}

void nats_server_start(struct nats_server *server)
{
    static int count;

    if (system("command -v nats-server >/dev/null 2>&1") != 0)
        test_skip("nats-server is not installed (package nats-server)");
    memset(server, 0, sizeof(*server));
    server->port = test_port();
    snprintf(server->url, sizeof(server->url), "nats://127.0.0.1:%d", server->port);
    snprintf(server->directory, sizeof(server->directory), "%s/nats-%d", test_directory(), count++);
    nats_server_restart(server);
}

void nats_server_kill(struct nats_server *server)
{
    int status;

    kill(server->process, SIGKILL);
    ck_assert_int_eq(waitpid(server->process, &status, 0), server->process);
    server->process = 0;
}

void nats_server_pause(const struct nats_server *server)
{
    siginfo_t stopped;

    ck_assert_int_eq(kill(server->process, SIGSTOP), 0);
    /* The signal is only sent then: until all of its threads stand, the server answers. */
    ck_assert_int_eq(waitid(P_PID, (id_t)server->process, &stopped, WSTOPPED), 0);
}

void nats_server_resume(const struct nats_server *server)
{
    ck_assert_int_eq(kill(server->process, SIGCONT), 0);
}

void nats_server_wipe(struct nats_server *server)
{
    size_t length = strlen(server->directory);

    ck_assert_uint_lt(length + 8, sizeof(server->directory));
    memcpy(server->directory + length, "-wiped", 7);
}
