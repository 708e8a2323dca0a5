#include "ingest/control.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/marker.h"
#include "base/memory.h"

/* Lies on the stack of who waits for it. */
struct request {
    const struct config_collection *collection;
    const char *shard; /* NULL: the collection */
    bool pause;
    enum ingest_resume how;
    struct error error;
    int code;
    bool done;
};

struct control {
    const struct config *config;
    struct io *io;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    struct request *request; /* being served, or waiting for that */
    size_t users;            /* threads that wait */
    bool closed;             /* nobody will serve them any more */
    bool *held;              /* one a collection */
};

static bool *held(const struct control *control, const struct config_collection *collection)
{
    return &control->held[collection - control->config->collections];
}

bool control_is_held(struct control *control, const struct config_collection *collection)
{
    bool is_held;

    pthread_mutex_lock(&control->lock);
    is_held = *held(control, collection);
    pthread_mutex_unlock(&control->lock);
    return is_held;
}

/* The marker file. */

static void marker_name(const struct config_collection *collection, char name[NAME_MAX])
{
    snprintf(name, NAME_MAX, "%s.paused", collection->name);
}

static int marker_write(const struct control *control, const struct request *request,
                        struct error *error)
{
    char name[NAME_MAX];

    if (!control->config->data_dir)
        return 0;
    marker_name(request->collection, name);
    return marker_set(control->io, control->config->data_dir, name, request->pause, error);
}

struct control *control_new(const struct config *config, struct io *io)
{
    struct control *control = memory_new(1, sizeof(*control));

    control->config = config;
    control->io = io;
    pthread_mutex_init(&control->lock, NULL);
    pthread_cond_init(&control->changed, NULL);
    control->held =
        memory_new(config->collection_room + config->collection_count, sizeof(*control->held));
    for (size_t i = 0; i < config->collection_count; i++)
        control_add(control, &config->collections[i]);
    return control;
}

void control_add(struct control *control, const struct config_collection *collection)
{
    char name[NAME_MAX];
    bool is_held;

    if (!control->config->data_dir)
        return;
    marker_name(collection, name);
    is_held = marker_is_set(control->io, control->config->data_dir, name);
    pthread_mutex_lock(&control->lock);
    *held(control, collection) = is_held;
    pthread_mutex_unlock(&control->lock);
    if (is_held)
        log_warning("ingest",
                    "%s is still paused by an operator (`windrow resume -C %s` resumes it)",
                    collection->name, collection->name);
}

void control_delete(struct control *control)
{
    if (!control)
        return;
    pthread_cond_destroy(&control->changed);
    pthread_mutex_destroy(&control->lock);
    free(control->held);
    free(control);
}

/* The side that waits. */

static int ask(struct control *control, struct kafka_session *session, const char *collection,
               struct request *request, struct error *error)
{
    request->collection = config_collection_find(control->config, collection);
    if (!request->collection)
        return error_set(error, ERROR_NOT_FOUND, "there is no collection %s", collection);
    pthread_mutex_lock(&control->lock);
    control->users++;
    while (control->request && !control->closed)
        pthread_cond_wait(&control->changed, &control->lock);
    if (!control->closed) {
        control->request = request;
        kafka_session_wake(session);
        while (!request->done)
            pthread_cond_wait(&control->changed, &control->lock);
    } else {
        request->code = error_set(&request->error, ERROR_CANCELLED, "the service is stopping");
    }
    control->users--;
    pthread_cond_broadcast(&control->changed);
    pthread_mutex_unlock(&control->lock);
    if (request->code != 0)
        return error_set(error, request->code, "%s", request->error.text);
    return 0;
}

int control_pause(struct control *control, struct kafka_session *session, const char *collection,
                  bool pause, struct error *error)
{
    struct request request = {.pause = pause};

    return ask(control, session, collection, &request, error);
}

int control_resume_stopped(struct control *control, struct kafka_session *session,
                           const char *collection, const char *shard, enum ingest_resume how,
                           struct error *error)
{
    struct request request = {.shard = shard, .how = how};

    return ask(control, session, collection, &request, error);
}

/* The side that serves. */

static int serve_pause(struct control *control, struct request *request,
                       struct partition_list *partitions)
{
    int code = marker_write(control, request, &request->error);

    if (code != 0)
        return code;
    pthread_mutex_lock(&control->lock);
    *held(control, request->collection) = request->pause;
    pthread_mutex_unlock(&control->lock);
    for (size_t i = 0; i < partitions->count; i++)
        if (partitions->items[i]->name.collection == request->collection)
            partition_hold(partitions->items[i], request->pause);
    log_info("ingest", "%s: %s by an operator", request->collection->name,
             request->pause ? "paused" : "resumed");
    return 0;
}

static int serve(struct control *control, struct request *request,
                 struct partition_list *partitions)
{
    if (!request->shard)
        return serve_pause(control, request, partitions);
    for (size_t i = 0; i < partitions->count; i++) {
        struct partition *partition = partitions->items[i];
        if (partition->name.collection == request->collection &&
            strcmp(partition->name.shard, request->shard) == 0)
            return partition_resume_stopped(partition, request->how,
                                            control_is_held(control, request->collection),
                                            &request->error);
    }
    return error_set(&request->error, ERROR_NOT_FOUND,
                     "shard %s of %s is not assigned to this process", request->shard,
                     request->collection->name);
}

/* Under the lock. */
static void answer(struct control *control, int code)
{
    control->request->code = code;
    control->request->done = true;
    control->request = NULL;
    pthread_cond_broadcast(&control->changed);
}

bool control_serve(struct control *control, struct partition_list *partitions)
{
    struct request *request;
    int code;

    pthread_mutex_lock(&control->lock);
    request = control->request;
    pthread_mutex_unlock(&control->lock);
    if (!request)
        return false;
    code = serve(control, request, partitions);
    pthread_mutex_lock(&control->lock);
    answer(control, code);
    pthread_mutex_unlock(&control->lock);
    return true;
}

void control_close(struct control *control)
{
    pthread_mutex_lock(&control->lock);
    control->closed = true;
    pthread_cond_broadcast(&control->changed);
    while (control->users > 0) {
        if (control->request)
            answer(control,
                   error_set(&control->request->error, ERROR_CANCELLED, "the service is stopping"));
        pthread_cond_wait(&control->changed, &control->lock);
    }
    pthread_mutex_unlock(&control->lock);
}
