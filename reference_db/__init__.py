"""The reference Multi-Raft database that the harness tests; imports only itself and its dependencies."""
