"""Protocols of transactions: how reads hold at one timestamp, and how writes of many ranges become one commit."""
