-- Devices that have a note, in its order. One that provisions has none, so that path pays nothing for it.
CREATE INDEX devices_by_note ON devices (tenant, label, device) WHERE namespace = '' AND label <> '';
