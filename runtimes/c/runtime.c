#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct environment environment;

/* Descriptors of the log pipes, by gg_log_level, and the lowest level that counts. */
static int log_fd[] = {1, 1, 1, 2, 2, 2};
static gg_log_level log_level;

/* The work item that a thread's handler is at. */
struct work {
    struct buffer event, response;
    size_t at;
    int is_error;
};
static pthread_key_t current;

static gg_lambda_handler handler;
volatile sig_atomic_t terminating;
static volatile sig_atomic_t asynchronous;
static volatile int waiting = -1;

static const char *variable(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : otherwise;
}

gg_error gg_global_init(uint32_t opt) {
    static const char *const levels[] = {"NOTSET", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
    char name[32];
    size_t i;
    if (opt != 0) {
        return GGE_INVALID_PARAMETER;
    }
    if (environment.ready) {
        return GGE_SUCCESS;
    }
    for (i = 1; i < sizeof levels / sizeof *levels; i++) {
        snprintf(name, sizeof name, "_GG_LOG_FD_%s", levels[i]);
        if (getenv(name) != NULL) {
            log_fd[i] = atoi(getenv(name));
        }
        if (strcmp(levels[i], variable("LOG_LEVEL", "")) == 0) {
            log_level = (gg_log_level)i;
        }
    }
    /* Into a pipe, lines would wait for a full block. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    environment.token = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    environment.arn = getenv("MY_FUNCTION_ARN");
    environment.router = variable("ROUTER_FUNCTION_ARN", "arn:aws:lambda:::function:GGRouter");
    environment.shadow = variable("SHADOW_FUNCTION_ARN", "arn:aws:lambda:::function:GGShadowService");
    environment.secrets = variable("SECRETS_MANAGER_FUNCTION_ARN", "arn:aws:lambda:::function:GGSecretManager:1");
    environment.port = (unsigned)atoi(variable("GG_DAEMON_PORT", "8000"));
    if (environment.token == NULL || environment.arn == NULL) {
        gg_log(GG_LOG_FATAL, "%s is not set; only the core can start this program",
               environment.arn == NULL ? "MY_FUNCTION_ARN" : "AWS_CONTAINER_AUTHORIZATION_TOKEN");
        return GGE_INVALID_STATE;
    }
    if (pthread_key_create(&current, NULL) != 0) {
        return GGE_OUT_OF_MEMORY;
    }
    environment.ready = 1;
    return GGE_SUCCESS;
}

gg_error gg_log(gg_log_level level, const char *format, ...) {
    char small[512], *text = small;
    size_t at = 0;
    va_list arguments;
    int size;
    if (format == NULL || level < GG_LOG_DEBUG || level > GG_LOG_FATAL) {
        return GGE_INVALID_PARAMETER;
    }
    if (level < log_level) {
        return GGE_SUCCESS;
    }
    va_start(arguments, format);
    size = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (size < 0) {
        return GGE_INVALID_PARAMETER;
    }
    if ((size_t)size >= sizeof small - 1) { /* one more for the newline */
        text = malloc((size_t)size + 2);
        if (text == NULL) {
            return GGE_OUT_OF_MEMORY;
        }
        va_start(arguments, format);
        vsnprintf(text, (size_t)size + 1, format, arguments);
        va_end(arguments);
    }
    if (size == 0 || text[size - 1] != '\n') {
        text[size++] = '\n';
    }
    while (at < (size_t)size) {
        ssize_t n = write(log_fd[level], text + at, (size_t)size - at);
        if (n < 0 && errno != EINTR) {
            break; /* A closed pipe must not take the function down. */
        }
        at += n > 0 ? (size_t)n : 0;
    }
    if (text != small) {
        free(text);
    }
    return GGE_SUCCESS;
}

static struct work *work(void) { return environment.ready ? pthread_getspecific(current) : NULL; }

gg_error gg_lambda_handler_read(void *buffer, size_t size, size_t *amount) {
    struct work *w = work();
    return w == NULL ? GGE_INVALID_STATE : drain(&w->event, &w->at, buffer, size, amount);
}

gg_error gg_lambda_handler_write_response(const void *response, size_t size) {
    struct work *w = work();
    if (w == NULL) {
        return GGE_INVALID_STATE;
    }
    if (response == NULL && size > 0) {
        return GGE_INVALID_PARAMETER;
    }
    buffer_free(&w->response);
    w->is_error = 0;
    buffer_add(&w->response, response, size);
    return w->response.failed ? GGE_OUT_OF_MEMORY : GGE_SUCCESS;
}

gg_error gg_lambda_handler_write_error(const char *message) {
    struct work *w = work();
    if (w == NULL) {
        return GGE_INVALID_STATE;
    }
    if (message == NULL) {
        return GGE_INVALID_PARAMETER;
    }
    buffer_free(&w->response);
    w->is_error = 1;
    buffer_text(&w->response, "{\"errorMessage\":");
    buffer_json(&w->response, message);
    buffer_text(&w->response, "}");
    return w->response.failed ? GGE_OUT_OF_MEMORY : GGE_SUCCESS;
}

