-- Calls that are carried out once, however often they come: by the key that their caller chose.
CREATE TABLE once (
    call          BLOB    PRIMARY KEY,      -- keyed digest of who calls what with which key
    owner         TEXT   NOT NULL,         -- whose they are, so that nobody has too many
    request       BLOB   NOT NULL,         -- keyed digest of the body
    begun_at      INTEGER NOT NULL,
    status        INTEGER,                   -- NULL: nobody knows yet how it ended
    answer        TEXT                     -- NULL: it holds what is shown once only
);
CREATE INDEX once_by_owner ON once (owner, begun_at);
CREATE INDEX once_by_time ON once (begun_at);
