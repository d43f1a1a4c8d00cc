CREATE UNIQUE INDEX idx_sessions_token ON sessions (token_hash);
CREATE INDEX idx_sessions_revoked ON sessions (revoked_at);

-- Refresh tokens that were used: one that comes again ends its login.
CREATE TABLE spent_tokens (
    token_hash BLOB NOT NULL PRIMARY KEY, -- SHA-256
    session_id BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    spent_at TEXT NOT NULL
);
CREATE INDEX idx_spent_tokens_session ON spent_tokens (session_id);
CREATE INDEX idx_spent_tokens_spent ON spent_tokens (spent_at);

CREATE INDEX idx_audit_created ON audit_log (created_at);
