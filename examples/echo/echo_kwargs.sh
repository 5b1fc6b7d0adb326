#!/bin/sh
# Everything in one JSON object, made by jo: echo_kwargs.sh [URL [NAME]]
set -eu
cd "$(dirname "$0")"
# jo takes some values for the names of files: the name is given as one.
jo code=@echo.py kwargs="$(printf %s "${2:-owt}" | jo name=@/dev/stdin)" |
    curl -sS --fail-with-body "${1:-http://localhost:9876}/echo" --json @-
