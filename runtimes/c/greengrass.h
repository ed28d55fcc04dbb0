/*
 * The interface of the Greengrass Core SDK for C, as programs were compiled against it:
 * names, values and layouts are part of it.
 */
#ifndef GREENGRASS_H
#define GREENGRASS_H

#include <stddef.h>
#include <stdint.h>

#define GG_PAD 0x7fffffff

typedef enum {
    GGE_SUCCESS,
    GGE_OUT_OF_MEMORY,
    GGE_INVALID_PARAMETER,
    GGE_INVALID_STATE,
    GGE_INTERNAL_FAILURE,
    GGE_TERMINATE,
    GGE_PAD = GG_PAD
} gg_error;

typedef enum {
    GG_REQUEST_SUCCESS,
    GG_REQUEST_HANDLED,
    GG_REQUEST_UNHANDLED,
    GG_REQUEST_UNKNOWN,
    GG_REQUEST_AGAIN,
    GG_REQUEST_PAD = GG_PAD
} gg_request_status;

typedef enum { GG_INVOKE_EVENT, GG_INVOKE_REQUEST_RESPONSE, GG_INVOKE_PAD = GG_PAD } gg_invoke_type;

typedef enum { GG_POLICY_BEST_EFFORT, GG_POLICY_ALL_OR_ERROR, GG_POLICY_PAD = GG_PAD } gg_queue_full_policy;

typedef enum { GG_LOG_NOTSET, GG_LOG_DEBUG, GG_LOG_INFO, GG_LOG_WARN, GG_LOG_ERROR, GG_LOG_FATAL, GG_LOG_PAD = GG_PAD } gg_log_level;

#define GG_RT_OPT_ASYNC 0x1

typedef struct {
    gg_request_status request_status;
} gg_request_result;

typedef struct {
    const char *function_arn;
    const char *client_context;
} gg_lambda_context;

typedef struct {
    const char *function_arn;
    const char *customer_context;
    const char *qualifier;
    gg_invoke_type type;
    const void *payload;
    size_t payload_size;
} gg_invoke_options;

typedef struct _gg_request *gg_request;
typedef struct _gg_publish_options *gg_publish_options;
typedef void (*gg_lambda_handler)(const gg_lambda_context *context);

gg_error gg_global_init(uint32_t opt);
gg_error gg_log(gg_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

gg_error gg_request_init(gg_request *request);
gg_error gg_request_reuse(gg_request request);
gg_error gg_request_close(gg_request request);
gg_error gg_request_read(gg_request request, void *buffer, size_t size, size_t *amount);

gg_error gg_runtime_start(gg_lambda_handler handler, uint32_t opt);
gg_error gg_lambda_handler_read(void *buffer, size_t size, size_t *amount);
gg_error gg_lambda_handler_write_response(const void *response, size_t size);
gg_error gg_lambda_handler_write_error(const char *message);

gg_error gg_invoke(gg_request request, const gg_invoke_options *options, gg_request_result *result);
gg_error gg_publish(gg_request request, const char *topic, const void *payload, size_t size, gg_request_result *result);
gg_error gg_publish_with_options(gg_request request, const char *topic, const void *payload, size_t size,
                                 const gg_publish_options options, gg_request_result *result);
gg_error gg_publish_options_init(gg_publish_options *options);
gg_error gg_publish_options_free(gg_publish_options options);
gg_error gg_publish_options_set_queue_full_policy(gg_publish_options options, gg_queue_full_policy policy);

gg_error gg_get_thing_shadow(gg_request request, const char *thing, gg_request_result *result);
gg_error gg_update_thing_shadow(gg_request request, const char *thing, const char *payload, gg_request_result *result);
gg_error gg_delete_thing_shadow(gg_request request, const char *thing, gg_request_result *result);
gg_error gg_get_secret_value(gg_request request, const char *id, const char *version_id, const char *version_stage,
                             gg_request_result *result);

#endif