static void terminate(int signal_number) {
    (void)signal_number;
    if (asynchronous) {
        _exit(0); /* The main thread need not come back to the library. */
    }
    terminating = 1;
    if (waiting >= 0) {
        shutdown(waiting, SHUT_RDWR);
    }
}

/* Calls until there is an answer that is not passing, with growing pauses. */
static gg_error persist(const char *method, const char *path, const struct fields *fields, const struct buffer *body,
                        volatile int *watched, struct answer *a) {
    long milliseconds = 50, waited = 0;
    int attempt;
    for (attempt = 1;; attempt++) {
        struct timespec pause;
        /* An answer still goes out, but no more work is asked for. */
        gg_error err = terminating && watched != NULL ? GGE_TERMINATE : call(method, path, fields, body->data, body->size, watched, a);
        int passing = err == GGE_INTERNAL_FAILURE || (err == GGE_SUCCESS && (a->status >= 500 || a->status == 429));
        if (terminating && err != GGE_SUCCESS) {
            return GGE_TERMINATE;
        }
        if (!passing || attempt == 10 || waited >= 3000) {
            return err;
        }
        if (err == GGE_SUCCESS) {
            answer_free(a);
        }
        pause.tv_sec = 0;
        pause.tv_nsec = milliseconds * 1000000L;
        nanosleep(&pause, NULL);
        waited += milliseconds;
        milliseconds = milliseconds * 2 > 500 ? 500 : milliseconds * 2;
    }
}

/* Runs the handler for one item and answers it. */
static gg_error work_off(const char *path, struct answer *item) {
    struct work w;
    struct buffer context = {0};
    struct fields fields = {0};
    struct answer taken;
    gg_lambda_context told;
    gg_error err;
    memset(&w, 0, sizeof w);
    w.event = item->body;
    memset(&item->body, 0, sizeof item->body);
    if (item->client_context.size > 0 && !base64_decode(&context, item->client_context.data)) {
        gg_log(GG_LOG_ERROR, "Ignoring a client context that cannot be read");
        buffer_free(&context);
    }
    told.function_arn = environment.arn;
    told.client_context = context.size > 0 ? context.data : "";
    pthread_setspecific(current, &w);
    handler(&told);
    pthread_setspecific(current, NULL);
    fields.invocation_id = item->invocation_id.size > 0 ? item->invocation_id.data : "";
    fields.function_error = w.is_error ? "Handled" : NULL;
    err = persist("POST", path, &fields, &w.response, NULL, &taken);
    if (err == GGE_SUCCESS) {
        if (taken.status > 299) {
            /* The core gave the item up meanwhile, or refuses this answer: neither is a
             * reason to stop working. */
            gg_log(GG_LOG_ERROR, "The core did not take the answer: %d %s", taken.status, taken.body.size > 0 ? taken.body.data : "");
        }
        err = taken.status == 401 || taken.status == 403 ? GGE_INTERNAL_FAILURE : GGE_SUCCESS;
        answer_free(&taken);
    }
    buffer_free(&w.event);
    buffer_free(&w.response);
    buffer_free(&context);
    return err;
}

static gg_error loop(void) {
    struct buffer path = {0}, nothing = {0};
    struct fields fields = {0};
    struct answer item;
    gg_error err = GGE_SUCCESS;
    buffer_text(&path, environment.arn);
    buffer_text(&path, "/work");
    if (path.failed) {
        return GGE_OUT_OF_MEMORY;
    }
    gg_log(GG_LOG_INFO, "Running [%s]", environment.arn);
    while (err == GGE_SUCCESS) {
        err = persist("GET", path.data, &fields, &nothing, &waiting, &item);
        if (err != GGE_SUCCESS) {
            break;
        }
        if (item.status == 200) {
            err = work_off(path.data, &item);
        } else {
            gg_log(GG_LOG_FATAL, "Stopping because the core refuses work: %d %s", item.status, item.body.size > 0 ? item.body.data : "");
            err = GGE_INTERNAL_FAILURE;
        }
        answer_free(&item);
    }
    buffer_free(&path);
    return err;
}

static void *run(void *unused) {
    (void)unused;
    if (loop() != GGE_TERMINATE) {
        _exit(1); /* Without the core the function is of no use. */
    }
    return NULL;
}

gg_error gg_runtime_start(gg_lambda_handler of, uint32_t opt) {
    struct sigaction action;
    pthread_t thread;
    if (of == NULL || (opt & ~(uint32_t)GG_RT_OPT_ASYNC) != 0) {
        return GGE_INVALID_PARAMETER;
    }
    if (!environment.ready || handler != NULL) {
        return GGE_INVALID_STATE;
    }
    handler = of;
    asynchronous = (opt & GG_RT_OPT_ASYNC) != 0;
    memset(&action, 0, sizeof action);
    action.sa_handler = terminate;
    sigaction(SIGTERM, &action, NULL);
    if (!asynchronous) {
        return loop();
    }
    if (pthread_create(&thread, NULL, run, NULL) != 0) {
        return GGE_INTERNAL_FAILURE;
    }
    pthread_detach(thread);
    return GGE_SUCCESS;
}
