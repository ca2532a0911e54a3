-- Who we are: the same word stands in secrets.db, so that files of different servers are not mixed up.
CREATE TABLE instance (
    id            TEXT    NOT NULL
);

-- Numbers handed out in blocks. A number below `next` may have been used.
CREATE TABLE counters (
    name          TEXT    PRIMARY KEY,
    next          INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, next) VALUES ('device', 1);

CREATE TABLE tenants (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    created_at    INTEGER NOT NULL
);

CREATE TABLE operator_tokens (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        INTEGER,                  -- NULL: the right over the whole server
    label         TEXT    NOT NULL,
    verifier      BLOB    NOT NULL UNIQUE,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
);

CREATE TABLE profiles (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    strategy      TEXT    NOT NULL,
    reprovision   TEXT    NOT NULL,
    redelivery_window_ms        INTEGER NOT NULL,
    pre_provisioned_credentials TEXT    NOT NULL,
    provision_key TEXT    NOT NULL UNIQUE,  -- over all tenants: a device names no tenant
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    UNIQUE (tenant, name)
);

CREATE TABLE group_secrets (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        INTEGER NOT NULL,
    profile       INTEGER NOT NULL,
    verifier      BLOB    NOT NULL,
    generation    INTEGER NOT NULL,         -- names the sealed value
    expires_at    INTEGER,
    uses_left     INTEGER,
    networks      TEXT,                     -- joined by commas; NULL: all
    name_pattern  TEXT,
    created_at    INTEGER NOT NULL
);
CREATE INDEX group_secrets_by_profile ON group_secrets (tenant, profile);

-- Two rows a provisioning, one index with random keys: measure before you widen a row or add an index.
CREATE TABLE devices (
    device        INTEGER PRIMARY KEY,      -- below 2^48, over all tenants, never used twice
    tenant        INTEGER NOT NULL,
    namespace     TEXT    NOT NULL,         -- '' unless names are unique per group
    name_key      TEXT    NOT NULL,         -- what the wire compares
    name          TEXT,                     -- only where it differs from name_key
    profile       INTEGER NOT NULL,
    state         TEXT    NOT NULL,
    state_since   INTEGER NOT NULL,         -- milliseconds since 1970, UTC
    credential    TEXT    NOT NULL,         -- kind; a server-made token needs nothing more than the generation
    generation    INTEGER NOT NULL,         -- the 64 bits of a random number; 0 where there is no credential
    version       INTEGER NOT NULL,
    gateway       INTEGER,                  -- 1 where the device speaks for others, else NULL
    label         TEXT,
    verifier      BLOB,                     -- keyed verifier of a credential that the device chose
    parts         BLOB                      -- keyed verifiers of the parts of MQTT basic credentials
);
CREATE UNIQUE INDEX devices_by_name ON devices (tenant, namespace, name_key);
CREATE UNIQUE INDEX devices_by_verifier ON devices (verifier) WHERE verifier IS NOT NULL;

CREATE TABLE journal_writers (
    writer        INTEGER PRIMARY KEY,
    server        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL
);

CREATE TABLE journal (
    position      INTEGER PRIMARY KEY,      -- writer * 2^40 + number: entries are appended, never inserted
    at            INTEGER NOT NULL,
    tenant        INTEGER NOT NULL,         -- 0: of no tenant
    device        INTEGER,
    kind          TEXT    NOT NULL,
    actor         TEXT    NOT NULL,
    key_id        INTEGER NOT NULL,         -- the journal key of the link
    detail        BLOB    NOT NULL,         -- 1 and salt and JSON, or 0 and the digest of both
    link          BLOB    NOT NULL          -- HMAC over the previous link, the header and the digest of the detail
);
