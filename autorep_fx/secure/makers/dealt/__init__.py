"""Correlations from a dealer, whom client and server trust not to share what it knows (docs/protocol.md)."""
