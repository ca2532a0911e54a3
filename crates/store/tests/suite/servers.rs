//! Two servers and more on one database.
