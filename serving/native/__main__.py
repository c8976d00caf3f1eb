"""`python -m serving.native`: compile the library for this environment, where there is a compiler, and say what came.

Set-up calls this; a server never compiles. Without a compiler predictions are answered all the same, by Python alone.
"""

import sys
from pathlib import Path

from serving.native.building import CannotBuild, build, compiler
from serving.native.place import folders


def main(arguments: list[str]) -> int:
    """Build into the folder that is named, else into that of the environment. Only a failed compilation is an error."""
    folder = Path(arguments[0]) if arguments else folders()[-1]
    found = compiler()
    if found is None:
        sys.stdout.write(
            "No C++ compiler (c++, g++, clang++, or CXX): small JSON predictions are answered by Python alone\n"
        )
        return 0
    try:
        built = build(folder, found)
    except (CannotBuild, OSError) as error:
        sys.stderr.write(f"The compiled way of predictions cannot be built, Python answers alone: {error}\n")
        return 1
    sys.stdout.write(f"Small JSON predictions take the compiled way: {built}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
