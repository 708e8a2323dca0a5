#include "indexer/worker/locator.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* An owner looks a window up and answers; a busy machine takes its time. */
enum { ANSWER_WAIT_MS = 1000, SUBJECT_BYTES = CONFIG_GROUP_BYTES + 128 };

static const char unwanted[] = "unwanted";

struct locator {
    struct nats_connection *connection;
    const char *prefix;
    char group[CONFIG_GROUP_BYTES];
    pthread_mutex_t lock; /* of the rest; held while the claim function runs */
    natsSubscription *subscription;
    uint64_t generation; /* of the connection that it belongs to */
    worker_claim_function claim;
    void *context;
};

void locator_make_token(char *text)
{
    for (char *c = text; *c; c++)
        if (*c == '.' || *c == '*' || *c == '>' || (unsigned char)*c <= ' ')
            *c = '_';
}

static void write_subject(const struct locator *locator, const char *group, char out[SUBJECT_BYTES])
{
    int length = snprintf(out, SUBJECT_BYTES, "%s.owner.", locator->prefix);

    (void)snprintf(out + length, SUBJECT_BYTES - (size_t)length, "%s", group);
    locator_make_token(out + length);
}

struct locator *locator_new(struct nats_connection *connection, const char *prefix,
                            const char *group)
{
    struct locator *locator = memory_new(1, sizeof(*locator));

    locator->connection = connection;
    locator->prefix = prefix;
    (void)snprintf(locator->group, sizeof(locator->group), "%s", group);
    pthread_mutex_init(&locator->lock, NULL);
    return locator;
}

void locator_end(struct locator *locator)
{
    pthread_mutex_lock(&locator->lock);
    locator->claim = NULL;
    pthread_mutex_unlock(&locator->lock);
    natsSubscription_Destroy(locator->subscription);
    locator->subscription = NULL;
}

void locator_delete(struct locator *locator)
{
    pthread_mutex_destroy(&locator->lock);
    free(locator);
}

/* The owner's side. */

/* Whoever is not meant says nothing: somebody else of the group is. */
static enum worker_claim claim_job(struct locator *locator, const natsMsg *message,
                                   struct worker_job *job)
{
    enum worker_claim claim = WORKER_NOT_MINE;
    struct error error = {0};

    if (worker_job_decode(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), job,
                          &error) != 0 ||
        strcmp(job->group, locator->group) != 0)
        return WORKER_NOT_MINE;
    pthread_mutex_lock(&locator->lock);
    if (locator->claim)
        claim = locator->claim(locator->context, job);
    pthread_mutex_unlock(&locator->lock);
    return claim;
}

static void on_request(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *closure)
{
    struct buffer answer = {0};
    struct worker_job job;
    enum worker_claim claim = claim_job(closure, message, &job);

    (void)subscription;
    if (claim == WORKER_MINE)
        worker_job_encode(&job, &answer);
    else if (claim == WORKER_UNWANTED)
        buffer_append_text(&answer, unwanted);
    if (answer.size > 0 && natsMsg_GetReply(message))
        (void)natsConnection_Publish(connection, natsMsg_GetReply(message), answer.data,
                                     (int)answer.size);
    buffer_destroy(&answer);
    natsMsg_Destroy(message);
}

/* Under the lock. */
static int subscribe(struct locator *locator, struct error *error)
{
    const uint64_t generation = nats_connection_generation(locator->connection);
    char subject[SUBJECT_BYTES];

    if (!locator->claim || (locator->subscription && locator->generation == generation))
        return 0;
    natsSubscription_Destroy(locator->subscription);
    locator->subscription = NULL;
    locator->generation = generation;
    write_subject(locator, locator->group, subject);
    return nats_connection_subscribe(locator->connection, subject, on_request, locator,
                                     &locator->subscription, error);
}

int locator_answer(struct locator *locator, worker_claim_function claim, void *context,
                   struct error *error)
{
    int code;

    pthread_mutex_lock(&locator->lock);
    locator->claim = claim;
    locator->context = context;
    code = subscribe(locator, error);
    pthread_mutex_unlock(&locator->lock);
    return code;
}

void locator_follow(struct locator *locator)
{
    struct error error;

    pthread_mutex_lock(&locator->lock);
    (void)subscribe(locator, &error); /* again at the next call */
    pthread_mutex_unlock(&locator->lock);
}

/* The builder's side. */

static bool is_same(const struct worker_job *a, const struct worker_job *b)
{
    char name_a[WORKER_OWNER_BYTES + CONFIG_GROUP_BYTES + 512];
    char name_b[sizeof(name_a)];

    worker_job_file(a, name_a, sizeof(name_a));
    worker_job_file(b, name_b, sizeof(name_b));
    return strcmp(name_a, name_b) == 0;
}

/* An answer is as untrusted as a job. */
static int read_answer(const natsMsg *message, struct worker_job *job, struct error *error)
{
    size_t bytes = (size_t)natsMsg_GetDataLength(message);
    struct worker_job found;

    if (bytes == sizeof(unwanted) - 1 && memcmp(natsMsg_GetData(message), unwanted, bytes) == 0)
        return error_set(error, ERROR_NOT_FOUND, "its owner wants no segment for it any more");
    if (worker_job_decode(natsMsg_GetData(message), bytes, &found, error) != 0)
        return ERROR_INVALID;
    if (!is_same(job, &found) || !found.owner[0])
        return error_set(error, ERROR_INVALID, "the owner's answer is of another job");
    found.attempts_before = job->attempts_before;
    found.passes = job->passes;
    *job = found;
    return 0;
}

int locator_ask(struct locator *locator, struct worker_job *job, struct error *error)
{
    struct buffer bytes = {0};
    char subject[SUBJECT_BYTES];
    natsMsg *message = NULL;
    natsStatus status;
    int code;

    write_subject(locator, job->group, subject);
    worker_job_encode(job, &bytes);
    status = natsConnection_Request(&message, nats_connection_handle(locator->connection), subject,
                                    bytes.data, (int)bytes.size, ANSWER_WAIT_MS);
    buffer_destroy(&bytes);
    if (status == NATS_OK)
        code = read_answer(message, job, error);
    else if (status == NATS_TIMEOUT || status == NATS_NO_RESPONDERS)
        code = error_set(error, ERROR_BUSY, "no process of group %s has shard %s of %s now",
                         job->group, job->shard, job->collection);
    else
        code = nats_connection_error(error, status, 0, "ask for the owner of a shard");
    natsMsg_Destroy(message);
    return code;
}
