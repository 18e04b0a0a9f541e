/* SPDX-License-Identifier: MIT */
/* Parts of the JSON that several commands write. */
#ifndef SPILLWAY_TOOLS_POOLSTAT_JSON_OUT_H
#define SPILLWAY_TOOLS_POOLSTAT_JSON_OUT_H

#include "../common/json.h"
#include "session.h"

/* Up to and with the bracket of the list of pools. */
void json_begin_document(struct json *json, const struct session *session);

/* Whose pool it is. */
void json_put_owner(struct json *json, const struct pool *pool);

void json_put_queues(struct json *json, const struct page_copy *copy);

/* The last decisions, the oldest first. */
void json_put_decisions(struct json *json, const struct page_copy *copy);

/* The rows of a section that are in use. */
void json_put_rows(struct json *json, const struct page_copy *copy, const char *name);

#endif
