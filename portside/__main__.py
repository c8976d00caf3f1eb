"""`portside` and `python -m portside`: refuse a Python that is too old in one sentence, else hand over to the launcher.

This file must parse on every Python, so: no annotations, no new syntax, and the check stands before the imports.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the one file that an older Python gets to run
    sys.exit(
        "portside needs Python 3.11 or newer, and %s is Python %d.%d: start it with a newer interpreter."  # noqa: UP031 - parses on Python 2
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )

from portside.launcher import main

if __name__ == "__main__":
    sys.exit(main())
