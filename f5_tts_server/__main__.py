"""`python -m f5_tts_server` is the command `f5-tts-serve`."""

import sys

from f5_tts_server.cli import main

sys.exit(main())
