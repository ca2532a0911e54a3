-- Whom a provider vouches for: by whose word, as whom, and when it last gave it. NULL: a local account.
ALTER TABLE accounts ADD COLUMN issuer TEXT;
ALTER TABLE accounts ADD COLUMN subject TEXT;
ALTER TABLE accounts ADD COLUMN vouched_at INTEGER;
CREATE UNIQUE INDEX accounts_by_subject ON accounts (issuer, subject) WHERE subject IS NOT NULL;

-- Whose account was removed, or lost its role: what the provider said before counts no more.
CREATE TABLE removed_subjects (
    issuer        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    removed_at    INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
