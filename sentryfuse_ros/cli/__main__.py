"""`python -m sentryfuse_ros.cli VERB`, as torchrun starts it."""

import sys

from . import main

sys.exit(main())
