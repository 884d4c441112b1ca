//! The socket and who may use it.
