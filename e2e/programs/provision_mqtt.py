"""Provisions over MQTT and sends one value: equal to the MQTT program of the ThingsBoard document."""
import json

import paho.mqtt.client as mqtt

SERVER = "localhost"
GROUP = {"provisionDeviceKey": "abc123xyz789", "provisionDeviceSecret": "secret456def"}

token = None


def on_connect(client, userdata, flags, rc):
    client.subscribe("/provision/response")
    client.publish("/provision/request", json.dumps({"deviceName": "SN-001234", **GROUP}))


def on_message(client, userdata, message):
    global token
    answer = json.loads(message.payload)
    if answer.get("status") == "SUCCESS":
        token = answer.get("credentialsValue")
        print(f"Provisioned! Token: {token}")
    else:
        print(f"Provisioning failed: {answer.get('errorMsg')}")
    client.disconnect()


client = mqtt.Client()
client.on_connect = on_connect
client.on_message = on_message
client.connect(SERVER, 1883)
client.loop_forever()

if token:
    # The connection is dropped right after the publish, as in the document's program.
    client = mqtt.Client()
    client.username_pw_set(token)
    client.connect(SERVER, 1883)
    client.publish("v1/devices/me/telemetry", json.dumps({"temperature": 25}))
