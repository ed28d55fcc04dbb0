package com.amazonaws.greengrass.common;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.Map;

/**
 * The way of a function's log lines to the core, which gives each process a pipe for
 * every level and says in _GG_LOG_FD_&lt;LEVEL&gt; which descriptor it is.
 */
public class GreengrassLogger {
    private static final Map<LogLevel, OutputStream> PIPES = new EnumMap<>(LogLevel.class);
    private static final LogLevel LEAST = level(System.getenv("LOG_LEVEL"));

    /** Writes one record. What is below LOG_LEVEL is left out. */
    public void log(byte[] record, LogLevel level) {
        if (level.ordinal() > LEAST.ordinal()) {
            return;
        }
        byte[] line = Arrays.copyOf(record, record.length + 1);
        line[record.length] = '\n';
        try {
            synchronized (PIPES) {
                pipe(level == LogLevel.NOTSET ? LogLevel.TRACE : level).write(line);
            }
        } catch (IOException lost) {
            // A closed pipe must not take the function down.
        }
    }

    public void log(String message, LogLevel level) {
        log(message.getBytes(StandardCharsets.UTF_8), level);
    }

    public void trace(String message) {
        log(message, LogLevel.TRACE);
    }

    public void debug(String message) {
        log(message, LogLevel.DEBUG);
    }

    public void info(String message) {
        log(message, LogLevel.INFO);
    }

    public void warn(String message) {
        log(message, LogLevel.WARN);
    }

    public void error(String message) {
        log(message, LogLevel.ERROR);
    }

    public void fatal(String message) {
        log(message, LogLevel.FATAL);
    }

    private static LogLevel level(String name) {
        try {
            return LogLevel.valueOf(String.valueOf(name));
        } catch (IllegalArgumentException unknown) {
            return LogLevel.NOTSET;
        }
    }

    private static OutputStream pipe(LogLevel level) {
        return PIPES.computeIfAbsent(level, GreengrassLogger::open);
    }

    private static OutputStream open(LogLevel level) {
        String fd = System.getenv("_GG_LOG_FD_" + level);
        if (fd != null && !fd.equals("1") && !fd.equals("2")) {
            try {
                // Java has no way to an inherited descriptor but its name.
                return new FileOutputStream("/proc/self/fd/" + fd);
            } catch (IOException unknown) {
                // Then the standard streams have to do.
            }
        }
        boolean grave = level.compareTo(LogLevel.WARN) <= 0;
        return new FileOutputStream(grave && !"1".equals(fd) ? FileDescriptor.err : FileDescriptor.out);
    }
}
