import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # error_bound.py, declared_cost.py
