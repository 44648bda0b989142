-- Who may administer, besides whoever holds a key of the configuration.
CREATE TABLE named_admin_keys (
    name          TEXT PRIMARY KEY,
    hash          BLOB NOT NULL UNIQUE,
    -- Separated by single spaces.
    roles         TEXT NOT NULL,
    -- Whether the first start made it: it counts only while the configuration has no key.
    founding      INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    last_used_at  INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO named_admin_keys (name, hash, roles, founding, created_at)
    SELECT 'first' || CASE number WHEN 1 THEN '' ELSE '-' || number END, hash, 'all', 1, created_at
    FROM (SELECT hash, created_at, row_number() OVER (ORDER BY created_at, hash) AS number FROM admin_keys);

DROP TABLE admin_keys;
ALTER TABLE named_admin_keys RENAME TO admin_keys;
