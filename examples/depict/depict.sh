#!/bin/sh
# What an image shows: depict.sh [URL] < image.png
set -eu
cd "$(dirname "$0")"
curl -sS --fail-with-body "${1:-http://localhost:9876}/depict" -F code=@depict.py -F image=@-
