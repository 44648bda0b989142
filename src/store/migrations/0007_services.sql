-- The services that tokens are for, and the actions that each understands.
CREATE TABLE services (
    audience     TEXT PRIMARY KEY,
    description  TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE service_actions (
    audience     TEXT NOT NULL REFERENCES services (audience) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    description  TEXT NOT NULL,
    PRIMARY KEY (audience, name)
) STRICT, WITHOUT ROWID;

-- Names that actions had before. Until it ends, a former name can be asked for as well.
CREATE TABLE action_aliases (
    audience  TEXT NOT NULL,
    name      TEXT NOT NULL,
    action    TEXT NOT NULL,
    ends_at   INTEGER NOT NULL,
    PRIMARY KEY (audience, name),
    FOREIGN KEY (audience, action) REFERENCES service_actions (audience, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
