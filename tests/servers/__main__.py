"""`python -m tests.servers install` installs what the integration tests need on this machine."""

import sys

from .install import install

if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit("usage: python -m tests.servers install")
    sys.exit(install())
