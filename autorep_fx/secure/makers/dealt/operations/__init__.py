"""What is dealt for masked wires: a file for each such operation of a plan, with a function ``deal``."""
