CREATE TABLE organizations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    tag_key TEXT NOT NULL UNIQUE, -- the tag in lower case
    owner_id BIGINT,
    max_users BIGINT NOT NULL,
    max_channels BIGINT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id BIGINT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL, -- the user name in lower case
    email TEXT,
    email_verified BOOLEAN NOT NULL DEFAULT FALSE,
    phone_number TEXT UNIQUE, -- E.164
    display_name TEXT NOT NULL,
    password_hash TEXT NOT NULL, -- Argon2id, PHC string
    active BOOLEAN NOT NULL DEFAULT TRUE,
    created_via TEXT NOT NULL,
    failed_login_attempts BIGINT NOT NULL DEFAULT 0,
    locked_until TEXT,
    password_changed_at TEXT NOT NULL,
    last_login TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (org_id, username_key)
);
CREATE INDEX idx_users_org ON users (org_id);
CREATE INDEX idx_users_username ON users (username_key);

CREATE TABLE user_organizations (
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    org_id BIGINT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, org_id)
);
CREATE INDEX idx_user_organizations_org ON user_organizations (org_id);

CREATE TABLE roles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    org_id BIGINT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    permissions BIGINT NOT NULL,
    priority BIGINT NOT NULL, -- the higher, the more it has to say
    UNIQUE (org_id, name)
);

CREATE TABLE user_roles (
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role_id BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, role_id)
);
CREATE INDEX idx_user_roles_role ON user_roles (role_id);
