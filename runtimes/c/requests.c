#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct _gg_request {
    struct buffer response;
    size_t at;
};

struct _gg_publish_options {
    int set;
    gg_queue_full_policy policy;
};

gg_error gg_request_init(gg_request *request) {
    if (request == NULL) {
        return GGE_INVALID_PARAMETER;
    }
    *request = calloc(1, sizeof **request);
    return *request == NULL ? GGE_OUT_OF_MEMORY : GGE_SUCCESS;
}

gg_error gg_request_reuse(gg_request request) {
    (void)request; /* Each call discards what is left of the one before. */
    return GGE_SUCCESS;
}

gg_error gg_request_close(gg_request request) {
    if (request != NULL) {
        buffer_free(&request->response);
        free(request);
    }
    return GGE_SUCCESS;
}

gg_error gg_request_read(gg_request request, void *buffer, size_t size, size_t *amount) {
    if (request == NULL) {
        return GGE_INVALID_PARAMETER;
    }
    return drain(&request->response, &request->at, buffer, size, amount);
}

/* Moves the body of an answer to the request, which says its status. */
static void settle(gg_request request, struct answer *a, gg_request_result *result) {
    const char *error = a->function_error.size > 0 ? a->function_error.data : "";
    if (a->status == 429) {
        result->request_status = GG_REQUEST_AGAIN;
    } else if (a->status < 200 || a->status > 299) {
        result->request_status = GG_REQUEST_UNKNOWN;
        gg_log(GG_LOG_ERROR, "The core refused a call with %d: %s", a->status, a->body.size > 0 ? a->body.data : "");
    } else if (error[0] == '\0') {
        result->request_status = GG_REQUEST_SUCCESS;
    } else {
        result->request_status = strcmp(error, "Handled") == 0 ? GG_REQUEST_HANDLED : GG_REQUEST_UNHANDLED;
    }
    request->response = a->body;
    memset(&a->body, 0, sizeof a->body);
}

/* Invokes a function and, unless the call is an Event, waits for its result. */
static gg_error invoke(gg_request request, const char *arn, const char *context, gg_invoke_type type, const void *payload,
                       size_t size, gg_request_result *result) {
    struct fields fields = {0};
    struct answer invoked, answered;
    gg_error err;
    result->request_status = GG_REQUEST_UNKNOWN;
    buffer_free(&request->response);
    request->at = 0;
    fields.client_context = context == NULL ? "" : context;
    fields.invocation_type = type == GG_INVOKE_EVENT ? "Event" : "RequestResponse";
    err = call("POST", arn, &fields, payload, size, NULL, &invoked);
    if (err != GGE_SUCCESS) {
        return err;
    }
    if (type == GG_INVOKE_EVENT || invoked.status < 200 || invoked.status > 299 || invoked.invocation_id.size == 0) {
        settle(request, &invoked, result);
    } else {
        memset(&fields, 0, sizeof fields);
        fields.invocation_id = invoked.invocation_id.data;
        err = call("GET", arn, &fields, NULL, 0, NULL, &answered);
        if (err == GGE_SUCCESS) {
            settle(request, &answered, result);
            answer_free(&answered);
        }
    }
    answer_free(&invoked);
    return err;
}

static gg_error ready(gg_request request, const void *needed, gg_request_result *result) {
    if (request == NULL || needed == NULL || result == NULL) {
        return GGE_INVALID_PARAMETER;
    }
    return environment.ready ? GGE_SUCCESS : GGE_INVALID_STATE;
}

/* The qualifier of a function's ARN, NULL for one without. */
static const char *qualifier_of(const char *arn) {
    int colons = 0;
    for (; *arn != '\0'; arn++) {
        if (*arn == ':' && ++colons == 7) {
            return arn + 1;
        }
    }
    return NULL;
}

gg_error gg_invoke(gg_request request, const gg_invoke_options *options, gg_request_result *result) {
    struct buffer arn = {0};
    const char *qualifier;
    gg_error err = ready(request, options, result);
    if (err != GGE_SUCCESS) {
        return err;
    }
    if (options->function_arn == NULL || (options->payload == NULL && options->payload_size > 0)
        || (options->type != GG_INVOKE_EVENT && options->type != GG_INVOKE_REQUEST_RESPONSE)) {
        return GGE_INVALID_PARAMETER;
    }
    buffer_text(&arn, options->function_arn);
    if (options->qualifier != NULL && options->qualifier[0] != '\0') {
        qualifier = qualifier_of(options->function_arn);
        if (qualifier == NULL) {
            buffer_text(&arn, ":");
            buffer_text(&arn, options->qualifier);
        } else if (strcmp(qualifier, options->qualifier) != 0) {
            err = GGE_INVALID_PARAMETER;
        }
    }
    if (arn.failed) {
        err = GGE_OUT_OF_MEMORY;
    }
    if (err == GGE_SUCCESS) {
        err = invoke(request, arn.data, options->customer_context, options->type, options->payload, options->payload_size, result);
    }
    buffer_free(&arn);
    return err;
}

/* Invokes a system function with a subject, and whatever else belongs to it, in its
 * client context. */
