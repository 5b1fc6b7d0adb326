#!/bin/sh
# The adaptor as a file, its text as a form field; the WAV goes to standard output: speak.sh [URL [TEXT]] | aplay
set -eu
cd "$(dirname "$0")"
curl -sSN --fail-with-body "${1:-http://localhost:9876}/speak" -F code=@speak.py \
    --form-string "text=${2:-Now then. This is spoken while the rest is still being made.}"
