-- Version 1. Times are Unix microseconds, 0 = unset. Texts are compared byte
-- for byte. A statement ends with a semicolon at the end of its line, and
-- nothing else does. The version comes last: a schema without one is half
-- migrated, and the same file completes it.

CREATE TABLE IF NOT EXISTS apikey_schema (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    version     INTEGER NOT NULL,
    min_version INTEGER NOT NULL -- programs that know this version or a later one can go on
) STRICT;

-- The state of an owner as a whole. Every owner of a key has a row, at
-- revision 0 until its first change.
CREATE TABLE IF NOT EXISTS apikey_owners (
    id              TEXT    NOT NULL PRIMARY KEY,
    disabled_at     INTEGER NOT NULL DEFAULT 0,
    disabled_by     TEXT    NOT NULL DEFAULT '',
    disabled_reason TEXT    NOT NULL DEFAULT '',
    has_ceiling     INTEGER NOT NULL DEFAULT 0, -- 0 or 1
    ceiling         TEXT    NOT NULL DEFAULT '', -- scopes, separated by single spaces
    tokens_until    INTEGER NOT NULL DEFAULT 0,
    revision        INTEGER NOT NULL DEFAULT 0,
    nonce           BLOB    NOT NULL DEFAULT (zeroblob(16)),
    seal            BLOB    NOT NULL DEFAULT (zeroblob(0))
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS apikey_keys (
    id              TEXT    NOT NULL PRIMARY KEY,
    owner           TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    scopes          TEXT    NOT NULL, -- separated by single spaces
    networks        TEXT    NOT NULL, -- in CIDR form, separated by single spaces
    rate_requests   INTEGER NOT NULL,
    rate_period     INTEGER NOT NULL, -- microseconds
    metadata        TEXT    NOT NULL, -- a JSON object of texts
    created_at      INTEGER NOT NULL,
    disabled_at     INTEGER NOT NULL,
    disabled_by     TEXT    NOT NULL,
    disabled_reason TEXT    NOT NULL,
    locked            INTEGER NOT NULL, -- 0 or 1
    deleted_at      INTEGER NOT NULL,
    prefix          TEXT    NOT NULL, -- this and the next three: of the current credential
    credential_id   TEXT    NOT NULL,
    issued_at       INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    retiring_id     TEXT    NOT NULL,
    revision        INTEGER NOT NULL,
    nonce           BLOB    NOT NULL,
    issue_hash      BLOB    NOT NULL, -- of the parameters of Issue, if they can come again
    seal            BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- An owner's keys in pages, and how many of them are not deleted.
CREATE INDEX IF NOT EXISTS apikey_keys_by_owner ON apikey_keys (owner, id, deleted_at);

CREATE INDEX IF NOT EXISTS apikey_keys_by_expiry ON apikey_keys (expires_at);

CREATE INDEX IF NOT EXISTS apikey_keys_by_deletion ON apikey_keys (deleted_at) WHERE deleted_at > 0;

CREATE TABLE IF NOT EXISTS apikey_credentials (
    id            TEXT    NOT NULL PRIMARY KEY,
    key_id        TEXT    NOT NULL,
    prefix        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    retire_before INTEGER NOT NULL,
    scheme        INTEGER NOT NULL,
    pepper_id     BLOB    NOT NULL,
    digest        BLOB    NOT NULL,
    seal          BLOB    NOT NULL,
    is_current    INTEGER NOT NULL -- 1 if it is the credential_id of its key, else 0
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS apikey_credentials_by_key ON apikey_credentials (key_id, created_at, id);

-- Those that a sweep may find: never more than a small part of all.
CREATE INDEX IF NOT EXISTS apikey_credentials_by_end ON apikey_credentials (expires_at, key_id) WHERE is_current = 0;

-- Usage has tables of its own, so that counting never rewrites a key.
CREATE TABLE IF NOT EXISTS apikey_usage (
    credential_id TEXT    NOT NULL PRIMARY KEY,
    uses          INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS apikey_usage_days (
    credential_id TEXT    NOT NULL,
    day           INTEGER NOT NULL, -- its first instant, in UTC
    key_id        TEXT    NOT NULL,
    uses          INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL,
    PRIMARY KEY (credential_id, day)
) STRICT, WITHOUT ROWID;

-- The log. Positions come from apikey_counter and have no gaps.
CREATE TABLE IF NOT EXISTS apikey_events (
    seq               INTEGER NOT NULL PRIMARY KEY,
    nonce             BLOB    NOT NULL,
    at                INTEGER NOT NULL,
    kind              TEXT    NOT NULL,
    key_id            TEXT    NOT NULL,
    owner             TEXT    NOT NULL,
    credential_id     TEXT    NOT NULL,
    old_credential_id TEXT    NOT NULL,
    old_expires_at    INTEGER NOT NULL,
    revision          INTEGER NOT NULL,
    actor             TEXT    NOT NULL,
    reason            TEXT    NOT NULL,
    data              TEXT    NOT NULL, -- a JSON object of texts
    seal              BLOB    NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS apikey_events_by_key ON apikey_events (key_id, seq);

-- Names that can be committed once.
CREATE TABLE IF NOT EXISTS apikey_once (
    name   TEXT    NOT NULL PRIMARY KEY,
    key_id TEXT    NOT NULL, -- goes with this key; '' = permanent
    seq    INTEGER NOT NULL -- of the last event of its change
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS apikey_once_by_seq ON apikey_once (seq, name);

CREATE INDEX IF NOT EXISTS apikey_once_by_key ON apikey_once (key_id) WHERE key_id <> '';

CREATE TABLE IF NOT EXISTS apikey_counter (
    id  INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL -- of the last event
) STRICT;

INSERT INTO apikey_counter (id, seq) VALUES (1, 0) ON CONFLICT DO NOTHING;

INSERT INTO apikey_schema (id, version, min_version) VALUES (1, 1, 1);
