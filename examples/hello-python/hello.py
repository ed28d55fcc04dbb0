"""Publishes a greeting every two seconds, and answers what it is sent.

Runs long-lived ("Pinned": true). It speaks to the core through the module that
every core supplies; a function that bundles AWS's greengrasssdk would write
greengrasssdk.client("iot-data").publish(topic=..., payload=...) instead.
"""
import base64
import json
import os
import threading

from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient

TOPIC = os.environ.get("TOPIC", "hello/world")
ipc = IPCClient()
count = 0


def publish(topic, message):
    context = {"custom": {"source": MY_FUNCTION_ARN, "subject": topic}}
    ipc.post_work(
        ROUTER_FUNCTION_ARN,
        json.dumps(message).encode(),
        base64.b64encode(json.dumps(context).encode()),
        "Event",
    )


def greet():
    global count
    count += 1
    publish(TOPIC, {"message": "Hello from a Greengrass function", "count": count, "thing": os.environ.get("AWS_IOT_THING_NAME")})
    timer = threading.Timer(2, greet)
    timer.daemon = True
    timer.start()


greet()


def handler(event, context):
    return {"echo": event}
