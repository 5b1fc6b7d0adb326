#!/bin/sh
# Whether each line is kind: sentiment.sh [URL] < lines
set -eu
cd "$(dirname "$0")"
while IFS= read -r line; do
    curl -sS --fail-with-body "${1:-http://localhost:9876}/sentiment" -F code=@sentiment.py --form-string "text=$line"
done
