-- The nodes that a key is generated on, as a JSON list of numbers; empty for all nodes of the cluster.
ALTER TABLE generation ADD COLUMN nodes TEXT NOT NULL DEFAULT '[]';

-- Certified sharings after the first one of a key.
CREATE TABLE sharing (
    key_id BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    certificate BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (key_id, epoch, attempt)
) STRICT, WITHOUT ROWID;

-- Orders of people about keys, and refreshes by the policy's interval: the status as it is shown.
CREATE TABLE key_order (
    request_id BLOB PRIMARY KEY,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    status BLOB NOT NULL
) STRICT;
CREATE INDEX key_order_age ON key_order (created_ms);

-- Nodes that are not chosen.
CREATE TABLE drained (
    node INTEGER PRIMARY KEY
) STRICT;
