DROP TABLE user_roles;
DROP TABLE roles;
DROP TABLE user_organizations;
DROP TABLE users;
DROP TABLE organizations;
