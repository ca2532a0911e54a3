-- What has expired is deleted in the order of its end; what waits is counted for each tenant.
CREATE INDEX questions_by_end ON questions (expires_at);
CREATE INDEX questions_open ON questions (tenant, expires_at) WHERE verdict IN ('awaits-hook', 'awaits-person');

-- A leave whose neighbours do not answer is not looked at until they do.
DROP INDEX operations_in_grace;
CREATE INDEX operations_in_grace ON operations (grace_until) WHERE grace_until IS NOT NULL AND phase = 'done';

-- Devices that were deleted before have left work behind.
UPDATE steps SET state = 'absorbed', absorbed = NULL
    WHERE state IN ('waiting', 'due', 'running', 'failed')
        AND NOT EXISTS (SELECT 1 FROM devices d WHERE d.device = steps.device);
UPDATE operations SET phase = 'done', ended_at = coalesce(ended_at, began_at), grace_until = NULL
    WHERE (phase <> 'done' OR grace_until IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM devices d WHERE d.device = operations.device);
DELETE FROM attributes WHERE NOT EXISTS (SELECT 1 FROM devices d WHERE d.device = attributes.device);
