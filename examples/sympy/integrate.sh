#!/bin/sh
# An integral over x, as text: integrate.sh [URL [EXPRESSION]]
set -eu
cd "$(dirname "$0")"
curl -sS --fail-with-body --get "${1:-http://localhost:9876}/integrate" \
    --data-urlencode code@algebra.py -d fn_name=integrate --data-urlencode "of=${2:-x * exp(-x**2)}"
