-- What operators call devices by: pairs of a key and a value.
CREATE TABLE device_labels (
    tenant        INTEGER NOT NULL,
    key           TEXT    NOT NULL,
    value         TEXT    NOT NULL,
    device        INTEGER NOT NULL,
    PRIMARY KEY (tenant, key, value, device)
) WITHOUT ROWID;
CREATE UNIQUE INDEX device_labels_by_device ON device_labels (device, key);

-- When a device was heard of last; written in batches, a minute late at most.
CREATE TABLE device_seen (
    device        INTEGER PRIMARY KEY,
    tenant        INTEGER NOT NULL,
    at            INTEGER NOT NULL
);
CREATE INDEX device_seen_by_time ON device_seen (tenant, at, device);

-- Keys of devices rise, so what is provisioned is appended to each of these; nothing is put between others.
CREATE INDEX devices_by_age ON devices (tenant, device) WHERE namespace = '';
CREATE INDEX devices_by_profile ON devices (tenant, profile, device) WHERE namespace = '';
CREATE INDEX devices_by_state ON devices (tenant, state, device) WHERE namespace = '';

-- How many devices there are: counting a million takes longer than whoever turns pages waits.
CREATE TABLE device_counts (
    tenant        INTEGER NOT NULL,
    profile       INTEGER NOT NULL,
    state         TEXT    NOT NULL,
    devices       INTEGER NOT NULL,
    PRIMARY KEY (tenant, profile, state)
) WITHOUT ROWID;
INSERT INTO device_counts SELECT tenant, profile, state, count(*) FROM devices WHERE namespace = '' GROUP BY 1, 2, 3;

-- Names and notes by what stands in them; `texts_due` are the devices that are not in it as they are now.
CREATE VIRTUAL TABLE device_texts USING fts5 (text, content = '', contentless_delete = 1, detail = none,
    tokenize = 'trigram');
CREATE TABLE texts_due (device INTEGER PRIMARY KEY);
INSERT INTO texts_due SELECT device FROM devices;

CREATE TRIGGER devices_added AFTER INSERT ON devices BEGIN
    INSERT OR IGNORE INTO device_counts VALUES (new.tenant, new.profile, new.state, 0);
    UPDATE device_counts SET devices = devices + 1
        WHERE tenant = new.tenant AND profile = new.profile AND state = new.state AND new.namespace = '';
    INSERT OR IGNORE INTO texts_due VALUES (new.device);
END;
CREATE TRIGGER devices_moved AFTER UPDATE OF state, profile, namespace ON devices
WHEN old.state <> new.state OR old.profile <> new.profile OR old.namespace <> new.namespace BEGIN
    UPDATE device_counts SET devices = devices - 1
        WHERE tenant = old.tenant AND profile = old.profile AND state = old.state AND old.namespace = '';
    INSERT OR IGNORE INTO device_counts VALUES (new.tenant, new.profile, new.state, 0);
    UPDATE device_counts SET devices = devices + 1
        WHERE tenant = new.tenant AND profile = new.profile AND state = new.state AND new.namespace = '';
END;
CREATE TRIGGER devices_called AFTER UPDATE OF name_key, label ON devices
WHEN old.name_key <> new.name_key OR old.label IS NOT new.label BEGIN
    INSERT OR IGNORE INTO texts_due VALUES (new.device);
END;
CREATE TRIGGER devices_deleted AFTER DELETE ON devices BEGIN
    UPDATE device_counts SET devices = devices - 1
        WHERE tenant = old.tenant AND profile = old.profile AND state = old.state AND old.namespace = '';
    INSERT OR IGNORE INTO texts_due VALUES (old.device);
    DELETE FROM device_labels WHERE device = old.device;
    DELETE FROM device_seen WHERE device = old.device;
END;
