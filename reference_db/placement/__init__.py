"""Placement: where replicas start and where leaders should be."""
