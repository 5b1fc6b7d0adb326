#!/bin/sh
# call.sh [URL [TEXT]]
set -eu
cd "$(dirname "$0")"
curl -sSN --fail-with-body "${1:-http://localhost:9876}/" -F code=@morse.py --form-string text="${2:-owt}"
