//! Standard streams of tasks: FIFOs, files, loggers and terminals.
