"""The environment `local`: real processes on loopback, a proxy per directed link in a process of its own."""
