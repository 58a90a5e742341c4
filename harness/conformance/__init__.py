"""The conformance kit: proves that a system's sessions say of each call what became of it, and leave nothing behind."""
