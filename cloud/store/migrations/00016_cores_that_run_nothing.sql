-- +goose Up

-- What succeeded on a core.
CREATE INDEX deployment_succeeded ON deployment (partition, core_thing, epoch) WHERE status = 'Success';

-- A core that runs nothing of a group, and has nothing of it in hand, is free.
UPDATE core SET group_id = '' WHERE group_id <> ''
AND NOT EXISTS (SELECT 1 FROM deployment d
    WHERE d.partition = core.partition AND d.group_id = core.group_id AND d.core_thing = core.thing AND d.status = 'InProgress' AND d.phase <> 'Offered')
AND NOT EXISTS (SELECT 1 FROM deployment d
    WHERE d.partition = core.partition AND d.group_id = core.group_id AND d.core_thing = core.thing AND d.status = 'Success'
    AND d.type NOT IN ('ResetDeployment', 'ForceResetDeployment')
    AND NOT EXISTS (SELECT 1 FROM deployment l
        WHERE l.partition = d.partition AND l.group_id = d.group_id AND l.number > d.number AND l.status = 'Success'));

-- +goose Down
SELECT 1;
