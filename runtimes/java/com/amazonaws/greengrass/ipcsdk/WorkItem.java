package com.amazonaws.greengrass.ipcsdk;

/** An invocation that a function is to work off. */
public class WorkItem {
    private final String invocationId;
    private final byte[] payload;
    private final String clientContext;

    public WorkItem(String invocationId, byte[] payload, String clientContext) {
        this.invocationId = invocationId;
        this.payload = payload;
        this.clientContext = clientContext;
    }

    public String getInvocationId() {
        return invocationId;
    }

    public byte[] getPayload() {
        return payload;
    }

    /** Base64 of JSON, empty when the caller gave none. */
    public String getClientContext() {
        return clientContext;
    }
}
