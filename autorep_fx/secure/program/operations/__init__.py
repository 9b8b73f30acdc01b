"""The operations of a program, a file for each family, with their records in ``OPERATIONS`` (../operation.py)."""
