-- What was done, by whom. An entry is one line of JSON, kept as it was hashed.
CREATE TABLE audit (
    seq    INTEGER PRIMARY KEY,
    -- SHA-256 of the hash of the entry before it, and this entry.
    hash   BLOB NOT NULL,
    entry  TEXT NOT NULL
) STRICT;

-- Signed statements of how far the log reaches.
CREATE TABLE audit_heads (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    seq  INTEGER NOT NULL,
    jws  TEXT NOT NULL
) STRICT;

CREATE INDEX audit_heads_by_seq ON audit_heads (seq);

-- The public halves of the keys that signed heads. They outlive the keys.
CREATE TABLE audit_keys (
    kid     TEXT PRIMARY KEY,
    alg     TEXT NOT NULL,
    public  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