static gg_error ask(gg_request request, const char *arn, gg_invoke_type type, const char *subject, const char *rest,
                    const void *payload, size_t size, gg_request_result *result) {
    struct buffer context = {0}, encoded = {0};
    gg_error err = GGE_OUT_OF_MEMORY;
    buffer_text(&context, "{\"custom\":{\"source\":");
    buffer_json(&context, environment.arn);
    buffer_text(&context, ",\"subject\":");
    buffer_json(&context, subject);
    buffer_text(&context, rest);
    buffer_text(&context, "}}");
    if (!context.failed) {
        buffer_base64(&encoded, context.data, context.size);
        if (!encoded.failed) {
            err = invoke(request, arn, encoded.data, type, payload, size, result);
        }
    }
    buffer_free(&context);
    buffer_free(&encoded);
    return err;
}

gg_error gg_publish_options_init(gg_publish_options *options) {
    if (options == NULL) {
        return GGE_INVALID_PARAMETER;
    }
    *options = calloc(1, sizeof **options);
    return *options == NULL ? GGE_OUT_OF_MEMORY : GGE_SUCCESS;
}

gg_error gg_publish_options_free(gg_publish_options options) {
    free(options);
    return GGE_SUCCESS;
}

gg_error gg_publish_options_set_queue_full_policy(gg_publish_options options, gg_queue_full_policy policy) {
    if (options == NULL || (policy != GG_POLICY_BEST_EFFORT && policy != GG_POLICY_ALL_OR_ERROR)) {
        return GGE_INVALID_PARAMETER;
    }
    options->set = 1;
    options->policy = policy;
    return GGE_SUCCESS;
}

gg_error gg_publish_with_options(gg_request request, const char *topic, const void *payload, size_t size,
                                 const gg_publish_options options, gg_request_result *result) {
    const char *policy = "";
    gg_error err = ready(request, topic, result);
    if (err != GGE_SUCCESS) {
        return err;
    }
    if (payload == NULL && size > 0) {
        return GGE_INVALID_PARAMETER;
    }
    if (options != NULL && options->set) {
        policy = options->policy == GG_POLICY_ALL_OR_ERROR ? ",\"queueFullPolicy\":\"AllOrError\"" : ",\"queueFullPolicy\":\"BestEffort\"";
    }
    return ask(request, environment.router, GG_INVOKE_EVENT, topic, policy, payload, size, result);
}

gg_error gg_publish(gg_request request, const char *topic, const void *payload, size_t size, gg_request_result *result) {
    return gg_publish_with_options(request, topic, payload, size, NULL, result);
}

/* Makes an answer that tells an error by two members one that is an error. */
static void judge(gg_request request, const char *number, const char *message, gg_request_result *result) {
    const struct buffer *r = &request->response;
    if (result->request_status == GG_REQUEST_SUCCESS && json_has(r->data, r->size, number) && json_has(r->data, r->size, message)) {
        result->request_status = GG_REQUEST_HANDLED;
    }
}

static gg_error shadow(gg_request request, const char *thing, const char *operation, const char *payload, gg_request_result *result) {
    struct buffer subject = {0};
    gg_error err = ready(request, thing, result);
    if (err != GGE_SUCCESS) {
        return err;
    }
    buffer_text(&subject, "$aws/things/");
    buffer_text(&subject, thing);
    buffer_text(&subject, "/shadow/");
    buffer_text(&subject, operation);
    err = subject.failed ? GGE_OUT_OF_MEMORY
                         : ask(request, environment.shadow, GG_INVOKE_REQUEST_RESPONSE, subject.data, "", payload, strlen(payload), result);
    buffer_free(&subject);
    if (err == GGE_SUCCESS) {
        judge(request, "code", "message", result);
    }
    return err;
}

gg_error gg_get_thing_shadow(gg_request request, const char *thing, gg_request_result *result) {
    return shadow(request, thing, "get", "", result);
}

gg_error gg_update_thing_shadow(gg_request request, const char *thing, const char *payload, gg_request_result *result) {
    return payload == NULL ? GGE_INVALID_PARAMETER : shadow(request, thing, "update", payload, result);
}

gg_error gg_delete_thing_shadow(gg_request request, const char *thing, gg_request_result *result) {
    return shadow(request, thing, "delete", "", result);
}

static void member(struct buffer *json, const char *name, const char *value) {
    if (value != NULL) {
        buffer_text(json, name);
        buffer_json(json, value);
    }
}

gg_error gg_get_secret_value(gg_request request, const char *id, const char *version_id, const char *version_stage,
                             gg_request_result *result) {
    struct buffer payload = {0};
    gg_error err = ready(request, id, result);
    if (err != GGE_SUCCESS) {
        return err;
    }
    member(&payload, "{\"SecretId\":", id);
    member(&payload, ",\"VersionId\":", version_id);
    member(&payload, ",\"VersionStage\":", version_stage);
    buffer_text(&payload, "}");
    err = payload.failed ? GGE_OUT_OF_MEMORY
                         : invoke(request, environment.secrets, NULL, GG_INVOKE_REQUEST_RESPONSE, payload.data, payload.size, result);
    buffer_free(&payload);
    if (err == GGE_SUCCESS) {
        judge(request, "Status", "Message", result);
    }
    return err;
}
