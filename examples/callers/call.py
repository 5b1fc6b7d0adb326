"""python3 call.py [URL [TEXT]]: with owt's own client, which needs nothing but Python."""

import sys
from pathlib import Path

from owt.client import Client

url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:9876"
text = sys.argv[2] if len(sys.argv) > 2 else "owt"
for chunk in Client(url).call(Path(__file__).with_name("morse.py"), {"text": text}):
    sys.stdout.buffer.write(chunk)
