//! Action `start`: has a shim serve the container, a new one or the one of its pod.
