#!/bin/sh
# The text of an image: ocr.sh [URL] < image.png
set -eu
cd "$(dirname "$0")"
curl -sS --fail-with-body "${1:-http://localhost:9876}/ocr" -F code=@ocr.py -F image=@-
