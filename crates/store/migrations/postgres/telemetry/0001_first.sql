-- The last value of each key.
CREATE TABLE latest (
    device        BIGINT  NOT NULL,
    scope         BIGINT  NOT NULL,         -- 0: time series, 1: client attributes
    key           TEXT    COLLATE "C" NOT NULL,
    at            BIGINT  NOT NULL,
    form          BIGINT  NOT NULL,         -- 0: boolean, 1: integer, 2: double, 3: text, 4: JSON
    value         TEXT    COLLATE "C" NOT NULL,         -- whatever the form, as text
    PRIMARY KEY (device, scope, key)
);

-- Every value that was accepted, until it is too old or there are too many.
CREATE TABLE history (
    arrival       BIGINT  NOT NULL,         -- milliseconds since 1970 * 2^20 + a number of the server that wrote it
    device        BIGINT  NOT NULL,
    scope         BIGINT  NOT NULL,
    key           TEXT    COLLATE "C" NOT NULL,
    at            BIGINT  NOT NULL,
    form          BIGINT  NOT NULL,
    value         TEXT    COLLATE "C" NOT NULL
);
CREATE INDEX history_by_arrival ON history (arrival);
CREATE INDEX history_by_device ON history (device, arrival);
