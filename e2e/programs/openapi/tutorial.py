"""A registry from its first profile to a device that leaves, through a client made from the OpenAPI document.

tutorial.py SERVER TOKEN
"""

import json
import sys
from io import BytesIO
from typing import TypeVar

import httpx
from muster_operator_api import AuthenticatedClient
from muster_operator_api.api.devices import (
    add_device,
    decommission_device,
    disable_device,
    enable_device,
    get_device,
    get_telemetry,
    get_timeline,
    import_devices,
    list_devices,
)
from muster_operator_api.api.events import list_events
from muster_operator_api.api.profiles import change_profile, create_profile
from muster_operator_api.api.whoami import who_am_i
from muster_operator_api.models import (
    Decommission,
    DeviceCreate,
    DeviceState,
    Problem,
    ProfileCreate,
    ProfileCreated,
    ProfileSet,
    RotateSecret,
    Strategy,
)
from muster_operator_api.types import UNSET, File, Unset

T = TypeVar("T")


def done(answer: T | Problem | None) -> T:
    """The answer, where the call was carried out."""
    assert answer is not None and not isinstance(answer, Problem), answer
    return answer


def main(server: str, token: str) -> None:
    client = AuthenticatedClient(base_url=f"{server}/api/muster/v1", token=token)
    wire = httpx.Client(base_url=server)

    me = done(who_am_i.sync(client=client))
    assert me.role.value == "admin", me

    made = done(
        create_profile.sync(
            client=client, body=ProfileCreate(name="pumps", strategy=Strategy.CHECK_PRE_PROVISIONED)
        )
    )

    # Devices are expected, one by one or as a file.
    pump = done(add_device.sync(client=client, body=DeviceCreate(name="pump-1", profile="pumps", label="hall")))
    assert pump.state is DeviceState.EXPECTED and pump.label == "hall", pump
    twice = add_device.sync(client=client, body=DeviceCreate(name="pump-1", profile="pumps"))
    assert isinstance(twice, Problem) and twice.status == 409 and twice.code == "device-exists", twice
    rows = b"name,type\npump-2,pumps\npump-3,pumps\npump-4,unknown\n"
    imported = import_devices.sync_detailed(client=client, body=File(payload=BytesIO(rows)))
    lines = [json.loads(line) for line in imported.content.splitlines()]
    assert [line["result"] for line in lines[:-1]] == ["created", "created", "error"], lines
    assert lines[-1]["type"] == "summary" and lines[-1]["created"] == 2, lines

    # A page at a time.
    names: list[str] = []
    cursor: str | Unset = UNSET
    pages = 0
    while True:
        page = done(list_devices.sync(client=client, profile="pumps", limit=2, cursor=cursor))
        names += [device.name for device in page.items]
        pages += 1
        if isinstance(page.next_, Unset):
            break
        cursor = page.next_
    assert names == ["pump-1", "pump-2", "pump-3"] and pages == 2, (names, pages)

    # The device asks over its own wire, and shows what it was given.
    asked = {
        "deviceName": "pump-1",
        "provisionDeviceKey": made.provision_key,
        "provisionDeviceSecret": made.provision_secret,
    }
    granted = wire.post("/api/v1/provision", json=asked).json()
    assert granted["status"] == "SUCCESS", granted
    post = f"/api/v1/{granted['credentialsValue']}/telemetry"
    assert wire.post(post, json={"temperature": 21.5}).status_code == 200
    pump = done(get_device.sync("pump-1", client=client))
    assert pump.state is DeviceState.PROVISIONED, pump
    values = done(get_telemetry.sync("pump-1", client=client)).items
    assert [(value.key, value.value) for value in values] == [("temperature", 21.5)], values

    # Switched off it is nobody, switched on it is itself again.
    assert done(disable_device.sync("pump-1", client=client)).state is DeviceState.DISABLED
    assert wire.post(post, json={"temperature": 22}).status_code == 401
    assert done(enable_device.sync("pump-1", client=client)).state is DeviceState.PROVISIONED
    assert wire.post(post, json={"temperature": 23}).status_code == 200

    # Another group secret.
    changed = done(
        change_profile.sync("pumps", client=client, body=ProfileSet(version=made.version, rotate_secret=RotateSecret()))
    )
    assert isinstance(changed, ProfileCreated) and changed.provision_secret != made.provision_secret, changed
    late = change_profile.sync("pumps", client=client, body=ProfileSet(version=made.version, approval=True))
    assert isinstance(late, Problem) and late.status in (409, 412), late

    # It leaves, and that stands in its timeline and in the feed.
    left = done(decommission_device.sync("pump-1", client=client, body=Decommission(grace_s=0)))
    assert left.state in (DeviceState.DECOMMISSIONING, DeviceState.DECOMMISSIONED), left
    assert wire.post(post, json={"temperature": 24}).status_code == 401
    kinds = {entry.kind for entry in done(get_timeline.sync("pump-1", client=client)).items}
    assert {"device-added", "device-disabled", "device-enabled", "device-left"} <= kinds, kinds
    heard = {event.kind for event in done(list_events.sync(client=client)).items}
    assert {"profile-created", "device-left"} <= heard, heard

    nobody = AuthenticatedClient(base_url=f"{server}/api/muster/v1", token="of nobody")
    refused = who_am_i.sync(client=nobody)
    assert isinstance(refused, Problem) and refused.status == 401, refused
    print("walked through")


main(*sys.argv[1:])
