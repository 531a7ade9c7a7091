-- Version 3: rooms (XEP-0045). Ids are rows of addresses; a room's archive is that of its id.

CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    -- JSON, as muc::config writes it; title and public repeat two of its settings for lists.
    config TEXT NOT NULL,
    title TEXT NOT NULL,
    public INTEGER NOT NULL,
    -- JSON; NULL as long as there was none.
    subject TEXT,
    -- The secret behind the occupant ids.
    salt BLOB NOT NULL,
    -- When somebody last was in it.
    used INTEGER NOT NULL,
    -- Being destroyed: no room any more, but not all of it is gone.
    erasing INTEGER NOT NULL DEFAULT 0,
    UNIQUE (service, name)
) STRICT;

CREATE TABLE room_ties (
    room INTEGER NOT NULL,
    jid TEXT NOT NULL,
    affiliation TEXT NOT NULL,
    nick TEXT,
    reason TEXT NOT NULL,
    PRIMARY KEY (room, jid)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_ties_by_jid ON room_ties (jid);
