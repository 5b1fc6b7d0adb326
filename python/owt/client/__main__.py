"""python3 -m owt.client"""

import sys

from owt.client.main import main

sys.exit(main())
