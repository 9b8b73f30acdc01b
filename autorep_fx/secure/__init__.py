"""How a hybrid network runs between two parties: lowering, the program as data, its error, and the backends."""
