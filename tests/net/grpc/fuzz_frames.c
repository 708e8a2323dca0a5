/* Any bytes on a connection, behind the client's preface or without it: the server answers or closes, and goes on. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "indexer/endpoint/grpc/dialect.h"
#include "net/http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct grpc_server *start(void)
{
    static const struct config config = {.http_host = "127.0.0.1", .http_grpc_host = "127.0.0.1"};
    struct http_server *http = http_server_new(&(struct http_options){.config = &config});
    struct grpc_server *server = grpc_server_new(
        &(struct grpc_options){.config = &config,
                               .http = http,
                               .dialect = grpc_catalog_dialect(grpc_catalog_new(http, NULL))});
    struct error error;

    if (grpc_server_start(server, &error) != 0)
        abort();
    return server;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct grpc_server *server;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char bytes[4096];
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!server)
        server = start();
    address.sin_port = htons(grpc_server_port(server));
    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof(address)) != 0)
        abort();
    if (size > 0 && data[0] != 'P')
        (void)send(client, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN, MSG_NOSIGNAL);
    (void)send(client, data, size, MSG_NOSIGNAL);
    (void)shutdown(client, SHUT_WR);
    while (recv(client, bytes, sizeof(bytes), 0) > 0)
        ;
    close(client);
    return 0;
}
