#!/bin/sh
# Where the faces are, as JSON: faces.sh [URL] < photo.jpg
set -eu
cd "$(dirname "$0")"
curl -sS --fail-with-body "${1:-http://localhost:9876}/faces" -H 'Accept: application/json' \
    -F code=@faces.py -F photo=@-
