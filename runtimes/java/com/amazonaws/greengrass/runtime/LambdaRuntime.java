package com.amazonaws.greengrass.runtime;

import com.amazonaws.greengrass.common.EnvVars;
import com.amazonaws.greengrass.common.GreengrassLogger;
import com.amazonaws.greengrass.ipcsdk.DefaultIPCClient;
import com.amazonaws.greengrass.ipcsdk.IPCException;
import com.amazonaws.greengrass.ipcsdk.WorkItem;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Runs one Java function: loads its handler, then works off its queue. The core starts
 * it with the function's code and the jars of its lib folder on the class path.
 */
public final class LambdaRuntime {
    // Back-off of a call that the core did not answer: first and longest pause in
    // milliseconds, attempts, and milliseconds for all of them together.
    private static final long FIRST_PAUSE = 50;
    private static final long LONGEST_PAUSE = 500;
    private static final int ATTEMPTS = 10;
    private static final long TOTAL = 3000;

    // The exit status by which the core knows what a function ended for.
    private static final int OUT_OF_MEMORY = 137;

    private static final GreengrassLogger LOGGER = new GreengrassLogger();
    private static final DefaultIPCClient IPC = new DefaultIPCClient();

    private LambdaRuntime() {
    }

    public static void main(String[] arguments) {
        String prefix = "--handler=";
        if (arguments.length == 0 || !arguments[0].startsWith(prefix)) {
            System.err.println("usage: LambdaRuntime --handler=<package>.<Class>::<method> [argument...]");
            System.exit(2);
        }
        Handler handler = start(arguments[0].substring(prefix.length()));
        try {
            work(handler);
        } catch (IPCException failure) {
            LOGGER.fatal("Stopping because the core cannot be reached: " + failure.getMessage());
        } catch (OutOfMemoryError failure) {
            failure.printStackTrace();
            System.exit(OUT_OF_MEMORY);
        } catch (Throwable failure) { // The machine itself.
            failure.printStackTrace();
        }
        // Threads and timers that the function left behind would hold the process.
        System.exit(1);
    }

    private static Handler start(String name) {
        try {
            for (String variable : Arrays.asList("MY_FUNCTION_ARN", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "ENCODING_TYPE")) {
                String value = System.getenv(variable);
                if (value == null || value.isEmpty()) {
                    throw new InitializationException(variable + " is not set; only the core can start this program");
                }
            }
            if (!EnvVars.ENCODING_TYPE.equals("json") && !EnvVars.ENCODING_TYPE.equals("binary")) {
                throw new InitializationException("ENCODING_TYPE is neither json nor binary: " + EnvVars.ENCODING_TYPE);
            }
            checkInterfaceVersion();
        } catch (Throwable failure) {
            giveUp("Failed to initialize Lambda runtime due to exception: " + Handler.describe(failure), failure);
        }
        try {
            return Handler.find(name, EnvVars.ENCODING_TYPE.equals("binary"));
        } catch (Throwable failure) {
            giveUp("Failed to import handler function \"" + name + "\" due to exception: " + message(failure), failure);
            return null;
        }
    }

    /** The text of an error of the machine, such as NoClassDefFoundError, is only a name. */
    private static String message(Throwable failure) {
        return failure instanceof Error ? failure.toString() : Handler.describe(failure);
    }

    /** Refuses an SDK that this core is too old for; no SDK is no problem. */
    private static void checkInterfaceVersion() throws InitializationException {
        String sdk;
        try {
            sdk = (String) Class.forName("com.amazonaws.greengrass.javasdk.InterfaceVersion").getField("INTERFACE_VERSION").get(null);
        } catch (ClassNotFoundException absent) {
            return;
        } catch (ReflectiveOperationException untold) {
            sdk = "1.0";
        }
        String core = EnvVars.GGC_MAX_INTERFACE_VERSION;
        if (core == null) {
            throw new InitializationException("GGC_MAX_INTERFACE_VERSION is not set; only the core can start this program");
        }
        int[] offered = version(core);
        int[] wanted = version(sdk);
        if (wanted[0] != offered[0] || wanted[1] > offered[1]) {
            throw new InitializationException("the Greengrass Core SDK in this package has interface version " + sdk
                    + ", which is incompatible with this core: it supports up to " + core + ". Package the function with an older SDK");
        }
    }

