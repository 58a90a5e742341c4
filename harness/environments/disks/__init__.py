"""Disks of real nodes that fail: a layer of FUSE below the data of a node, and what the harness does with it."""
