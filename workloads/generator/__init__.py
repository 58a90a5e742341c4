"""Pure generators: their contract, their combinators, and the kit that unit-tests them."""
