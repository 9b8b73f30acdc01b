"""What client and server do on masked wires: a file for each such operation of a plan, with a function ``evaluate``."""
