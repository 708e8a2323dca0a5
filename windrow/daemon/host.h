/* What indexer and ingest ask of the program, as the callback tables they take. */
#ifndef WINDROW_HOST_H
#define WINDROW_HOST_H

#include "windrow/daemon/service.h"

struct indexer_host host_for_indexer(struct service *service);
struct ingest_host host_for_ingest(struct service *service);

#endif
