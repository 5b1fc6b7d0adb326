#!/bin/sh
# Everything in the URL of a GET, as a link has it: echo_request.sh [URL [NAME]]
set -eu
cd "$(dirname "$0")"
curl -sS --fail-with-body --get "${1:-http://localhost:9876}/echo" \
    --data-urlencode code_b64="$(base64 -w0 echo.py)" \
    --data-urlencode kwargs_b64="$(jo -- -s name="${2:-owt}" | base64 -w0)"
