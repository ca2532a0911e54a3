CREATE TABLE instance (
    id            TEXT    NOT NULL
);

-- Values are inserted, never overwritten.
CREATE TABLE sealed (
    tenant        INTEGER NOT NULL,         -- 0: of no tenant
    kind          TEXT    NOT NULL,
    record        TEXT    NOT NULL,
    field         TEXT    NOT NULL,
    generation    INTEGER NOT NULL,         -- the 64 bits of an unsigned number
    blob          BLOB    NOT NULL,         -- envelope, format 1
    kek_id        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    PRIMARY KEY (tenant, kind, record, field, generation)
) WITHOUT ROWID;
