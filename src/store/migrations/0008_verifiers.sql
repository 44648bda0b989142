-- Who fetches the key set, and comes back.
CREATE TABLE verifiers (
    -- Empty behind a Unix socket.
    address     TEXT NOT NULL,
    agent       TEXT NOT NULL,
    -- Empty for those that ask for all keys.
    alg         TEXT NOT NULL,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    -- The key set that it holds: its entity tag, and its keys, separated by single spaces.
    etag        TEXT NOT NULL,
    kids        TEXT NOT NULL,
    PRIMARY KEY (address, agent, alg)
) STRICT, WITHOUT ROWID;
