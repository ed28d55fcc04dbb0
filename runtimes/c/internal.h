/* What the files of the library share. */
#ifndef INTERNAL_H
#define INTERNAL_H

#include "greengrass.h"

#include <signal.h>

/* A text or bytes that grow. data always has a NUL behind its size bytes, once
 * something was added. One that ran out of memory stays failed. */
struct buffer {
    char *data;
    size_t size, room;
    int failed;
};

void buffer_add(struct buffer *b, const void *data, size_t size);
void buffer_text(struct buffer *b, const char *text);
/* Adds a text as a JSON string, quotes included. */
void buffer_json(struct buffer *b, const char *text);
/* Adds bytes as base64. */
void buffer_base64(struct buffer *b, const void *data, size_t size);
void buffer_free(struct buffer *b);

/* Decodes base64; 0 if it is none. */
int base64_decode(struct buffer *b, const char *text);
/* Whether a JSON object has a member of that name at its top. */
int json_has(const char *json, size_t size, const char *name);

/* The environment, read by gg_global_init. */
extern struct environment {
    int ready;
    const char *token, *arn, *router, *shadow, *secrets;
    unsigned port;
} environment;

/* Whether SIGTERM came. */
extern volatile sig_atomic_t terminating;

/* Header fields of a request; those that are NULL are left out. */
struct fields {
    const char *invocation_id, *client_context, *invocation_type, *function_error;
};

/* The core's answer. */
struct answer {
    int status;
    struct buffer invocation_id, client_context, function_error, body;
};

void answer_free(struct answer *a);

/* Makes one call of the core's function API: path follows /2016-11-01/functions/.
 * watched, if not NULL, is set to the socket as long as the call waits, else to -1.
 * Any answer is GGE_SUCCESS, whatever its status. */
gg_error call(const char *method, const char *path, const struct fields *fields, const void *body, size_t size,
              volatile int *watched, struct answer *a);

/* Copies as much of a text as fits from where it was left, and says how much. */
gg_error drain(const struct buffer *from, size_t *at, void *buffer, size_t size, size_t *amount);

#endif
