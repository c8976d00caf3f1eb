"""`python -m cli`: the command line for a child process that is given the rooms on its path."""

import sys

from cli.main import main

if __name__ == "__main__":
    sys.exit(main())
