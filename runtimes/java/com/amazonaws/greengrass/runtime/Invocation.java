package com.amazonaws.greengrass.runtime;

import com.amazonaws.greengrass.common.EnvVars;
import com.amazonaws.greengrass.common.FunctionArnFields;
import com.amazonaws.greengrass.common.InvalidArnException;
import com.amazonaws.greengrass.ipcsdk.WorkItem;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/**
 * What a handler is told of one invocation. The Context that it sees is an interface of
 * aws-lambda-java-core, which is in the function's package, in whatever version, and
 * not here: so it is stood in for, each method by its name.
 */
final class Invocation {
    private final WorkItem item;
    private final Map<?, ?> clientContext;

    Invocation(WorkItem item) {
        this.item = item;
        this.clientContext = clientContext(item.getClientContext());
    }

    /** The client context, null when there is none that can be read. */
    private static Map<?, ?> clientContext(String header) {
        if (header.isEmpty()) {
            return null;
        }
        try {
            return (Map<?, ?>) Json.parse(Base64.getDecoder().decode(header));
        } catch (IllegalArgumentException | ClassCastException unreadable) {
            System.err.println("Ignoring a client context that cannot be read: " + unreadable.getMessage());
            return null;
        }
    }

    /** A Context for a handler that takes one. */
    Object context(Class<?> type) {
        return standIn(type, this::context);
    }

    private Object context(Method method, Object[] arguments) throws InvalidArnException {
        FunctionArnFields arn = FunctionArnFields.fromString(EnvVars.MY_FUNCTION_ARN);
        switch (method.getName()) {
            case "getAwsRequestId":
                return item.getInvocationId();
            case "getFunctionName":
                return arn.getName();
            case "getFunctionVersion":
                return arn.getQualifier();
            case "getInvokedFunctionArn":
                return EnvVars.MY_FUNCTION_ARN;
            case "getClientContext":
                return clientContext == null ? null : standIn(method.getReturnType(), this::clientContext);
            case "getLogger":
                return standIn(method.getReturnType(), Invocation::log);
            case "getRemainingTimeInMillis":
                return Integer.MAX_VALUE; // the core tells nobody
            case "getMemoryLimitInMB":
                return (int) (Runtime.getRuntime().maxMemory() >> 20);
            default:
                return null; // identity, log group, log stream
        }
    }

    private Object clientContext(Method method, Object[] arguments) {
        switch (method.getName()) {
            case "getCustom":
                return texts(clientContext.get("custom"));
            case "getEnvironment":
                return texts(clientContext.get("env"));
            case "getClient":
                Map<String, String> client = texts(clientContext.get("client"));
                return client.isEmpty() ? null : standIn(method.getReturnType(), (getter, none) -> client.get(clientField(getter.getName())));
            default:
                return null;
        }
    }

    /** The field of a client, such as app_title of getAppTitle. */
    private static String clientField(String getter) {
        String field = getter.replaceFirst("^get", "").replaceAll("(?<=.)([A-Z])", "_$1").toLowerCase(Locale.ROOT);
        return field.equals("app_package_name") ? "app_version_package_name" : field;
    }

    private static Object log(Method method, Object[] arguments) {
        Object message = arguments == null ? "" : arguments[0];
        System.out.println(message instanceof byte[] ? new String((byte[]) message, StandardCharsets.UTF_8) : message);
        return null;
    }

    /** A map as the interface promises it: values that are no texts become JSON. */
    private static Map<String, String> texts(Object value) {
        if (!(value instanceof Map)) {
            return Collections.emptyMap();
        }
        Map<String, String> texts = new LinkedHashMap<>();
        ((Map<?, ?>) value).forEach((name, each) -> texts.put(name.toString(),
                each == null || each instanceof String ? (String) each : new String(Json.write(each), StandardCharsets.UTF_8)));
        return texts;
    }

    private interface Methods {
        Object call(Method method, Object[] arguments) throws Exception;
    }

    private static Object standIn(Class<?> type, Methods methods) {
        InvocationHandler handler = (proxy, method, arguments) -> {
            if (method.getDeclaringClass() != Object.class) {
                return methods.call(method, arguments);
            }
            switch (method.getName()) {
                case "hashCode":
                    return System.identityHashCode(proxy);
                case "equals":
                    return proxy == arguments[0];
                default:
                    return type.getSimpleName();
            }
        };
        return Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler);
    }
}
