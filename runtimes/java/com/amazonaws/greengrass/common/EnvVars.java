package com.amazonaws.greengrass.common;

/** The environment of a function's process, as it was at its start. */
public final class EnvVars {
    public static String AUTH_TOKEN = System.getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    public static String MY_FUNCTION_ARN = System.getenv("MY_FUNCTION_ARN");
    public static String SHADOW_FUNCTION_ARN = System.getenv("SHADOW_FUNCTION_ARN");
    public static String ROUTER_FUNCTION_ARN = System.getenv("ROUTER_FUNCTION_ARN");
    public static String SECRETS_MANAGER_FUNCTION_ARN = System.getenv("SECRETS_MANAGER_FUNCTION_ARN");
    public static String ENCODING_TYPE = System.getenv("ENCODING_TYPE");
    public static String GGC_MAX_INTERFACE_VERSION = System.getenv("GGC_MAX_INTERFACE_VERSION");
    public static String GG_DAEMON_PORT = System.getenv("GG_DAEMON_PORT");

    private EnvVars() {
    }
}
