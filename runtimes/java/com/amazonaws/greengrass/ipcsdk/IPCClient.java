package com.amazonaws.greengrass.ipcsdk;

/** Calls other functions. */
public interface IPCClient {
    /**
     * Invokes a function and returns the invocation's id. The type is Event or
     * RequestResponse, the client context base64 of JSON, or null.
     */
    String postWork(String functionArn, String invocationType, byte[] payload, String clientContext) throws IPCException;

    /** Waits for an invocation to end. */
    WorkResult getWorkResult(String functionArn, String invocationId) throws IPCException;
}
