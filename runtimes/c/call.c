#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Kept connections, shared by all threads: a call takes one out and puts it back when
 * its answer was read whole. */
#define MOST_KEPT 16
static int kept[MOST_KEPT], kept_count;
static pid_t kept_by;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static int take(void) {
    int fd = -1;
    pthread_mutex_lock(&kept_lock);
    if (kept_by != getpid()) { /* A fork took them along; they are the parent's. */
        while (kept_count > 0) {
            close(kept[--kept_count]);
        }
        kept_by = getpid();
    }
    if (kept_count > 0) {
        fd = kept[--kept_count];
    }
    pthread_mutex_unlock(&kept_lock);
    return fd;
}

static void put(int fd) {
    pthread_mutex_lock(&kept_lock);
    if (kept_by == getpid() && kept_count < MOST_KEPT) {
        kept[kept_count++] = fd;
        fd = -1;
    }
    pthread_mutex_unlock(&kept_lock);
    if (fd >= 0) {
        close(fd);
    }
}

static int dial(void) {
    struct sockaddr_in core;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    memset(&core, 0, sizeof core);
    core.sin_family = AF_INET;
    core.sin_port = htons((uint16_t)environment.port);
    core.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (connect(fd, (struct sockaddr *)&core, sizeof core) != 0) {
        if (errno != EINTR && errno != EALREADY && errno != EINPROGRESS) {
            if (errno == EISCONN) {
                break;
            }
            close(fd);
            return -1;
        }
    }
    return fd;
}

/* Where it fails, what came back before may say why. */
static void send_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        data += n;
        size -= (size_t)n;
    }
}

/* Reads more into a buffer; 0 at the end. */
static int receive(int fd, struct buffer *in) {
    char chunk[4096];
    ssize_t n;
    do {
        n = recv(fd, chunk, sizeof chunk, 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return 0;
    }
    buffer_add(in, chunk, (size_t)n);
    return !in->failed;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c; }

/* Whether a line of a head is the field of that name, in lower case, and its value. */
static const char *field(const char *line, const char *name) {
    for (; *name != '\0'; line++, name++) {
        if (lower(*line) != *name) {
            return NULL;
        }
    }
    if (*line++ != ':') {
        return NULL;
    }
    while (*line == ' ' || *line == '\t') {
        line++;
    }
    return line;
}

static void keep(struct buffer *into, const char *value) {
    if (value != NULL && into->size == 0) {
        buffer_text(into, value);
    }
}

/* Takes a head apart, which is changed; 0 if it is none. */
static int parse(char *head, struct answer *a, long *length, int *closes) {
    char *line, *next;
    if (strncmp(head, "HTTP/1.", 7) != 0 || strlen(head) < 12 || head[8] != ' ') {
        return 0;
    }
    a->status = atoi(head + 9);
    for (line = strstr(head, "\r\n"); line != NULL; line = next) {
        const char *value;
        line += 2;
        next = strstr(line, "\r\n");
        if (next != NULL) {
            *next = '\0';
        }
        keep(&a->invocation_id, field(line, "x-amz-invocationid"));
        keep(&a->client_context, field(line, "x-amz-client-context"));
        keep(&a->function_error, field(line, "x-amz-function-error"));
        if ((value = field(line, "content-length")) != NULL) {
            *length = atol(value);
        }
        if ((value = field(line, "connection")) != NULL) {
            *closes = lower(value[0]) == 'c';
        }
    }
    return a->status >= 100;
}

enum outcome { ANSWERED, UNANSWERED, BROKEN };

/* Sends a request over a connection, which it keeps or closes. */
static enum outcome exchange(int fd, const struct buffer *request, volatile int *watched, struct answer *a) {
    struct buffer in = {0};
    enum outcome outcome = BROKEN;
    long length = -1;
    int closes = 0;
    char *end;
    if (watched != NULL) {
        *watched = fd;
        if (terminating) { /* The signal came before anything was watched. */
            shutdown(fd, SHUT_RDWR);
        }
    }
    send_all(fd, request->data, request->size);
    while (in.size == 0 || (end = strstr(in.data, "\r\n\r\n")) == NULL) {
        if (!receive(fd, &in)) {
            outcome = in.size == 0 && !in.failed ? UNANSWERED : BROKEN;
            goto done;
        }
    }
    *end = '\0';
    if (!parse(in.data, a, &length, &closes)) {
        goto done;
    }
    {
        size_t head = (size_t)(end - in.data) + 4;
        while (length < 0 || in.size - head < (size_t)length) {
            if (!receive(fd, &in)) {
                if (length >= 0 || in.failed) {
                    goto done;
                }
                length = (long)(in.size - head); /* It goes on to the end of the connection. */
                closes = 1;
            }
        }
        buffer_add(&a->body, in.data + head, (size_t)length);
    }
    outcome = ANSWERED;
done:
    if (watched != NULL) {
        *watched = -1;
    }
    if (outcome == ANSWERED && !closes) {
        put(fd);
    } else {
        close(fd);
    }
    buffer_free(&in);
    return outcome;
}

static int add_field(struct buffer *request, const char *name, const char *value) {
    const char *c;
    if (value == NULL) {
        return 1;
    }
    for (c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ') {
            return 0;
        }
    }
    buffer_text(request, name);
    buffer_text(request, ": ");
    buffer_text(request, value);
    buffer_text(request, "\r\n");
    return 1;
}

