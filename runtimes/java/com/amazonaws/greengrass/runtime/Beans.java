package com.amazonaws.greengrass.runtime;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Binds maps, collections, arrays, numbers, texts, enums and beans: classes with a
 * constructor without parameters, and setters and getters, or public fields.
 */
final class Beans implements Binder {
    @Override
    public Object read(byte[] json, Type type) throws Exception {
        return convert(Json.parse(json), type);
    }

    @Override
    public byte[] write(Object value) throws Exception {
        return Json.write(plain(value));
    }

    private static Object convert(Object value, Type type) throws Exception {
        Class<?> raw = raw(type);
        if (value == null || raw == Object.class) {
            if (value == null && raw.isPrimitive()) {
                throw mismatch(null, type);
            }
            return value;
        }
        if (raw.isPrimitive() || Number.class.isAssignableFrom(raw) || raw == Boolean.class || raw == Character.class) {
            return scalar(value, raw);
        }
        if (raw == String.class || raw == CharSequence.class) {
            if (value instanceof Map || value instanceof List) {
                throw mismatch(value, type);
            }
            return value.toString();
        }
        if (raw.isEnum()) {
            for (Object constant : raw.getEnumConstants()) {
                if (((Enum<?>) constant).name().equals(value)) {
                    return constant;
                }
            }
            throw mismatch(value, type);
        }
        if (raw.isArray()) {
            List<?> list = list(value, type);
            Type of = type instanceof GenericArrayType ? ((GenericArrayType) type).getGenericComponentType() : raw.getComponentType();
            Object array = Array.newInstance(raw.getComponentType(), list.size());
            for (int i = 0; i < list.size(); i++) {
                Array.set(array, i, convert(list.get(i), of));
            }
            return array;
        }
        if (Collection.class.isAssignableFrom(raw) || raw == Iterable.class) {
            Collection<Object> collection = raw.isInterface()
                    ? (Set.class.isAssignableFrom(raw) ? new LinkedHashSet<>() : new ArrayList<>()) : make(raw);
            for (Object element : list(value, type)) {
                collection.add(convert(element, argument(type, 0)));
            }
            return collection;
        }
        if (!(value instanceof Map)) {
            throw mismatch(value, type);
        }
        if (Map.class.isAssignableFrom(raw)) {
            Map<Object, Object> map = raw.isInterface() ? new LinkedHashMap<>() : make(raw);
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                map.put(convert(entry.getKey(), argument(type, 0)), convert(entry.getValue(), argument(type, 1)));
            }
            return map;
        }
        return bean((Map<?, ?>) value, raw);
    }

    private static Object bean(Map<?, ?> values, Class<?> type) throws Exception {
        Object bean = make(type);
        for (Map.Entry<?, ?> entry : values.entrySet()) {
            String name = entry.getKey().toString();
            Method setter = setter(type, name);
            Field field = setter == null ? field(type, name) : null;
            if (setter != null) {
                setter.invoke(bean, convert(entry.getValue(), setter.getGenericParameterTypes()[0]));
            } else if (field != null) {
                field.set(bean, convert(entry.getValue(), field.getGenericType()));
            }
        }
        return bean;
    }

    private static Method setter(Class<?> type, String name) {
        for (Method method : type.getMethods()) {
            if (method.getParameterCount() == 1 && property(method.getName(), "set").equals(name) && !Modifier.isStatic(method.getModifiers())) {
                method.setAccessible(true);
                return method;
            }
        }
        return null;
    }

    private static Field field(Class<?> type, String name) {
        try {
            Field field = type.getField(name);
            field.setAccessible(true);
            return Modifier.isStatic(field.getModifiers()) || Modifier.isFinal(field.getModifiers()) ? null : field;
        } catch (NoSuchFieldException unknown) {
            return null;
        }
    }

    /** The property that an accessor is for, empty when it is none. */
    private static String property(String method, String prefix) {
        if (!method.startsWith(prefix) || method.length() == prefix.length()) {
            return "";
        }
        return Character.toLowerCase(method.charAt(prefix.length())) + method.substring(prefix.length() + 1);
    }

    @SuppressWarnings("unchecked")
    private static <T> T make(Class<?> type) throws Exception {
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return (T) constructor.newInstance();
        } catch (NoSuchMethodException | InstantiationException unfit) {
            throw new IllegalArgumentException(type.getName() + " cannot be made from JSON: it needs a constructor without "
                    + "parameters, or jackson-databind in the package", unfit);
        }
    }

    private static Object scalar(Object value, Class<?> type) {
        if (type == boolean.class || type == Boolean.class) {
            if (value instanceof Boolean) {
                return value;
            }
        } else if (type == char.class || type == Character.class) {
            if (value instanceof String && ((String) value).length() == 1) {
                return ((String) value).charAt(0);
            }
        } else if (value instanceof Number) {
            BigDecimal number = new BigDecimal(value.toString());
            if (type == double.class || type == Double.class) {
                return number.doubleValue();
            } else if (type == float.class || type == Float.class) {
                return number.floatValue();
            } else if (type == BigDecimal.class) {
                return number;
            } else if (type == Number.class) {
                return value;
            }
            try {
                if (type == int.class || type == Integer.class) {
                    return number.intValueExact();
                } else if (type == long.class || type == Long.class) {
                    return number.longValueExact();
                } else if (type == short.class || type == Short.class) {
                    return number.shortValueExact();
                } else if (type == byte.class || type == Byte.class) {
                    return number.byteValueExact();
                } else if (type == BigInteger.class) {
                    return number.toBigIntegerExact();
                }
            } catch (ArithmeticException tooLarge) {
                throw mismatch(value, type);
            }
        }
        throw mismatch(value, type);
    }

    private static List<?> list(Object value, Type type) {
        if (value instanceof List) {
            return (List<?>) value;
        }
        throw mismatch(value, type);
    }

    private static IllegalArgumentException mismatch(Object value, Type type) {
        String text = new String(Json.write(value), StandardCharsets.UTF_8);
        return new IllegalArgumentException(text.substring(0, Math.min(text.length(), 80)) + " is no " + type.getTypeName());
    }

    private static Class<?> raw(Type type) {
        if (type instanceof Class) {
            return (Class<?>) type;
        } else if (type instanceof ParameterizedType) {
            return raw(((ParameterizedType) type).getRawType());
        } else if (type instanceof GenericArrayType) {
            return Array.newInstance(raw(((GenericArrayType) type).getGenericComponentType()), 0).getClass();
        } else if (type instanceof WildcardType) {
            return raw(((WildcardType) type).getUpperBounds()[0]);
        }
        return Object.class;
    }

    private static Type argument(Type type, int n) {
        return type instanceof ParameterizedType ? ((ParameterizedType) type).getActualTypeArguments()[n] : Object.class;
    }

    /** A value as maps, lists, texts and numbers. */
    private static Object plain(Object value) throws Exception {
        if (value instanceof Double && !Double.isFinite((Double) value) || value instanceof Float && !Float.isFinite((Float) value)) {
            return value.toString();
        }
        if (value == null || value instanceof Number || value instanceof Boolean || value instanceof CharSequence || value instanceof Character) {
            return value;
        }
        if (value instanceof Enum) {
            return ((Enum<?>) value).name();
        }
        if (value.getClass().isArray()) {
            List<Object> list = new ArrayList<>();
            for (int i = 0; i < Array.getLength(value); i++) {
                list.add(plain(Array.get(value, i)));
            }
            return list;
        }
        if (value instanceof Iterable) {
            List<Object> list = new ArrayList<>();
            for (Object element : (Iterable<?>) value) {
                list.add(plain(element));
            }
            return list;
        }
        Map<String, Object> map = new LinkedHashMap<>();
        if (value instanceof Map) {
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                map.put(String.valueOf(entry.getKey()), plain(entry.getValue()));
            }
            return map;
        }
        // Reflection has no order of its own.
        Map<String, Object> properties = new TreeMap<>();
        for (Field field : value.getClass().getFields()) {
            if (!Modifier.isStatic(field.getModifiers())) {
                field.setAccessible(true);
                properties.put(field.getName(), field.get(value));
            }
        }
        for (Method method : value.getClass().getMethods()) {
            String name = property(method.getName(), "get");
            if (name.isEmpty() && method.getReturnType() == boolean.class) {
                name = property(method.getName(), "is");
            }
            if (!name.isEmpty() && method.getParameterCount() == 0 && method.getDeclaringClass() != Object.class
                    && !Modifier.isStatic(method.getModifiers())) {
                method.setAccessible(true);
                properties.put(name, method.invoke(value));
            }
        }
        if (properties.isEmpty()) {
            throw new IllegalArgumentException("a " + value.getClass().getName() + " cannot be written as JSON: it has no properties; "
                    + "add getters, or jackson-databind to the package");
        }
        for (Map.Entry<String, Object> entry : properties.entrySet()) {
            map.put(entry.getKey(), plain(entry.getValue()));
        }
        return map;
    }
}
