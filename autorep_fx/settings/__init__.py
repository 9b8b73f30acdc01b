"""What the entries are told: every option once, for code, recipes and the command line."""

from .settings import LIMITS, FinetuneSettings, SearchSettings, TransformSettings

__all__ = ["LIMITS", "FinetuneSettings", "SearchSettings", "TransformSettings"]
