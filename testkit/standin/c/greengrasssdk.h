/* What stands in for the header of the Greengrass Core SDK for C in tests. */
#ifndef STANDIN_H
#define STANDIN_H

#include <stdint.h>
#include <stdlib.h>

typedef enum gg_error {
    GGE_SUCCESS = 0, GGE_OUT_OF_MEMORY, GGE_INVALID_PARAMETER, GGE_INVALID_STATE, GGE_INTERNAL_FAILURE, GGE_TERMINATE,
    GGE_RESERVED_MAX, GGE_RESERVED_PAD = 0x7FFFFFFF
} gg_error;
typedef enum gg_request_status {
    GG_REQUEST_SUCCESS = 0, GG_REQUEST_HANDLED, GG_REQUEST_UNHANDLED, GG_REQUEST_UNKNOWN, GG_REQUEST_AGAIN,
    GG_REQUEST_RESERVED_MAX, GG_REQUEST_RESERVED_PAD = 0x7FFFFFFF
} gg_request_status;
typedef enum gg_invoke_type { GG_INVOKE_EVENT, GG_INVOKE_REQUEST_RESPONSE, GG_INVOKE_RESERVED_PAD = 0x7FFFFFFF } gg_invoke_type;
typedef enum gg_queue_full_policy_options {
    GG_QUEUE_FULL_POLICY_BEST_EFFORT, GG_QUEUE_FULL_POLICY_ALL_OR_ERROR, GG_QUEUE_FULL_POLICY_RESERVED_PAD = 0x7FFFFFFF
} gg_queue_full_policy_options;
typedef enum gg_log_level {
    GG_LOG_RESERVED_NOTSET, GG_LOG_DEBUG, GG_LOG_INFO, GG_LOG_WARN, GG_LOG_ERROR, GG_LOG_FATAL, GG_LOG_RESERVED_PAD = 0x7FFFFFFF
} gg_log_level;
enum { GG_RT_OPT_ASYNC = 0x1 };

typedef struct _gg_request *gg_request;
typedef struct _gg_publish_options *gg_publish_options;
typedef struct gg_request_result { gg_request_status request_status; } gg_request_result;
typedef struct gg_lambda_context { const char *function_arn, *client_context; } gg_lambda_context;
typedef struct gg_invoke_options {
    const char *function_arn, *customer_context, *qualifier;
    gg_invoke_type type;
    const void *payload;
    size_t payload_size;
} gg_invoke_options;
typedef void (*gg_lambda_handler)(const gg_lambda_context *);

gg_error gg_global_init(uint32_t);
gg_error gg_log(gg_log_level, const char *, ...);
gg_error gg_request_init(gg_request *);
gg_error gg_request_close(gg_request);
gg_error gg_request_read(gg_request, void *, size_t, size_t *);
gg_error gg_runtime_start(gg_lambda_handler, uint32_t);
gg_error gg_lambda_handler_read(void *, size_t, size_t *);
gg_error gg_lambda_handler_write_response(const void *, size_t);
gg_error gg_lambda_handler_write_error(const char *);
gg_error gg_get_secret_value(gg_request, const char *, const char *, const char *, gg_request_result *);
gg_error gg_invoke(gg_request, const gg_invoke_options *, gg_request_result *);
gg_error gg_publish_options_init(gg_publish_options *);
gg_error gg_publish_options_free(gg_publish_options);
gg_error gg_publish_options_set_queue_full_policy(gg_publish_options, gg_queue_full_policy_options);
gg_error gg_publish_with_options(gg_request, const char *, const void *, size_t, const gg_publish_options, gg_request_result *);
gg_error gg_publish(gg_request, const char *, const void *, size_t, gg_request_result *);
gg_error gg_get_thing_shadow(gg_request, const char *, gg_request_result *);
gg_error gg_update_thing_shadow(gg_request, const char *, const char *, gg_request_result *);
gg_error gg_delete_thing_shadow(gg_request, const char *, gg_request_result *);

#endif
