"""What a check raises when it reaches one of its limits."""


class OutOfBudgetError(Exception):
    """A limit was reached; the message says which, and the way out. The verdict becomes unknown."""
