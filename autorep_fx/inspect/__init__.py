"""Pictures, tables and graphs of a model at any stage; what it costs; and whether its data have moved."""

from .budgets import BudgetPlan, plan_budgets
from .drift import Drift, monitor
from .report import Report, inspect

__all__ = ["BudgetPlan", "Drift", "Report", "inspect", "monitor", "plan_budgets"]
