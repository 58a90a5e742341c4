"""Small programs that show how others use the harness; nothing here is part of it."""
