-- One row: what belongs to the file as a whole.
CREATE TABLE issuer (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    -- A constant sealed under the master key: recognises a wrong one.
    master_check    BLOB NOT NULL,
    created_at      INTEGER NOT NULL,
    -- The attested clock: milliseconds counted, and the reading that it goes on from.
    attested        INTEGER NOT NULL,
    clock_wall      INTEGER NOT NULL,
    clock_steady    INTEGER NOT NULL,
    clock_boot      BLOB NOT NULL,
    -- When a rotation was asked for that has not happened yet.
    rotation_asked  INTEGER
) STRICT;

CREATE TABLE admin_keys (
    hash        BLOB PRIMARY KEY,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Stamps are milliseconds; *_attested counts attested time, all others count from the Unix epoch.
CREATE TABLE signing_keys (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    kid                 TEXT NOT NULL UNIQUE,
    alg                 TEXT NOT NULL,
    public              BLOB NOT NULL,
    -- The private half. It goes the moment the key no longer may sign.
    sealed              BLOB,
    founding            INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    published_at        INTEGER,
    published_attested  INTEGER,
    promoted_at         INTEGER,
    promoted_attested   INTEGER,
    retired_at          INTEGER,
    retired_attested    INTEGER,
    revoked_at          INTEGER,
    revoked_attested    INTEGER,
    signed_until        INTEGER,
    out_of_use_attested INTEGER,
    longest_lifetime    INTEGER NOT NULL,
    CHECK ((retired_at IS NULL AND revoked_at IS NULL) = (sealed IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX one_active_key ON signing_keys (alg)
    WHERE promoted_at IS NOT NULL AND retired_at IS NULL AND revoked_at IS NULL;
CREATE UNIQUE INDEX one_standby_key ON signing_keys (alg)
    WHERE promoted_at IS NULL AND retired_at IS NULL AND revoked_at IS NULL;

-- What other processes ask the serving one to do with its keys.
CREATE TABLE key_requests (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL CHECK (kind IN ('rotate', 'revoke')),
    kid       TEXT,
    asked_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE clients (
    id                 TEXT PRIMARY KEY,
    name               TEXT NOT NULL,
    enabled            INTEGER,
    -- Separated by single spaces; neither a scope nor an audience can hold one.
    scope              TEXT NOT NULL,
    audience           TEXT NOT NULL,
    -- JSON object of audience -> scopes; NULL when any scope goes with any audience.
    audience_scopes    TEXT,
    -- Milliseconds; NULL leaves it to the configuration.
    token_lifetime     INTEGER,
    -- JSON object of the fields that are kept for SuperTokens and mean nothing here.
    extra              TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    -- Tokens issued up to this time are revoked.
    tokens_revoked_at  INTEGER,
    -- How many secrets it ever had: the id of the latest.
    secrets_made       INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX clients_by_age ON clients (created_at, id);
CREATE INDEX clients_by_lifetime ON clients (token_lifetime) WHERE token_lifetime IS NOT NULL;

-- Kept in the order in which they are read: all of them, client by client, when a server starts.
CREATE TABLE client_secrets (
    client_id     TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE ON UPDATE CASCADE,
    -- Counts the secrets that the client ever had.
    id            INTEGER NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('sha256', 'argon2id')),
    hash          BLOB NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    last_used_at  INTEGER,
    PRIMARY KEY (client_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE revoked_tokens (
    jti                  TEXT PRIMARY KEY,
    expires_at           INTEGER NOT NULL,
    -- Attested time until which the row stays, whatever the wall clock says.
    keep_until_attested  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at);

-- What changed, so that a running server rereads only that, whoever wrote it.
CREATE TABLE changes (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    kind  TEXT NOT NULL CHECK (kind IN ('client', 'token', 'key')),
    id    TEXT NOT NULL
) STRICT;

CREATE TRIGGER client_added AFTER INSERT ON clients
    BEGIN INSERT INTO changes (kind, id) VALUES ('client', NEW.id); END;
CREATE TRIGGER client_changed AFTER UPDATE OF id, enabled, scope, audience, audience_scopes, token_lifetime,
        tokens_revoked_at ON clients
    BEGIN INSERT INTO changes (kind, id) VALUES ('client', OLD.id); END;
CREATE TRIGGER client_removed AFTER DELETE ON clients
    BEGIN INSERT INTO changes (kind, id) VALUES ('client', OLD.id); END;
CREATE TRIGGER secret_added AFTER INSERT ON client_secrets
    BEGIN INSERT INTO changes (kind, id) VALUES ('client', NEW.client_id); END;
CREATE TRIGGER secret_changed AFTER UPDATE OF hash, kind, expires_at, client_id ON client_secrets
    BEGIN INSERT INTO changes (kind, id) VALUES ('client', OLD.client_id); END;
CREATE TRIGGER secret_removed AFTER DELETE ON client_secrets
    BEGIN INSERT INTO changes (kind, id) VALUES ('client', OLD.client_id); END;
CREATE TRIGGER token_revoked AFTER INSERT ON revoked_tokens
    BEGIN INSERT INTO changes (kind, id) VALUES ('token', NEW.jti); END;
CREATE TRIGGER key_asked AFTER INSERT ON key_requests
    BEGIN INSERT INTO changes (kind, id) VALUES ('key', NEW.kind); END;
CREATE TRIGGER key_lifetime_raised AFTER UPDATE OF longest_lifetime ON signing_keys
    BEGIN INSERT INTO changes (kind, id) VALUES ('key', OLD.kid); END;
