-- What operators call devices by: pairs of a key and a value.
CREATE TABLE device_labels (
    tenant        BIGINT  NOT NULL,
    key           TEXT    COLLATE "C" NOT NULL,
    value         TEXT    COLLATE "C" NOT NULL,
    device        BIGINT  NOT NULL,
    PRIMARY KEY (tenant, key, value, device)
);
CREATE UNIQUE INDEX device_labels_by_device ON device_labels (device, key);

-- When a device was heard of last; written in batches, a minute late at most.
CREATE TABLE device_seen (
    device        BIGINT  PRIMARY KEY,
    tenant        BIGINT  NOT NULL,
    at            BIGINT  NOT NULL
);
CREATE INDEX device_seen_by_time ON device_seen (tenant, at, device);

-- Keys of devices rise, so what is provisioned is appended to each of these; nothing is put between others.
CREATE INDEX devices_by_age ON devices (tenant, device) WHERE namespace = '';
CREATE INDEX devices_by_profile ON devices (tenant, profile, device) WHERE namespace = '';
CREATE INDEX devices_by_state ON devices (tenant, state, device) WHERE namespace = '';

-- Names and notes by what stands in them, where the database has the extension; without it they are read.
-- It may stand in any schema, also in one that is not searched.
DO $$ DECLARE
    home TEXT;
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    SELECT n.nspname INTO STRICT home FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_trgm';
    EXECUTE format('CREATE INDEX devices_by_name_text ON devices USING gin (lower(name_key) %I.gin_trgm_ops)', home);
    EXECUTE format('CREATE INDEX devices_by_label_text ON devices USING gin (lower(label) %I.gin_trgm_ops)
        WHERE label IS NOT NULL', home);
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'devices are found by text without an index: %', SQLERRM;
END $$;
