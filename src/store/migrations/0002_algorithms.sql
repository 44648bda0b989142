-- A ring of keys for each algorithm in use.
CREATE TABLE key_rings (
    alg             TEXT PRIMARY KEY,
    -- When a rotation was asked for that has not happened yet.
    rotation_asked  INTEGER,
    -- Whether every verifier has had the time to get the ring's keys. Once so, it stays so.
    known           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO key_rings (alg, rotation_asked, known) SELECT 'EdDSA', rotation_asked, 1 FROM issuer;
ALTER TABLE issuer DROP COLUMN rotation_asked;

-- NULL concerns every ring.
ALTER TABLE key_requests ADD COLUMN alg TEXT;

-- Audiences whose tokens are signed with another algorithm than EdDSA.
CREATE TABLE audiences (
    name     TEXT PRIMARY KEY,
    alg      TEXT NOT NULL,
    -- Whether somebody vouches that no service checks tokens for it yet: then nobody has to be waited for.
    at_once  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER audience_added AFTER INSERT ON audiences
    BEGIN INSERT INTO changes (kind, id) VALUES ('key', NEW.alg); END;
CREATE TRIGGER audience_changed AFTER UPDATE ON audiences
    BEGIN INSERT INTO changes (kind, id) VALUES ('key', NEW.alg); END;
CREATE TRIGGER audience_removed AFTER DELETE ON audiences
    BEGIN INSERT INTO changes (kind, id) VALUES ('key', OLD.alg); END;
