-- Version 1. Times are Unix microseconds, 0 = unset. Texts are VARBINARY and
-- BLOB, which are compared byte for byte and pass through no character set. A
-- statement ends with a semicolon at the end of its line, and nothing else
-- does. These databases commit after each statement of this kind, so that each
-- may be run again, also by several programs at once, and the version comes
-- last: a schema without one is half migrated, and the same file completes it.

CREATE TABLE IF NOT EXISTS apikey_schema (
    id          BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    version     BIGINT NOT NULL,
    min_version BIGINT NOT NULL -- programs that know this version or a later one can go on
) ENGINE = InnoDB;

-- The state of an owner as a whole. Every owner of a key has a row, at
-- revision 0 until its first change.
CREATE TABLE IF NOT EXISTS apikey_owners (
    id              VARBINARY(255)  NOT NULL PRIMARY KEY,
    disabled_at     BIGINT          NOT NULL DEFAULT 0,
    disabled_by     VARBINARY(255)  NOT NULL DEFAULT '',
    disabled_reason VARBINARY(1000) NOT NULL DEFAULT '',
    has_ceiling     TINYINT         NOT NULL DEFAULT 0, -- 0 or 1
    ceiling         VARBINARY(16000) NOT NULL DEFAULT '', -- scopes, separated by single spaces
    tokens_until    BIGINT          NOT NULL DEFAULT 0,
    revision        BIGINT          NOT NULL DEFAULT 0,
    nonce           VARBINARY(16)   NOT NULL DEFAULT 0x00000000000000000000000000000000,
    seal            VARBINARY(1000) NOT NULL DEFAULT '',
    locked          BIGINT          NOT NULL DEFAULT 0 -- counts the locks: what changes nothing is not replicated
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS apikey_keys (
    id              VARBINARY(255)  NOT NULL PRIMARY KEY,
    owner           VARBINARY(255)  NOT NULL,
    name            VARBINARY(1000) NOT NULL,
    scopes          MEDIUMBLOB      NOT NULL, -- separated by single spaces
    networks        MEDIUMBLOB      NOT NULL, -- in CIDR form, separated by single spaces
    rate_requests   BIGINT          NOT NULL,
    rate_period     BIGINT          NOT NULL, -- microseconds
    metadata        MEDIUMBLOB      NOT NULL, -- a JSON object of texts
    created_at      BIGINT          NOT NULL,
    disabled_at     BIGINT          NOT NULL,
    disabled_by     VARBINARY(255)  NOT NULL,
    disabled_reason VARBINARY(1000) NOT NULL,
    locked            TINYINT         NOT NULL, -- 0 or 1
    deleted_at      BIGINT          NOT NULL,
    prefix          VARBINARY(255)  NOT NULL, -- this and the next three: of the current credential
    credential_id   VARBINARY(255)  NOT NULL,
    issued_at       BIGINT          NOT NULL,
    expires_at      BIGINT          NOT NULL,
    retiring_id     VARBINARY(255)  NOT NULL,
    revision        BIGINT          NOT NULL,
    nonce           VARBINARY(16)   NOT NULL,
    issue_hash      VARBINARY(255)  NOT NULL, -- of the parameters of Issue, if they can come again
    seal            VARBINARY(1000) NOT NULL,
    required        BIGINT          NOT NULL DEFAULT 0, -- counts the locks, as apikey_owners.locked does

    -- An owner's keys in pages, and how many of them are not deleted.
    INDEX apikey_keys_by_owner (owner, id, deleted_at),
    INDEX apikey_keys_by_expiry (expires_at),
    INDEX apikey_keys_by_deletion (deleted_at)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS apikey_credentials (
    id            VARBINARY(255)    NOT NULL PRIMARY KEY,
    key_id        VARBINARY(255)    NOT NULL,
    prefix        VARBINARY(255)    NOT NULL,
    created_at    BIGINT            NOT NULL,
    expires_at    BIGINT            NOT NULL,
    retire_before BIGINT            NOT NULL,
    scheme        SMALLINT          NOT NULL,
    pepper_id     VARBINARY(255)    NOT NULL,
    digest        VARBINARY(255)    NOT NULL,
    seal          VARBINARY(1000)   NOT NULL,
    is_current    TINYINT           NOT NULL, -- 1 if it is the credential_id of its key, else 0

    INDEX apikey_credentials_by_key (key_id, created_at, id),

    -- Those that a sweep may find: never more than a small part of all.
    INDEX apikey_credentials_by_end (is_current, expires_at, key_id)
) ENGINE = InnoDB;

-- Usage has tables of its own, so that counting never rewrites a key.
CREATE TABLE IF NOT EXISTS apikey_usage (
    credential_id VARBINARY(255) NOT NULL PRIMARY KEY,
    uses          BIGINT         NOT NULL,
    last_used_at  BIGINT         NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS apikey_usage_days (
    credential_id VARBINARY(255) NOT NULL,
    day           BIGINT         NOT NULL, -- its first instant, in UTC
    key_id        VARBINARY(255) NOT NULL,
    uses          BIGINT         NOT NULL,
    last_used_at  BIGINT         NOT NULL,
    PRIMARY KEY (credential_id, day)
) ENGINE = InnoDB;

-- The log. Positions come from apikey_counter and have no gaps.
CREATE TABLE IF NOT EXISTS apikey_events (
    seq               BIGINT          NOT NULL PRIMARY KEY,
    nonce             VARBINARY(16)   NOT NULL,
    at                BIGINT          NOT NULL,
    kind              VARBINARY(255)  NOT NULL,
    key_id            VARBINARY(255)  NOT NULL,
    owner             VARBINARY(255)  NOT NULL,
    credential_id     VARBINARY(255)  NOT NULL,
    old_credential_id VARBINARY(255)  NOT NULL,
    old_expires_at    BIGINT          NOT NULL,
    revision          BIGINT          NOT NULL,
    actor             VARBINARY(255)  NOT NULL,
    reason            VARBINARY(1000) NOT NULL,
    data              MEDIUMBLOB      NOT NULL, -- a JSON object of texts
    seal              VARBINARY(1000) NOT NULL,

    INDEX apikey_events_by_key (key_id, seq)
) ENGINE = InnoDB;

-- Names that can be committed once.
CREATE TABLE IF NOT EXISTS apikey_once (
    name   VARBINARY(255) NOT NULL PRIMARY KEY,
    key_id VARBINARY(255) NOT NULL, -- goes with this key; '' = permanent
    seq    BIGINT         NOT NULL, -- of the last event of its change

    INDEX apikey_once_by_seq (seq, name),
    INDEX apikey_once_by_key (key_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS apikey_counter (
    id  BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    seq BIGINT NOT NULL -- of the last event
) ENGINE = InnoDB;

INSERT IGNORE INTO apikey_counter (id, seq) VALUES (1, 0);

INSERT IGNORE INTO apikey_schema (id, version, min_version) VALUES (1, 1, 1);
