#!/bin/sh
# The adaptor as a file, its argument as a form field: echo_script.sh [URL [NAME]]
set -eu
cd "$(dirname "$0")"
curl -sS --fail-with-body "${1:-http://localhost:9876}/echo" -F code=@echo.py --form-string "name=${2:-owt}"
