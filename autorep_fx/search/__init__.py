"""How masks are learned: the AutoReP loop, the SNL baseline, fine-tuning with distillation."""

from .history import History, SearchError
from .search import finetune, search

__all__ = ["History", "SearchError", "finetune", "search"]
