"""Nodes on other hosts, reached by SSH: processes there, with faults by rules and programs of those hosts."""
