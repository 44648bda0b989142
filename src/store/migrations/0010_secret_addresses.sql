-- From which address a secret was last used; NULL when that is not known, or was a program on this machine.
ALTER TABLE client_secrets ADD COLUMN last_used_from TEXT;
