#!/bin/sh
# Prints the command that gets the page which a URL carries: bark_construct_curl.sh [URL]
set -eu
echo "curl -sS --fail-with-body '$("$(dirname "$0")/bark_construct_url.sh" "$@")'"
