-- Sets of signers whose signatures did not verify, and how often. Enough of it stops a set until an operator decides.
CREATE TABLE failed_set (
    signers TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
