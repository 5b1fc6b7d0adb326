#!/bin/sh
# The digit that an image shows: digits.sh [URL] < drawing.png
set -eu
cd "$(dirname "$0")"
curl -sS --fail-with-body "${1:-http://localhost:9876}/digits" -F code=@digits.py -F drawing=@-
