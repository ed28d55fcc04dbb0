#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_add(struct buffer *b, const void *data, size_t size) {
    if (b->failed) {
        return;
    }
    if (size >= b->room - b->size || b->room == 0) {
        size_t room = b->size + size + 256 + b->size / 2;
        char *larger = room > b->size ? realloc(b->data, room) : NULL;
        if (larger == NULL) {
            b->failed = 1;
            return;
        }
        b->data = larger;
        b->room = room;
    }
    if (size > 0) {
        memcpy(b->data + b->size, data, size);
    }
    b->size += size;
    b->data[b->size] = '\0';
}

void buffer_text(struct buffer *b, const char *text) { buffer_add(b, text, strlen(text)); }

void buffer_free(struct buffer *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

void buffer_json(struct buffer *b, const char *text) {
    char escaped[8];
    buffer_text(b, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            buffer_text(b, "\\");
        }
        if ((unsigned char)*text < ' ') {
            snprintf(escaped, sizeof escaped, "\\u%04x", *text);
            buffer_text(b, escaped);
        } else {
            buffer_add(b, text, 1);
        }
    }
    buffer_text(b, "\"");
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void buffer_base64(struct buffer *b, const void *data, size_t size) {
    const unsigned char *in = data;
    char four[4];
    for (; size > 0; in += 3, size -= size < 3 ? size : 3) {
        unsigned bits = (unsigned)in[0] << 16 | (size > 1 ? in[1] << 8 : 0) | (size > 2 ? in[2] : 0);
        four[0] = digits[bits >> 18];
        four[1] = digits[bits >> 12 & 63];
        four[2] = size > 1 ? digits[bits >> 6 & 63] : '=';
        four[3] = size > 2 ? digits[bits & 63] : '=';
        buffer_add(b, four, 4);
    }
}

int base64_decode(struct buffer *b, const char *text) {
    unsigned bits = 0, count = 0;
    for (; *text != '\0' && *text != '='; text++) {
        const char *digit = strchr(digits, *text);
        if (digit == NULL) {
            return 0;
        }
        bits = bits << 6 | (unsigned)(digit - digits);
        count += 6;
        if (count >= 8) {
            char byte = (char)(bits >> (count -= 8));
            buffer_add(b, &byte, 1);
        }
    }
    for (; *text == '='; text++) {
    }
    return *text == '\0' && !b->failed;
}

int json_has(const char *json, size_t size, const char *name) {
    size_t length = strlen(name), start, i;
    int depth = 0;
    for (i = 0; i < size; i++) {
        switch (json[i]) {
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        case '"':
            for (start = ++i; i < size && json[i] != '"'; i++) {
                i += json[i] == '\\';
            }
            if (depth == 1 && i < size && i - start == length && memcmp(json + start, name, length) == 0) {
                for (i++; i < size && strchr(" \t\r\n", json[i]) != NULL && json[i] != '\0'; i++) {
                }
                if (i < size && json[i] == ':') {
                    return 1;
                }
                i--;
            }
            break;
        }
    }
    return 0;
}

gg_error drain(const struct buffer *from, size_t *at, void *buffer, size_t size, size_t *amount) {
    size_t left = from->size - *at;
    if (amount == NULL || (buffer == NULL && size > 0)) {
        return GGE_INVALID_PARAMETER;
    }
    *amount = left < size ? left : size;
    if (*amount > 0) {
        memcpy(buffer, from->data + *at, *amount);
    }
    *at += *amount;
    return GGE_SUCCESS;
}
