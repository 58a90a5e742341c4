"""my-database as a system under test."""
