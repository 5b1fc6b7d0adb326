#!/bin/sh
# Everything in one JSON object, made by jo: echo_kwargs.sh [URL [NAME]]
set -eu
cd "$(dirname "$0")"
jo code=@echo.py kwargs="$(jo -- -s name="${2:-owt}")" |
    curl -sS --fail-with-body "${1:-http://localhost:9876}/echo" --json @-
