import greengrasssdk


def handler(event, context):
    return event
