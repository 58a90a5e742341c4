"""Databases under test, one file each: how a node is started, how a session is opened, who leads."""
