"""``make fuzz``. What processes run lies in ``command``: they cannot import this module."""

import sys

from tests.fuzz.command import main

if __name__ == "__main__":
    sys.exit(main())
