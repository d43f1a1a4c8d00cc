DROP INDEX idx_audit_created;
DROP TABLE spent_tokens;
DROP INDEX idx_sessions_revoked;
DROP INDEX idx_sessions_token;
