-- Version 1. Times are Unix microseconds; ids of messages are MessageId; ids of accounts, rooms
-- and peers are rows of addresses. Foreign keys are kept by the code, which erases in steps.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Bare JIDs by number. Rows stay: other accounts' archives name them.
CREATE TABLE addresses (
    id INTEGER PRIMARY KEY,
    jid TEXT NOT NULL UNIQUE
) STRICT;

-- Every stored message once, appended. Rows above meta.merged are indexed by nothing yet: queries
-- walk them (see archive/tail.rs).
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    from_addr INTEGER NOT NULL,
    to_addr INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Who keeps which message: by time, and by peer and time. bytes = length of the body.
CREATE TABLE archive (
    owner INTEGER NOT NULL,
    id INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE archive_peer (
    owner INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (owner, peer, id)
) STRICT, WITHOUT ROWID;

-- Sums over archive.
CREATE TABLE archive_usage (
    owner INTEGER PRIMARY KEY,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

-- Full-text index of those messages that were stored with their text. owners holds one word per
-- archive, o<owner>, so that a search touches no foreign postings.
CREATE VIRTUAL TABLE messages_text USING fts5 (
    owners, body,
    content = '', contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TABLE offline (
    owner INTEGER NOT NULL,
    id INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

-- Stream management: the state of each session when the log was last folded, and the log since.
CREATE TABLE sm_sessions (
    slot INTEGER PRIMARY KEY,
    sid INTEGER NOT NULL UNIQUE,
    account INTEGER NOT NULL,
    resource TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    created INTEGER NOT NULL,
    device INTEGER,
    facts BLOB NOT NULL,
    h_in INTEGER NOT NULL,
    acked INTEGER NOT NULL,
    out BLOB NOT NULL
) STRICT;

CREATE TABLE sm_log (
    seq INTEGER PRIMARY KEY,
    notes BLOB NOT NULL
) STRICT;

CREATE TABLE sm_parked (
    sid INTEGER PRIMARY KEY,
    detached INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    stanzas BLOB NOT NULL
) STRICT;

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    locked INTEGER,
    lock_reason TEXT NOT NULL DEFAULT '',
    seen INTEGER,
    seen_status TEXT NOT NULL DEFAULT '',
    -- The roster's version, and the oldest one from which changes can be told.
    roster_version INTEGER NOT NULL DEFAULT 0,
    roster_floor INTEGER NOT NULL DEFAULT 0,
    prefs TEXT,
    -- Being removed: no account any more, but not all of it is gone.
    erasing INTEGER NOT NULL DEFAULT 0,
    UNIQUE (host, name)
) STRICT;

CREATE TABLE scram_keys (
    account INTEGER NOT NULL,
    hash TEXT NOT NULL,
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL,
    agent BLOB NOT NULL,
    software TEXT,
    name TEXT,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    password INTEGER NOT NULL,
    UNIQUE (account, agent)
) STRICT;

CREATE TABLE tokens (
    device INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    nonce BLOB NOT NULL,
    mechanism TEXT NOT NULL,
    issued INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (device, slot)
) STRICT, WITHOUT ROWID;

-- subscription IS NULL: removed, kept so that old clients can be told.
CREATE TABLE roster_items (
    account INTEGER NOT NULL,
    jid TEXT NOT NULL,
    version INTEGER NOT NULL,
    name TEXT,
    groups TEXT NOT NULL DEFAULT '',
    subscription INTEGER,
    ask INTEGER NOT NULL DEFAULT 0,
    approved INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, jid)
) STRICT, WITHOUT ROWID;

CREATE TABLE roster_requests (
    account INTEGER NOT NULL,
    jid TEXT NOT NULL,
    received INTEGER NOT NULL,
    stanza BLOB NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    account INTEGER NOT NULL,
    jid TEXT NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT, WITHOUT ROWID;

CREATE TABLE vcards (
    account INTEGER PRIMARY KEY,
    vcard BLOB NOT NULL
) STRICT;

CREATE TABLE private (
    account INTEGER NOT NULL,
    ns TEXT NOT NULL,
    name TEXT NOT NULL,
    element BLOB NOT NULL,
    PRIMARY KEY (account, ns, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE push (
    account INTEGER NOT NULL,
    service TEXT NOT NULL,
    node TEXT NOT NULL,
    options BLOB,
    device INTEGER,
    resource TEXT,
    enabled INTEGER NOT NULL,
    PRIMARY KEY (account, service, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE reports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    reporter INTEGER NOT NULL,
    about TEXT NOT NULL,
    reason TEXT NOT NULL,
    text TEXT NOT NULL,
    stanza_ids TEXT NOT NULL,
    resolved INTEGER
) STRICT;

CREATE INDEX reports_open ON reports (reporter) WHERE resolved IS NULL;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    origin TEXT NOT NULL,
    what TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

INSERT INTO meta (key, value) VALUES ('merged', 0);
