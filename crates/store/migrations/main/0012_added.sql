-- New devices are counted, and their texts noted, by whoever inserts them: once a transaction.
DROP TRIGGER devices_added;