    private static int[] version(String text) throws InitializationException {
        if (!text.matches("[0-9]{1,9}(\\.[0-9]{1,9}.*)?")) {
            throw new InitializationException("\"" + text + "\" is not a version");
        }
        String[] parts = text.split("\\.");
        return new int[] {Integer.parseInt(parts[0]), parts.length > 1 ? Integer.parseInt(parts[1]) : 0};
    }

    private static void giveUp(String message, Throwable failure) {
        LOGGER.fatal(message);
        failure.printStackTrace();
        Map<String, Object> said = new LinkedHashMap<>();
        said.put("Success", false);
        said.put("Response", message);
        if (EnvVars.MY_FUNCTION_ARN != null && EnvVars.AUTH_TOKEN != null) {
            try {
                IPC.putInitializationResult(EnvVars.MY_FUNCTION_ARN, Json.write(said));
            } catch (IPCException lost) {
                // The exit status says the same.
            }
        }
        System.exit(1);
    }

    /** Works until the core cannot be reached any more. */
    private static void work(Handler handler) throws IPCException {
        String arn = EnvVars.MY_FUNCTION_ARN;
        LOGGER.info("Running [" + arn + "]");
        LOGGER.info("Getting work for function [" + arn + "] from " + IPC.workUrl(arn));
        while (true) {
            WorkItem item = withRetries(() -> IPC.getWork(arn));
            try {
                byte[] result = handler.handle(item);
                answer(() -> IPC.postWorkResult(arn, item.getInvocationId(), result));
            } catch (Handler.PayloadException unfit) {
                LOGGER.error(unfit.getMessage());
                byte[] error = Json.write(Collections.singletonMap("errorMessage", unfit.getMessage()));
                answer(() -> IPC.postHandlerErr(arn, item.getInvocationId(), error));
            } catch (InvocationTargetException failed) {
                Throwable failure = failed.getCause();
                if (failure instanceof OutOfMemoryError) {
                    throw (OutOfMemoryError) failure;
                }
                System.err.print("Uncaught exception in the handler: ");
                failure.printStackTrace();
                answer(() -> IPC.postHandlerErr(arn, item.getInvocationId(), Json.write(error(failure))));
            } catch (IllegalAccessException impossible) {
                throw new IllegalStateException(impossible);
            }
        }
    }

    private static Map<String, Object> error(Throwable failure) {
        List<Object> stack = new ArrayList<>();
        for (StackTraceElement element : failure.getStackTrace()) {
            stack.add(element.toString());
        }
        Map<String, Object> error = new LinkedHashMap<>();
        error.put("errorMessage", failure.getMessage());
        error.put("errorType", failure.getClass().getName());
        error.put("stackTrace", stack);
        return error;
    }

    private interface Call<T> {
        T make() throws IPCException;
    }

    private interface Post {
        void make() throws IPCException;
    }

    private static void answer(Post post) throws IPCException {
        try {
            withRetries(() -> {
                post.make();
                return null;
            });
        } catch (IPCException failure) {
            int status = failure.getStatusCode();
            if (status == 0 || status == 401 || status == 403) {
                throw failure;
            }
            // The core gave the item up meanwhile, or refuses this answer: neither is
            // a reason to stop working.
            LOGGER.error("The core did not take the answer: " + failure.getMessage());
        }
    }

    private static <T> T withRetries(Call<T> call) throws IPCException {
        long pause = FIRST_PAUSE;
        long waited = 0;
        for (int attempt = 1;; attempt++) {
            try {
                return call.make();
            } catch (IPCException failure) {
                int status = failure.getStatusCode();
                boolean passing = status == 0 || status >= 500 || status == 429;
                if (!passing || attempt == ATTEMPTS || waited >= TOTAL) {
                    throw failure;
                }
            }
            long duration = ThreadLocalRandom.current().nextLong(pause / 2, pause);
            try {
                Thread.sleep(duration);
            } catch (InterruptedException left) {
                // An interrupt that the handler left behind is not meant for this.
            }
            waited += duration;
            pause = Math.min(pause * 2, LONGEST_PAUSE);
        }
    }
}
