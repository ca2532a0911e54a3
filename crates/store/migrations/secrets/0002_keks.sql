-- What is remembered of the key-encryption keys, never the keys. The newest one that is not retired seals.
CREATE TABLE keks (
    number        INTEGER PRIMARY KEY,      -- in the order in which they were added
    id            TEXT    NOT NULL UNIQUE,
    parameters    TEXT    NOT NULL,         -- JSON: what its provider needs to find it
    proof         BLOB    NOT NULL,         -- a data key that it wrapped, by which it is recognised
    added_at      INTEGER NOT NULL,
    retired_at    INTEGER
);

-- Walks over all sealed values. They go on after a restart where they stood.
CREATE TABLE walks (
    name          TEXT    PRIMARY KEY,      -- rewrap, rekey
    rate          INTEGER NOT NULL,         -- values a second
    started_at    INTEGER NOT NULL,
    ended_at      INTEGER,
    done          INTEGER NOT NULL,         -- values that were changed
    failed        INTEGER NOT NULL,         -- values that do not open
    tenant        INTEGER NOT NULL,         -- the last value that was looked at
    kind          TEXT    NOT NULL,
    record        TEXT    NOT NULL,
    field         TEXT    NOT NULL,
    generation    INTEGER NOT NULL
);
