-- What is remembered of the key-encryption keys, never the keys. The newest one that is not retired seals.
CREATE TABLE keks (
    number        BIGINT  PRIMARY KEY,      -- in the order in which they were added
    id            TEXT    COLLATE "C" NOT NULL UNIQUE,
    parameters    TEXT    COLLATE "C" NOT NULL,         -- JSON: what its provider needs to find it
    proof         BYTEA   NOT NULL,         -- a data key that it wrapped, by which it is recognised
    added_at      BIGINT  NOT NULL,
    retired_at    BIGINT
);

-- Walks over all sealed values. They go on after a restart where they stood.
CREATE TABLE walks (
    name          TEXT    COLLATE "C" PRIMARY KEY,      -- rewrap, rekey
    rate          BIGINT  NOT NULL,         -- values a second
    started_at    BIGINT  NOT NULL,
    ended_at      BIGINT,
    done          BIGINT  NOT NULL,         -- values that were changed
    failed        BIGINT  NOT NULL,         -- values that do not open
    tenant        BIGINT  NOT NULL,         -- the last value that was looked at
    kind          TEXT    COLLATE "C" NOT NULL,
    record        TEXT    COLLATE "C" NOT NULL,
    field         TEXT    COLLATE "C" NOT NULL,
    generation    BIGINT  NOT NULL
);
