"""What stands at the top is run once and stays, as weights would. Run it twice."""

import itertools
import time

print("loading ...")
time.sleep(1)
calls = itertools.count(1)


def run(request):
    return f"Call {next(calls)} since this was loaded."
