"""`python main.py` serves on port 8000; other servers may run `uvicorn --factory main:create_app`."""

from __future__ import annotations

import sys

from f5_tts_server.app import create_app, main

__all__ = ["create_app", "main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
