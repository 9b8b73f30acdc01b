"""What replaces an activation: the hybrid node, the polynomial fits (DaPa) and the one-shot budget."""
