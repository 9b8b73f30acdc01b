"""The three parties as services on machines of their own: ``deal``, ``serve`` and ``ask`` (docs/deployment.md)."""
