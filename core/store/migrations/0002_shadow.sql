-- Shadows. A document that was deleted leaves its version for a while; times are in
-- milliseconds since 1970, 0 for none. synced is what was in step with the cloud, JSON,
-- NULL for a shadow that is not kept so.
CREATE TABLE shadow (
    thing    TEXT NOT NULL,
    name     TEXT NOT NULL, -- '' for the classic one
    document TEXT NOT NULL,
    version  INTEGER NOT NULL,
    deleted  INTEGER NOT NULL,
    synced   TEXT,
    PRIMARY KEY (thing, name)
) STRICT;
CREATE INDEX shadow_deleted ON shadow (deleted) WHERE deleted > 0;
