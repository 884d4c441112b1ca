//! The tasks of a pod: containers and further processes in them.
