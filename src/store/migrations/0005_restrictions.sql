-- From where, when and how often a client gets tokens; NULL restricts nothing.
-- Networks separated by single spaces.
ALTER TABLE clients ADD COLUMN networks TEXT;
-- Milliseconds since the Unix epoch.
ALTER TABLE clients ADD COLUMN not_before INTEGER;
ALTER TABLE clients ADD COLUMN not_after INTEGER;
ALTER TABLE clients ADD COLUMN tokens_a_minute INTEGER;

DROP TRIGGER client_changed;
CREATE TRIGGER client_changed AFTER UPDATE OF id, enabled, scope, audience, audience_scopes, token_lifetime,
        tokens_revoked_at, networks, not_before, not_after, tokens_a_minute ON clients
    BEGIN INSERT INTO changes (kind, id) VALUES ('client', OLD.id); END;
