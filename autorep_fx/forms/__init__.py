"""Three forms of a position: what each costs, which to take, and what comes within limits."""
