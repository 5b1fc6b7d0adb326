"""python3 -m owt.server"""

import sys

from owt.server.main import main

sys.exit(main())
