"""A device that speaks through ThingsBoard's own SDK, unchanged, and prints a line of JSON for all it hears.

Arguments: mqtt|http, host, port, provision key, provision secret, name.
"""
import json
import sys
import threading
import time

from tb_device_http import TBHTTPDevice
from tb_device_mqtt import TBDeviceMqttClient

wire, host, port, key, secret, name = sys.argv[1:]


def say(what, heard):
    # In one piece: the SDK calls back on threads of its own.
    sys.stdout.write(json.dumps({"what": what, "heard": heard}, sort_keys=True) + "\n")
    sys.stdout.flush()


def over_mqtt():
    granted = TBDeviceMqttClient.provision(host, key, secret, port=int(port), device_name=name)
    device = TBDeviceMqttClient(host, int(port), granted["credentialsValue"])
    device.set_server_side_rpc_request_handler(
        lambda number, call: (say("called", call), device.send_rpc_reply(number, {"echo": call["params"]}))
    )
    device.connect()
    # Whoever is told by a callback may be told too early to hear it.
    while not device.is_connected():
        time.sleep(0.05)
    device.subscribe_to_all_attributes(lambda update, _: say("updated", update))
    device.send_attributes({"fw": "1.2.3"}).get()
    device.claim("who-knows-this").get()
    device.request_attributes(["fw"], ["interval"], lambda answer, _: say("attributes", answer))
    device.send_rpc_call("getTime", {"zone": "UTC"}, lambda number, answer, _: say("answered", answer))


def over_http():
    device = TBHTTPDevice.provision(f"http://{host}:{port}", name, key, secret)
    assert device.connect()
    device.send_attributes({"fw": "1.2.3"})
    say("attributes", device.request_attributes())
    say("answered", device.send_rpc("getTime", {"zone": "UTC"}))

    def called(call):
        say("called", {"method": call["method"], "params": call["params"]})
        device.send_rpc(call["method"], {"echo": call["params"]}, rpc_id=call["id"])

    device.subscribe("attributes", lambda update: say("updated", update))
    device.subscribe("rpc", called)


over_mqtt() if wire == "mqtt" else over_http()
say("ready", None)
threading.Event().wait()
