-- Messages for the cloud, in the order of their numbers, which are never given twice.
CREATE TABLE queue (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    topic   TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;
