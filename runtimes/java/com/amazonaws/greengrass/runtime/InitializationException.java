package com.amazonaws.greengrass.runtime;

/** The function cannot take work; the text says why. */
final class InitializationException extends Exception {
    private static final long serialVersionUID = 1L;

    InitializationException(String message) {
        super(message);
    }

    InitializationException(String message, Throwable cause) {
        super(message, cause);
    }
}
