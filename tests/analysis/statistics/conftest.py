"""Made-up accuracies for the tests of the statistics."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # tests is no package: `import simulated_runs`
