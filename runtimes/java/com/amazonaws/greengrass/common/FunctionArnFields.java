package com.amazonaws.greengrass.common;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One function ARN, taken apart. Region and account may be empty: the system functions
 * (GGRouter, GGShadowService, GGSecretManager) have neither.
 */
public final class FunctionArnFields {
    private static final Pattern ARN = Pattern.compile(
            "arn:(aws(?:-[a-z]+)*):lambda:((?:[a-z]{2,}(?:-[a-z]+)+-\\d+)?):(\\d{12}|aws|):"
                    + "function:([a-zA-Z0-9_-]+)(?::(\\$LATEST|[a-zA-Z0-9_-]+))?");

    private final Matcher fields;

    private FunctionArnFields(Matcher fields) {
        this.fields = fields;
    }

    /** Takes an ARN apart; InvalidArnException for anything else. */
    public static FunctionArnFields fromString(String arn) throws InvalidArnException {
        Matcher fields = ARN.matcher(arn == null ? "" : arn);
        if (!fields.lookingAt()) {
            throw new InvalidArnException("\"" + arn + "\" is not a function ARN of the form "
                    + "arn:aws:lambda:<region>:<account>:function:<name>[:<version or alias>]");
        }
        return new FunctionArnFields(fields);
    }

    public String getRegion() {
        return fields.group(2);
    }

    public String getAccountId() {
        return fields.group(3);
    }

    public String getName() {
        return fields.group(4);
    }

    /** The version or alias, null for an ARN without one. */
    public String getQualifier() {
        return fields.group(5);
    }

    public String getUnqualifiedArn() {
        return "arn:" + fields.group(1) + ":lambda:" + getRegion() + ":" + getAccountId() + ":function:" + getName();
    }

    public String toArnString() {
        return getUnqualifiedArn() + (getQualifier() == null ? "" : ":" + getQualifier());
    }
}
