"""Walks through a registry with ThingsBoard's own Python client, unmodified: tb-ce-client."""

import json
import sys
import urllib.request

from tb_ce_client import (
    ApiException,
    BulkImportColumnType,
    BulkImportRequest,
    Device,
    DeviceProfile,
    SaveDeviceWithCredentialsRequest,
    ThingsboardClient,
)

url, name, password = sys.argv[1:]


def telemetry(token):
    request = urllib.request.Request(
        f"{url}/api/v1/{token}/telemetry", data=b'{"temperature":21.5}', headers={"Content-Type": "application/json"}
    )
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


with ThingsboardClient(url, name, password) as client:
    assert client.get_user().email == name

    # Profiles.
    profile = client.save_device_profile(
        DeviceProfile.from_dict(
            {
                "name": "ce pumps",
                "type": "DEFAULT",
                "transportType": "DEFAULT",
                "provisionType": "ALLOW_CREATE_NEW_DEVICES",
                "profileData": {
                    "configuration": {"type": "DEFAULT"},
                    "transportConfiguration": {"type": "DEFAULT"},
                    "provisionConfiguration": {"type": "ALLOW_CREATE_NEW_DEVICES"},
                },
            }
        )
    )
    assert len(profile.provision_device_key) == 20, profile
    assert client.get_default_device_profile_info().name == "default"
    assert "ce pumps" in [info.name for info in client.get_device_profile_infos(page_size=10, page=0).data]

    # A device has a token from the beginning, and another one once an operator sets it.
    device = client.save_device(Device(name="ce-1", type="ce pumps"))
    id = str(device.id.id)
    assert client.get_device_by_id(id).device_profile_id.id == profile.id.id
    assert client.get_tenant_device_by_name("ce-1").id.id == device.id.id
    credentials = client.get_device_credentials_by_device_id(id)
    first = credentials.credentials_id
    assert telemetry(first) == 200
    credentials.credentials_id = "ce-1-token"
    assert client.update_device_credentials(credentials).credentials_id == "ce-1-token"
    assert (telemetry(first), telemetry("ce-1-token")) == (401, 200)

    # With credentials at once.
    second = client.save_device_with_credentials(
        SaveDeviceWithCredentialsRequest.from_dict(
            {
                "device": {"name": "ce-2", "type": "default"},
                "credentials": {
                    "deviceId": {"entityType": "DEVICE", "id": "13814000-1dd2-11b2-8080-808080808080"},
                    "credentialsType": "ACCESS_TOKEN",
                    "credentialsId": "ce-2-token",
                    "id": {"id": "13814000-1dd2-11b2-8080-808080808080"},
                },
            }
        )
    )
    assert telemetry("ce-2-token") == 200

    # Attributes.
    client.save_device_attributes(id, "SERVER_SCOPE", json.dumps({"site": "roof"}))
    raw = client.get_attributes_by_scope_without_preload_content("DEVICE", id, "SERVER_SCOPE", keys="site")
    assert [it["value"] for it in json.loads(raw.data)] == ["roof"]
    client.delete_device_attributes(id, "SERVER_SCOPE", keys="site")

    # Many at once.
    made = client.process_devices_bulk_import(
        BulkImportRequest.from_dict(
            {
                "file": "name,type,label\nce-b1,ce pumps,One\nce-b2,ce pumps,Two\nce-1,ce pumps,Updated\n",
                "mapping": {
                    "columns": [{"type": "NAME"}, {"type": "TYPE"}, {"type": "LABEL"}],
                    "delimiter": ",",
                    "header": True,
                    "update": False,
                },
            }
        )
    )
    assert client.get_device_by_id(id).label == "Updated"
    page = client.get_tenant_devices(page_size=2, page=0, text_search="ce-", sort_property="name", sort_order="ASC")
    assert ([it.name for it in page.data], page.total_elements, page.has_next) == (["ce-1", "ce-2"], 4, True), page
    assert client.get_tenant_device_infos(page_size=10, page=0, device_profile_id=str(profile.id.id)).total_elements == 3

    # What is not there is told as ThingsBoard tells it.
    client.delete_device(id)
    try:
        client.delete_device(id)
        sys.exit("a device was deleted twice")
    except ApiException as error:
        assert error.status == 404 and f"Device with id [{id}] is not found" in error.body, error
    assert telemetry("ce-1-token") == 401
print("walked through")
