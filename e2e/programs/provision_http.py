"""Provisions over HTTP and sends one value: equal to the HTTP program of the ThingsBoard document."""
import requests

SERVER = "http://localhost:8080"
GROUP = {"provisionDeviceKey": "abc123xyz789", "provisionDeviceSecret": "secret456def"}

answer = requests.post(f"{SERVER}/api/v1/provision", json={"deviceName": "SN-001234", **GROUP}).json()
if answer.get("status") == "SUCCESS":
    token = answer.get("credentialsValue")
    print(f"Provisioned! Token: {token}")
    requests.post(f"{SERVER}/api/v1/{token}/telemetry", json={"temperature": 25})
else:
    print(f"Provisioning failed: {answer.get('errorMsg')}")
