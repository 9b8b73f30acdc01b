"""From a program to a plan: ranges, exponents, windows, wire forms, messages, cost. No socket, no thread."""
