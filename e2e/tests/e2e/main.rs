//! The built programs, seen from outside. One binary, so that it links once.
