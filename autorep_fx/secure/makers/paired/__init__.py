"""The maker without a helper: client and server make correlations by themselves. See docs/protocol.md, "Without a
dealer"."""
