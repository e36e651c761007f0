-- Apps that are switched off for a user: a JSON array of ids.
ALTER TABLE users ADD COLUMN disabled_apps TEXT NOT NULL DEFAULT '[]';
