"""``python -m vloc_ros.interfaces`` (``make docs``): write anew what the repository has from table and settings."""

from __future__ import annotations

import sys
from pathlib import Path

from vloc_ros.interfaces.files import GENERATED

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Write the files that are not as they should be, and name them."""
    if not (ROOT / "setup.py").is_file():
        sys.stderr.write(f"{ROOT} is not a clone of the repository: there is nothing to write anew\n")
        return 1
    for name, make in GENERATED.items():
        path, text = ROOT / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
