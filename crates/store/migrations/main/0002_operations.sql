-- What joining and leaving take, as the profile's operator settled it: JSON with a version; NULL: nothing.
ALTER TABLE profiles ADD COLUMN settings TEXT;
-- Bits: what the first connection settles, 1 the answer, 2 steps; 4 it was taken back. NULL where nothing.
ALTER TABLE devices ADD COLUMN owed INTEGER;

-- Operations and steps have rows only where a plan has a step, or a device leaves.
CREATE TABLE operations (
    operation     INTEGER PRIMARY KEY,      -- never used twice; of one device's the later is the larger
    tenant        INTEGER NOT NULL,
    device        INTEGER NOT NULL,
    kind          TEXT    NOT NULL,
    deed          TEXT    NOT NULL,         -- of a join: what it did to the device
    phase         TEXT    NOT NULL,
    began_at      INTEGER NOT NULL,
    ended_at      INTEGER,
    grace_until   INTEGER                   -- of a leave: when the name is freed; NULL once that is settled
);
CREATE UNIQUE INDEX operations_before_reply ON operations (device) WHERE phase = 'before-reply';
CREATE INDEX operations_by_device ON operations (device, operation);
CREATE INDEX operations_open ON operations (tenant, operation) WHERE phase <> 'done';
CREATE INDEX operations_in_grace ON operations (grace_until) WHERE grace_until IS NOT NULL;

CREATE TABLE steps (
    operation     INTEGER NOT NULL,
    step          INTEGER NOT NULL,         -- its place in the plan
    tenant        INTEGER NOT NULL,
    device        INTEGER NOT NULL,
    action        TEXT    NOT NULL,
    connector     TEXT    NOT NULL,
    gate          TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    absorbed      INTEGER,                  -- 1 where a newer operation took its place while it was running
    attempts      INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,         -- of a running one: when another server may take it over
    lease_until   INTEGER NOT NULL,         -- until then nothing else is done for the device at this connector
    fence         INTEGER NOT NULL,         -- rises with every claim; a result with an older one is refused
    server        TEXT,                     -- who holds or held the lease
    external_id   TEXT,                     -- the receipt: what was made, or what is to be undone
    receipt       TEXT,
    told          TEXT,                     -- JSON: what may change of what the neighbour is told, as at the first try
    fault         TEXT,                     -- the last one's code
    fault_message TEXT,
    changed_at    INTEGER NOT NULL,
    PRIMARY KEY (operation, step)
) WITHOUT ROWID;
CREATE INDEX steps_due ON steps (due_at) WHERE state IN ('due', 'running');
CREATE INDEX steps_by_device ON steps (device, connector, operation, step);

CREATE TABLE questions (
    question      INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        INTEGER NOT NULL,
    profile       INTEGER NOT NULL,
    name_key      TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    wire          TEXT    NOT NULL,
    credential    TEXT    NOT NULL,         -- the kind it would like to have
    gateway       INTEGER,
    hook          TEXT,                     -- to be asked; NULL where none is
    person        INTEGER,                  -- 1 where a person has to approve
    verdict       TEXT    NOT NULL,
    reason        TEXT,
    attributes    TEXT,                     -- JSON object that an answer brought
    asked_at      INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    decided_at    INTEGER,
    decided_by    TEXT,
    attempts      INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    fence         INTEGER NOT NULL,
    fault         TEXT,
    fault_message TEXT,
    UNIQUE (tenant, profile, name_key)
);
CREATE INDEX questions_due ON questions (due_at) WHERE verdict = 'awaits-hook';

-- Attributes that the server's side sets; what devices say of themselves is telemetry.
CREATE TABLE attributes (
    device        INTEGER NOT NULL,
    scope         INTEGER NOT NULL,         -- 0: shared with the device
    key           TEXT    NOT NULL,
    tenant        INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    value         TEXT    NOT NULL,         -- JSON
    PRIMARY KEY (device, scope, key)
) WITHOUT ROWID;

INSERT INTO counters (name, next) VALUES ('operation', 1);
