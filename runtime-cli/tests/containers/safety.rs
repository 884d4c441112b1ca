//! What a hostile image or a careless caller must not reach.
