/* Any bytes as the message of any call: refused, or a document that can be written. The first byte chooses the call. */
#include <stdlib.h>

#include "indexer/endpoint/grpc/translate.h"
#include "net/http/http.h"
#include "qdrant.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {
        "/qdrant.Points/Query",      "/qdrant.Points/QueryBatch", "/qdrant.Points/QueryGroups",
        "/qdrant.Points/Search",     "/qdrant.Points/Scroll",     "/qdrant.Points/Upsert",
        "/qdrant.Points/SetPayload", "/qdrant.Points/Delete",     "/qdrant.Points/UpdateBatch",
        "/qdrant.Points/Facet",      "/qdrant.Collections/Create"};
    static const struct config config = {.http_host = "127.0.0.1"};
    static struct http_server *volatile server; /* read by the leak checker alone */
    static struct grpc_catalog *catalog;
    struct grpc_input input;
    struct buffer text = {0};
    struct arena arena;
    struct error error = {0};

    if (!catalog) {
        server = http_server_new(&(struct http_options){.config = &config});
        catalog = grpc_catalog_new(server, NULL);
    }
    if (size == 0)
        return 0;
    arena_create(&arena, 0);
    if (grpc_read(
            grpc_catalog_find(catalog, paths[data[0] % (sizeof(paths) / sizeof(paths[0]))])->input,
            data + 1, size - 1, &arena, &input, &error) == 0)
        doc_write_json(&text, &input.body);
    else if (error.code == 0 || error.text[0] == '\0')
        abort();
    buffer_destroy(&text);
    arena_destroy(&arena);
    return 0;
}
