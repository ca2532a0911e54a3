//! The server in process, spoken to over real sockets.
