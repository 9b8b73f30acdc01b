"""What was done to a model, to look at: tables, a graph, drawings, one HTML file; and whether it still fits."""

from .drift import Drift, monitor
from .report import Report, inspect

__all__ = ["Drift", "Report", "inspect", "monitor"]
