package com.amazonaws.greengrass.ipcsdk;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/** One connection to the core, for one call after the other. */
final class Connection implements Closeable {
    /** The core closed the connection before a byte of its answer came. */
    static final class UnansweredException extends IOException {
        private static final long serialVersionUID = 1L;

        UnansweredException(IOException cause) {
            super(cause == null ? "the core closed the connection" : cause.toString(), cause);
        }
    }

    /** The core's answer. Names of headers are in lower case. */
    static final class Answer {
        int status;
        String reason = "";
        final Map<String, String> headers = new TreeMap<>();
        byte[] body;

        String header(String name) {
            return headers.getOrDefault(name.toLowerCase(Locale.ROOT), "");
        }
    }

    private static final byte[] LOOPBACK = {127, 0, 0, 1};

    private final int port;
    private final Socket socket;
    private final InputStream in;
    private final OutputStream out;
    private boolean usable = true;

    Connection(int port) throws IOException {
        this.port = port;
        // Whatever proxy the function uses, the core is on this machine.
        socket = new Socket(Proxy.NO_PROXY);
        try {
            socket.connect(new InetSocketAddress(InetAddress.getByAddress("localhost", LOOPBACK), port));
            socket.setTcpNoDelay(true);
            in = new BufferedInputStream(socket.getInputStream());
            out = socket.getOutputStream();
        } catch (IOException failed) {
            socket.close();
            throw failed;
        }
    }

    /** Sends a request and waits for its answer, without limit. */
    Answer exchange(String method, String path, Map<String, String> headers, byte[] body) throws IOException {
        usable = false;
        ByteArrayOutputStream request = new ByteArrayOutputStream(512 + body.length);
        StringBuilder head = new StringBuilder(512);
        head.append(method).append(' ').append(path).append(" HTTP/1.1\r\nHost: localhost:").append(port).append("\r\n");
        headers.forEach((name, value) -> head.append(name).append(": ").append(value).append("\r\n"));
        if (!method.equals("GET")) {
            head.append("Content-Length: ").append(body.length).append("\r\n");
        }
        request.write(head.append("\r\n").toString().getBytes(StandardCharsets.UTF_8));
        request.write(body);
        awaitAnswer(request);
        Answer answer = read();
        usable = !"close".equalsIgnoreCase(answer.header("Connection"));
        return answer;
    }

    private void awaitAnswer(ByteArrayOutputStream request) throws IOException {
        IOException failure = null;
        try {
            request.writeTo(out);
        } catch (IOException cause) {
            failure = cause; // What came back before may say why.
        }
        try {
            in.mark(1);
            if (in.read() >= 0) {
                in.reset();
                return;
            }
        } catch (IOException cause) {
            failure = cause;
        }
        throw new UnansweredException(failure);
    }

    private Answer read() throws IOException {
        Answer answer = new Answer();
        String[] status = line().split(" ", 3);
        if (status.length < 2 || !status[0].startsWith("HTTP/1.") || !status[1].matches("[1-9][0-9]{2}")) {
            throw new IOException("the core's answer is not HTTP: " + String.join(" ", status));
        }
        answer.status = Integer.parseInt(status[1]);
        answer.reason = status.length > 2 ? status[2] : "";
        for (String line = line(); !line.isEmpty(); line = line()) {
            int colon = line.indexOf(':');
            if (colon < 1) {
                throw new IOException("the core's answer has a header that is none: " + line);
            }
            answer.headers.put(line.substring(0, colon).toLowerCase(Locale.ROOT), line.substring(colon + 1).trim());
        }
        String length = answer.header("Content-Length");
        if (length.matches("[0-9]{1,9}")) {
            answer.body = new byte[Integer.parseInt(length)];
            new DataInputStream(in).readFully(answer.body);
        } else {
            answer.headers.put("connection", "close");
            answer.body = rest();
        }
        return answer;
    }

    /** What comes until the end of the connection. */
    private byte[] rest() throws IOException {
        ByteArrayOutputStream rest = new ByteArrayOutputStream();
        byte[] part = new byte[4096];
        for (int n = in.read(part); n >= 0; n = in.read(part)) {
            rest.write(part, 0, n);
        }
        return rest.toByteArray();
    }

    private String line() throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream(80);
        for (int b = in.read(); b != '\n'; b = in.read()) {
            if (b < 0) {
                throw new EOFException("the core's answer breaks off");
            }
            line.write(b);
        }
        String text = new String(line.toByteArray(), StandardCharsets.UTF_8);
        return text.endsWith("\r") ? text.substring(0, text.length() - 1) : text;
    }

    /** Whether the last answer was read whole and the core takes another call. */
    boolean usable() {
        return usable;
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
