-- The display name in lower case, to search by: the databases differ in what they take for a capital letter.
ALTER TABLE users ADD COLUMN display_name_key TEXT NOT NULL DEFAULT '';
UPDATE users SET display_name_key = LOWER(display_name);