gg_error call(const char *method, const char *path, const struct fields *fields, const void *body, size_t size,
              volatile int *watched, struct answer *a) {
    struct buffer request = {0};
    enum outcome outcome = UNANSWERED;
    char number[64];
    const char *c;
    int fd, valid = 1;
    memset(a, 0, sizeof *a);
    for (c = path; *c != '\0'; c++) {
        valid &= (unsigned char)*c > ' ';
    }
    buffer_text(&request, method);
    buffer_text(&request, " /2016-11-01/functions/");
    buffer_text(&request, path);
    snprintf(number, sizeof number, " HTTP/1.1\r\nHost: localhost:%u\r\n", environment.port);
    buffer_text(&request, number);
    valid &= add_field(&request, "Authorization", environment.token);
    valid &= add_field(&request, "X-Amz-InvocationId", fields->invocation_id);
    valid &= add_field(&request, "X-Amz-Client-Context", fields->client_context);
    valid &= add_field(&request, "X-Amz-Invocation-Type", fields->invocation_type);
    valid &= add_field(&request, "X-Amz-Function-Error", fields->function_error);
    if (strcmp(method, "GET") != 0) {
        snprintf(number, sizeof number, "Content-Length: %lu\r\n", (unsigned long)size);
        buffer_text(&request, number);
    }
    buffer_text(&request, "\r\n");
    buffer_add(&request, body, size);
    if (!valid || request.failed) {
        buffer_free(&request);
        return valid ? GGE_OUT_OF_MEMORY : GGE_INVALID_PARAMETER;
    }
    /* The core closes kept connections that nobody used for a while. A call that met
     * one of these has not arrived, so it is sent once more over a new one. */
    if ((fd = take()) >= 0) {
        outcome = exchange(fd, &request, watched, a);
    }
    if (outcome == UNANSWERED && (fd = dial()) >= 0) {
        outcome = exchange(fd, &request, watched, a);
    }
    buffer_free(&request);
    if (outcome != ANSWERED) {
        answer_free(a);
        return GGE_INTERNAL_FAILURE;
    }
    if (a->body.failed || a->invocation_id.failed || a->client_context.failed || a->function_error.failed) {
        answer_free(a);
        return GGE_OUT_OF_MEMORY;
    }
    return GGE_SUCCESS;
}

void answer_free(struct answer *a) {
    buffer_free(&a->invocation_id);
    buffer_free(&a->client_context);
    buffer_free(&a->function_error);
    buffer_free(&a->body);
}
