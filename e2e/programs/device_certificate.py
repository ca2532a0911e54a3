"""A device that shows a certificate through ThingsBoard's own SDK, unchanged.

Arguments: host, port, the file of the server's certificate, of its own, of its own key, a temperature.
"""
import sys
import time

from tb_device_mqtt import TBDeviceMqttClient, TBPublishInfo

host, port, server, own, key, temperature = sys.argv[1:]

device = TBDeviceMqttClient(host, int(port))
device.connect(tls=True, ca_certs=server, cert_file=own, key_file=key)
while not device.is_connected():
    time.sleep(0.05)
assert device.send_telemetry({"temperature": int(temperature)}).get() == TBPublishInfo.TB_ERR_SUCCESS
device.stop()
print("sent", flush=True)
