-- Version 1. Times are Unix microseconds, 0 = unset. Texts are compared byte
-- for byte. A statement ends with a semicolon at the end of its line, and
-- nothing else does. The version comes last: a schema without one is half
-- migrated, and the same file completes it.

CREATE TABLE IF NOT EXISTS apikey_schema (
    id          BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    version     BIGINT NOT NULL,
    min_version BIGINT NOT NULL -- programs that know this version or a later one can go on
);

-- The state of an owner as a whole. Every owner of a key has a row, at
-- revision 0 until its first change.
CREATE TABLE IF NOT EXISTS apikey_owners (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    disabled_at     BIGINT NOT NULL DEFAULT 0,
    disabled_by     TEXT COLLATE "C" NOT NULL DEFAULT '',
    disabled_reason TEXT COLLATE "C" NOT NULL DEFAULT '',
    has_ceiling     SMALLINT NOT NULL DEFAULT 0, -- 0 or 1
    ceiling         TEXT COLLATE "C" NOT NULL DEFAULT '', -- scopes, separated by single spaces
    tokens_until    BIGINT NOT NULL DEFAULT 0,
    revision        BIGINT NOT NULL DEFAULT 0,
    nonce           BYTEA NOT NULL DEFAULT decode('00000000000000000000000000000000', 'hex'),
    seal            BYTEA NOT NULL DEFAULT ''
);

CREATE TABLE IF NOT EXISTS apikey_keys (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner           TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    scopes          TEXT COLLATE "C" NOT NULL, -- separated by single spaces
    networks        TEXT COLLATE "C" NOT NULL, -- in CIDR form, separated by single spaces
    rate_requests   BIGINT NOT NULL,
    rate_period     BIGINT NOT NULL, -- microseconds
    metadata        TEXT COLLATE "C" NOT NULL, -- a JSON object of texts
    created_at      BIGINT NOT NULL,
    disabled_at     BIGINT NOT NULL,
    disabled_by     TEXT COLLATE "C" NOT NULL,
    disabled_reason TEXT COLLATE "C" NOT NULL,
    locked            SMALLINT NOT NULL, -- 0 or 1
    deleted_at      BIGINT NOT NULL,
    prefix          TEXT COLLATE "C" NOT NULL, -- this and the next three: of the current credential
    credential_id   TEXT COLLATE "C" NOT NULL,
    issued_at       BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    retiring_id     TEXT COLLATE "C" NOT NULL,
    revision        BIGINT NOT NULL,
    nonce           BYTEA NOT NULL,
    issue_hash      BYTEA NOT NULL, -- of the parameters of Issue, if they can come again
    seal            BYTEA NOT NULL
);

-- An owner's keys in pages, and how many of them are not deleted.
CREATE INDEX IF NOT EXISTS apikey_keys_by_owner ON apikey_keys (owner, id, deleted_at);

CREATE INDEX IF NOT EXISTS apikey_keys_by_expiry ON apikey_keys (expires_at);

CREATE INDEX IF NOT EXISTS apikey_keys_by_deletion ON apikey_keys (deleted_at) WHERE deleted_at > 0;

CREATE TABLE IF NOT EXISTS apikey_credentials (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    key_id        TEXT COLLATE "C" NOT NULL,
    prefix        TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    retire_before BIGINT NOT NULL,
    scheme        SMALLINT NOT NULL,
    pepper_id     BYTEA NOT NULL,
    digest        BYTEA NOT NULL,
    seal          BYTEA NOT NULL,
    is_current    SMALLINT NOT NULL -- 1 if it is the credential_id of its key, else 0
);

CREATE INDEX IF NOT EXISTS apikey_credentials_by_key ON apikey_credentials (key_id, created_at, id);

-- Those that a sweep may find: never more than a small part of all.
CREATE INDEX IF NOT EXISTS apikey_credentials_by_end ON apikey_credentials (expires_at, key_id) WHERE is_current = 0;

-- Usage has tables of its own, so that counting never rewrites a key.
CREATE TABLE IF NOT EXISTS apikey_usage (
    credential_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    uses          BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS apikey_usage_days (
    credential_id TEXT COLLATE "C" NOT NULL,
    day           BIGINT NOT NULL, -- its first instant, in UTC
    key_id        TEXT COLLATE "C" NOT NULL,
    uses          BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL,
    PRIMARY KEY (credential_id, day)
);

-- The log. Positions come from apikey_counter and have no gaps.
CREATE TABLE IF NOT EXISTS apikey_events (
    seq               BIGINT NOT NULL PRIMARY KEY,
    nonce             BYTEA NOT NULL,
    at                BIGINT NOT NULL,
    kind              TEXT COLLATE "C" NOT NULL,
    key_id            TEXT COLLATE "C" NOT NULL,
    owner             TEXT COLLATE "C" NOT NULL,
    credential_id     TEXT COLLATE "C" NOT NULL,
    old_credential_id TEXT COLLATE "C" NOT NULL,
    old_expires_at    BIGINT NOT NULL,
    revision          BIGINT NOT NULL,
    actor             TEXT COLLATE "C" NOT NULL,
    reason            TEXT COLLATE "C" NOT NULL,
    data              TEXT COLLATE "C" NOT NULL, -- a JSON object of texts
    seal              BYTEA NOT NULL
);

CREATE INDEX IF NOT EXISTS apikey_events_by_key ON apikey_events (key_id, seq);

-- Names that can be committed once.
CREATE TABLE IF NOT EXISTS apikey_once (
    name   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    key_id TEXT COLLATE "C" NOT NULL, -- goes with this key; '' = permanent
    seq    BIGINT NOT NULL -- of the last event of its change
);

CREATE INDEX IF NOT EXISTS apikey_once_by_seq ON apikey_once (seq, name);

CREATE INDEX IF NOT EXISTS apikey_once_by_key ON apikey_once (key_id) WHERE key_id <> '';

CREATE TABLE IF NOT EXISTS apikey_counter (
    id  BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    seq BIGINT NOT NULL -- of the last event
);

INSERT INTO apikey_counter (id, seq) VALUES (1, 0) ON CONFLICT DO NOTHING;

INSERT INTO apikey_schema (id, version, min_version) VALUES (1, 1, 1);
