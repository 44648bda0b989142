-- Who changed something and waits until the server acts by it. The server takes a row away when it does.
CREATE TABLE waits (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    since     INTEGER NOT NULL
) STRICT;

-- Whoever looks for changes of keys is whoever answers.
CREATE TRIGGER wait_began AFTER INSERT ON waits
    BEGIN INSERT INTO changes (kind, id) VALUES ('key', 'wait'); END;
