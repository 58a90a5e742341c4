"""What goes wrong, when and to whom: faults as data, the packages that inject them, the runner that executes them."""
