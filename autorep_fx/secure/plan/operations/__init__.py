"""The operations of a plan, one a file, which bears its name and has its record, ``OPERATION`` (../operation.py)."""
