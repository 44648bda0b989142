-- Clients that are gone. Whoever gets one of these ids next is another: the tokens of before stay revoked.
CREATE TABLE removed_clients (
    id          TEXT PRIMARY KEY,
    removed_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
