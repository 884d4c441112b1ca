//! `-info`: what this shim is and what its runtime can do.
