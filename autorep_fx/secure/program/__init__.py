"""A private inference as data: its steps, what each computes in the clear, and whether it is whole."""
