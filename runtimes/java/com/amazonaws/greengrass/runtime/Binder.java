package com.amazonaws.greengrass.runtime;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Type;

/** Turns JSON into what handlers take, and what they return into JSON. */
interface Binder {
    /** Reads JSON as a value of a type; the exception says why it is none. */
    Object read(byte[] json, Type type) throws Exception;

    /** Writes a value. */
    byte[] write(Object value) throws Exception;

    /** Jackson where the function's package has it, as most do, else what is here. */
    static Binder choose() {
        try {
            return new Jackson();
        } catch (ReflectiveOperationException | LinkageError absent) {
            return new Beans();
        }
    }

    /** The function's own Jackson, of whatever version. */
    final class Jackson implements Binder {
        private final Object mapper;
        private final Method constructType;
        private final Method readValue;
        private final Method writeValue;

        Jackson() throws ReflectiveOperationException {
            Class<?> type = Class.forName("com.fasterxml.jackson.databind.ObjectMapper");
            Class<?> feature = Class.forName("com.fasterxml.jackson.databind.DeserializationFeature");
            mapper = type.getConstructor().newInstance();
            type.getMethod("configure", feature, boolean.class)
                    .invoke(mapper, feature.getField("FAIL_ON_UNKNOWN_PROPERTIES").get(null), false);
            constructType = type.getMethod("constructType", Type.class);
            readValue = type.getMethod("readValue", byte[].class, constructType.getReturnType());
            writeValue = type.getMethod("writeValueAsBytes", Object.class);
        }

        @Override
        public Object read(byte[] json, Type type) throws Exception {
            return call(readValue, json, call(constructType, type));
        }

        @Override
        public byte[] write(Object value) throws Exception {
            return (byte[]) call(writeValue, value);
        }

        private Object call(Method method, Object... arguments) throws Exception {
            try {
                return method.invoke(mapper, arguments);
            } catch (InvocationTargetException failed) {
                if (failed.getCause() instanceof Error) {
                    throw (Error) failed.getCause();
                }
                throw (Exception) failed.getCause();
            }
        }
    }
}
