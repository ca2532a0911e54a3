CREATE TABLE instance (
    only_one      BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_one),
    id            TEXT    COLLATE "C" NOT NULL
);

-- Values are inserted, never overwritten.
CREATE TABLE sealed (
    tenant        BIGINT  NOT NULL,         -- 0: of no tenant
    kind          TEXT    COLLATE "C" NOT NULL,
    record        TEXT    COLLATE "C" NOT NULL,
    field         TEXT    COLLATE "C" NOT NULL,
    generation    BIGINT  NOT NULL,         -- the 64 bits of an unsigned number
    blob          BYTEA   NOT NULL,         -- envelope, format 1
    kek_id        TEXT    COLLATE "C" NOT NULL,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT,
    PRIMARY KEY (tenant, kind, record, field, generation)
);
