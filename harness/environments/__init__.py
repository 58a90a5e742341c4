"""Where nodes run: the role of an environment, the ledger of faults to undo, and one package per environment."""
