-- Whom a provider vouches for: by whose word, as whom, and when it last gave it. NULL: a local account.
ALTER TABLE accounts ADD COLUMN issuer TEXT COLLATE "C";
ALTER TABLE accounts ADD COLUMN subject TEXT COLLATE "C";
ALTER TABLE accounts ADD COLUMN vouched_at BIGINT;
CREATE UNIQUE INDEX accounts_by_subject ON accounts (issuer, subject) WHERE subject IS NOT NULL;

-- Whose account was removed, or lost its role: what the provider said before counts no more.
CREATE TABLE removed_subjects (
    issuer        TEXT    COLLATE "C" NOT NULL,
    subject       TEXT    COLLATE "C" NOT NULL,
    removed_at    BIGINT  NOT NULL,
    PRIMARY KEY (issuer, subject)
);
