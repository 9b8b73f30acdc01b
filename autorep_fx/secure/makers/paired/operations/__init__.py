"""How the correlations of each operation are made by two; a file there is an entry (paired/table.py)."""
