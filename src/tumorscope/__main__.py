"""``python -m tumorscope`` is the command ``tumorscope``."""

import sys

from tumorscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
