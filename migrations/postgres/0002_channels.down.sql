DROP TABLE channel_acl;
DROP TABLE channels;
