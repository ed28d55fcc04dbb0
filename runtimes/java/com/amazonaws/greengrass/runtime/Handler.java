package com.amazonaws.greengrass.runtime;

import com.amazonaws.greengrass.ipcsdk.WorkItem;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/** The method that works off a function's invocations. */
final class Handler {
    /** A payload is not what the handler takes; the text says why. */
    static final class PayloadException extends Exception {
        private static final long serialVersionUID = 1L;

        PayloadException(String message) {
            super(message);
        }
    }

    private static final String CONTEXT = "com.amazonaws.services.lambda.runtime.Context";

    private final Method method;
    private final Object instance;
    private final boolean streams;
    private final Binder binder;

    private Handler(Method method, Object instance) {
        this.method = method;
        this.instance = instance;
        this.streams = takesStreams(method);
        this.binder = streams ? null : Binder.choose();
    }

    /**
     * Finds the handler that "package.Class::method" names; of a class that implements
     * RequestHandler or RequestStreamHandler the method may be left out.
     */
    static Handler find(String name, boolean binary) throws InitializationException {
        String[] parts = name.split("::", -1);
        String methodName = parts.length == 1 ? "handleRequest" : parts[1];
        if (parts.length > 2 || parts[0].isEmpty() || methodName.isEmpty()) {
            throw new InitializationException("the handler must have the form <package>.<Class>::<method>");
        }
        Class<?> type;
        try {
            type = Class.forName(parts[0]);
        } catch (ClassNotFoundException absent) {
            throw new InitializationException("class " + parts[0] + " is neither at the root of the package nor in a jar of its lib folder", absent);
        } catch (ExceptionInInitializerError failed) {
            throw new InitializationException(describe(failed.getCause()), failed.getCause());
        }
        List<Method> fit = new ArrayList<>();
        for (Method method : type.getMethods()) {
            if (method.getName().equals(methodName) && !method.isBridge() && fits(method, binary)) {
                fit.add(method);
            }
        }
        Method best = fit.stream().max(Comparator.comparingInt(Method::getParameterCount).thenComparing(Handler::takesContext))
                .orElseThrow(() -> new InitializationException(parts[0] + " has no public method " + methodName + " with parameters that a "
                        + (binary ? "binary function takes: (InputStream, OutputStream, Context), one or two of them in this order"
                        : "function takes: (event, Context), one or none of them, or streams")));
        best.setAccessible(true);
        return new Handler(best, Modifier.isStatic(best.getModifiers()) ? null : make(type));
    }

    private static Object make(Class<?> type) throws InitializationException {
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return constructor.newInstance();
        } catch (NoSuchMethodException | InstantiationException unfit) {
            throw new InitializationException(type.getName() + " has no constructor without parameters", unfit);
        } catch (InvocationTargetException failed) {
            throw new InitializationException(describe(failed.getCause()), failed.getCause());
        } catch (IllegalAccessException impossible) {
            throw new InitializationException(describe(impossible), impossible);
        }
    }

    private static boolean isContext(Class<?> type) {
        return type.getName().equals(CONTEXT);
    }

    private static boolean takesContext(Method method) {
        Class<?>[] types = method.getParameterTypes();
        return types.length > 0 && isContext(types[types.length - 1]);
    }

    private static boolean takesStreams(Method method) {
        for (Class<?> type : method.getParameterTypes()) {
            if (type == InputStream.class || type == OutputStream.class) {
                return true;
            }
        }
        return false;
    }

    private static boolean fits(Method method, boolean binary) {
        List<Class<?>> types = new ArrayList<>(Arrays.asList(method.getParameterTypes()));
        boolean streams = takesStreams(method);
        if (takesContext(method)) {
            types.remove(types.size() - 1);
        }
        if (!streams) {
            return !binary && types.size() <= 1 && types.stream().noneMatch(Handler::isContext);
        }
        if (types.get(0) == InputStream.class) {
            types.remove(0);
        }
        return types.isEmpty() || types.size() == 1 && types.get(0) == OutputStream.class;
    }

    /** Runs the handler; what it throws itself comes as InvocationTargetException. */
    byte[] handle(WorkItem item) throws PayloadException, InvocationTargetException, IllegalAccessException {
        Invocation invocation = new Invocation(item);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Class<?>[] types = method.getParameterTypes();
        Type[] generic = method.getGenericParameterTypes();
        Object[] arguments = new Object[types.length];
        for (int i = 0; i < types.length; i++) {
            if (isContext(types[i])) {
                arguments[i] = invocation.context(types[i]);
            } else if (!streams) {
                arguments[i] = event(item.getPayload(), generic[i]);
            } else if (types[i] == InputStream.class) {
                arguments[i] = new ByteArrayInputStream(item.getPayload());
            } else {
                arguments[i] = out;
            }
        }
        Object result = method.invoke(instance, arguments);
        if (streams) {
            return out.toByteArray();
        }
        try {
            return result == null ? "null".getBytes(StandardCharsets.UTF_8) : binder.write(result);
        } catch (Exception unfit) {
            throw new InvocationTargetException(unfit);
        }
    }

    private Object event(byte[] payload, Type type) throws PayloadException {
        byte[] json = payload.length == 0 ? "{}".getBytes(StandardCharsets.UTF_8) : payload;
        try {
            return binder.read(json, type);
        } catch (Exception unfit) {
            throw new PayloadException("Failed to parse the payload as JSON: " + unfit.getMessage());
        }
    }

    static String describe(Throwable failure) {
        return failure.getMessage() == null ? failure.getClass().getName() : failure.getMessage();
    }
}
