"""The native two-party runtime: one message each way per activation. See docs/security.md for what it protects."""
