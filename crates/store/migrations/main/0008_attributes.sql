-- What a device has said that its owner will know. The first one stands until it has expired.
CREATE TABLE claims (
    device        INTEGER PRIMARY KEY,
    tenant        INTEGER NOT NULL,
    verifier      BLOB    NOT NULL,         -- of the secret key, which is kept nowhere
    expires_at    INTEGER NOT NULL
);
