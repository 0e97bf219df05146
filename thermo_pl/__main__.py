"""``python -m thermo_pl``."""

import sys

from thermo_pl.cli import main

if __name__ == "__main__":  # worker processes import this module again and must not run it
    sys.exit(main())
