-- People who sign on with a password, or over a provider that vouches for them.
CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant        INTEGER,                  -- NULL: the whole server
    name          TEXT    NOT NULL UNIQUE,  -- an e-mail address or another name, as it was typed
    password      TEXT,                     -- Argon2id over a keyed digest, as PHC text; NULL: none opens it
    role          TEXT    NOT NULL,
    epoch         INTEGER NOT NULL,         -- rises with every change that ends its sessions
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    disabled_at   INTEGER
);

-- Sessions that were left before their end; their tokens would be good until then.
CREATE TABLE ended_sessions (
    session       TEXT    PRIMARY KEY,
    ends_at       INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX ended_sessions_by_end ON ended_sessions (ends_at);

-- Tokens from before may what they could.
ALTER TABLE operator_tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';

-- Devices that an installer announced: what it may see.
CREATE TABLE announced (
    device        INTEGER PRIMARY KEY,
    tenant        INTEGER NOT NULL,
    installer     TEXT    NOT NULL          -- token:NUMBER or account:NUMBER
);
CREATE INDEX announced_by_installer ON announced (tenant, installer, device);

-- Where provisioning is stopped.
CREATE TABLE freezes (
    tenant        INTEGER NOT NULL,
    profile       INTEGER NOT NULL,         -- 0: all of the tenant's
    secret        INTEGER NOT NULL,         -- 0: all of the profile's
    since         INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    PRIMARY KEY (tenant, profile, secret)
) WITHOUT ROWID;
