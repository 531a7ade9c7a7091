-- Version 2: what operators and registration need. Times are Unix microseconds.

-- Registration. Names that look alike have one skeleton (access/names.rs); '' is yet to be filled
-- in. accounts.erasing is 1 while an account is being erased, 2 while it lies in the bin.
ALTER TABLE accounts ADD COLUMN skeleton TEXT NOT NULL DEFAULT '';
CREATE INDEX accounts_skeleton ON accounts (host, skeleton);

-- What an account is told on its first sign-in.
CREATE TABLE welcomes (
    account INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- Accounts that wait until an operator lets them in; they are locked meanwhile.
CREATE TABLE approvals (
    account INTEGER PRIMARY KEY,
    asked INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    address TEXT,
    door TEXT NOT NULL
) STRICT;

CREATE INDEX approvals_expires ON approvals (expires);

CREATE TABLE bin (
    account INTEGER PRIMARY KEY,
    removed INTEGER NOT NULL,
    until INTEGER NOT NULL,
    who TEXT NOT NULL
) STRICT;

CREATE INDEX bin_until ON bin (until);

-- Invitations. token is the SHA-256 of the token, which itself is kept nowhere; account is the
-- inviter, NULL for an operator; of a password reset it is the account that gets the password.
CREATE TABLE invites (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    host TEXT NOT NULL,
    account INTEGER,
    -- The local part that it reserves.
    name TEXT,
    registers INTEGER NOT NULL,
    subscribes INTEGER NOT NULL,
    groups TEXT NOT NULL,
    note TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    uses_max INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0,
    revoked INTEGER
) STRICT;

CREATE INDEX invites_account ON invites (account) WHERE account IS NOT NULL;
CREATE INDEX invites_name ON invites (host, name) WHERE name IS NOT NULL;
CREATE INDEX invites_expires ON invites (expires);

-- Who came in by which invitation.
CREATE TABLE invite_uses (
    invite INTEGER NOT NULL,
    jid TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (invite, jid)
) STRICT, WITHOUT ROWID;

-- Shared roster groups. Members are accounts; two flags stand for @all@ and @online@.

CREATE TABLE shared_groups (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    description TEXT NOT NULL,
    everyone INTEGER NOT NULL,
    online INTEGER NOT NULL,
    UNIQUE (host, name)
) STRICT;

CREATE TABLE shared_group_members (
    shared_group INTEGER NOT NULL,
    account INTEGER NOT NULL,
    PRIMARY KEY (shared_group, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX shared_group_members_account ON shared_group_members (account);

-- Members of shared_group see the members of displayed in their rosters.
CREATE TABLE shared_group_displayed (
    shared_group INTEGER NOT NULL,
    displayed INTEGER NOT NULL,
    PRIMARY KEY (shared_group, displayed)
) STRICT, WITHOUT ROWID;

-- API keys, by the SHA-256 of the key. Lists are lines.
CREATE TABLE api_keys (
    name TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    operations TEXT NOT NULL,
    hosts TEXT NOT NULL,
    networks TEXT NOT NULL,
    created INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires INTEGER,
    last_used INTEGER
) STRICT;

-- Announcements: the message of the day of a host, and the newest one that each account has seen.
CREATE TABLE motd (
    host TEXT PRIMARY KEY,
    id INTEGER NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE motd_seen (
    account INTEGER PRIMARY KEY,
    id INTEGER NOT NULL
) STRICT;
