"""Planted defects: deliberate bugs by name, each one small module that overrides one rule from outside."""
