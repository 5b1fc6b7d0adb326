#!/bin/sh
# Everything in the URL of a GET, as a link has it: echo_request.sh [URL [NAME]]
set -eu
cd "$(dirname "$0")"
# jo takes some values for the names of files: the name is given as one.
curl -sS --fail-with-body --get "${1:-http://localhost:9876}/echo" \
    --data-urlencode code_b64="$(base64 -w0 echo.py)" \
    --data-urlencode kwargs_b64="$(printf %s "${2:-owt}" | jo name=@/dev/stdin | base64 -w0)"
