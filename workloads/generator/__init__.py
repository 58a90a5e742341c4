"""Pure generators, their combinators and the kit that unit-tests them."""
