-- What is due is looked up for each neighbour: one that does not answer keeps nobody else waiting.
DROP INDEX steps_due;
CREATE INDEX steps_due ON steps (connector, due_at) WHERE state IN ('due', 'running');
DROP INDEX questions_due;
CREATE INDEX questions_due ON questions (hook, due_at) WHERE verdict = 'awaits-hook';

-- Of a device that has many operations behind it, only those that are not settled are looked at.
CREATE INDEX operations_unsettled ON operations (device) WHERE phase <> 'done' OR grace_until IS NOT NULL;
