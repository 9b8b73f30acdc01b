"""What a plan costs: rounds, bytes, and seconds by the rates of a machine and a network."""
