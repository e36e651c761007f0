-- Since when (Unix milliseconds) a user's password and second factor are what they are: tokens made before do not count.
ALTER TABLE users ADD COLUMN credentials_ms BIGINT NOT NULL DEFAULT 0;

-- What ends with a person's old credentials, and what the housekeeper looks for.
CREATE INDEX device_codes_user ON device_codes (user_id);
CREATE INDEX oauth_grants_client ON oauth_grants (client_id);
CREATE INDEX oauth_codes_expires ON oauth_codes (expires_ms);
CREATE INDEX oauth_refresh_tokens_expires ON oauth_refresh_tokens (expires_ms);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_ms);
