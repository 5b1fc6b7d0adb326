#!/bin/sh
# The words of a WAV that comes by standard input: listen.sh [URL] < recording.wav
set -eu
cd "$(dirname "$0")"
curl -sSN --fail-with-body "${1:-http://localhost:9876}/listen" -F code=@listen.py -F recording=@-
