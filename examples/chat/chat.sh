#!/bin/sh
# What the model says to a text, as it says it: chat.sh [URL [TEXT]]
set -eu
cd "$(dirname "$0")"
curl -sSN --fail-with-body "${1:-http://localhost:9876}/chat" -F code=@chat.py --form-string text="${2:-Hello!}" |
    python3 -c '
import json, sys

for line in filter(str.strip, sys.stdin):
    kind, _, data = line.rstrip("\n").partition(": ")
    if kind == "event":
        sys.exit("\n" + sys.stdin.read())
    if kind != "data":  # no events: a refusal
        sys.stdout.write(line)
    elif data != "[DONE]":
        print(json.loads(data)["text"], end="", flush=True)
print()
'
