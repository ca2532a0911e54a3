"""Walks through a registry with ThingsBoard's older Python client, unmodified: tb-rest-client."""

import sys

from tb_rest_client.models.models_ce import BulkImportRequest, ColumnMapping, Device, Mapping
from tb_rest_client.rest import ApiException
from tb_rest_client.rest_client_ce import RestClientCE

url, name, password = sys.argv[1:]

with RestClientCE(base_url=url) as client:
    client.login(username=name, password=password)
    assert client.get_user().email == name
    default = client.get_default_device_profile_info()
    device = client.save_device(Device(name="rest-1", label="One", device_profile_id=default.id))
    assert client.get_device_by_id(device.id).name == "rest-1"
    assert client.get_tenant_device("rest-1").id.id == device.id.id
    credentials = client.get_device_credentials_by_device_id(device.id)
    credentials.credentials_id = "rest-1-token"
    assert client.update_device_credentials(credentials).credentials_id == "rest-1-token"
    client.save_device_attributes(device.id, "SERVER_SCOPE", {"site": "roof"})
    attributes = client.get_attributes_by_scope(device.id, "SERVER_SCOPE", keys="site")
    assert [it["value"] for it in attributes] == ["roof"], attributes
    client.delete_device_attributes(device.id, "SERVER_SCOPE", "site")
    page = client.get_tenant_devices(page_size=10, page=0, text_search="rest-")
    assert [it.name for it in page.data] == ["rest-1"]
    assert client.get_tenant_device_infos(page_size=10, page=0, text_search="rest-").data[0].device_profile_name == "default"
    columns = [ColumnMapping(type="NAME"), ColumnMapping(type="TYPE")]
    mapping = Mapping(columns=columns, delimiter=",", header=True, update=False)
    made = client.process_devices_bulk_import(BulkImportRequest(file="name,type\nrest-b1,default\n", mapping=mapping))
    assert client.get_tenant_device("rest-b1").type == "default"
    client.delete_device(device.id)
    try:
        client.get_device_by_id(device.id)
        sys.exit("a deleted device is still there")
    except ApiException as error:
        assert error.status == 404, error
print("walked through")
