package com.amazonaws.greengrass.ipcsdk;

/** How an invocation ended. */
public class WorkResult {
    private final byte[] payload;
    private final int statusCode;
    private final String functionErr;

    public WorkResult(byte[] payload, int statusCode, String functionErr) {
        this.payload = payload;
        this.statusCode = statusCode;
        this.functionErr = functionErr;
    }

    public byte[] getPayload() {
        return payload;
    }

    public int getStatusCode() {
        return statusCode;
    }

    /** Handled or Unhandled, empty when the function succeeded. */
    public String getFunctionErr() {
        return functionErr;
    }
}
