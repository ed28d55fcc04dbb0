"""boto3 as scripts write it: no endpoint, only the Region."""
import json
import os

import boto3

region = os.environ["AWS_DEFAULT_REGION"]
greengrass = boto3.client("greengrass")
group = greengrass.create_group(Name="by boto3")
groups = greengrass.list_groups()["Groups"]
iot = boto3.client("iot")
s3 = boto3.client("s3")
s3.create_bucket(Bucket="python")
s3.put_object(Bucket="python", Key="a/b", Body=b"content", Metadata={"who": "me"})
got = s3.get_object(Bucket="python", Key="a/b")
# Only its name changes with the SDK's age: data, then data-ats.
boto3.client("iot-data").publish(topic="mill/8", payload="{}")
print(json.dumps({
    "account": boto3.client("sts").get_caller_identity()["Account"],
    "group": any(g["Id"] == group["Id"] for g in groups),
    "thing": iot.create_thing(thingName="Python_Core")["thingName"],
    "functions": len(boto3.client("lambda").list_functions()["Functions"]),
    "secrets": len(boto3.client("secretsmanager").list_secrets()["SecretList"]),
    "object": got["Body"].read().decode(),
}))
