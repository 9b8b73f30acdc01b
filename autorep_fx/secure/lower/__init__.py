"""From an fx graph to a :class:`~autorep_fx.secure.program.program.Program`: a walk, and a table of lowerings."""
