#!/bin/sh
# The name in the path of a GET, for the adaptor to find: echo_path.sh [URL [NAME]]
set -eu
cd "$(dirname "$0")"
name=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "${2:-owt}")
curl -sS --fail-with-body --get "${1:-http://localhost:9876}/hello/$name" --data-urlencode code@echo.py
