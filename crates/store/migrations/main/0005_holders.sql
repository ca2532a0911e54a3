-- Who asks a question's hook at this moment: what a server held when it ended is asked again at once.
ALTER TABLE questions ADD COLUMN server TEXT;
-- Of the answered questions of a tenant only the newest are kept.
CREATE INDEX questions_answered ON questions (tenant, decided_at, question) WHERE decided_at IS NOT NULL;
