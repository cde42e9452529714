-- What requests use up on their chains, by name: an outpoint, a nonce of an account. A second request for the same is refused while
-- the first may still be signed.
CREATE TABLE held (
    name BLOB PRIMARY KEY,
    request BLOB NOT NULL REFERENCES request (id),
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
