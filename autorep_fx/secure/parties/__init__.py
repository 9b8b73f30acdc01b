"""What client, server and dealer do with a plan; the protocol is docs/protocol.md."""
