package com.amazonaws.greengrass.ipcsdk;

import com.amazonaws.greengrass.common.EnvVars;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.LinkedBlockingDeque;

/** The client of the core's function API (version 2016-11-01). Threads may share it. */
public class DefaultIPCClient implements IPCClient {
    private static final String INVOCATION_ID = "X-Amz-InvocationId";
    private static final String CLIENT_CONTEXT = "X-Amz-Client-Context";
    private static final String INVOCATION_TYPE = "X-Amz-Invocation-Type";
    private static final String FUNCTION_ERROR = "X-Amz-Function-Error";
    private static final int DEFAULT_PORT = 8000;
    private static final byte[] NOTHING = {};

    /** Kept connections of all clients: a call takes one out and puts it back. */
    private static final Deque<Connection> KEPT = new LinkedBlockingDeque<>(16);

    private final int port = EnvVars.GG_DAEMON_PORT == null ? DEFAULT_PORT : Integer.parseInt(EnvVars.GG_DAEMON_PORT);

    @Override
    public String postWork(String functionArn, String invocationType, byte[] payload, String clientContext) throws IPCException {
        Map<String, String> headers = new LinkedHashMap<>();
        headers.put(CLIENT_CONTEXT, clientContext == null ? "" : clientContext);
        headers.put(INVOCATION_TYPE, invocationType);
        return call("POST", functionArn, headers, payload).header(INVOCATION_ID);
    }

    @Override
    public WorkResult getWorkResult(String functionArn, String invocationId) throws IPCException {
        if (functionArn.equals(EnvVars.ROUTER_FUNCTION_ARN)) {
            return new WorkResult(NOTHING, 200, "");
        }
        Connection.Answer answer = call("GET", functionArn, Collections.singletonMap(INVOCATION_ID, invocationId), null);
        return new WorkResult(answer.body, answer.status, answer.header(FUNCTION_ERROR));
    }

    /** Waits for the function's next item. */
    public WorkItem getWork(String functionArn) throws IPCException {
        Connection.Answer answer = call("GET", functionArn + "/work", Collections.emptyMap(), null);
        return new WorkItem(answer.header(INVOCATION_ID), answer.body, answer.header(CLIENT_CONTEXT));
    }

    /** Answers an item with its result. */
    public void postWorkResult(String functionArn, String invocationId, byte[] result) throws IPCException {
        call("POST", functionArn + "/work", Collections.singletonMap(INVOCATION_ID, invocationId), result);
    }

    /** Answers an item with the error, in JSON, that its handler reported. */
    public void postHandlerErr(String functionArn, String invocationId, byte[] error) throws IPCException {
        Map<String, String> headers = new LinkedHashMap<>();
        headers.put(INVOCATION_ID, invocationId);
        headers.put(FUNCTION_ERROR, "Handled");
        call("POST", functionArn + "/work", headers, error);
    }

    /** Says, in JSON, that the function is ready or with what error it is not. */
    public void putInitializationResult(String functionArn, byte[] result) throws IPCException {
        call("PUT", functionArn + "/initialized", Collections.emptyMap(), result);
    }

    /** Where a function asks for work. */
    public String workUrl(String functionArn) {
        return "http://localhost:" + port + path(functionArn + "/work");
    }

    private static String path(String resource) {
        return "/2016-11-01/functions/" + resource;
    }

    private Connection.Answer call(String method, String resource, Map<String, String> headers, byte[] body) throws IPCException {
        Map<String, String> all = new LinkedHashMap<>(headers);
        if (EnvVars.AUTH_TOKEN != null) {
            all.put("Authorization", EnvVars.AUTH_TOKEN);
        }
        Connection.Answer answer;
        try {
            refuseControls(resource);
            for (String value : all.values()) {
                refuseControls(value);
            }
            answer = send(method, path(resource), all, body == null ? NOTHING : body);
        } catch (IOException cause) {
            throw new IPCException(method + " " + path(resource) + " failed: " + cause.getMessage(), 0, cause);
        }
        if (answer.status >= 200 && answer.status < 300) {
            return answer;
        }
        String text = new String(answer.body, StandardCharsets.UTF_8).trim();
        String message = "HTTP Error " + answer.status + ": " + answer.reason + (text.isEmpty() ? "" : " (" + text + ")");
        throw new IPCException(method + " " + path(resource) + " failed: " + message, answer.status, new IOException(message));
    }

    /**
     * Sends over a kept connection. The core closes those that nobody used for a while;
     * a call that met one has not arrived, so it is sent once more over a new one.
     */
    private Connection.Answer send(String method, String path, Map<String, String> headers, byte[] body) throws IOException {
        Connection kept = KEPT.pollFirst();
        if (kept != null) {
            try {
                return over(kept, method, path, headers, body);
            } catch (Connection.UnansweredException closed) {
                // Once more.
            }
        }
        return over(new Connection(port), method, path, headers, body);
    }

    private static Connection.Answer over(Connection connection, String method, String path, Map<String, String> headers, byte[] body)
            throws IOException {
        try {
            return connection.exchange(method, path, headers, body);
        } finally {
            if (!connection.usable() || !KEPT.offerFirst(connection)) {
                connection.close();
            }
        }
    }

    private static void refuseControls(String value) throws IOException {
        if (value.chars().anyMatch(c -> c < ' ' || c == 0x7f)) {
            throw new IOException("control characters cannot be sent: " + value.replaceAll("\\p{Cntrl}", "?"));
        }
    }
}
