-- When clients last asked for what they are granted, and got it. An empty scope is a token without one.
CREATE TABLE grant_uses (
    client_id   TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE ON UPDATE CASCADE,
    audience    TEXT NOT NULL,
    scope       TEXT NOT NULL,
    -- NULL when it was only ever granted to requests that named no scope.
    asked_at    INTEGER,
    granted_at  INTEGER NOT NULL,
    PRIMARY KEY (client_id, audience, scope)
) STRICT, WITHOUT ROWID;

-- Since when that is written down; NULL before it was for the first time.
ALTER TABLE issuer ADD COLUMN grant_uses_since INTEGER;
