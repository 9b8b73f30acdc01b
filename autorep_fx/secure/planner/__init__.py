"""From a program to a plan: exponents, windows, wire forms, and where values are truncated."""
