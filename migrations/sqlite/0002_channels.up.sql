CREATE TABLE channels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id BIGINT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    parent_id BIGINT REFERENCES channels (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    password_hash TEXT,
    max_users BIGINT, -- no limit where null
    position BIGINT NOT NULL DEFAULT 0, -- among its siblings
    temporary BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX idx_channels_org ON channels (org_id);
CREATE INDEX idx_channels_parent ON channels (parent_id);

CREATE TABLE channel_acl (
    channel_id BIGINT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    role_id BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    allow BIGINT NOT NULL DEFAULT 0,
    deny BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (channel_id, role_id)
);
CREATE INDEX idx_channel_acl_role ON channel_acl (role_id);
