-- What a device has said that its owner will know. The first one stands until it has expired.
CREATE TABLE claims (
    device        BIGINT PRIMARY KEY,
    tenant        BIGINT NOT NULL,
    verifier      BYTEA  NOT NULL,         -- of the secret key, which is kept nowhere
    expires_at    BIGINT NOT NULL
);
