"""Interface versions, as the SDK and the core declare them."""


def parse_version(text):
    """Return (major, minor) of a version such as "1.5".

    A missing minor part counts as 0; parts after the minor one are ignored.
    Anything else raises ValueError.
    """
    parts = str(text).strip().split('.')
    try:
        numbers = [int(part) for part in parts[:2]]
    except ValueError:
        raise ValueError('"{0}" is not a version of the form <major>.<minor>'.format(text))
    if any(number < 0 for number in numbers):
        raise ValueError('"{0}" is not a version of the form <major>.<minor>'.format(text))
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0)
