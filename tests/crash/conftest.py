"""The harness reads /proc and asks for system calls of Linux: elsewhere its tests are not collected."""

import sys

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]
