package com.amazonaws.greengrass.ipcsdk;

/** A call did not succeed; the cause says why. */
public class IPCException extends Exception {
    private static final long serialVersionUID = 1L;

    private final int statusCode;

    public IPCException(String message, int statusCode, Throwable cause) {
        super(message, cause);
        this.statusCode = statusCode;
    }

    /** The HTTP status, 0 when there was no answer at all. */
    public int getStatusCode() {
        return statusCode;
    }
}
