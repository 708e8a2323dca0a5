#include "indexer/endpoint/grpc/catalog.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "health.pb-c.h"
#include "indexer/endpoint/grpc/reflection.h"
#include "qdrant.pb-c.h"

struct grpc_catalog {
    struct grpc_message *messages;
    struct grpc_catalog_method *methods;
    size_t method_count;
    struct grpc_catalog_method unknown;
    struct grpc_dialect dialect;
};

#define POINTS "/collections/{}/points"

/* Calls of the services that are not here are not served. */
static const struct {
    const char *method, *http_method, *pattern;
} points_routes[] =
    {
        {"Upsert", "PUT", POINTS},
        {"Delete", "POST", POINTS "/delete"},
        {"Get", "POST", POINTS},
        {"UpdateVectors", "PUT", POINTS "/vectors"},
        {"DeleteVectors", "POST", POINTS "/vectors/delete"},
        {"SetPayload", "POST", POINTS "/payload"},
        {"OverwritePayload", "PUT", POINTS "/payload"},
        {"DeletePayload", "POST", POINTS "/payload/delete"},
        {"ClearPayload", "POST", POINTS "/payload/clear"},
        {"CreateFieldIndex", "PUT", "/collections/{}/index"},
        {"DeleteFieldIndex", "DELETE", "/collections/{}/index/{}"},
        {"Search", "POST", POINTS "/query"},
        {"SearchBatch", "POST", POINTS "/query/batch"},
        {"SearchGroups", "POST", POINTS "/query/groups"},
        {"Recommend", "POST", POINTS "/recommend"},
        {"RecommendBatch", "POST", POINTS "/recommend/batch"},
        {"RecommendGroups", "POST", POINTS "/recommend/groups"},
        {"Discover", "POST", POINTS "/discover"},
        {"DiscoverBatch", "POST", POINTS "/discover/batch"},
        {"Scroll", "POST", POINTS "/scroll"},
        {"Count", "POST", POINTS "/count"},
        {"UpdateBatch", "POST", POINTS "/batch"},
        {"Query", "POST", POINTS "/query"},
        {"QueryBatch", "POST", POINTS "/query/batch"},
        {"QueryGroups", "POST", POINTS "/query/groups"},
        {"Facet", "POST", "/collections/{}/facet"},
        {"SearchMatrixPairs", "POST", POINTS "/search/matrix/pairs"},
        {"SearchMatrixOffsets", "POST", POINTS "/search/matrix/offsets"},
},
  collections_routes[] = {
      {"Get", "GET", "/collections/{}"},
      {"List", "GET", "/collections"},
      {"Create", "PUT", "/collections/{}"},
      {"Update", "PATCH", "/collections/{}"},
      {"Delete", "DELETE", "/collections/{}"},
      {"ListCollectionAliases", "GET", "/collections/{}/aliases"},
      {"ListAliases", "GET", "/aliases"},
      {"CollectionExists", "GET", "/collections/{}/exists"},
};

static const struct grpc_message *message_of(struct grpc_catalog *catalog,
                                             const ProtobufCMessageDescriptor *wire);

static void add_fields(struct grpc_catalog *catalog, struct grpc_message *message)
{
    const ProtobufCMessageDescriptor *wire = message->wire;

    message->fields = memory_new(wire->n_fields, sizeof(*message->fields));
    for (unsigned i = 0; i < wire->n_fields; i++) {
        struct grpc_field *field = &message->fields[i];
        field->wire = &wire->fields[i];
        grpc_rule_apply(wire->short_name, field);
        if (field->wire->type == PROTOBUF_C_TYPE_MESSAGE)
            field->message = message_of(catalog, field->wire->descriptor);
        message->has_bare |= field->form == GRPC_BARE;
        if (field->form == GRPC_BARE && field->wire->label == PROTOBUF_C_LABEL_REPEATED)
            message->bare_list = field;
    }
}

/* Messages may hold themselves, so one is known before its fields are. */
static const struct grpc_message *message_of(struct grpc_catalog *catalog,
                                             const ProtobufCMessageDescriptor *wire)
{
    struct grpc_message *message = catalog->messages;

    while (message && message->wire != wire)
        message = message->next;
    if (message)
        return message;
    message = memory_new(1, sizeof(*message));
    message->wire = wire;
    message->is_timestamp = strcmp(wire->short_name, "Timestamp") == 0;
    message->is_refused = wire->n_fields == 0;
    message->is_entry = wire->n_fields == 2 && strcmp(wire->fields[0].name, "key") == 0 &&
                        strcmp(wire->fields[1].name, "value") == 0;
    message->next = catalog->messages;
    catalog->messages = message;
    add_fields(catalog, message);
    return message;
}

static struct grpc_catalog_method *add_path(struct grpc_catalog *catalog, const char *path)
{
    struct grpc_catalog_method *method;

