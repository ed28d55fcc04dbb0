package standin;

import com.amazonaws.greengrass.common.EnvVars;
import com.amazonaws.greengrass.common.FunctionArnFields;
import com.amazonaws.greengrass.common.GreengrassLogger;
import com.amazonaws.greengrass.common.InvalidArnException;
import com.amazonaws.greengrass.common.LogLevel;
import com.amazonaws.greengrass.ipcsdk.DefaultIPCClient;
import com.amazonaws.greengrass.ipcsdk.IPCClient;
import com.amazonaws.greengrass.ipcsdk.IPCException;
import com.amazonaws.greengrass.ipcsdk.WorkResult;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

/** Calls the classes of the core as the Greengrass Core SDK for Java does. */
public final class Greengrass {
    private static final IPCClient IPC = new DefaultIPCClient();
    private static final GreengrassLogger LOGGER = new GreengrassLogger();

    private Greengrass() {
    }

    public static void log(String text, LogLevel level) {
        if (level == LogLevel.DEBUG) {
            LOGGER.debug(text);
        } else {
            LOGGER.log(text.getBytes(StandardCharsets.UTF_8), level);
        }
    }

    public static void publish(String topic, String payload) throws IPCException {
        publish(topic, payload, "AllOrError");
    }

    public static void publish(String topic, String payload, String queueFullPolicy) throws IPCException {
        String context = "{\"custom\": {\"source\": \"" + EnvVars.MY_FUNCTION_ARN + "\", \"subject\": \"" + topic
                + "\", \"queueFullPolicy\": \"" + queueFullPolicy + "\"}}";
        IPC.postWork(EnvVars.ROUTER_FUNCTION_ARN, "Event", bytes(payload), base64(context));
    }

    /** The function error, the status and the payload of a call. */
    public static String invoke(String arn, byte[] payload, String customContext) throws IPCException, InvalidArnException {
        if (FunctionArnFields.fromString(arn).getQualifier() == null) {
            throw new InvalidArnException(arn + " has no qualifier");
        }
        String id = IPC.postWork(arn, "RequestResponse", payload, base64("{\"custom\": " + customContext + "}"));
        WorkResult result = IPC.getWorkResult(arn, id);
        return result.getFunctionErr() + "|" + result.getStatusCode() + "|" + new String(result.getPayload(), StandardCharsets.UTF_8);
    }

    /** What GGSecretManager answers to a request for a secret by its name. */
    public static String secret(String name) throws IPCException {
        String id = IPC.postWork(EnvVars.SECRETS_MANAGER_FUNCTION_ARN, "RequestResponse", bytes("{\"SecretId\":\"" + name + "\"}"), "");
        return new String(IPC.getWorkResult(EnvVars.SECRETS_MANAGER_FUNCTION_ARN, id).getPayload(), StandardCharsets.UTF_8);
    }

    /** What GGShadowService answers to a request for the shadow of a thing. */
    public static String shadow(String thing, String operation, String payload) throws IPCException {
        String context = "{\"custom\": {\"subject\": \"$aws/things/" + thing + "/shadow/" + operation + "\"}}";
        String id = IPC.postWork(EnvVars.SHADOW_FUNCTION_ARN, "RequestResponse", bytes(payload), base64(context));
        return new String(IPC.getWorkResult(EnvVars.SHADOW_FUNCTION_ARN, id).getPayload(), StandardCharsets.UTF_8);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String base64(String text) {
        return Base64.getEncoder().encodeToString(bytes(text));
    }
}
