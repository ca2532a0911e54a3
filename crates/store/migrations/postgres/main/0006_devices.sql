-- When a device was made; NULL: in the moment of `state_since`, which it has not left since.
ALTER TABLE devices ADD COLUMN created_at BIGINT;
-- What operators' programs keep with it: a JSON object.
ALTER TABLE devices ADD COLUMN additional_info TEXT COLLATE "C";
-- How often operators saved it, and its credentials, after it was made; NULL: never.
ALTER TABLE devices ADD COLUMN saves BIGINT;
ALTER TABLE devices ADD COLUMN credential_saves BIGINT;

-- What operators' programs keep with a profile, and how often it was saved; 1 where it is the tenant's default.
ALTER TABLE profiles ADD COLUMN notes TEXT COLLATE "C";
ALTER TABLE profiles ADD COLUMN saves BIGINT;
ALTER TABLE profiles ADD COLUMN is_default BIGINT;
CREATE UNIQUE INDEX profiles_default ON profiles (tenant) WHERE is_default IS NOT NULL;
