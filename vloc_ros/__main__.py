"""``python -m vloc_ros``: the same as ``vloc``."""

import sys

from vloc_ros.cli import main

sys.exit(main())
