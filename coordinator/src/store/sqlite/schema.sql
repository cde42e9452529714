CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

CREATE TABLE request (
    id BLOB PRIMARY KEY,
    initiator TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    wallet TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    raw_hash BLOB NOT NULL,
    signed_intent BLOB NOT NULL,
    detail BLOB NOT NULL,
    UNIQUE (initiator, idempotency_key)
) STRICT;
CREATE INDEX request_live ON request (state) WHERE state IN ('announced', 'approved', 'reserved', 'signing');

CREATE TABLE approval (
    request BLOB NOT NULL REFERENCES request (id),
    statement BLOB NOT NULL,
    info BLOB NOT NULL,
    UNIQUE (request, statement)
) STRICT;

CREATE TABLE receipt (
    request BLOB NOT NULL REFERENCES request (id),
    node INTEGER NOT NULL,
    receipt BLOB NOT NULL,
    PRIMARY KEY (request, node)
) STRICT, WITHOUT ROWID;

-- One row per scope and debit. `seq` and `total` run from the first row of the scope, so that a window is the
-- difference of two rows, however many lie between them. `at_ms` never falls within a scope.
CREATE TABLE debit (
    scope TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    request BLOB NOT NULL REFERENCES request (id),
    amount BLOB NOT NULL,
    total BLOB NOT NULL,
    PRIMARY KEY (scope, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX debit_time ON debit (scope, at_ms, seq);
CREATE INDEX debit_request ON debit (request);

-- Which request holds a raw transaction: a second one for the same bytes is a conflict.
CREATE TABLE spent (
    raw_hash BLOB PRIMARY KEY,
    request BLOB NOT NULL REFERENCES request (id)
) STRICT, WITHOUT ROWID;

CREATE TABLE policy (
    seq INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    install BLOB NOT NULL,
    installed_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE person_order (
    seq INTEGER PRIMARY KEY,
    accepted_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    state BLOB NOT NULL
) STRICT;

CREATE TABLE generation (
    request_id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    scheme TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    stage TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    package BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX generation_name ON generation (name) WHERE stage <> 'aborted';

CREATE TABLE part (
    request_id BLOB NOT NULL REFERENCES generation (request_id),
    node INTEGER NOT NULL,
    part BLOB NOT NULL,
    PRIMARY KEY (request_id, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE evidence (
    seq INTEGER PRIMARY KEY,
    node INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    request BLOB,
    evidence BLOB NOT NULL,
    fault TEXT NOT NULL
) STRICT;

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request BLOB,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
