"""Ranges: spans of the keyspace, their replicas, and the store that drives all replicas of a node in one turn."""
