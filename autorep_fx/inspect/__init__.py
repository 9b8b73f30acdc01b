"""What was done to a model, to look at: tables, a networkx graph, drawings, one HTML file."""

from .report import Report, inspect

__all__ = ["Report", "inspect"]
