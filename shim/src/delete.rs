//! Action `delete`: removes what a shim that is gone left of a container, from the bundle alone.
