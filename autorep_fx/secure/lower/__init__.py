"""From an fx graph to a :class:`~autorep_fx.secure.program.Program`: a walk, and a table of lowerings."""
