"""Where tests of tasks find the tasks that they record."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # `recorded_tasks`, here and in the processes that do them
