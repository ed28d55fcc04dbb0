# Asks for discovery as the devices in the field do: a socket, one request, and
# patterns over the head of the answer.
import json
import re
import socket
import ssl
import sys

host, port, ca, cert, key, thing, given_host = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.load_verify_locations(ca)
context.load_cert_chain(cert, key)
with context.wrap_socket(socket.create_connection((host, int(port)), timeout=20)) as s:  # no SNI
    request = "GET /greengrass/discover/thing/" + thing + " HTTP/1.1\r\n"
    if given_host:
        request += "Host: " + given_host + "\r\n"
    s.write((request + "\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        c = s.read(1)
        if not c:
            sys.exit("the answer ended in its head: " + repr(head))
        head += c
    status = re.match(rb"HTTP/1\.1 ([0-9]+) ", head).group(1)
    length = int(re.search(rb"content-length: ([0-9]+)\r\n", head).group(1))
    body = b""
    while len(body) < length:
        body += s.read(1)
answer = {"status": int(status)}
if status == b"200":
    groups = json.loads(body)["GGGroups"]
    for group in groups:
        for ca_pem in group["CAs"]:  # every authority loads
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust.load_verify_locations(cadata=ca_pem)
    answer["groups"] = {
        g["GGGroupId"]: {c["thingArn"]: [p["HostAddress"] + ":" + str(p["PortNumber"]) for p in c["Connectivity"]] for c in g["Cores"]}
        for g in groups
    }
print(json.dumps(answer))
