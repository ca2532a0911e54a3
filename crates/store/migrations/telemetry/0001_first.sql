-- The last value of each key.
CREATE TABLE latest (
    device        INTEGER NOT NULL,
    scope         INTEGER NOT NULL,         -- 0: time series, 1: client attributes
    key           TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    form          INTEGER NOT NULL,         -- 0: boolean, 1: integer, 2: double, 3: text, 4: JSON
    value                  NOT NULL,
    PRIMARY KEY (device, scope, key)
) WITHOUT ROWID;

-- Every value that was accepted, until it is too old or there are too many.
CREATE TABLE history (
    arrival       INTEGER PRIMARY KEY,      -- milliseconds since 1970 * 2^20 + a number: in the order of arrival
    device        INTEGER NOT NULL,
    scope         INTEGER NOT NULL,
    key           TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    form          INTEGER NOT NULL,
    value                  NOT NULL
);
CREATE INDEX history_by_device ON history (device);
