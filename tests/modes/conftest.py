"""The engine runs of these tests lie beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # tests is no package: `import every_mode`
