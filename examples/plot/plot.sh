#!/bin/sh
# A curve as PNG, on standard output: plot.sh [URL [FORMULA]] > curve.png
set -eu
cd "$(dirname "$0")"
curl -sS --fail-with-body --get "${1:-http://localhost:9876}/plot" -H 'Accept: image/png' \
    --data-urlencode code@plot.py --data-urlencode "y=${2:-sin(x) / x}"
