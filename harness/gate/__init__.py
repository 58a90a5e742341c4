"""Runs that a machine judges by a plan: gates for CI."""
