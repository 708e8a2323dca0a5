/* What single texts must look like. Each returns false with a complaint. Private to config/. */
#ifndef CONFIG_PROPERTY_CHECKS_H
#define CONFIG_PROPERTY_CHECKS_H

#include "config/properties.h"

bool check_not_empty(const char *text, struct property_complaint *complaint);
bool check_collection_name(const char *text, struct property_complaint *complaint);
bool check_topic(const char *text, struct property_complaint *complaint);
bool check_brokers(const char *text, struct property_complaint *complaint);
bool check_nats_url(const char *text, struct property_complaint *complaint);
bool check_stream(const char *text, struct property_complaint *complaint);

/** HOST:PORT or [HOST]:PORT. Fills host (at most `host_bytes`) and port. */
bool split_address(const char *text, char *host, size_t host_bytes, uint32_t *port);
/** A numeric address and a port, as http.listen wants it. */
bool check_listen(const char *text, struct property_complaint *complaint);

#endif
