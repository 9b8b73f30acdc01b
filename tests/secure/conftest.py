import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # networks.py, native_runs.py, faults.py
