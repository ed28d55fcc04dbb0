"""The parts of a function's ARN."""

import re


class FunctionArnFields(object):
    """One function ARN, taken apart.

    Region and account may be empty: the system functions (GGRouter,
    GGShadowService, GGSecretManager) have neither. The pattern is anchored at
    the start only, as the original's was. ValueError for anything else.
    """

    ARN_PATTERN = re.compile(
        r'arn:(aws(?:-[a-z]+)*):lambda:'
        r'((?:[a-z]{2,}(?:-[a-z]+)+-\d+)?):'
        r'(\d{12}|aws|):'
        r'function:([a-zA-Z0-9_-]+)'
        r'(?::(\$LATEST|[a-zA-Z0-9_-]+))?')

    def __init__(self, function_arn_string):
        match = self.ARN_PATTERN.match(function_arn_string) if function_arn_string else None
        if match is None:
            raise ValueError(
                '"{0}" is not a function ARN of the form '
                'arn:aws:lambda:<region>:<account>:function:<name>[:<version or alias>]'.format(function_arn_string))
        self.partition, self.region, self.account_id, self.name, self.qualifier = match.groups()
        self.unqualified_arn = 'arn:{0}:lambda:{1}:{2}:function:{3}'.format(
            self.partition, self.region, self.account_id, self.name)

    def to_arn_string(self):
        """Return the ARN again, with its qualifier if it has one."""
        return FunctionArnFields.build_function_arn(self.unqualified_arn, self.qualifier)

    @staticmethod
    def build_function_arn(unqualified_arn, qualifier):
        """Return the ARN with the qualifier; a falsy qualifier changes nothing."""
        if qualifier:
            return '{0}:{1}'.format(unqualified_arn, qualifier)
        return unqualified_arn

    @staticmethod
    def build_arn_string(region, account_id, name, qualifier):
        """Deprecated; it knows the "aws" partition only."""
        return FunctionArnFields.build_function_arn(
            'arn:aws:lambda:{0}:{1}:function:{2}'.format(region, account_id, name), qualifier)