    catalog->methods =
        memory_resize(catalog->methods, catalog->method_count + 1, sizeof(*catalog->methods));
    method = &catalog->methods[catalog->method_count++];
    memset(method, 0, sizeof(*method));
    method->served.path = memory_checked(strdup(path));
    return method;
}

static struct grpc_catalog_method *add_method(struct grpc_catalog *catalog,
                                              const ProtobufCServiceDescriptor *service,
                                              const char *name)
{
    const ProtobufCMethodDescriptor *wire =
        protobuf_c_service_descriptor_get_method_by_name(service, name);
    struct grpc_catalog_method *method;
    char path[128];

    memory_checked((void *)wire); /* it stands in the .proto */
    (void)snprintf(path, sizeof(path), "/%s/%s", service->name, name);
    method = add_path(catalog, path);
    method->input = message_of(catalog, wire->input);
    method->output = message_of(catalog, wire->output);
    return method;
}

static void add_route(struct grpc_catalog *catalog, const ProtobufCServiceDescriptor *service,
                      const char *name, const char *http_method, const char *pattern)
{
    struct grpc_catalog_method *method = add_method(catalog, service, name);

    method->served.http_method = http_method;
    method->pattern = pattern;
}

/* Who may read the description of REST's side may read this. */
static void add_reflection(struct grpc_catalog *catalog, const char *path)
{
    struct grpc_catalog_method *method = add_path(catalog, path);

    method->kind = GRPC_REFLECTION;
    method->served.streams = true;
    method->served.message_max_bytes = GRPC_REFLECTION_MAX_BYTES;
    method->served.http_method = "GET";
    method->pattern = "/openapi.json";
}

static void resolve(struct grpc_catalog_method *method, struct http_server *server,
                    struct metrics *metrics)
{
    struct grpc_method *served = &method->served;

    if (method->pattern)
        served->route = http_route_of(server, served->http_method, method->pattern);
    grpc_method_begin(served, metrics);
}

static struct grpc_method *find(void *context, const char *path)
{
    struct grpc_catalog_method *method = grpc_catalog_find(context, path);

    return method ? &method->served : NULL;
}

struct grpc_catalog *grpc_catalog_new(struct http_server *server, struct metrics *metrics)
{
    struct grpc_catalog *catalog = memory_new(1, sizeof(*catalog));

    for (size_t i = 0; i < sizeof(points_routes) / sizeof(points_routes[0]); i++)
        add_route(catalog, &qdrant__points__descriptor, points_routes[i].method,
                  points_routes[i].http_method, points_routes[i].pattern);
    for (size_t i = 0; i < sizeof(collections_routes) / sizeof(collections_routes[0]); i++)
        add_route(catalog, &qdrant__collections__descriptor, collections_routes[i].method,
                  collections_routes[i].http_method, collections_routes[i].pattern);
    add_route(catalog, &qdrant__qdrant__descriptor, "HealthCheck", "GET", "/");
    add_route(catalog, &grpc__health__v1__health__descriptor, "Check", "GET", "/readyz");
    catalog->methods[catalog->method_count - 1].kind = GRPC_HEALTH;
    add_reflection(catalog, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    add_reflection(catalog, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
    catalog->unknown.served.path = "/unknown";
    resolve(&catalog->unknown, server, metrics);
    for (size_t i = 0; i < catalog->method_count; i++)
        resolve(&catalog->methods[i], server, metrics);
    catalog->dialect = (struct grpc_dialect){.context = catalog,
                                             .find = find,
                                             .unknown = &catalog->unknown.served,
                                             .read = grpc_dialect_read,
                                             .write = grpc_dialect_write,
                                             .answer = grpc_reflection_answer};
    return catalog;
}

void grpc_catalog_delete(struct grpc_catalog *catalog)
{
    if (!catalog)
        return;
    while (catalog->messages) {
        struct grpc_message *message = catalog->messages;
        catalog->messages = message->next;
        free(message->fields);
        free(message);
    }
    for (size_t i = 0; i < catalog->method_count; i++)
        free((char *)catalog->methods[i].served.path);
    free(catalog->methods);
    free(catalog);
}

const struct grpc_dialect *grpc_catalog_dialect(const struct grpc_catalog *catalog)
{
    return &catalog->dialect;
}

struct grpc_catalog_method *grpc_catalog_find(struct grpc_catalog *catalog, const char *path)
{
    for (size_t i = 0; i < catalog->method_count; i++)
        if (strcmp(catalog->methods[i].served.path, path) == 0)
            return &catalog->methods[i];
    return NULL;
}

const struct grpc_catalog_method *grpc_catalog_of(const struct grpc_method *method)
{
    return (const struct grpc_catalog_method *)((const char *)method -
                                                offsetof(struct grpc_catalog_method, served));
}
