-- Version 2: what operators and registration need. Times are Unix microseconds.

-- Registration.

-- Invitations.

-- Shared roster groups.

-- API keys.

-- Announcements.
